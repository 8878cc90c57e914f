"""Makes the paper's tables and figure 4 again: trains and measures row after row.

Examples:
  keras-frcnn paper --list
  keras-frcnn paper --table=3,6 --data_dir=VOCdevkit --seeds=0,1,2
  keras-frcnn paper --table=2 --figure=4 --data_dir=VOCdevkit --budget=30
  keras-frcnn paper --rows=zf_shared,zf_dense --data_dir=VOCdevkit --budget=5 --dry_run

Each row is trained from its flagfile in configs/paper with the other commands, one at a time, and a
model that several rows need is trained once. A stopped command goes on where it was when it is
given again. --output_dir gets table_2.md, .csv and so on: ours beside the paper's figure, with
steps, seeds and data. Where data or time is missing the cell says so.

Any setting given here stands over all flagfiles, and is named under the tables: without a network,
for example, --backbone_weights=none --pixel_std=58. --replace_splits names image sets to use in
place of the paper's.
"""

from pathlib import Path
from typing import Any

from keras_frcnn.cli import propose, train
from keras_frcnn.cli.command import Command, given_settings, parse, user_errors
from keras_frcnn.config.flags import SETTINGS, Option

# What a row is; the other settings may stand over its flagfile's.
_OF_ROWS = (
    *("output_dir", "seed", "dataset", "data_dir", "train_split", "eval_split", "classes_file"),
    *("backbone", "start_checkpoint", "train_proposals", "test_proposals"),
    *("test_ranked_proposals", "test_regressed_proposals", "scheme", "steps", "lr_boundaries"),
    *("alternating_steps", "alternating_lr_boundaries", "eval_every"),
)

COMMAND = Command(
    "paper",
    __doc__,
    options=(
        Option("table", tuple[int, ...], (), "Tables to make, of 2 to 10."),
        Option("figure", tuple[int, ...], (), "Figures to make: 4."),
        Option("rows", tuple[str, ...], (), "Rows to make, of the tables or alone; empty: all."),
        Option("list", bool, False, "Show the rows, what is done and what is missing; then stop."),
        Option("dry_run", bool, False, "Show the commands that would run; then stop."),
        Option("data_dir", str, "", "VOC's devkit, with VOC2007 and VOC2012 in it."),
        Option("coco_dir", str, "", "COCO's folder, for the rows that start from COCO."),
        Option(
            "replace_splits",
            tuple[str, ...],
            (),
            "Image sets that take others' places in all rows, such as "
            "VOC2007/trainval:VOC2007/train,VOC2007/test:VOC2007/val.",
        ),
        Option("seeds", tuple[int, ...], (0,), "A run of each row for each of these."),
        Option(
            "budget",
            str,
            "full",
            "The full schedules, or so many minutes of training steps for each model: its schedule "
            "is shortened to that, by the steps' time measured before. Starting and evaluations "
            "come on top.",
        ),
        Option("output_dir", str, "runs/paper", "Folder of the tables and of all runs."),
        Option("configs_dir", str, "configs/paper", "Folder of the rows' flagfiles."),
        Option("edge_model", str, "", "EdgeBoxes' model.yml.gz, from OpenCV's extra data."),
    ),
    settings=tuple(name for name in SETTINGS if name not in _OF_ROWS),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Its flags; None: those of the process.

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
            say("Stopped. Give the same command again to go on.")
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
            f"--budget must be 'full' or minutes above 0. Received: {options.budget!r}"
        )
    pairs = {old: new for old, _, new in (p.partition(":") for p in options.replace_splits)}
    if not all(old and new for old, new in pairs.items()):
        raise ValueError(
            "--replace_splits must be pairs of image sets, the paper's and the one in its place, "
            f"as a:b,c:d. Received: {','.join(options.replace_splits)}"
        )
    unknown = sorted(set(pairs) - set(rows.SPLITS))
    if unknown:
        known = ", ".join(rows.SPLITS)
        raise ValueError(f"--replace_splits: no row has {', '.join(unknown)}. There are: {known}")
    if not options.seeds or len(set(options.seeds)) < len(options.seeds) or min(options.seeds) < 0:
        raise ValueError(f"--seeds must be different numbers from 0. Received: {options.seeds}")
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
