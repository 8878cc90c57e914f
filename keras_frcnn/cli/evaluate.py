"""Evaluates a detector on an image set: average precision, confidence intervals, errors and recall.

Examples:
  keras-frcnn evaluate --checkpoint=runs/voc07/best.keras
  python evaluate.py --checkpoint=runs/a/best.keras --data_dir=VOCdevkit --eval_split=VOC2007/test
  python evaluate.py --detections=found.json --dataset=coco --data_dir=coco --eval_split=val2017
  python evaluate.py --compare=runs/a,runs/b
  python evaluate.py --checkpoint=runs/voc12/last.keras --eval_split=VOC2012/test --detections_only

Data and settings are taken from the run unless flags override them. If the data has other classes,
they are matched to the run's classes by name (aeroplane = airplane), and objects of unmatched
classes are left out. The command writes report.html (one page with plots, tables, and the worst and
best images), results.json (all figures), tables as .csv, TensorBoard's scalars, detections.json
(COCO's results format) and voc/ (the devkit's text files).

--detections evaluates the detections of any tool, without a model. They are given as a file in
COCO's results format or as a folder of the devkit's text files. COCO's metric on COCO's data needs
no images, but the page shows them if they are there.

--detections_only writes the detections without evaluating them, for images whose annotations are
not public. Submit them to an evaluation server; VOC's server expects an archive in which the folder
results/VOC2012/Main/ holds the files of voc/.

--compare shows whether the second of two detectors is better than the first. Each is an evaluated
run or the detections of any tool; both must belong to the same images and objects.
"""

import os
from pathlib import Path
from types import SimpleNamespace

from keras_frcnn.cli.command import (
    Command,
    check_files,
    check_output,
    checkpoint_settings,
    parse,
    user_errors,
)
from keras_frcnn.cli.output import print_notes
from keras_frcnn.cli.startup import load_tensorflow
from keras_frcnn.config import Config
from keras_frcnn.config.flags import settings_of
from keras_frcnn.config.setting import NOT_NEGATIVE, Limits, Option
from keras_frcnn.console import COMPILING, Console, say, with_progress
from keras_frcnn.evaluation import inputs

_IOU_THRESHOLD = 0.5

COMMAND = Command(
    "evaluate",
    __doc__,
    options=(
        Option("checkpoint", str, "", "The .keras file of a run to evaluate."),
        Option("detections", str, "", "Detections to evaluate, instead of a checkpoint."),
        Option(
            "compare",
            tuple[str, ...],
            (),
            "Two results to compare. Each is the folder of a run or of its evaluation, or the "
            "detections of any tool, as for --detections.",
            limits=Limits(lengths=(0, 2)),
        ),
        Option(
            "detections_only",
            bool,
            False,
            "Only write the detections of a checkpoint; the images need no annotations.",
        ),
        Option(
            "output_dir",
            str,
            "",
            "Folder for the results. If empty, they are written to evaluation/ (or detections/) "
            "beside the checkpoint, or nowhere if there is no checkpoint.",
            output="folder",
        ),
        Option(
            "metric",
            str,
            "auto",
            "PASCAL VOC's metric at one IoU threshold, or COCO's metric over ten. 'auto' chooses "
            "the metric of the data's format; if datasets are joined, the first one decides.",
            choices=("auto", "voc", "coco"),
        ),
        Option(
            "iou_threshold",
            float,
            _IOU_THRESHOLD,
            "IoU with an object from which VOC's metric counts a detection as correct.",
            limits=Limits(above=0, at_most=1),
        ),
        Option(
            "resamples",
            int,
            1000,
            "Number of bootstrap samples for the confidence intervals, drawn with --seed; 0 for no "
            "intervals.",
            limits=NOT_NEGATIVE,
        ),
        Option(
            "tensorboard",
            str,
            "",
            "Folder for TensorBoard's scalars. If empty, they are written with the results of a "
            "checkpoint, and not written otherwise.",
            output="folder",
        ),
    ),
    writes=(
        *("results.json", "per_class.csv", "errors.csv", "confusions.csv", "pr_curves.csv"),
        *("proposal_recall.csv", "report.html", inputs.DETECTIONS, "voc/"),
    ),
    settings=(
        "seed",
        *settings_of("data", "detections"),
        "precision",
        "distribution",
        "test_batch_size",
        "test_pre_nms_top_k",
        "test_post_nms_top_k",
        "test_proposals",
        "test_ranked_proposals",
        "test_regressed_proposals",
        "rpn_nms_iou_threshold",
        "min_size",
    ),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv, base=_base)
    with user_errors(COMMAND, options.output_dir):
        if options.compare:
            _compare(config, options)
        elif options.detections:
            _evaluate_detections(config, options)
        else:
            _evaluate_model(config, options)
    return 0


