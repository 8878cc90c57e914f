"""Measures a detector on an image set: average precision, its interval, errors, proposal recall.

Examples:
  keras-frcnn evaluate --checkpoint=runs/voc07/best.keras
  python evaluate.py --checkpoint=runs/a/best.keras --data_dir=VOCdevkit --eval_split=VOC2007/test
  python evaluate.py --detections=found.json --dataset=coco --data_dir=coco --eval_split=val2017
  python evaluate.py --compare=runs/a,runs/b
  python evaluate.py --checkpoint=runs/voc12/last.keras --eval_split=VOC2012/test --detections_only

Data and settings are those of the run unless flags say otherwise; classes of other data are matched
to those of the run by name (aeroplane = airplane), others left out. Writes report.html, one page
with plots, tables, the worst and the best images; results.json with all there is, tables as .csv,
TensorBoard's scalars, detections.json (COCO's results form) and voc/ (the devkit's text files).
Detections of any tool are measured without a model: a file of COCO's results form or a folder of
the devkit's text files. COCO's metric on COCO's data needs no images, but the page shows them.

--detections_only measures nothing: of images whose annotations are not public it writes what an
evaluation server takes; VOC's an archive of results/VOC2012/Main/ with the files of voc/.

--compare tells whether the second of two is better than the first: two runs that were evaluated, or
detections of any tool, on the same images and objects.
"""

from pathlib import Path

from keras_frcnn.cli.command import Command, checkpoint_settings, parse, user_errors
from keras_frcnn.config import Config
from keras_frcnn.config.flags import Option, settings_of
from keras_frcnn.evaluation import inputs

_IOU_THRESHOLD = 0.5

COMMAND = Command(
    "evaluate",
    __doc__,
    options=(
        Option("checkpoint", str, "", "A .keras file of a run."),
        Option("detections", str, "", "Results to measure, instead of a checkpoint."),
        Option(
            "compare",
            tuple[str, ...],
            (),
            "Two results to compare: folders of runs or of their evaluations, or what --detections "
            "takes.",
        ),
        Option(
            "detections_only",
            bool,
            False,
            "Write the detections of a checkpoint, of images without annotations too.",
        ),
        Option(
            "output_dir",
            str,
            "",
            "Folder of the results; empty: evaluation/ (or detections/) beside the checkpoint, "
            "else none.",
        ),
        Option(
            "metric",
            str,
            "auto",
            "PASCAL VOC's at one IoU, or COCO's over ten; auto: that of the data's form, of joined "
            "data that of the first.",
            choices=("auto", "voc", "coco"),
        ),
        Option(
            "iou_threshold",
            float,
            _IOU_THRESHOLD,
            "Least IoU of a detection with its object, in VOC's metric.",
        ),
        Option(
            "resamples",
            int,
            1000,
            "Data sets redrawn from the images (by --seed), for the intervals; 0: no intervals.",
        ),
        Option(
            "tensorboard",
            str,
            "",
            "Folder of TensorBoard's scalars; empty: output_dir after a checkpoint, else none.",
        ),
    ),
    settings=(
        "seed",
        *(option.name for option in settings_of("data")),
        *(option.name for option in settings_of("detections")),
        "precision",
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
        argv: Its flags; None: those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv, base=_base)
    with user_errors(COMMAND):
        measure = _measure_file if options.detections else _measure_model
        measure = _compare if options.compare else measure
        measure(config, options)
    return 0


def _measure_model(config, options):
    from rich.console import Console

    from keras_frcnn import data
    from keras_frcnn.evaluation.metrics import coco, columns
    from keras_frcnn.evaluation.report import voc_files
    from keras_frcnn.inference.collect import collect
    from keras_frcnn.training import precision
    from keras_frcnn.training.progress import prediction_bar
    from keras_frcnn.weights import checkpoint

    console = Console()
    config = precision.for_use(config, console.print)
    _, class_names = checkpoint.read_settings(options.checkpoint)
    measured = not options.detections_only
    dataset = data.load_images(
        config, config.eval_split, class_names, strict=False, annotated=measured
    )
    metric = _metric(options, dataset.form)
    _say_what_was_read(dataset, console)
    model = checkpoint.load(options.checkpoint, config)
    num_batches = len(dataset.records) * len(config.sizes(config.test_shorter_sides))
    with prediction_bar(console, num_batches, "evaluate") as callback:
        detections, proposals = collect(model, dataset, config, callbacks=[callback])

    beside = Path(options.checkpoint).parent / ("evaluation" if measured else "detections")
    folder, truth = Path(options.output_dir or beside), columns.truth_of(dataset, metric)
    found, names = columns.found_of(detections, truth), []
    if measured:
        summary = _summarize(
            *(truth, found, metric, config, options),
            dataset=dataset,
            proposal_boxes=[image["boxes"] for image in proposals],
        )
        names = _report(summary, options.checkpoint, folder, console)
        _write_scalars(summary, options.tensorboard or folder, int(model.step))
    folder.mkdir(parents=True, exist_ok=True)
    coco.write_found(folder / inputs.DETECTIONS, found, truth)
    voc_files.write_voc(folder / "voc", detections, class_names, inputs.split_names(config)[0])
    _say_where(folder, [*names, inputs.DETECTIONS, "voc/"])


def _measure_file(config, options):
    from rich.console import Console

    from keras_frcnn.evaluation.metrics import coco, columns

    console = Console()
    dataset = inputs.read_data(config, options.metric)
    metric = _metric(options, dataset.form)
    _say_what_was_read(dataset, console)
    truth = columns.truth_of(dataset, metric)
    written = inputs.Written(options.detections, Path(options.detections), None)
    found = inputs.read_found(written, config, truth)
    images = inputs.read_images(dataset, config, truth) if options.output_dir else None
    summary = _summarize(truth, found, metric, config, options, dataset=images)
    folder = Path(options.output_dir) if options.output_dir else None
    names = _report(summary, options.detections, folder, console)
    if options.tensorboard:
        _write_scalars(summary, options.tensorboard, 0)
    if folder:
        coco.write_found(folder / inputs.DETECTIONS, found, truth)
        _say_where(folder, [*names, inputs.DETECTIONS])


def _compare(config, options):
    from rich.console import Console

    from keras_frcnn.evaluation.analysis.comparison import compare
    from keras_frcnn.evaluation.metrics import columns
    from keras_frcnn.evaluation.report import comparison_tables, result_files
    from keras_frcnn.evaluation.report.pages import comparison_page

    console = Console()
    both = [inputs.locate(name) for name in options.compare]
    known = [written.known for written in both if written.known]
    if known and options.metric == "auto":
        options.metric = known[0].metric
    class_names = known[0].class_names if known else None
    dataset = inputs.read_data(config, options.metric, class_names)
    metric = _metric(options, dataset.form)
    _say_what_was_read(dataset, console)
    truth = columns.truth_of(dataset, metric)
    inputs.check_same_truth(both, metric, columns.fingerprint(truth))
    images = inputs.read_images(dataset, config, truth) if options.output_dir else None
    summaries = [
        _summarize(
            *(truth, inputs.read_found(written, config, truth), metric, config, options),
            dataset=images,
            num_resamples=0,  # of each alone its own evaluation tells
        )
        for written in both
    ]
    comparison = compare(tuple(options.compare), *summaries, options.resamples, config.seed)
    comparison_tables.print_comparison(comparison, console)
    if options.output_dir:
        names = result_files.write_comparison(comparison, options.output_dir)
        comparison_page.write(comparison, Path(options.output_dir) / comparison_page.FILE)
        _say_where(options.output_dir, [*names, comparison_page.FILE])


def _metric(options, form):
    """Returns the metric to measure data of a form by."""
    from keras_frcnn.evaluation.metrics import measure

    metric = measure.choose(options.metric, form)
    if metric == "coco" and options.iou_threshold != _IOU_THRESHOLD:
        raise ValueError("--iou_threshold is for --metric=voc: COCO's metric has its own ten")
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
        **more,
    )


