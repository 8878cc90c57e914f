"""Reproduces the paper's tables 2 to 10 and figure 4: trains and evaluates one row after the other.

Examples:
  keras-frcnn paper --list
  keras-frcnn paper --table=3,6 --data_dir=VOCdevkit --seeds=0,1,2
  keras-frcnn paper --table=2 --figure=4 --data_dir=VOCdevkit --budget=30
  keras-frcnn paper --rows=zf_shared,zf_dense --data_dir=VOCdevkit --budget=5 --dry_run

Each row has a flagfile in configs/paper. The rows are trained and evaluated one at a time, and a
model that several rows need is trained once. To continue after a stop, run the same command again.
In --output_dir, table_2.md, table_2.csv and so on show our figures beside the paper's, with steps,
seeds and data. If data or time is missing for a cell, the cell says so.

Any setting given here overrides the flagfiles of all rows and is noted below the tables. Without
internet access, for example, use --backbone_weights=none --pixel_std=58. --replace_splits replaces
the paper's image sets.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from keras_frcnn.cli import propose, train
from keras_frcnn.cli.command import Command, given_settings, parse, user_errors
from keras_frcnn.config.flags import SETTINGS
from keras_frcnn.config.setting import Option
from keras_frcnn.console import Console, say

if TYPE_CHECKING:
    from keras_frcnn.paper.settings import Settings

_SETTINGS_FILE = "paper.json"

# The settings that define a row. All others may override its flagfile.
_FIXED_BY_ROWS = (
    *("output_dir", "seed", "dataset", "data_dir", "train_split", "eval_split", "split"),
    *("split_seed", "classes_file"),
    *("backbone", "start_checkpoint", "train_proposals", "test_proposals"),
    *("test_ranked_proposals", "test_regressed_proposals", "scheme", "steps", "lr_boundaries"),
    *("alternating_steps", "alternating_lr_boundaries", "eval_every"),
)

COMMAND = Command(
    "paper",
    __doc__,
    options=(
        Option("table", tuple[int, ...], (), "Numbers of the tables to make, from 2 to 10."),
        Option("figure", tuple[int, ...], (), "Number of the figure to make: 4."),
        Option(
            "rows",
            tuple[str, ...],
            (),
            "Names of the rows to make. If empty, all rows are made. With --table, only rows of "
            "those tables are made.",
        ),
        Option("list", bool, False, "List the rows with what is done and missing, and stop."),
        Option("dry_run", bool, False, "Show the commands that would run, and stop."),
        Option("data_dir", str, "", "The VOCdevkit folder, with VOC2007 and VOC2012 in it."),
        Option("coco_dir", str, "", "The COCO folder, for the rows that start from COCO."),
        Option(
            "replace_splits",
            tuple[str, ...],
            (),
            "Image sets that replace the paper's in all rows, as PAPERS:YOURS pairs such as "
            "VOC2007/trainval:VOC2007/train,VOC2007/test:VOC2007/val.",
        ),
        Option("seeds", tuple[int, ...], (0,), "Seeds. Each row is run once with each seed."),
        Option(
            "budget",
            str,
            "full",
            "'full' for the full schedules, or the number of minutes that the training steps of "
            "each model may take. The command first times a few steps and then shortens the "
            "schedule to fit. Start-up and evaluations take extra time.",
        ),
        Option(
            "output_dir",
            str,
            "runs/paper",
            "Folder for the tables and all runs.",
            output="folder",
        ),
        Option("configs_dir", str, "configs/paper", "Folder with the flagfiles of the rows."),
        Option("edge_model", str, "", "The EdgeBoxes model: model.yml.gz from opencv_extra."),
    ),
    settings=tuple(name for name in SETTINGS if name not in _FIXED_BY_ROWS),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code: 1 if a row failed, 128 + the signal's number if it was stopped.
    """
    _, options = parse(COMMAND, argv)
    with user_errors(COMMAND, options.output_dir):
        overrides = given_settings(COMMAND, argv)
        from keras_frcnn.paper import report
        from keras_frcnn.paper.plan import Planner
        from keras_frcnn.paper.request import make_request
        from keras_frcnn.tasks import runner as task_runner

        request = make_request(options.table, options.figure, options.rows, options.list)
        settings = _settings(options, overrides)
        planner = Planner(settings, _config_reader(settings), _method_checker(options.edge_model))

        def write_tables():
            return report.write(request, planner, runner.obstacle)

        runner = task_runner.Runner(say, write_tables)
        if options.list:
            Console().print(report.status_table(request, planner, runner.obstacle))
            return 0
        if options.dry_run:
            for line in report.command_lines(request, planner, runner.obstacle):
                say(line)
            return 0
        task_runner.claim(settings.output_dir / _SETTINGS_FILE, settings.fixed)
        runner.run(request.tasks(planner))
        say(f"Wrote {', '.join(map(str, write_tables()))}.")
        if runner.stopped:
            say("Stopped. Run the same command again to continue.")
            return 128 + runner.stopped
        return int(runner.has_failed)


def _settings(options, overrides: dict[str, str]) -> "Settings":
    """Checks the options and joins them with the overriding settings.

    Raises:
        ValueError: naming the flag that is wrong.
    """
    from keras_frcnn.paper import rows
    from keras_frcnn.paper.settings import Settings
    from keras_frcnn.tasks.runner import check_seeds

    replaced = dict(pair.partition(":")[::2] for pair in options.replace_splits)
    if not all(split and own for split, own in replaced.items()):
        raise ValueError(
            "--replace_splits must be pairs of image sets, the paper's and yours, as in a:b,c:d. "
            f"Received: {','.join(options.replace_splits)}"
        )
    unknown = sorted(set(replaced) - set(rows.SPLITS))
    if unknown:
        raise ValueError(
            f"--replace_splits must name image sets of the rows, which are "
            f"{', '.join(rows.SPLITS)}. Received: {', '.join(unknown)}"
        )
    check_seeds(options.seeds)
    return Settings(
        output_dir=Path(options.output_dir),
        configs_dir=Path(options.configs_dir),
        data_dir=options.data_dir,
        coco_dir=options.coco_dir,
        replaced_splits=replaced,
        seeds=options.seeds,
        budget_minutes=_minutes(options.budget),
        overrides=tuple(f"--{name}={text}" for name, text in overrides.items()),
        data_overrides=tuple(
            f"--{name}={text}"
            for name, text in overrides.items()
            if name in propose.COMMAND.settings and SETTINGS[name].group == "data"
        ),
        edge_model=options.edge_model,
    )


def _minutes(budget: str) -> float | None:
    if budget == "full":
        return None
    try:
        minutes = float(budget)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise ValueError(f"--budget must be 'full' or minutes above 0. Received: {budget!r}")
    return minutes


def _config_reader(settings: "Settings"):
    """Returns a function that reads the settings of a model from the flagfile of this name."""

    def read_config(name):
        file = settings.configs_dir / f"{name}.cfg"
        config, _ = parse(train.COMMAND, [f"--flagfile={file}", *settings.overrides])
        return config

    return read_config


def _method_checker(edge_model: str):
    """Returns a function that says what a proposal method lacks to run; empty if nothing."""

    def obstacle(method):
        from keras_frcnn.inference.classic_proposals import proposer

        if method == "edge_boxes" and not edge_model:
            return "needs the EdgeBoxes model (--edge_model)"
        try:
            proposer(method, edge_model)
        except ValueError as error:
            return str(error)
        return ""

    return obstacle
