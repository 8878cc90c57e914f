"""Reproduces the paper's tables and figure 4: trains and evaluates row after row.

Examples:
  keras-frcnn paper --list
  keras-frcnn paper --table=3,6 --data_dir=VOCdevkit --seeds=0,1,2
  keras-frcnn paper --table=2 --figure=4 --data_dir=VOCdevkit --budget=30
  keras-frcnn paper --rows=zf_shared,zf_dense --data_dir=VOCdevkit --budget=5 --dry_run

Each row is trained by the other commands from its flagfile in configs/paper, one after the other; a
model that several rows need is trained once. If the command is stopped, it continues where it was
when it is given again. --output_dir receives table_2.md, table_2.csv and so on: our figure beside
the paper's, with steps, seeds and data. A cell without a figure says which data or time is missing.

Any setting given here overrides all flagfiles and is named under the tables, for example
--backbone_weights=none --pixel_std=58 where there is no network. --replace_splits names image sets
to use in place of the paper's.
"""

from pathlib import Path
from typing import Any

from keras_frcnn.cli import propose, train
from keras_frcnn.cli.command import Command, given_settings, parse, user_errors
from keras_frcnn.config.flags import SETTINGS
from keras_frcnn.config.setting import Option

# Settings that define a row. All others may override its flagfile.
_OF_ROWS = (
    *("output_dir", "seed", "dataset", "data_dir", "train_split", "eval_split", "split"),
    "classes_file",
    *("backbone", "start_checkpoint", "train_proposals", "test_proposals"),
    *("test_ranked_proposals", "test_regressed_proposals", "scheme", "steps", "lr_boundaries"),
    *("alternating_steps", "alternating_lr_boundaries", "eval_every"),
)

COMMAND = Command(
    "paper",
    __doc__,
    options=(
        Option("table", tuple[int, ...], (), "Tables to make, from 2 to 10."),
        Option("figure", tuple[int, ...], (), "Figures to make; the only one is 4."),
        Option("rows", tuple[str, ...], (), "Rows to make, of the tables or alone. Empty: all."),
        Option(
            "list", bool, False, "Show the rows, with what is done and what is missing, and stop."
        ),
        Option("dry_run", bool, False, "Show the commands that would run, and stop."),
        Option("data_dir", str, "", "VOCdevkit that contains VOC2007 and VOC2012."),
        Option("coco_dir", str, "", "Folder of COCO, for the rows that start from COCO."),
        Option(
            "replace_splits",
            tuple[str, ...],
            (),
            "Image sets to replace in all rows, as old:new pairs such as "
            "VOC2007/trainval:VOC2007/train,VOC2007/test:VOC2007/val.",
        ),
        Option("seeds", tuple[int, ...], (0,), "Seeds: each row is run once for each of them."),
        Option(
            "budget",
            str,
            "full",
            "'full' for the full schedules, or the minutes that the training steps of a model may "
            "take: its schedule is shortened to fit, by the measured time of a step. Start-up and "
            "evaluations take additional time.",
        ),
        Option("output_dir", str, "runs/paper", "Folder for the tables and all runs."),
        Option("configs_dir", str, "configs/paper", "Folder with the rows' flagfiles."),
        Option("edge_model", str, "", "EdgeBoxes' model.yml.gz, from OpenCV's extra data."),
    ),
    settings=tuple(name for name in SETTINGS if name not in _OF_ROWS),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Its flags; None for those of the process.

    Returns:
        The exit code: 1 if a row failed, 128 + the signal's number if it was stopped.
    """
    _, options = parse(COMMAND, argv)
    with user_errors(COMMAND):
        overrides = given_settings(COMMAND, argv)
        from rich.console import Console

        from keras_frcnn.paper import parts, run, wanted

        console = Console(highlight=False)

        def say(line):
            console.print(line, markup=False, soft_wrap=True)

        chosen = wanted.choose(options.table, options.figure, options.rows, options.list)
        settings = _settings(options, overrides)
        planner = parts.Planner(settings, _reader(settings), _proposals_problem(options))
        work = wanted.Work(chosen, planner)
        if options.list:
            work.print_list(console)
            return 0
        if options.dry_run:
            for line in work.commands():
                say(line)
            return 0
        run.claim(settings)
        runner = run.Runner(say, lambda: work.write(runner.problem))
        runner.make(work.parts)
        say(f"Written: {', '.join(work.write(runner.problem))}")
        if runner.stopped:
            say("Stopped. Give the same command again to continue.")
            return 128 + runner.stopped
        return int(runner.has_failed)


def _settings(options: Any, overrides: dict[str, str]) -> Any:
    from keras_frcnn.paper import rows
    from keras_frcnn.paper.settings import Settings

    try:
        minutes = None if options.budget == "full" else float(options.budget)
    except ValueError:
        minutes = 0.0
    if minutes is not None and not 0 < minutes < float("inf"):
        raise ValueError(
            f"--budget must be 'full' or a number of minutes above 0. Received: {options.budget!r}"
        )
    pairs = {old: new for old, _, new in (p.partition(":") for p in options.replace_splits)}
    if not all(old and new for old, new in pairs.items()):
        raise ValueError(
            "--replace_splits must be pairs of image sets, as old:new,old:new. "
            f"Received: {','.join(options.replace_splits)}"
        )
    unknown = sorted(set(pairs) - set(rows.SPLITS))
    if unknown:
        known = ", ".join(rows.SPLITS)
        raise ValueError(
            f"--replace_splits must name image sets of the rows: {known}. "
            f"Received: {', '.join(unknown)}"
        )
    if not options.seeds or len(set(options.seeds)) < len(options.seeds) or min(options.seeds) < 0:
        raise ValueError(
            f"--seeds must be different integers of at least 0. Received: {options.seeds}"
        )
    return Settings(
        output_dir=Path(options.output_dir),
        configs_dir=Path(options.configs_dir),
        data_dir=options.data_dir,
        coco_dir=options.coco_dir,
        replaced_splits=pairs,
        seeds=options.seeds,
        minutes=minutes,
        overrides=tuple(f"--{name}={text}" for name, text in overrides.items()),
        data_overrides=tuple(
            f"--{name}={text}"
            for name, text in overrides.items()
            if name in propose.COMMAND.settings and SETTINGS[name].group == "data"
        ),
        edge_model=options.edge_model,
    )


def _reader(settings):
    def read_config(name):
        file = settings.configs_dir / f"{name}.cfg"
        config, _ = parse(train.COMMAND, [f"--flagfile={file}", *settings.overrides])
        return config

    return read_config


def _proposals_problem(options):
    def problem(method):
        from keras_frcnn.inference.classic_proposals import proposer

        if method == "edge_boxes" and not options.edge_model:
            return "needs EdgeBoxes' model (--edge_model)"
        try:
            proposer(method, options.edge_model)
        except ValueError as error:
            return str(error)
        return ""

    return problem
