"""The charts of an evaluation page: precision and recall, scores, recall of the proposals."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_frcnn.drawing import charts
from keras_frcnn.drawing.charts import Axis, Chart, Line, Part
from keras_frcnn.evaluation.analysis import breakdown
from keras_frcnn.evaluation.analysis.errors import ErrorSplit, Kind
from keras_frcnn.evaluation.metrics.precision_recall import Curve
from keras_frcnn.evaluation.metrics.proposal_recall import RecallCurves
from keras_frcnn.evaluation.report.error_kinds import COUNTED, kind_name
from keras_frcnn.evaluation.report.formats import percent, ratio

_RECALLS = np.linspace(0, 1, 101)
_NUM_BINS = 20  # of scores
_SHOWN_IOU_THRESHOLDS = (0.5, 0.7, 0.9)


@dataclasses.dataclass(frozen=True)
class Figure:
    """A chart with its caption and its legend, which consists of pairs (color, text)."""

    chart: Chart
    caption: str
    legend: Sequence[tuple[str, str]] = ()


@dataclasses.dataclass(frozen=True)
class ClassFigure:
    """The small chart of a class, with the name and the AP of the class."""

    chart: Chart
    name: str
    ap: str


def envelope(curve: Curve) -> np.ndarray:
    """Returns, for each of 101 recalls, the best precision at that recall or a higher one.

    It is 0 at recalls that are not reached.
    """
    best = np.maximum.accumulate(curve.precision[::-1])[::-1]
    # COCO's recalls are the same hundredths. The tolerance keeps equal values equal.
    reached = np.searchsorted(curve.recall, _RECALLS - 1e-9)
    return np.append(best, 0.0)[reached]


def mean_lines(curves: Sequence[Curve], iou: str, name: str, color: str) -> list[Line]:
    """Returns the mean of the curves at an IoU as a line, or nothing if no class has objects."""
    envelopes = [envelope(c) for c in curves if c.iou == iou and len(c.recall)]
    return [Line(name, color, _RECALLS, np.mean(envelopes, axis=0))] if envelopes else []


def mean_figure(lines: Sequence[Line]) -> Figure:
    """Returns the chart of lines from ``mean_lines``."""
    description = "Precision against recall, averaged over the classes that have objects"
    chart = charts.lines(description, Axis("recall"), Axis("precision"), lines)
    return Figure(chart, f"{description}.", _legend_of(lines))


def precision_recall(curves: Sequence[Curve]) -> Figure:
    """Returns precision against recall at each IoU, averaged over the classes."""
    ious = list(dict.fromkeys(curve.iou for curve in curves))
    lines = []
    for step, iou in enumerate(reversed(ious)):
        color = "blue" if len(ious) == 1 else _shade(step, len(ious))
        lines += mean_lines(curves, iou, f"IoU {iou}", color)
    return mean_figure(lines)


def thresholds(split: ErrorSplit, used_score: float) -> Figure:
    """Returns precision, recall and F1 against the score threshold.

    Args:
        split: All detections.
        used_score: The score threshold that the page uses, which the chart marks.
    """
    edges, _ = breakdown.by_score(split, 5)
    scores = np.linspace(edges[0], edges[-1], 101)
    precision, recall = breakdown.at_scores(split, scores)
    with np.errstate(invalid="ignore"):
        f1 = 2 * precision * recall / (precision + recall)
    lines = [
        Line("precision", "step1", scores, precision),
        Line("recall", "step3", scores, recall),
        Line("F1", "correct", scores, f1),
    ]
    mark = Line(f"score {used_score:.3g}", "chosen", (used_score, used_score), (0, 1), dashed=True)
    description = "Precision, recall and F1 against the score threshold, all classes together"
    axis = Axis("score threshold", edges[0], edges[-1], tuple(edges))
    chart = charts.lines(description, axis, Axis(""), [*lines, mark])
    return Figure(chart, f"{description}.", _legend_of(lines))


def class_curves(curves: Sequence[Curve], used: ErrorSplit) -> list[ClassFigure]:
    """Returns a small chart of precision against recall for each class, at the first IoU.

    Args:
        curves: The curves of the classes.
        used: The detections above the score threshold, whose precision and recall are marked.
    """
    counts, num_gt = used.counts(), used.num_gt()
    figures = []
    for curve in curves:
        if curve.iou != curves[0].iou or not len(curve.recall) + num_gt[curve.label]:
            continue
        correct = counts[curve.label, Kind.CORRECT]
        num_detections = counts[curve.label, list(COUNTED)].sum()
        mark = None
        if num_gt[curve.label] and num_detections:
            mark = (correct / num_gt[curve.label], correct / num_detections)
        description = f"Precision against recall of {curve.name}, AP {percent(curve.ap, 1)}"
        xs, ys = (_RECALLS, envelope(curve)) if len(curve.recall) else ((), ())
        chart = charts.small(description, "blue", xs, ys, mark)
        figures.append(ClassFigure(chart, curve.name, percent(curve.ap, 1)))
    return figures


def scores(split: ErrorSplit) -> list[Figure]:
    """Returns the shares and the numbers of the kinds of detections, by score."""
    if not len(split.kinds):
        return []
    edges, counts = breakdown.by_score(split, _NUM_BINS)
    counts = counts[:, COUNTED]
    sums = counts.sum(axis=1)
    shares, numbers = [], []
    for start, end, bin_counts, whole in zip(edges[:-1], edges[1:], counts, sums, strict=True):
        shares.append([])
        numbers.append([])
        for name, count in zip(map(kind_name, COUNTED), bin_counts, strict=True):
            share = ratio(count, whole)
            text = f"score {start:.3g} to {end:.3g}: {count:,} {name} ({percent(share, 1)} %)"
            shares[-1].append(Part(text, name, share))
            numbers[-1].append(Part(text, name, count))
    axis = Axis("score", edges[0], edges[-1], tuple(np.linspace(edges[0], edges[-1], 6)))
    diagonal = Line("", "chosen", (0, 1), (0, 1), dashed=True)
    tallest = charts.round_axis("detections", int(sums.max()))
    return [
        Figure(
            charts.columns("Detections by score", axis, Axis("share"), shares, [diagonal]),
            "What the detections of each score are. If the score were the probability of being "
            "correct, the correct ones would follow the diagonal.",
        ),
        Figure(
            charts.columns("Number of detections by score", axis, tallest, numbers),
            "How many detections have each score.",
        ),
    ]


def proposals(recall: RecallCurves) -> list[Figure]:
    """Returns the recall of the proposals against the IoU threshold and against their number."""
    rows = range(len(recall.num_proposals))[-charts.NUM_SHADES :]
    by_iou = [
        Line(
            f"{recall.num_proposals[row]} proposals",
            _shade(step, len(rows)),
            recall.iou_thresholds,
            recall.recall[row],
        )
        for step, row in enumerate(rows)
    ]
    by_number = []
    for step, iou in enumerate(_SHOWN_IOU_THRESHOLDS):
        column = int(np.argmin(np.abs(np.array(recall.iou_thresholds) - iou)))
        name, color = f"IoU {recall.iou_thresholds[column]:g}", _shade(2 - step, 3)
        by_number.append(Line(name, color, recall.num_proposals, recall.recall[:, column]))
    by_number.append(
        Line("mean of IoU 0.5 to 0.95", "correct", recall.num_proposals, recall.average_recall)
    )
    ious = Axis("IoU", 0.5, 1.0, (0.5, 0.6, 0.7, 0.8, 0.9, 1.0))
    numbers = charts.round_axis("proposals per image", max(recall.num_proposals))
    return [
        Figure(charts.lines(caption, axis, Axis("recall"), lines), caption, _legend_of(lines))
        for axis, lines, caption in (
            (ious, by_iou, "Share of the objects that a proposal covers, by the required IoU."),
            (numbers, by_number, "The same by the number of best proposals of each image."),
        )
    ]


def _legend_of(lines: Sequence[Line]) -> list[tuple[str, str]]:
    return [(line.color, line.name) for line in lines]


def _shade(step: int, num_steps: int) -> str:
    """Returns one of a series of shades that are spread over the range of all shades."""
    return f"step{round(step * (charts.NUM_SHADES - 1) / max(1, num_steps - 1))}"
