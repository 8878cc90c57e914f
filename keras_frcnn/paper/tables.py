"""The tables as Markdown and CSV: ours beside the paper's, and what is missing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_frcnn.evaluation.metrics.proposal_recall import CURVE_IOU_THRESHOLDS
from keras_frcnn.evaluation.report.result_files import write_csv
from keras_frcnn.paper import rows
from keras_frcnn.paper.figure import CurveOutcome
from keras_frcnn.paper.outcome import Outcome
from keras_frcnn.paper.settings import Settings
from keras_frcnn.paper.times import TimesOutcome

_NONE = "-"


def table(
    number: int, outcomes: Sequence[Outcome], settings: Settings, plots: Sequence[str] = ()
) -> str:
    """Returns one of the tables of mean AP, or of AP by class, as Markdown.

    Args:
        number: of the table in the paper.
        outcomes: its rows, in order.
        settings: what the rows share.
        plots: files of its plots.
    """
    if number in rows.PER_CLASS_TABLES:
        lines = _class_lines(outcomes)
    else:
        heads = ("row", "", "paper", "ours", "seeds", "steps", "start: trained -> tested on")
        lines = [heads, *map(_row_line, outcomes)]
    return _document(f"Table {number}: {rows.TABLES[number]}", lines, settings, plots)


def times_table(outcomes: Sequence[TimesOutcome], settings: Settings) -> str:
    """Returns table 5 as Markdown."""
    heads = ("", "convolutions", "proposal", "region-wise", "total", "images/s")
    lines = [heads]
    for outcome in outcomes:
        of = outcome.times
        theirs = (of.convolutions, of.proposal, of.regions, of.total)
        lines.append((f"{of.title}: paper", *map(str, theirs), f"{1000 / of.total:.1f}"))
        if outcome.milliseconds:
            *pieces, total = outcome.milliseconds
            cells = [f"{ms:.1f}" for ms in (*pieces, total)] + [f"{1000 / total:.1f}"]
        else:
            cells = [outcome.missing] + [_NONE] * 4
        lines.append((f"{of.title}: ours{outcome.device and ', ' + outcome.device}", *cells))
    return _document(f"Table {rows.TIMES_TABLE}: {rows.TABLES[rows.TIMES_TABLE]}", lines, settings)


def figure(outcomes: Sequence[CurveOutcome], settings: Settings, plots: Sequence[str]) -> str:
    """Returns figure 4 as Markdown: the plots, and its numbers.

    Args:
        outcomes: the curves.
        settings: what they share.
        plots: files of the plots.
    """
    shown = (0.5, 0.6, 0.7, 0.8, 0.9)
    lines = [("proposals of", "number", *(f"IoU {t:g}" for t in shown), "seeds")]
    for outcome in outcomes:
        for row, number in enumerate(rows.FIGURE_NUMBERS):
            cells = [outcome.missing, *[_NONE] * (len(shown) - 1), "0"]
            if outcome.recall is not None:
                values = outcome.recall[row]
                cells = [f"{100 * values[CURVE_IOU_THRESHOLDS.index(t)]:.1f}" for t in shown]
                cells.append(str(outcome.num_seeds))
            lines.append((outcome.curve.title, str(number), *cells))
    return _document(f"Figure {rows.FIGURE}: {rows.FIGURE_TITLE}", lines, settings, plots)


def write_table_csv(number: int, outcomes: Sequence[Outcome], path: Path) -> None:
    """Writes one of the tables of AP for programs; what is missing is an empty cell."""
    heads = ["row", "title", "paper", "ours", "standard_deviation", "seeds", "steps"]
    heads += ["full_steps", "data", "missing"]
    if number in rows.PER_CLASS_TABLES:
        heads += [f"{whose}_{name}" for whose in ("paper", "ours") for name in rows.CLASSES]
    lines = [heads]
    for outcome in outcomes:
        line = [
            *(outcome.row.name, outcome.row.title, outcome.row.published),
            *(outcome.mean, outcome.spread, len(outcome.values), outcome.steps),
            *(outcome.full_steps, outcome.data, outcome.missing),
        ]
        if number in rows.PER_CLASS_TABLES:
            line += [*outcome.row.per_class, *map(outcome.class_mean, rows.CLASSES)]
        lines.append(["" if value is None else value for value in line])
    write_csv(lines, path)


def write_figure_csv(outcomes: Sequence[CurveOutcome], path: Path) -> None:
    """Writes the curves that there are for programs."""
    lines: list[list[Any]] = [["proposals", "number", "iou_threshold", "recall", "seeds"]]
    for outcome in outcomes:
        if outcome.recall is not None:
            for number, values in zip(rows.FIGURE_NUMBERS, outcome.recall.tolist(), strict=True):
                for threshold, value in zip(CURVE_IOU_THRESHOLDS, values, strict=True):
                    name = outcome.curve.name
                    lines.append([name, number, threshold, value, outcome.num_seeds])
    write_csv(lines, path)


def notes(settings: Settings) -> list[str]:
    """Says in sentences what all rows share and the paper has not."""
    lines = []
    if settings.minutes is not None:
        lines.append(
            "Not the full schedules: those that take longer were shortened to about "
            f"{settings.minutes:g} minutes of training steps, with the drops of the learning rate "
            "in proportion."
        )
    if settings.overrides:
        lines.append(f"All rows with {' '.join(settings.overrides)}.")
    for published, own in settings.replaced_splits.items():
        lines.append(f"{own} stands for {published}.")
    return lines


def _row_line(outcome: Outcome) -> tuple[str, ...]:
    row, seeds = outcome.row, len(outcome.values)
    return (
        row.name,
        row.title,
        f"{row.published:.1f}",
        _ours(outcome),
        str(seeds),
        _steps(outcome),
        outcome.data,
    )


def _ours(outcome: Outcome) -> str:
    """The cell of our figure: a mean, its spread, and what is missing for more."""
    if outcome.mean is None:
        return outcome.missing
    words = f"{outcome.mean:.1f}"
    if outcome.spread is not None:
        words += f" ± {outcome.spread:.1f}"
    return words + (f" (other seeds: {outcome.missing})" if outcome.missing else "")


def _steps(outcome: Outcome) -> str:
    if outcome.steps is None:
        return f"? of {outcome.full_steps}"
    if outcome.steps == outcome.full_steps:
        return str(outcome.steps)
    return f"{outcome.steps} of {outcome.full_steps}"


def _class_lines(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    lines = [("row", "", "mAP", *rows.CLASSES)]
    for outcome in outcomes:
        figures = (outcome.row.published, *outcome.row.per_class)
        lines.append((outcome.row.name, "paper", *(f"{value:.1f}" for value in figures)))
        means = [outcome.class_mean(name) for name in rows.CLASSES]
        cells = (_NONE if value is None else f"{value:.1f}" for value in means)
        lines.append(("", "ours", _ours(outcome), *cells))
    return lines


def _document(
    title: str, lines: Sequence[Sequence[str]], settings: Settings, plots: Sequence[str] = ()
) -> str:
    """A heading, what all rows share, a table whose first line is its head, and plots."""
    head, *body = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    cells = [head, ["---"] * len(head), *body]
    paragraphs = [f"# {title}", "\n".join(notes(settings))]
    paragraphs.append("\n".join(f"| {' | '.join(line)} |" for line in cells))
    paragraphs += [f"![{name}]({name})" for name in plots]
    return "\n\n".join(filter(None, paragraphs)) + "\n"
