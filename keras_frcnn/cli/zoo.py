"""Lists the detectors of other projects that can be used by name.

Examples:
  keras-frcnn zoo
  keras-frcnn detect --checkpoint=zoo:torchvision/fasterrcnn_resnet50_fpn_coco \\
    --images=photos --output_dir=found

A detector is fetched when it is first used. docs/zoo.md says what that needs.
"""

from keras_frcnn.cli.command import Command, parse, user_errors
from keras_frcnn.console import say

COMMAND = Command("zoo", __doc__, options=(), settings=())


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code.
    """
    parse(COMMAND, argv)
    with user_errors(COMMAND):
        from keras_frcnn.weights import zoo

        for name, entry in zoo.entries().items():
            state = "fetched" if entry.file.is_file() else "not fetched"
            size = f"{entry.mebibytes:.0f} MiB, " if entry.mebibytes else ""
            say(
                f"{zoo.PREFIX}{name}: {entry.classes} classes, published {entry.published}, "
                f"{size}{entry.licence}, {state}"
            )
        say(f"Cache: {zoo.cache_folder()} (set {zoo.CACHE_VARIABLE} to use another folder)")
    return 0
