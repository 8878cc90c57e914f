"""Answers "would 100 more labels help?": trains on ever larger parts of the data and measures each.

Examples:
  keras-frcnn learning-curve --flagfile=own_data --data_dir=mydata --output_dir=runs/curve --dry_run
  keras-frcnn learning-curve --flagfile=own_data --data_dir=mydata --output_dir=runs/curve
  keras-frcnn learning-curve --flagfile=bccd --data_dir=bccd --output_dir=runs/cells --sizes=50,all
  keras-frcnn learning-curve --flagfile=own_data --starts=imagenet,a.keras --output_dir=runs/starts

The settings are those of train. Each row is one training run with the same number of steps, on a
part of the training split that --train_images draws: each part contains the smaller ones of its
seed. All rows are measured on the whole evaluation split, with their last checkpoint.

First, a few steps of each start are timed, and the time of all rows is estimated. Then the rows
run one at a time, each in a folder of its own. To continue after a stop (Ctrl-C, SIGTERM, a crash),
run the same command again. Finished rows are not repeated, and more sizes, seeds and starts can be
added later. learning_curve.html, .md, .svg, .csv and .json in --output_dir are written after every
row: the curve with its intervals, and how much more labels are expected to bring.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_frcnn.cli import train
from keras_frcnn.cli.command import Command, given_settings, parse, user_errors
from keras_frcnn.cli.startup import load_tensorflow
from keras_frcnn.config import Config
from keras_frcnn.config.data import DataConfig
from keras_frcnn.config.flags import SETTINGS
from keras_frcnn.config.setting import POSITIVE, Option
from keras_frcnn.console import Console, say

_OF_ROWS = ("output_dir", "seed", "train_images")  # each row has its own
_WEIGHTS = ("backbone_weights", "start_checkpoint")  # --starts is about these
_CLAIM = "rows.json"
_MAX_STARTS = 6  # the number of colors of a chart

COMMAND = Command(
    "learning-curve",
    __doc__,
    options=(
        Option(
            "sizes",
            tuple[str, ...],
            (),
            "Numbers of training images, among them 'all' for the whole training split. If empty: "
            "an eighth, a quarter, half and all of the images.",
        ),
        Option(
            "seeds",
            tuple[int, ...],
            (0, 1, 2),
            "Seeds. Each size is trained once with each seed, which also draws its images. "
            "Intervals need at least two seeds, and are much narrower with three or more.",
        ),
        Option(
            "starts",
            tuple[str, ...],
            (),
            "What training starts from: 'random' for random weights, 'imagenet', a weights file "
            "(.h5) for the backbone, or a checkpoint, as for --start_checkpoint. A flagfile (.cfg) "
            "is a start with settings of its own, which override those of --flagfile; its settings "
            "of the data have no effect. If empty, the other flags describe the only start.",
        ),
        Option(
            "more",
            int,
            100,
            "Number of further labelled images whose benefit is estimated.",
            limits=POSITIVE,
        ),
        Option(
            "output_dir",
            str,
            "",
            "Folder for the curve and all runs.",
            required=True,
            output="folder",
        ),
        Option("dry_run", bool, False, "Estimate the time of all rows, and stop."),
        Option(
            "keep_checkpoints",
            bool,
            True,
            "Whether to keep the checkpoints of rows that have been evaluated. They take up to "
            "1.6 GB a row with VGG16.",
        ),
    ),
    settings=tuple(name for name in SETTINGS if name not in _OF_ROWS),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code: 1 if a row failed, 128 + the signal's number if it was stopped.
    """
    config, options = parse(COMMAND, argv)
    with user_errors(COMMAND, options.output_dir):
        starts = _starts(
            options.starts,
            given_settings(COMMAND, argv),
            given_settings(COMMAND, argv, with_flagfiles=False),
            config,
        )
        plan, evaluated = _plan(options, starts)
        from keras_frcnn.learning_curve import report
        from keras_frcnn.tasks.runner import Runner, claim

        if not options.dry_run:
            claim(plan.output_dir / _CLAIM, plan.fixed)
        timer = Runner(say)
        left = {row.start for row in plan.rows if not plan.evaluation(row).is_done}
        timer.run(plan.timing(start) for start in plan.settings if start in left)
        if timer.has_failed:
            say("No row was run. Correct the settings, or leave the start out of --starts.")
            return 1
        if (left or options.dry_run) and not timer.stopped:
            shown, estimate = report.time_table(plan)
            Console().print(shown)
            say(estimate)
        stopped, has_failed = timer.stopped, False
        if not stopped and not options.dry_run:
            stopped, has_failed = _run_rows(plan, evaluated, options)
        if stopped:
            say("Stopped. Run the same command again to continue.")
            return 128 + stopped
        return int(has_failed)


