"""Measures a detector on an image set: average precision, per class and mean.

Examples:
  keras-frcnn evaluate --checkpoint=runs/voc07/best.keras
  python evaluate.py --checkpoint=runs/voc07/best.keras --data_dir=VOCdevkit
  --eval_split=VOC2007/test
  python evaluate.py --detections=found.json --dataset=coco --data_dir=coco --eval_split=val2017

Data and settings are those of the run unless flags say otherwise. Writes results.json,
detections.json (COCO's results form) and voc/ (the devkit's text files). Detections of any tool are
measured without a model: a file of COCO's results form or a folder of the devkit's text files.
COCO's metric on COCO's data then reads the annotations only, no picture.
"""

import glob
from pathlib import Path

from keras_frcnn.cli.command import Command, checkpoint_settings, parse, user_errors
from keras_frcnn.config import Config
from keras_frcnn.flags import Option, settings_of

_IOU_THRESHOLD = 0.5

COMMAND = Command(
    "evaluate",
    __doc__,
    options=(
        Option("checkpoint", str, "", "A .keras file of a run."),
        Option("detections", str, "", "Results to measure, instead of a checkpoint."),
        Option(
            "output_dir",
            str,
            "",
            "Folder of the results; empty: evaluation/ beside the checkpoint, none for detections.",
        ),
        Option(
            "metric",
            str,
            "auto",
            "PASCAL VOC's at one IoU, or COCO's over ten; auto: that of the data's form.",
            choices=("auto", "voc", "coco"),
        ),
        Option(
            "iou_threshold",
            float,
            _IOU_THRESHOLD,
            "Least IoU of a detection with its object, in VOC's metric.",
        ),
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
        metric = config.dataset if options.metric == "auto" else options.metric
        if metric == "coco" and options.iou_threshold != _IOU_THRESHOLD:
            raise ValueError("--iou_threshold is for --metric=voc: COCO's metric has its own ten")
        measure = _measure_file if options.detections else _measure_model
        measure(config, options, metric)
    return 0


def _measure_model(config, options, metric):
    from rich.console import Console

    from keras_frcnn import data
    from keras_frcnn.evaluation import coco, results, voc_files
    from keras_frcnn.evaluation.collect import collect
    from keras_frcnn.models import checkpoint
    from keras_frcnn.training import precision
    from keras_frcnn.training.progress import prediction_bar

    console = Console()
    config = precision.for_use(config, console.print)
    _, class_names = checkpoint.read_settings(options.checkpoint)
    dataset = data.load(config, config.eval_split, class_names)
    _say_skipped(dataset.skipped, console)
    model = checkpoint.load(options.checkpoint, config)
    with prediction_bar(console, len(dataset.records), "evaluate") as callback:
        detections, _ = collect(model, dataset, config, callbacks=[callback])

    folder = Path(options.output_dir or Path(options.checkpoint).parent / "evaluation")
    result = _judge(metric, dataset, detections, options.iou_threshold)
    _report(result, folder, config, console)
    category_ids = coco.truth_of(dataset).category_ids
    results.write_coco(folder / "detections.json", detections, class_names, category_ids)
    voc_files.write_voc(folder / "voc", detections, class_names, _split_names(config)[0])
    print(f"Results: {folder}/results.json, {folder}/detections.json, {folder}/voc/")


def _measure_file(config, options, metric):
    from rich.console import Console

    from keras_frcnn import data
    from keras_frcnn.evaluation import coco

    console = Console()
    if metric == config.dataset == "coco" and not Path(options.detections).is_dir():
        truth, skipped = data.coco.read_truth(config, config.eval_split)
        _say_skipped(skipped, console)
        result = coco.evaluate_columns(truth, coco.read_found(options.detections, truth))
    else:
        dataset = data.load(config, config.eval_split)
        _say_skipped(dataset.skipped, console)
        detections = _read_detections(Path(options.detections), config, coco.truth_of(dataset))
        result = _judge(metric, dataset, detections, options.iou_threshold)
    folder = Path(options.output_dir) if options.output_dir else None
    _report(result, folder, config, console)
    if folder:
        print(f"Results: {folder}/results.json")


def _read_detections(path, config, truth):
    from keras_frcnn.evaluation import results, voc_files

    if not path.is_dir():
        return results.read_coco(path, truth.class_names, truth.category_ids)
    names = _split_names(config)
    found = [name for name in names if any(path.glob(f"comp4_det_{glob.escape(name)}_*.txt"))]
    return voc_files.read_voc(path, truth.class_names, [*found, names[0]][0])


def _split_names(config):
    """Returns the image set's name in the names of text files: ours, and the devkit's."""
    ours = "_".join(config.eval_split).replace("/", "-")
    return ours, "_".join(split.rpartition("/")[2] for split in config.eval_split)


def _judge(metric, dataset, detections, iou_threshold):
    from keras_frcnn.evaluation import coco, voc

    if metric == "coco":
        return coco.evaluate(dataset, detections)
    return voc.evaluate(dataset, detections, iou_threshold)


def _report(result, folder, config, console):
    from keras_frcnn.evaluation import report

    report.print_table(result, console)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        report.to_json(result, folder / "results.json", config.to_dict())


def _say_skipped(lines, console):
    for line in lines:
        console.print(f"skipped: {line}", highlight=False, markup=False)


def _base(options):
    if not 0 < options.iou_threshold <= 1:
        raise ValueError(
            f"--iou_threshold must be above 0 and at most 1. Received: {options.iou_threshold:g}"
        )
    if options.checkpoint and options.detections:
        raise ValueError("--checkpoint and --detections are two ways: give one of them")
    if options.detections:
        return Config()
    if not options.checkpoint:
        raise ValueError(
            "--checkpoint is missing: A .keras file of a run. Or --detections: Results to measure"
        )
    return checkpoint_settings(options)
