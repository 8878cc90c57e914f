"""The tables of an evaluation page: kinds of errors, classes, confused classes, object sizes.

These functions prepare plain values; the page's template holds the markup.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_frcnn.drawing.charts import Part
from keras_frcnn.evaluation.analysis import breakdown
from keras_frcnn.evaluation.analysis.bootstrap import Interval
from keras_frcnn.evaluation.analysis.errors import ERRORS, MISSED, ErrorSplit, Kind
from keras_frcnn.evaluation.analysis.summary import Summary
from keras_frcnn.evaluation.metrics import coco, voc
from keras_frcnn.evaluation.report.error_kinds import COUNTED, MEANINGS, kind_name
from keras_frcnn.evaluation.report.formats import is_defined, percent, ratio

KIND_NAMES = (*map(kind_name, COUNTED), MISSED)
"""The kinds of detections that are counted, and the missed objects. Each name is also a color."""

KIND_LEGEND = tuple((name, name) for name in KIND_NAMES)

_MAX_CONFUSED = 20  # classes in the matrix
_NUM_PAIRS = 5  # pairs of confused classes in the sentence above the matrix
_INEXACT = "found inexactly or as another class"


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: The first cell.
        before: The numbers left of the bar.
        after: The numbers right of the bar.
        parts: The parts of the bar, if it is divided.
        length: The fraction of its cell that the bar fills if it is not divided; None for no bar.
        interval: The interval of that fraction, or None.
    """

    name: str
    before: Sequence[str] = ()
    after: Sequence[str] = ()
    parts: Sequence[Part] = ()
    length: float | None = None
    interval: Interval | None = None


def kind_parts(counts: Sequence[int], num_missed: int) -> list[Part]:
    """Returns the counted kinds of detections and the missed objects as parts of a bar."""
    values = [*(int(counts[kind]) for kind in COUNTED), int(num_missed)]
    named = zip(KIND_NAMES, values, strict=True)
    return [Part(f"{name}: {value:,}", name, value) for name, value in named]


def kinds(used: ErrorSplit, summary: Summary) -> dict[str, Any]:
    """Returns what became of all detections.

    Args:
        used: The detections to count.
        summary: The evaluation.

    Returns:
        ``parts`` of a bar; ``rows`` of (kind, meaning, numbers); ``figure``, the name of the figure
        whose gains are the last numbers.
    """
    parts = kind_parts(used.counts().sum(axis=0), used.num_missed().sum())
    rows = []
    for name, part in zip(KIND_NAMES, parts, strict=True):
        gain = summary.gains.get(name, math.nan)
        gain_cell = f"{100 * gain:+.1f}" if math.isfinite(gain) else ""
        meaning = MEANINGS[name].format(iou=used.iou_threshold)
        rows.append((name, meaning, (f"{part.value:,}", gain_cell)))
    figure = "AP50" if isinstance(summary.result, coco.Result) else "mAP (area)"
    return {"parts": parts, "rows": rows, "figure": figure}


def kinds_by_class(used: ErrorSplit) -> list[Row]:
    """Returns what became of the detections of each class."""
    rows = []
    of_classes = zip(used.truth.class_names, used.counts(), used.num_missed(), strict=True)
    for name, counts, num_missed in of_classes:
        parts = kind_parts(counts, num_missed)
        rows.append(Row(name, after=[f"{part.value:,}" for part in parts], parts=parts))
    return rows


def classes(used: ErrorSplit, summary: Summary) -> dict[str, Any]:
    """Returns the figures of each class.

    Returns:
        ``titles`` of the columns and ``rows``. The first figure has the bar.
    """
    counts, num_gt = used.counts(), used.num_gt()
    figures = _class_figures(summary.result)
    intervals = summary.intervals and summary.intervals.classes[figures[0][1]]
    rows = []
    for label, name in enumerate(used.truth.class_names):
        correct, wrong = counts[label, Kind.CORRECT], counts[label, ERRORS].sum()
        first, *others = (values[label] for _, _, values in figures)
        after = (
            *(percent(value, 1) for value in others),
            f"{num_gt[label]:,}",
            f"{correct + wrong:,}",
            percent(ratio(correct, correct + wrong), 1),
            percent(ratio(correct, num_gt[label]), 1),
        )
        interval = intervals[label] if intervals else None
        rows.append(
            Row(
                name,
                before=(percent(first, 1),),
                after=after,
                length=first if math.isfinite(first) else None,
                interval=interval if is_defined(interval) else None,
            )
        )
    first, *others = (title for title, _, _ in figures)
    titles = ("class", first, "", *others, "objects", "detections", "precision", "recall")
    return {"titles": titles, "rows": rows}


