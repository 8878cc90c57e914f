"""Sections of the evaluation's page with charts: curves, scores, proposals."""

from collections.abc import Sequence

import numpy as np

from keras_frcnn.drawing import charts, page
from keras_frcnn.drawing.charts import Axis, Line, Part
from keras_frcnn.evaluation.analysis import breakdown
from keras_frcnn.evaluation.analysis.errors import ErrorSplit, Kind
from keras_frcnn.evaluation.metrics.precision_recall import Curve
from keras_frcnn.evaluation.metrics.proposal_recall import RecallCurves
from keras_frcnn.evaluation.report.error_sections import SHOWN, kind_name, percent, share

RECALLS = np.linspace(0, 1, 101)
_TENTHS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_BINS = 20


def figure(chart: str, words: str, below: str = "") -> str:
    """Returns a chart with plain words below it, and markup."""
    return f"<figure>{chart}{below}<figcaption>{page.text(words)}</figcaption></figure>"


def envelope(curve: Curve) -> np.ndarray:
    """Returns the best precision at each of 101 recalls or a higher one, 0 where not reached."""
    best = np.maximum.accumulate(curve.precision[::-1])[::-1]
    # COCO's recalls are such hundredths: what is equal must not fall to the other side.
    reached = np.searchsorted(curve.recall, RECALLS - 1e-9)
    return np.append(best, 0.0)[reached]


def curves(of_classes: Sequence[Curve], split: ErrorSplit, work: ErrorSplit) -> str:
    """Returns the curves' mean at each IoU, what a score gives, and a small chart of each class.

    Args:
        of_classes: the curves; those of the first IoU are the ones of the small charts.
        split: what became of all detections.
        work: what became of those that are used, for the marks.
    """
    ious = list(dict.fromkeys(curve.iou for curve in of_classes))
    drawn = []
    for step, iou in enumerate(reversed(ious)):
        color = "blue" if len(ious) == 1 else _shade(step, len(ious))
        drawn += mean_curve(of_classes, iou, f"IoU {iou}", color)
    mean = mean_chart(drawn)
    shown = [c for c in of_classes if c.iou == ious[0] and len(c.recall) + work.num_gt()[c.label]]
    small = "".join(_small(curve, work) for curve in shown)
    return (
        f'<div class="charts">{mean}'
        f"{_thresholds(split, work.score_threshold)}</div>"
        f'<div class="smalls">{small}</div>'
    )


def mean_curve(of_classes: Sequence[Curve], iou: str, name: str, color: str) -> list[Line]:
    """Returns the mean of the curves at an IoU as a line; none if no class has objects."""
    some = [envelope(c) for c in of_classes if c.iou == iou and len(c.recall)]
    return [Line(name, color, RECALLS, np.mean(some, axis=0))] if some else []


def mean_chart(drawn: Sequence[Line]) -> str:
    """Returns the chart of lines of ``mean_curve``."""
    words = "Precision against recall, mean of the classes that have objects"
    chart = charts.lines(words, Axis("recall"), Axis("precision"), drawn)
    return figure(chart, f"{words}.", charts.legend([(line.color, line.name) for line in drawn]))


def _small(curve: Curve, work: ErrorSplit) -> str:
    counts, num_gt = work.counts()[curve.label], work.num_gt()[curve.label]
    correct, whole = counts[Kind.CORRECT], counts[list(SHOWN)].sum()
    mark = (correct / num_gt, correct / whole) if num_gt and whole else None
    words = f"Precision against recall of {curve.name}, AP {percent(curve.ap)}"
    xs, ys = (RECALLS, envelope(curve)) if len(curve.recall) else ((), ())
    return (
        f"<figure>{charts.small(words, 'blue', xs, ys, mark)}<figcaption>"
        f"<b>{page.text(curve.name)}</b><span>{percent(curve.ap)}</span></figcaption></figure>"
    )