def _evaluate_model(config, options):
    from keras_frcnn import data
    from keras_frcnn.evaluation.metrics import ground_truth
    from keras_frcnn.evaluation.metrics.detections import to_table
    from keras_frcnn.evaluation.report import coco_files, voc_files
    from keras_frcnn.inspection import suitability
    from keras_frcnn.models import precision
    from keras_frcnn.weights import checkpoint

    console = Console()
    check_files(config, "test_proposals")
    _, class_names = checkpoint.read_settings(options.checkpoint)
    is_measured = not options.detections_only
    dataset = data.load(config, config.eval_split, class_names, strict=False, annotated=is_measured)
    metric = _metric(options, dataset.form)
    load_tensorflow()
    from keras_frcnn.inference.over_dataset import detect_dataset
    from keras_frcnn.training import distribution
    from keras_frcnn.training.progress import prediction_bar

    config = precision.for_use(config, console.print)
    dataset = data.check_images(dataset, config)
    dataset.remarks += suitability.cut_off(dataset.records, config)
    print_notes(dataset, console)
    voc_names = class_names, inputs.split_names(config)[0]
    has_voc_files = _can_write_voc(dataset, *voc_names)
    with distribution.scope(distribution.strategy_of_machine(config)):
        model = checkpoint.load(options.checkpoint, config)
    num_batches = len(dataset.records) * len(config.sizes(config.test_shorter_sides))
    console.print(COMPILING)
    with prediction_bar(console, num_batches, "evaluate") as callback:
        detections, proposals = detect_dataset(model, dataset, config, callbacks=[callback])

    folder, truth = Path(options.output_dir), ground_truth.of_dataset(dataset, metric)
    found, names, unwritten = to_table(detections, truth), [], None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        coco_files.write(folder / inputs.DETECTIONS, found, truth)
    except OSError as error:  # such as a full disk: the results are printed all the same
        unwritten = error
    if is_measured:
        summary = _summarize(
            *(truth, found, metric, config, options),
            dataset=dataset,
            proposal_boxes=[image["boxes"] for image in proposals],
        )
        names = _report(summary, options.checkpoint, folder, console)
        _write_scalars(summary, options.tensorboard or folder, int(model.step))
    if unwritten:
        raise unwritten
    names.append(inputs.DETECTIONS)
    if has_voc_files:
        voc_files.write_voc(folder / "voc", detections, *voc_names)
        names.append("voc/")
    _say_where(folder, names)


def _can_write_voc(dataset, class_names, split):
    """Returns whether the names fit VOC's text files, and says so if they do not."""
    from keras_frcnn.evaluation.report import voc_files

    try:
        voc_files.check_names((record.image_id for record in dataset.records), class_names, split)
    except ValueError as error:
        say(f"No text files in VOC's format are written: {error}")
        return False
    return True


def _evaluate_detections(config, options):
    from keras_frcnn.evaluation.metrics import ground_truth
    from keras_frcnn.evaluation.report import coco_files

    console = Console()
    dataset = inputs.read_dataset(config, options.metric)
    metric = _metric(options, dataset.form)
    print_notes(dataset, console)
    truth = ground_truth.of_dataset(dataset, metric)
    files = inputs.DetectionFiles(options.detections, Path(options.detections), None)
    found = inputs.read_detections(files, config, truth)
    images = inputs.read_images(dataset, config, truth) if options.output_dir else None
    summary = _summarize(truth, found, metric, config, options, dataset=images)
    folder = Path(options.output_dir) if options.output_dir else None
    if folder or options.tensorboard:
        load_tensorflow(names_devices=False)
    names = _report(summary, options.detections, folder, console)
    if options.tensorboard:
        _write_scalars(summary, options.tensorboard, 0)
    if folder:
        coco_files.write(folder / inputs.DETECTIONS, found, truth)
        _say_where(folder, [*names, inputs.DETECTIONS])


