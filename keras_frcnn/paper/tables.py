"""Writes the tables as Markdown and CSV: our figures beside the paper's, and what is missing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_frcnn.evaluation.metrics.proposal_recall import CURVE_IOU_THRESHOLDS
from keras_frcnn.evaluation.report.formats import markdown_table
from keras_frcnn.evaluation.report.result_files import write_csv
from keras_frcnn.paper import rows
from keras_frcnn.paper.results import CurveResult, RowResult, TimingResult
from keras_frcnn.paper.settings import Settings

_NONE = "-"


def table(
    number: int, results: Sequence[RowResult], settings: Settings, plots: Sequence[str] = ()
) -> str:
    """Returns a table of AP as Markdown: of the mean, or of each class in tables 6 and 7.

    Args:
        number: the number of the paper's table.
        results: its rows, in order.
        settings: what the rows share.
        plots: the names of its plots.
    """
    if number in rows.PER_CLASS_TABLES:
        lines = _class_lines(results)
    else:
        heads = ("row", "", "paper", "ours", "seeds", "steps", "start: trained on -> tested on")
        lines = [heads, *map(_row_line, results)]
    return _document(f"Table {number}: {rows.TABLE_TITLES[number]}", lines, settings, plots)


def times_table(results: Sequence[TimingResult], settings: Settings) -> str:
    """Returns table 5 as Markdown."""
    heads = ("", "convolutions", "proposal", "region-wise", "total", "images/s")
    lines = [heads]
    for result in results:
        row = result.row
        theirs = (row.convolutions, row.proposal, row.regions, row.total)
        lines.append((f"{row.title}: paper", *map(str, theirs), f"{1000 / row.total:.1f}"))
        if result.milliseconds:
            cells = [f"{ms:.1f}" for ms in result.milliseconds]
            cells.append(f"{1000 / result.milliseconds[-1]:.1f}")
        else:
            cells = [result.missing] + [_NONE] * 4
        device = f", {result.device}" if result.device else ""
        lines.append((f"{row.title}: ours{device}", *cells))
    title = rows.TABLE_TITLES[rows.TIMING_TABLE]
    return _document(f"Table {rows.TIMING_TABLE}: {title}", lines, settings)


def figure(results: Sequence[CurveResult], settings: Settings, plots: Sequence[str]) -> str:
    """Returns figure 4 as Markdown: its numbers and its plots.

    Args:
        results: the curves.
        settings: what they share.
        plots: the names of the plots.
    """
    shown = (0.5, 0.6, 0.7, 0.8, 0.9)
    lines = [("proposals of", "number", *(f"IoU {t:g}" for t in shown), "seeds")]
    for result in results:
        for index, number in enumerate(rows.FIGURE_NUM_PROPOSALS):
            cells = [result.missing, *[_NONE] * (len(shown) - 1), "0"]
            if result.recall is not None:
                values = result.recall[index]
                cells = [f"{100 * values[CURVE_IOU_THRESHOLDS.index(t)]:.1f}" for t in shown]
                cells.append(str(result.num_seeds))
            lines.append((result.curve.title, str(number), *cells))
    return _document(f"Figure {rows.FIGURE}: {rows.FIGURE_TITLE}", lines, settings, plots)


def write_table_csv(number: int, results: Sequence[RowResult], path: Path) -> None:
    """Writes a table of AP as CSV, with empty cells for missing figures."""
    heads = ["row", "title", "paper", "ours", "standard_deviation", "seeds", "steps"]
    heads += ["full_steps", "data", "missing"]
    if number in rows.PER_CLASS_TABLES:
        heads += [f"{whose}_{name}" for whose in ("paper", "ours") for name in rows.CLASSES]
    lines = [heads]
    for result in results:
        line = [
            *(result.row.name, result.row.title, result.row.published),
            *(result.mean, result.standard_deviation, len(result.values), result.steps),
            *(result.full_steps, result.data, result.missing),
        ]
        if number in rows.PER_CLASS_TABLES:
            line += [*result.row.per_class, *map(result.class_mean, rows.CLASSES)]
        lines.append(["" if value is None else value for value in line])
    write_csv(lines, path)


def write_figure_csv(results: Sequence[CurveResult], path: Path) -> None:
    """Writes the curves that have results as CSV."""
    lines: list[list[Any]] = [["proposals", "number", "iou_threshold", "recall", "seeds"]]
    for result in results:
        if result.recall is not None:
            numbers = rows.FIGURE_NUM_PROPOSALS
            for number, values in zip(numbers, result.recall.tolist(), strict=True):
                for threshold, value in zip(CURVE_IOU_THRESHOLDS, values, strict=True):
                    name = result.curve.name
                    lines.append([name, number, threshold, value, result.num_seeds])
    write_csv(lines, path)


def notes(settings: Settings) -> list[str]:
    """Returns sentences on how all rows differ from the paper's."""
    lines = []
    if settings.budget_minutes is not None:
        lines.append(
            f"Schedules that take longer than about {settings.budget_minutes:g} minutes of "
            "training steps were shortened to that, with the learning-rate drops in proportion."
        )
    if settings.overrides:
        lines.append(f"All rows were run with {' '.join(settings.overrides)}.")
    lines += [f"{own} replaces {split}." for split, own in settings.replaced_splits.items()]
    return lines


def _row_line(result: RowResult) -> tuple[str, ...]:
    return (
        result.row.name,
        result.row.title,
        f"{result.row.published:.1f}",
        _ours(result),
        str(len(result.values)),
        _steps(result),
        result.data,
    )


def _ours(result: RowResult) -> str:
    """Returns the cell of our figure: mean, standard deviation, and what other seeds lack."""
    if result.mean is None:
        return result.missing
    text = f"{result.mean:.1f}"
    if result.standard_deviation is not None:
        text += f" ± {result.standard_deviation:.1f}"
    return text + (f" (other seeds: {result.missing})" if result.missing else "")


def _steps(result: RowResult) -> str:
    if result.steps is None:
        return f"? of {result.full_steps}"
    if result.steps == result.full_steps:
        return str(result.steps)
    return f"{result.steps} of {result.full_steps}"


def _class_lines(results: Sequence[RowResult]) -> list[tuple[str, ...]]:
    lines = [("row", "", "mAP", *rows.CLASSES)]
    for result in results:
        figures = (result.row.published, *result.row.per_class)
        lines.append((result.row.name, "paper", *(f"{value:.1f}" for value in figures)))
        means = [result.class_mean(name) for name in rows.CLASSES]
        cells = (_NONE if value is None else f"{value:.1f}" for value in means)
        lines.append(("", "ours", _ours(result), *cells))
    return lines


def _document(
    title: str, lines: Sequence[Sequence[str]], settings: Settings, plots: Sequence[str] = ()
) -> str:
    """Returns a heading, the notes, the table (``lines`` begins with its header) and the plots."""
    paragraphs = [f"# {title}", "\n".join(notes(settings)), markdown_table(lines)]
    paragraphs += [f"![{name}]({name})" for name in plots]
    return "\n\n".join(filter(None, paragraphs)) + "\n"
