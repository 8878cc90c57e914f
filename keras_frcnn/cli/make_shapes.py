"""Makes a small data set of drawn shapes in PASCAL VOC's layout, for trying things out.

Examples:
  keras-frcnn make-shapes --output_dir=runs/shapes
  keras-frcnn make-shapes --output_dir=runs/shapes --num_train=500 --seed=1
"""

from keras_frcnn.cli.command import Command, parse, user_errors
from keras_frcnn.config.setting import NOT_NEGATIVE, Option
from keras_frcnn.console import say

COMMAND = Command(
    "make-shapes",
    __doc__,
    options=(
        Option(
            "output_dir",
            str,
            "",
            "Folder to write to: a new or empty folder, or one that this command has written.",
            required=True,
            output="folder",
        ),
        Option("num_train", int, 200, "Number of images to train on.", limits=NOT_NEGATIVE),
        Option(
            "num_val",
            int,
            40,
            "Number of images to choose the best checkpoint on.",
            limits=NOT_NEGATIVE,
        ),
        Option("num_test", int, 40, "Number of images to evaluate on.", limits=NOT_NEGATIVE),
        Option("seed", int, 0, "The same seed gives the same images.", limits=NOT_NEGATIVE),
    ),
    settings=(),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code.
    """
    _, options = parse(COMMAND, argv)
    with user_errors(COMMAND, options.output_dir):
        from keras_frcnn.data.writers import shapes

        shapes.make(**vars(options))
        total = options.num_train + options.num_val + options.num_test
        say(f"Wrote {total} images to {options.output_dir}")
    return 0