def sizes(used: ErrorSplit) -> dict[str, Any]:
    """Returns the results for small, medium and large objects and detections.

    Returns:
        ``legend`` of the bars and ``rows``.
    """
    rows = []
    for size in breakdown.by_size(used):
        inexact = size.num_gt - size.num_found - size.num_missed
        parts = [
            Part(f"found: {size.num_found:,}", "correct", size.num_found),
            Part(f"{_INEXACT}: {inexact:,}", "localisation", inexact),
            Part(f"{MISSED}: {size.num_missed:,}", MISSED, size.num_missed),
        ]
        after = (
            percent(ratio(size.num_found, size.num_gt), 1),
            f"{size.num_detections:,}",
            percent(ratio(size.num_correct, size.num_detections), 1),
        )
        rows.append(Row(size.name, before=(f"{size.num_gt:,}",), after=after, parts=parts))
    legend = [("correct", "found"), ("localisation", _INEXACT), (MISSED, MISSED)]
    return {"legend": legend, "rows": rows}


def confusions(used: ErrorSplit) -> dict[str, Any] | None:
    """Returns which classes are mistaken for which, or None if no object was confused.

    Returns:
        ``pairs`` of (count, actual class, detected class), most frequent first; the ``names`` of
        the classes in the matrix; its ``rows`` of (name, cells), with a cell for each class and one
        for missed objects; and whether the matrix is ``cut`` to the most confused classes. A cell
        is (count, color, strength of the color in percent).
    """
    taken = used.confusions().T  # rows: the true class, columns: the detected class
    if not taken.any():
        return None
    names = used.truth.class_names
    involved = taken.sum(axis=0) + taken.sum(axis=1)
    chosen = np.sort(np.argsort(-involved, kind="stable")[:_MAX_CONFUSED])
    chosen = chosen[involved[chosen] > 0]
    correct, missed = used.counts()[:, Kind.CORRECT], used.num_missed()
    rows = []
    for true in chosen:
        num_gt = max(1, used.num_gt()[true])
        cells = [
            _cell(correct[true], num_gt, "correct")
            if detected == true
            else _cell(taken[true, detected], num_gt, "confusion")
            for detected in chosen
        ]
        rows.append((names[true], [*cells, _cell(missed[true], num_gt, MISSED)]))
    most = np.argsort(-taken, axis=None, kind="stable")[:_NUM_PAIRS]
    pairs = [
        (f"{taken[true, detected]:,}", names[true], names[detected])
        for true, detected in zip(*np.unravel_index(most, taken.shape), strict=True)
        if taken[true, detected]
    ]
    return {
        "pairs": pairs,
        "names": [names[label] for label in chosen],
        "rows": rows,
        "cut": int(np.sum(involved > 0)) > len(chosen),
    }


def _class_figures(result: voc.Result | coco.Result) -> list[tuple[str, str, list[float]]]:
    """Returns title, name and values of each class's figures, the main figure first.

    The names are those of ``Intervals.classes``.
    """
    if isinstance(result, coco.Result):
        names = ("AP", "AP50", "AP75", "AR100")
        return [(name, name, [c.figures[name] for c in result.classes]) for name in names]
    return [
        ("AP area", "ap_area", [c.ap_area for c in result.classes]),
        ("AP 11-point", "ap_11point", [c.ap_11point for c in result.classes]),
    ]


def _cell(count: int, num_gt: int, color: str) -> tuple[int, str, int]:
    strength = round(100 * min(1.0, 0.12 + 0.6 * count / num_gt))
    return int(count), color, strength