def _report(summary, subject, folder, console):
    """Prints the results and writes them; returns the names of the files."""
    from keras_frcnn.evaluation.report import console_tables, result_files
    from keras_frcnn.evaluation.report.pages import evaluation_page

    console_tables.print_summary(summary, console)
    if not folder:
        return []
    names = result_files.write_evaluation(summary, folder)
    evaluation_page.write(summary, folder / evaluation_page.FILE, subject)
    return [*names, evaluation_page.FILE]


def _write_scalars(summary, folder, step):
    import tensorflow as tf

    from keras_frcnn.evaluation.report import scalars

    with tf.summary.create_file_writer(str(folder)).as_default(step=step):
        for name, value in scalars.of_summary(summary).items():
            tf.summary.scalar(name, value)


def _say_where(folder, names):
    print(f"Results: {folder}/{', '.join(names)}")


def _say_what_was_read(dataset, console):
    for line in [*dataset.remarks, *(f"skipped: {line}" for line in dataset.skipped)]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _base(options):
    if not 0 < options.iou_threshold <= 1:
        raise ValueError(
            f"--iou_threshold must be above 0 and at most 1. Received: {options.iou_threshold:g}"
        )
    if options.resamples < 0:
        raise ValueError(f"--resamples must be at least 0. Received: {options.resamples}")
    given = [n for n in ("checkpoint", "detections", "compare") if getattr(options, n)]
    if len(given) > 1:
        raise ValueError(f"--{given[0]} and --{given[1]} are two ways: give one of them")
    if options.detections_only and not options.checkpoint:
        raise ValueError("--detections_only needs --checkpoint: a model that detects")
    if options.detections:
        return Config()
    if options.compare:
        if len(options.compare) != 2:
            raise ValueError(
                f"--compare must be two, separated by a comma. Received: {len(options.compare)}"
            )
        known = [inputs.locate(name).known for name in options.compare]
        return next((one.config for one in known if one), Config())
    if not options.checkpoint:
        raise ValueError(
            "--checkpoint is missing: A .keras file of a run. Or --detections: Results to measure, "
            "or --compare: Two results to compare"
        )
    return checkpoint_settings(options)