def _compare(config, options):
    from keras_frcnn.evaluation.analysis.comparison import compare
    from keras_frcnn.evaluation.metrics import ground_truth
    from keras_frcnn.evaluation.report import comparison_tables, result_files
    from keras_frcnn.evaluation.report.pages import comparison_page

    console = Console()
    both = [inputs.locate(name) for name in options.compare]
    runs = [files.run for files in both if files.run]
    if runs and options.metric == "auto":
        options.metric = runs[0].metric
    class_names = runs[0].class_names if runs else None
    dataset = inputs.read_dataset(config, options.metric, class_names)
    metric = _metric(options, dataset.form)
    print_notes(dataset, console)
    truth = ground_truth.of_dataset(dataset, metric)
    inputs.check_same_truth(both, metric, ground_truth.fingerprint(truth))
    images = inputs.read_images(dataset, config, truth) if options.output_dir else None
    summaries = [
        _summarize(
            *(truth, inputs.read_detections(files, config, truth), metric, config, options),
            dataset=images,
            num_resamples=0,  # a comparison needs no intervals of the single results
        )
        for files in both
    ]
    comparison = compare(
        tuple(options.compare), *summaries, options.resamples, config.seed, with_progress
    )
    try:
        if options.output_dir:
            load_tensorflow(names_devices=False)
            names = result_files.write_comparison(comparison, options.output_dir)
    finally:
        comparison_tables.print_comparison(comparison, console)
    if options.output_dir:
        comparison_page.write(comparison, Path(options.output_dir) / comparison_page.FILE)
        _say_where(options.output_dir, [*names, comparison_page.FILE])


def _metric(options, form):
    """Returns the metric for data in a format."""
    from keras_frcnn.evaluation.metrics.evaluate import choose_metric

    metric = choose_metric(options.metric, form)
    if metric == "coco" and options.iou_threshold != _IOU_THRESHOLD:
        raise ValueError(
            "--iou_threshold needs --metric=voc: COCO's metric has ten thresholds of its own"
        )
    return metric


def _summarize(truth, found, metric, config, options, **more):
    from keras_frcnn.evaluation.analysis.summary import summarize

    more = {"num_resamples": options.resamples} | more
    return summarize(
        truth,
        found,
        metric,
        options.iou_threshold,
        seed=config.seed,
        settings=config.to_dict(),
        progress=with_progress,
        **more,
    )


def _report(summary, subject, folder, console):
    """Writes the results, prints them, and returns the names of the files."""
    from keras_frcnn.evaluation.report import console_tables, result_files
    from keras_frcnn.evaluation.report.pages import evaluation_page

    try:
        names = result_files.write_evaluation(summary, folder) if folder else []
    finally:  # printed last, since a pipe may be closed, but also if nothing can be written
        console_tables.print_summary(summary, console)
    if not folder:
        return []
    evaluation_page.write(summary, folder / evaluation_page.FILE, subject)
    return [*names, evaluation_page.FILE]


def _write_scalars(summary, folder, step):
    import tensorflow as tf

    from keras_frcnn.evaluation.report import scalars

    writer = tf.summary.create_file_writer
    # An error names this folder, which may be another one than that of the results.
    with user_errors(COMMAND, str(folder)), writer(str(folder)).as_default(step=step):
        for name, value in scalars.with_overview(scalars.of_summary(summary)).items():
            tf.summary.scalar(name, value)


def _say_where(folder, names):
    say(f"Results: {folder}/{', '.join(names)}")


def _base(options: SimpleNamespace) -> Config:
    """Returns the settings of the run, or of the first run in a comparison."""
    given = [n for n in ("checkpoint", "detections", "compare") if getattr(options, n)]
    if len(given) > 1:
        raise ValueError(f"--{given[0]} and --{given[1]} cannot be combined: give one of them")
    if options.detections_only and not options.checkpoint:
        raise ValueError("--detections_only needs --checkpoint, a model that detects")
    if options.detections:
        if not Path(options.detections).exists():
            raise ValueError(f"there is no file or folder of results {options.detections}")
        return Config()
    if options.compare:
        runs = [inputs.locate(name).run for name in options.compare]
        return next((run.config for run in runs if run), Config())
    if not options.checkpoint:
        raise ValueError(
            "--checkpoint is missing. Give --checkpoint, --detections or --compare: see --help"
        )
    config = checkpoint_settings(options)
    if not options.output_dir and not os.path.isfile(options.checkpoint):
        raise ValueError(
            "--output_dir is missing: the folder for the results of a detector of the package"
        )
    if not options.output_dir:
        name = "detections" if options.detections_only else "evaluation"
        options.output_dir = str(Path(options.checkpoint).parent / name)
        check_output("output_dir", options.output_dir, contents=COMMAND.writes)
    return config
