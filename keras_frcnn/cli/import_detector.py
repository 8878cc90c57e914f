"""Imports a Faster R-CNN detector of torchvision or detectron2 from its weights file.

Examples:
  keras-frcnn import-detector --source=torchvision --output_file=coco.keras \\
    --weights=fasterrcnn_resnet50_fpn_coco-258fb6c6.pth
  keras-frcnn import-detector --source=detectron2 --output_file=c4.keras \\
    --weights=model_final_f97cb7.pkl
  keras-frcnn detect --checkpoint=coco.keras --images=photos --output_dir=found

The imported detector gives the detections of the original. It can be evaluated, exported and
trained further like any other. docs/zoo.md lists the models and what is needed to read their files.
"""

import dataclasses
from pathlib import Path

from keras_frcnn.cli.command import CHECKPOINT_FILE, Command, parse, user_errors
from keras_frcnn.config.setting import Option
from keras_frcnn.console import say

COMMAND = Command(
    "import-detector",
    __doc__,
    options=(
        Option(
            "source",
            str,
            "torchvision",
            "The project that the file comes from.",
            choices=("torchvision", "detectron2"),
        ),
        Option(
            "weights",
            str,
            "",
            "The weights file: .pth or .pt, which need PyTorch, .safetensors, or .pkl, a pickle of "
            "NumPy arrays by name.",
            required=True,
        ),
        dataclasses.replace(CHECKPOINT_FILE, former=("output",)),
        Option(
            "model",
            str,
            "",
            "The name of the model in its project. If empty, the tensors in the file tell it.",
        ),
        Option(
            "class_names",
            tuple[str, ...],
            (),
            "Names of the classes in the order of the outputs, without background. If empty, "
            "those of COCO, or of VOC for the 20 classes of a detector of detectron2.",
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
    with user_errors(COMMAND, options.output_file):
        target = Path(options.output_file)
        if not Path(options.weights).is_file():
            raise ValueError(f"--weights must be an existing file. Received: {options.weights!r}")
        from keras_frcnn.weights import checkpoint
        from keras_frcnn.weights.importers import detector as importer

        models = importer.MODELS[options.source]
        if options.model and options.model not in models:
            raise ValueError(
                f"--model must be one of {', '.join(models)}. Received: {options.model}"
            )
        arguments = options.source, options.weights, options.model, options.class_names
        detector = importer.import_detector(*arguments)
        target.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.save(detector, target)
        origin, num_classes = detector.origin, len(detector.class_names)
        say(f"{target}: {origin['model']} of {origin['source']}, {num_classes} classes")
        say(f"Licence: {origin['licence']}")
    return 0
