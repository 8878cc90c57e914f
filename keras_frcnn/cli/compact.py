"""Writes a small copy of a checkpoint, to share it or to start from it.

Examples:
  keras-frcnn compact --checkpoint=runs/mine/best.keras --output_file=cells.keras
  keras-frcnn detect --checkpoint=cells.keras --images=photos --output_dir=found

The copy has 16-bit weights. It leaves out the optimizer's state and the run's settings and paths,
so training cannot resume from it, but --start_checkpoint accepts it.
"""

from pathlib import Path

from keras_frcnn.cli.command import CHECKPOINT_FILE, Command, parse, user_errors
from keras_frcnn.config.setting import Option
from keras_frcnn.console import say

COMMAND = Command(
    "compact",
    __doc__,
    options=(
        Option("checkpoint", str, "", "The .keras file of a run.", required=True),
        CHECKPOINT_FILE,
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
    with user_errors(COMMAND, options.output_file):
        from keras_frcnn.weights import compact

        source, target = Path(options.checkpoint), Path(options.output_file)
        if target.exists() and target.samefile(source):
            raise ValueError(f"--output_file must not be the checkpoint itself. Received: {target}")
        target.parent.mkdir(parents=True, exist_ok=True)
        compact.write(source, target)
        before, after = (path.stat().st_size / 1e6 for path in (source, target))
        say(f"{target}: {after:.1f} MB, from {before:.1f} MB")
    return 0