def scores(split: ErrorSplit) -> str:
    """Returns what the detections of each score are, and how many."""
    if not len(split.kinds):
        return ""
    edges, counts = breakdown.by_score(split, _BINS)
    counts = counts[:, SHOWN]
    sums = counts.sum(axis=1)
    axis = Axis("score", edges[0], edges[-1], tuple(np.linspace(edges[0], edges[-1], 6)))
    shares, numbers = [], []
    for bin_, (start, end) in enumerate(zip(edges, edges[1:], strict=False)):
        where = f"score {start:.3g} to {end:.3g}"
        names = [
            (
                f"{where}: {count:,} {kind_name(kind)} ({percent(share(count, sums[bin_]))} %)",
                kind,
                count,
            )
            for kind, count in zip(SHOWN, counts[bin_], strict=True)
        ]
        shares.append([Part(n, kind_name(k), share(c, sums[bin_])) for n, k, c in names])
        numbers.append([Part(n, kind_name(k), c) for n, k, c in names])
    ideal = Line("", "chosen", (0, 1), (0, 1), dashed=True)
    tallest = charts.round_axis("detections", int(sums.max()))
    return (
        charts.legend([(kind_name(kind), kind_name(kind)) for kind in SHOWN])
        + '<div class="charts">'
        + figure(
            charts.columns("Detections by score", axis, Axis("share"), shares, [ideal]),
            "What the detections of each score are. Scores that are the share of right ones "
            "follow the diagonal.",
        )
        + figure(
            charts.columns("Number of detections by score", axis, tallest, numbers),
            "How many detections have each score.",
        )
        + "</div>"
    )


def _thresholds(split: ErrorSplit, score: float) -> str:
    """Returns the chart of what one gets from a score on."""
    edges, _ = breakdown.by_score(split, 5)
    thresholds = np.linspace(edges[0], edges[-1], 101)
    precision, recall = breakdown.at_scores(split, thresholds)
    with np.errstate(invalid="ignore"):
        f1 = 2 * precision * recall / (precision + recall)
    drawn = [
        Line("precision", "step1", thresholds, precision),
        Line("recall", "step3", thresholds, recall),
        Line("F1", "correct", thresholds, f1),
    ]
    chosen = Line(f"score {score:.3g}", "chosen", (score, score), (0, 1), dashed=True)
    words = "Precision, recall and F1 of the detections from a score on, all classes together"
    axis = Axis("score", edges[0], edges[-1], tuple(edges))
    chart = charts.lines(words, axis, Axis(""), [*drawn, chosen])
    return figure(chart, f"{words}.", charts.legend([(line.color, line.name) for line in drawn]))


def proposals(recall: RecallCurves) -> str:
    """Returns the recall of the proposals against IoU and against their number."""
    some = range(len(recall.num_proposals))[-charts.NUM_SHADES :]
    by_iou = [
        Line(
            f"{recall.num_proposals[row]} proposals",
            _shade(step, len(some)),
            recall.iou_thresholds,
            recall.recall[row],
        )
        for step, row in enumerate(some)
    ]
    wanted = [0.5, 0.7, 0.9]
    columns = [int(np.argmin(np.abs(np.array(recall.iou_thresholds) - iou))) for iou in wanted]
    by_number = [
        Line(
            f"IoU {recall.iou_thresholds[column]:g}",
            _shade(2 - step, 3),
            recall.num_proposals,
            recall.recall[:, column],
        )
        for step, column in enumerate(columns)
    ]
    by_number.append(
        Line("mean of IoU 0.5 to 0.95", "correct", recall.num_proposals, recall.average_recall)
    )
    ious = Axis("IoU", 0.5, 1.0, _TENTHS)
    numbers = charts.round_axis("proposals of an image", max(recall.num_proposals))
    parts = (
        (ious, by_iou, "Share of the objects that proposals cover, by the IoU asked for."),
        (numbers, by_number, "The same by the number of an image's best proposals."),
    )
    shown = [
        figure(
            charts.lines(words, axis, Axis("recall"), drawn),
            words,
            charts.legend([(line.color, line.name) for line in drawn]),
        )
        for axis, drawn, words in parts
    ]
    return f'<div class="charts">{"".join(shown)}</div>'


def _shade(step: int, num_steps: int) -> str:
    """Returns one of the shades of a color, spread over their range."""
    return f"step{round(step * (charts.NUM_SHADES - 1) / max(1, num_steps - 1))}"
