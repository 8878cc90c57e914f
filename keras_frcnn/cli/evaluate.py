"""Measures a trained detector on an image set: VOC average precision, per class and mean.

Examples:
  keras-frcnn evaluate --checkpoint=runs/voc07/best.keras
  python evaluate.py --checkpoint=runs/voc07/best.keras --data_dir=VOCdevkit
  --eval_split=VOC2007/test

Data and settings are those of the run unless flags say otherwise. Writes results.json,
detections.json (COCO's results form) and voc/ (the devkit's text files).
"""

from pathlib import Path

from keras_frcnn.cli.command import Command, checkpoint_settings, parse, user_errors
from keras_frcnn.flags import Option, settings_of

COMMAND = Command(
    "evaluate",
    __doc__,
    options=(
        Option("checkpoint", str, "", "A .keras file of a run.", required=True),
        Option(
            "output_dir",
            str,
            "",
            "Folder of the results; empty: evaluation/ beside the checkpoint.",
        ),
        Option("iou_threshold", float, 0.5, "Least IoU of a detection with its object."),
    ),
    settings=(
        *(option.name for option in settings_of("data")),
        *(option.name for option in settings_of("detections")),
        "precision",
        "test_pre_nms_top_k",
        "test_post_nms_top_k",
        "rpn_nms_iou_threshold",
        "min_size",
    ),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Its flags; None: those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv, base=_base)
    with user_errors(COMMAND):
        from rich.console import Console

        from keras_frcnn import data
        from keras_frcnn.evaluation import report, results, voc
        from keras_frcnn.evaluation.collect import collect
        from keras_frcnn.models import checkpoint
        from keras_frcnn.training import precision
        from keras_frcnn.training.progress import prediction_bar

        console = Console()
        config = precision.for_use(config, console.print)
        _, class_names = checkpoint.read_settings(options.checkpoint)
        dataset = data.load(config, config.eval_split, class_names)
        for line in dataset.skipped:
            console.print(f"skipped: {line}", highlight=False)
        model = checkpoint.load(options.checkpoint, config)
        with prediction_bar(console, len(dataset.records), "evaluate") as callback:
            detections, _ = collect(model, dataset, config, callbacks=[callback])

        result = voc.evaluate(dataset, detections, options.iou_threshold)
        report.print_table(result, console)
        folder = Path(options.output_dir or Path(options.checkpoint).parent / "evaluation")
        folder.mkdir(parents=True, exist_ok=True)
        report.to_json(result, folder / "results.json", config.to_dict())
        results.write_coco(folder / "detections.json", detections, class_names)
        results.write_voc(
            folder / "voc", detections, class_names, "_".join(config.eval_split).replace("/", "-")
        )
        print(f"Results: {folder}/results.json, {folder}/detections.json, {folder}/voc/")
    return 0


def _base(options):
    if not 0 < options.iou_threshold <= 1:
        raise ValueError(
            f"--iou_threshold must be above 0 and at most 1. Received: {options.iou_threshold:g}"
        )
    return checkpoint_settings(options)
