"""The results of an evaluation as tables for a terminal."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

from keras_frcnn.console import Console, plain
from keras_frcnn.evaluation.analysis import bootstrap
from keras_frcnn.evaluation.analysis.errors import MISSED, Kind
from keras_frcnn.evaluation.analysis.summary import Summary
from keras_frcnn.evaluation.metrics import coco, voc
from keras_frcnn.evaluation.metrics.proposal_recall import NUM_PROPOSALS, RecallCurves
from keras_frcnn.evaluation.report.error_kinds import kind_name
from keras_frcnn.evaluation.report.formats import LEVEL_TEXT, is_defined, percent

_COCO_COLUMNS = ("AP", "AP50", "AP75", "AR100")  # the other figures are printed below the table
_SHOWN_IOU_THRESHOLDS = (0.5, 0.7, 0.9)


def print_table(
    result: voc.Result | coco.Result,
    console: Console | None = None,
    intervals: bootstrap.Intervals | None = None,
) -> None:
    """Prints a result: one row for each class, the mean, and below it what was measured.

    Args:
        result: The result, by either metric.
        console: Where to print; None for the standard output.
        intervals: The bootstrap intervals of the result's figures, if they are known.
    """
    console = console or Console()
    if isinstance(result, coco.Result):
        names = _COCO_COLUMNS if intervals is None else _COCO_COLUMNS[:-1]
        table = _coco_table(result, intervals, names)
        description = _coco_description(result, names)
    else:
        table, description = _voc_table(result, intervals), _voc_description(result)
    console.print(table)
    console.print(description, style="dim", soft_wrap=False)


def print_summary(summary: Summary, console: Console | None = None) -> None:
    """Prints the result with its intervals, the errors, and the recall of the proposals.

    Args:
        summary: All results.
        console: Where to print; None for the standard output.
    """
    console = console or Console()
    print_table(summary.result, console, summary.intervals)
    if summary.intervals is not None:
        num_resamples = summary.intervals.num_resamples
        note = f"{LEVEL_TEXT}: bootstrap interval from {num_resamples} resamples of the images"
        console.print(note, style="dim", soft_wrap=False)
    console.print(_error_table(summary))
    note = (
        f"IoU >= {summary.errors.iou_threshold:g}; top: only the n best detections of a class with "
        "n objects; gain: how much mean AP would rise if only this kind of error were corrected; "
        f"score >= {_score(summary)}: the detections from the score on that gives the best F1"
    )
    console.print(note, style="dim", soft_wrap=False)
    if summary.recall is not None:
        console.print(_recall_table(summary.recall))


def _voc_table(result: voc.Result, intervals: bootstrap.Intervals | None) -> Table:
    return _table(
        ("AP 11-point %", "AP area %"),
        ((c, (c.ap_11point, c.ap_area)) for c in result.classes),
        (result.map_11point, result.map_area),
        intervals and (*intervals.classes["ap_area"], intervals.means["map_area"]),
        "area",
    )


def _coco_table(
    result: coco.Result, intervals: bootstrap.Intervals | None, names: Sequence[str]
) -> Table:
    return _table(
        [f"{name} %" for name in names],
        ((c, [c.figures[name] for name in names]) for c in result.classes),
        [result.figures[name] for name in names],
        intervals and (*intervals.classes["AP"], intervals.means["AP"]),
        "AP",
    )


def _error_table(summary: Summary) -> Table:
    table = Table(header_style="bold")
    table.add_column("detections")
    for title in (f"score >= {_score(summary)}", "all", "top", "gain %"):
        table.add_column(title, justify="right")
    kept = summary.kept.counts().sum(axis=0)
    counts, top = (summary.errors.counts(only).sum(axis=0) for only in (False, True))
    for kind in Kind:
        name = kind_name(kind)
        gain = summary.gains.get(name)
        gain_cell = "" if gain is None else percent(gain)
        table.add_row(name, *(str(of[kind]) for of in (kept, counts, top)), gain_cell)
    table.add_section()
    missed = [str(split.num_missed().sum()) for split in (summary.kept, summary.errors)]
    table.add_row("missed objects", *missed, "", percent(summary.gains[MISSED]))
    return table


def _score(summary: Summary) -> str:
    return f"{summary.kept.score_threshold:.3g}"


def _recall_table(recall: RecallCurves) -> Table:
    table = Table(header_style="bold")
    table.add_column(f"{recall.source} proposals", justify="right")
    shown = [n for n, t in enumerate(recall.iou_thresholds) if t in _SHOWN_IOU_THRESHOLDS]
    for column in shown:
        table.add_column(f"recall % at {recall.iou_thresholds[column]:g}", justify="right")
    table.add_column("AR %", justify="right")
    for row, number in enumerate(recall.num_proposals):
        if number in NUM_PROPOSALS or number == recall.num_proposals[-1]:
            values = (*recall.recall[row, shown], recall.average_recall[row])
            table.add_row(str(number), *map(percent, values))
    return table


def _table(
    titles: Iterable[str],
    rows: Iterable[tuple[Any, Iterable[float]]],
    means: Iterable[float],
    intervals: Sequence[bootstrap.Interval] | None,
    interval_of: str,
) -> Table:
    """Returns a table of figures with one row for each class and one for their means.

    Args:
        titles: The titles of the figures.
        rows: Each class with its figures.
        means: The mean of each figure.
        intervals: One interval for each row and one for the mean, if they are known.
        interval_of: The figure that the intervals belong to.
    """
    table = Table(header_style="bold")
    table.add_column("class")
    ends = [] if intervals is None else [_range(interval) for interval in intervals]
    interval_titles = [f"{LEVEL_TEXT} of {interval_of}"] if ends else []
    for title in ("objects", "detections", *titles, *interval_titles):
        table.add_column(title, justify="right")
    num_gt = num_detections = 0
    for row, (c, figures) in enumerate(rows):
        counts = (str(c.num_gt), str(c.num_detections))
        table.add_row(plain(c.name), *counts, *map(percent, figures), *ends[row : row + 1])
        num_gt += c.num_gt
        num_detections += c.num_detections
    table.add_section()
    last = (*map(percent, means), *ends[-1:])
    table.add_row("mean", str(num_gt), str(num_detections), *last, style="bold")
    return table


def _voc_description(result: voc.Result) -> str:
    metric = f"PASCAL VOC metric, IoU >= {result.iou_threshold:g}"
    return _description(metric, result, f"{result.num_difficult} difficult objects ignored")


def _coco_description(result: coco.Result, shown: Sequence[str]) -> str:
    others = [
        f"{name} {percent(value)}" for name, value in result.figures.items() if name not in shown
    ]
    num_crowd = sum(c.num_crowd for c in result.classes)
    figures = ", ".join(others) + " (%; s, m, l: small, medium, large objects)"
    metric = "COCO metric, IoU 0.50 to 0.95"
    return f"{figures}\n{_description(metric, result, f'{num_crowd} crowd regions ignored')}"


def _description(metric: str, result: voc.Result | coco.Result, ignored: str) -> str:
    parts = [
        metric,
        f"{result.num_images} images",
        f"{result.num_images_without_detections} without detections",
        ignored,
    ]
    num_classes = len(result.classes)
    num_with_gt = sum(c.num_gt > 0 for c in result.classes)
    if not num_with_gt:
        parts.append("average precision is undefined without objects")
    elif num_with_gt < num_classes:
        parts.append(f"mean of {num_with_gt} of {num_classes} classes: the others have no objects")
    return "; ".join(parts)


def _range(interval: bootstrap.Interval) -> str:
    if not is_defined(interval):
        return "-"
    return f"{100 * interval.low:.1f}-{100 * interval.high:.1f}"
