"""``keras-frcnn <command> [--flags]``: finds the command and passes the flags to it.

Nothing here imports TensorFlow, so that help and error messages appear at once.
"""

import importlib
import sys

import keras_frcnn
from keras_frcnn.cli.command import Command, user_errors
from keras_frcnn.config import package_flagfiles
from keras_frcnn.config.flagfile import nearest
from keras_frcnn.console import say

COMMANDS = {
    "train": ("keras_frcnn.cli.train", "Train a detector."),
    "status": ("keras_frcnn.cli.status", "Say where a run stands, and who runs it."),
    "replay": ("keras_frcnn.cli.replay", "Take one step of a run again and keep its tensors."),
    "evaluate": ("keras_frcnn.cli.evaluate", "Measure a trained detector on an image set."),
    "detect": ("keras_frcnn.cli.detect", "Find and draw the objects in images."),
    "export": ("keras_frcnn.cli.export", "Write a SavedModel for serving."),
    "predict": ("keras_frcnn.cli.predict", "Find the objects in images by asking a server."),
    "check-data": ("keras_frcnn.cli.check_data", "Find errors in a data set."),
    "anchor-fit": ("keras_frcnn.cli.anchor_fit", "Measure how well anchors fit the objects."),
    "explain": ("keras_frcnn.cli.explain", "Explain why objects were missed."),
    "visualize": ("keras_frcnn.cli.visualize", "Draw the result of each stage on images."),
    "propose": ("keras_frcnn.cli.propose", "Write region proposals for every image to a file."),
    "write-tfrecords": ("keras_frcnn.cli.write_tfrecords", "Write a data set as TFRecords."),
    "write-yolo": ("keras_frcnn.cli.write_yolo", "Write a data set in the YOLO layout."),
    "import-detector": (
        "keras_frcnn.cli.import_detector",
        "Make a checkpoint from another project's weights.",
    ),
    "zoo": ("keras_frcnn.cli.zoo", "List the detectors of other projects that have names."),
    "describe": ("keras_frcnn.cli.describe", "Say what a checkpoint holds."),
    "compact": ("keras_frcnn.cli.compact", "Write a small copy of a checkpoint, to share it."),
    "learning-curve": (
        "keras_frcnn.cli.learning_curve",
        "Measure how accuracy grows with the number of labelled images.",
    ),
    "paper": ("keras_frcnn.cli.paper", "Reproduce the paper's tables."),
    "make-shapes": ("keras_frcnn.cli.make_shapes", "Make a small data set of drawn shapes."),
}


def main(argv: list[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: The command's name and its flags; None for those of the process.

    Returns:
        The exit code of the process: 0 if all went well, 2 if the command line is wrong.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("help", "-h", "--help"):
        with user_errors(Command("help", __doc__)):
            say(_overview())
        return 0
    if argv[0] == "--version":
        say(keras_frcnn.__version__)
        return 0
    name, *flags = argv
    if name not in COMMANDS:
        hint = nearest(name, COMMANDS, "{}")
        known = ", ".join(COMMANDS)
        say(f"keras-frcnn: unknown command {name!r}.{hint} Commands: {known}", error=True)
        return 2
    module, _ = COMMANDS[name]
    return importlib.import_module(module).main(flags)


def _overview() -> str:
    lines = ["Usage: keras-frcnn <command> [--flagfile=FILE] [--name=value ...]", "", "Commands:"]
    lines += [f"  {name:<16} {summary}" for name, (_, summary) in COMMANDS.items()]
    lines += ["", f"Flagfiles of the package: {package_flagfiles.summary()}"]
    lines += ["", "keras-frcnn <command> --help lists the flags of a command."]
    lines += ["keras-frcnn --version prints the version."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