def _run_rows(plan, evaluated, options) -> tuple[int, bool]:
    """Runs the rows and reports their results.

    Returns:
        The number of the signal that stopped it, or 0; and whether a row has failed.
    """
    from keras_frcnn.evaluation.report.formats import duration
    from keras_frcnn.learning_curve import advice, report
    from keras_frcnn.learning_curve.results import Results
    from keras_frcnn.tasks.runner import Runner

    results, expected = Results(plan, evaluated, options.more), plan.seconds()

    def time_left(tasks):
        return f" (about {duration(sum(expected[task.result] for task in tasks))} left)"

    def write():
        if not options.keep_checkpoints:
            _remove_checkpoints(plan)
        curves = results.curves(runner.obstacle)
        return curves, report.write(results, curves, plan.output_dir)

    runner = Runner(say, write, time_left)
    runner.run(map(plan.evaluation, plan.rows))
    curves, names = write()
    Console().print(report.table(curves))
    for line in (*advice.sentences(curves, options.more), advice.METHOD):
        say(line)
    say(f"Results: {plan.output_dir}/{', '.join(names)}")
    return runner.stopped, runner.has_failed


def _starts(
    asked: Sequence[str], given: Mapping[str, str], typed: Mapping[str, str], config: Config
) -> dict[str, dict[str, str]]:
    """Returns the settings of each start by its name, as texts of flags.

    Args:
        asked: the values of ``--starts``.
        given: the texts of the settings that the command line and its flagfiles give.
        typed: those of the command line.
        config: all settings; they describe the only start if none is asked for.

    Raises:
        ValueError: if two starts have the same name, or there are too many.
    """
    weights = {"none": "random"}.get(config.backbone_weights, config.backbone_weights)
    own_name, _ = _start(config.start_checkpoint or weights)
    starts = [_start(text) for text in asked] or [(own_name, {})]
    names = [name for name, _ in starts]
    if len(set(names)) < len(names):
        raise ValueError(f"--starts must have different names. Received: {', '.join(names)}")
    if len(names) > _MAX_STARTS:
        raise ValueError(f"--starts must be at most {_MAX_STARTS}. Received: {len(names)}")
    last = {name: text for name, text in typed.items() if name not in _WEIGHTS}
    if config.split and config.split_seed < 0:  # all seeds are evaluated on the same images
        last["split_seed"] = "0"
    return {name: dict(given) | own | last for name, own in starts}


def _start(text: str) -> tuple[str, dict[str, str]]:
    """Returns the name and the settings of a start."""
    path = Path(text)
    if text == "random":
        return text, {"backbone_weights": "none", "start_checkpoint": ""}
    if text == "imagenet":
        return text, {"backbone_weights": text, "start_checkpoint": ""}
    if path.suffix == ".cfg":
        parse(train.COMMAND, [f"--flagfile={text}"])
        own = given_settings(train.COMMAND, [f"--flagfile={text}"])
        unused = {*_OF_ROWS, *DataConfig.options()}
        return path.stem, {name: value for name, value in own.items() if name not in unused}
    if path.suffix == ".h5":
        return path.stem, {"backbone_weights": text, "start_checkpoint": ""}
    return "-".join(filter(None, (path.parent.name, path.stem))), {"start_checkpoint": text}


def _plan(options, starts: Mapping[str, Mapping[str, str]]):
    """Checks everything that can be checked before the work, and reads the data.

    Returns:
        The plan and the evaluation split.

    Raises:
        ValueError: naming the start, flag or file that is wrong.
    """
    from keras_frcnn import data
    from keras_frcnn.data.epoch_order import aspects_of
    from keras_frcnn.learning_curve.plan import Plan, choose_sizes
    from keras_frcnn.tasks.runner import check_seeds
    from keras_frcnn.training import run_data, run_folder

    check_seeds(options.seeds)
    folder = Path(options.output_dir)
    if (folder / run_folder.CONFIG).exists():
        raise ValueError(f"--output_dir must not be the folder of a run. Received: {folder}")
    flags = {
        name: tuple(f"--{setting}={text}" for setting, text in settings.items())
        for name, settings in starts.items()
    }
    configs = {name: parse(train.COMMAND, list(given))[0] for name, given in flags.items()}
    for name, config in configs.items():
        try:
            train.check(config.replace(output_dir=str(folder / "runs" / name)))
        except ValueError as error:
            raise ValueError(f"the start {name}: {error}") from None
    config = next(iter(configs.values()))
    if not config.is_evaluated:
        raise ValueError("--eval_split must name the images to evaluate the rows on. Received: -")
    if config.on_bad_record == "skip" or not {"tfrecord", "tfds"}.isdisjoint(config.dataset):
        load_tensorflow(names_devices=False)  # the runs need the GPU, not this process
    trained, evaluated = run_data.read_data(config)
    if config.on_bad_record == "skip":
        evaluated = data.check_images(evaluated, config)  # the rows leave out broken ones, too
    num_images = len(aspects_of(trained.records, config))
    plan = Plan(
        output_dir=folder,
        settings=configs,
        flags=flags,
        sizes=choose_sizes(options.sizes, num_images),
        seeds=options.seeds,
        num_images=num_images,
        num_evaluated=len(evaluated.records),
    )
    return plan, evaluated


def _remove_checkpoints(plan) -> None:
    """Removes the checkpoints of the rows that have been evaluated."""
    for row in plan.rows:
        if plan.evaluation(row).is_done:
            for file in plan.folder(row).glob("*.keras"):
                file.unlink()
