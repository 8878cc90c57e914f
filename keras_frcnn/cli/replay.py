"""Takes one step of a run again, from the checkpoint before it, to see what happens in it.

Examples:
  keras-frcnn replay runs/mine --step=1234
  keras-frcnn replay --run=runs/mine --step=1234 --tensors_file=step.npz

The images, their boxes and the losses of the step are printed. On the same machine they equal those
of the run to the last bit if the run was --deterministic. The run folder is only read.
"""

from keras_frcnn.cli.command import Command, parse, user_errors
from keras_frcnn.cli.startup import load_tensorflow
from keras_frcnn.cli.status import RUN, settings_of, with_run
from keras_frcnn.config.setting import POSITIVE, Option
from keras_frcnn.console import Console

COMMAND = Command(
    "replay",
    __doc__,
    options=(
        RUN,
        Option("step", int, 0, "The step, from 1 on.", limits=POSITIVE, required=True),
        Option(
            "tensors_file",
            str,
            "",
            "A .npz file for the tensors of the step: images, boxes, weights, the outputs of all "
            "layers, losses and gradients, by name, as float32.",
            output="file",
            suffixes=(".npz",),
        ),
    ),
    settings=(),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; None for those of the process.

    Returns:
        The exit code.
    """
    _, options = parse(COMMAND, with_run(argv))
    with user_errors(COMMAND, options.tensors_file):
        config = settings_of(options.run)
        load_tensorflow()
        from keras_frcnn.training.steps.replay import replay

        replay(config, options.step, Console(), options.tensors_file)
    return 0
