"""Shows and writes what was asked for: the list of rows, the commands, the tables and plots."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.table import Column, Table

from keras_frcnn.paper import plots, results, rows, tables
from keras_frcnn.paper.plan import Planner
from keras_frcnn.paper.request import Request
from keras_frcnn.paper.results import Obstacle
from keras_frcnn.tasks.task import Task, unfinished


def command_lines(request: Request, planner: Planner, obstacle: Obstacle) -> list[str]:
    """Returns the commands that would run, in order, with a comment for each that cannot."""
    lines = []
    for task in unfinished(request.tasks(planner)):
        problem = obstacle(task)
        lines.append(f"# {task.title}: {problem}" if problem else _command_line(task))
    return lines


def status_table(request: Request, planner: Planner, obstacle: Obstacle) -> Table:
    """Returns every row with the figures there are and with what is missing."""
    shown = Table("table", Column("row", no_wrap=True), "", "paper", "ours", "missing")
    for number, asked in request.rows_of_tables.items():
        for row in asked:
            result = results.row_result(row, planner, obstacle)
            ours = "" if result.mean is None else f"{result.mean:.1f} ({len(result.values)})"
            published = f"{row.published:.1f}"
            shown.add_row(str(number), row.name, row.title, published, ours, result.missing)
    for curve in rows.CURVES if request.with_figure else ():
        task = planner.curve(curve, planner.settings.seeds[0])
        missing = "" if task.is_done else obstacle(task) or results.NOT_RUN
        shown.add_row(f"figure {rows.FIGURE}", "", curve.title, "", "", missing)
    for result in results.timing_results(planner, obstacle) if request.with_times else ():
        published = f"{result.row.total} ms"
        ours = f"{result.milliseconds[-1]:.1f} ms" if result.milliseconds else ""
        table = str(rows.TIMING_TABLE)
        shown.add_row(table, "", result.row.title, published, ours, result.missing)
    return shown


def write(request: Request, planner: Planner, obstacle: Obstacle) -> list[Path]:
    """Writes the tables and plots that were asked for, as far as there are results.

    A table is written with all its rows, also with those that were not asked for.

    Returns:
        The Markdown files.
    """
    settings, folder = planner.settings, planner.settings.output_dir
    texts: dict[Path, str] = {}
    for number in request.rows_of_tables:
        file = folder / f"table_{number}.md"
        if number == rows.TIMING_TABLE:
            found = results.timing_results(planner, obstacle)
            texts[file] = tables.times_table(found, settings)
        else:
            found = [results.row_result(row, planner, obstacle) for row in rows.rows_of(number)]
            texts[file] = tables.table(number, found, settings, _class_plots(number, found, folder))
            tables.write_table_csv(number, found, file.with_suffix(".csv"))
    if request.with_figure:
        file = folder / f"figure_{rows.FIGURE}.md"
        curves = [results.curve_result(curve, planner, obstacle) for curve in rows.CURVES]
        texts[file] = tables.figure(curves, settings, plots.write_curves(curves, folder))
        tables.write_figure_csv(curves, file.with_suffix(".csv"))
    for file, text in texts.items():
        file.write_text(text, encoding="utf-8")
    return list(texts)


def _class_plots(number: int, found: Sequence[results.RowResult], folder: Path) -> list[str]:
    """Draws a plot for each row that has results, where the table shows every class."""
    if number not in rows.PER_CLASS_TABLES:
        return []
    return [plots.write_classes(number, result, folder) for result in found if result.values]


def _command_line(task: Task) -> str:
    """Returns a task's command as one would type it, with a comment where flags are not known."""
    try:
        deferred = shlex.join(task.deferred_flags())
    except ValueError as error:
        deferred = f"# more flags: {error}"
    command = "keras-frcnn" if task.module.startswith("keras_frcnn") else f"python -m {task.module}"
    return " ".join(filter(None, [command, shlex.join([task.command, *task.flags]), deferred]))
