"""Says what a checkpoint holds: its classes, its network and where it comes from.

Examples:
  keras-frcnn describe --checkpoint=coco.keras
  keras-frcnn describe --checkpoint=voc07
"""

from keras_frcnn.cli.command import Command, parse, user_errors
from keras_frcnn.config import Config
from keras_frcnn.config.setting import Option
from keras_frcnn.console import say

COMMAND = Command(
    "describe",
    __doc__,
    options=(
        Option(
            "checkpoint",
            str,
            "",
            "A .keras file, or the name of a detector of the package or of the zoo.",
            required=True,
        ),
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
    with user_errors(COMMAND):
        from keras_frcnn.weights import checkpoint

        config, class_names = checkpoint.read_settings(options.checkpoint)
        say(f"{options.checkpoint}: {config.backbone}, {len(class_names)} classes")
        say(f"classes: {', '.join(class_names)}")
        usual = Config().with_backbone(config.backbone).model_config().to_dict()
        for name, value in config.model_config().to_dict().items():
            if value != usual[name]:
                say(f"{name}: {value}")
        for name, text in (checkpoint.read_origin(options.checkpoint) or {}).items():
            say(f"origin, {name}: {text}")
    return 0
