"""The tables of an evaluation page: kinds of errors, classes, confused classes, object sizes.

These functions prepare plain values; the page's template holds the markup.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_frcnn.drawing.charts import Part
from keras_frcnn.evaluation.analysis import breakdown, confusion
from keras_frcnn.evaluation.analysis.bootstrap import Interval
from keras_frcnn.evaluation.analysis.errors import ERRORS, MISSED, ErrorSplit, Kind
from keras_frcnn.evaluation.analysis.summary import Summary
from keras_frcnn.evaluation.metrics import coco, voc
from keras_frcnn.evaluation.report.error_kinds import COUNTED, MEANINGS, kind_name
from keras_frcnn.evaluation.report.formats import is_defined, percent, ratio

KIND_NAMES = (*map(kind_name, COUNTED), MISSED)
"""The kinds of detections that are counted, and the missed objects. Each name is also a color."""

BACKGROUND = "background"
"""The row of detections without an object, and the column of objects without a detection."""

KIND_LEGEND = tuple((name, name) for name in KIND_NAMES)

_NUM_PAIRS = 5  # pairs of confused classes in the sentence above the matrix
_COCO_FIGURES = ("AP", "AP50", "AP75", "AR100")
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
        ``parts`` of a bar; ``rows`` of (kind, meaning, numbers: of these detections, of those of
        any score, the gain); ``figure``, the name of the figure whose gains these are.
    """
    parts, of_all = (
        kind_parts(split.counts().sum(axis=0), split.num_missed().sum())
        for split in (used, summary.errors)
    )
    rows = []
    for name, part, whole in zip(KIND_NAMES, parts, of_all, strict=True):
        gain = summary.gains.get(name, math.nan)
        gain_cell = f"{100 * gain:+.1f}" if math.isfinite(gain) else ""
        meaning = MEANINGS[name].format(iou=used.iou_threshold)
        rows.append((name, meaning, (f"{part.value:,}", f"{whole.value:,}", gain_cell)))
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
        ``titles`` of the columns, ``rows`` and the cells of the row of ``means``. The first
        figure has the bar.
    """
    counts, num_gt = used.counts(), used.num_gt()
    num_detections = summary.errors.counts().sum(axis=1)
    figures = _class_figures(summary.result)
    intervals = summary.intervals and summary.intervals.classes[figures[0][1]]
    rows = []
    for label, name in enumerate(used.truth.class_names):
        correct, wrong = counts[label, Kind.CORRECT], counts[label, ERRORS].sum()
        first, *others = (values[label] for _, _, values in figures)
        after = (
            *(percent(value, 1) for value in others),
            *_counts(num_gt[label], num_detections[label], correct, wrong),
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
    counted = ("objects", "detections", "kept", "precision", "recall")
    mean, *means = (percent(value, 1) for value in _means(summary.result))
    correct, wrong = counts[:, Kind.CORRECT].sum(), counts[:, ERRORS].sum()
    return {
        "titles": ("class", first, "", *others, *counted),
        "rows": rows,
        "means": [
            *("mean", mean, "", *means),
            *_counts(num_gt.sum(), num_detections.sum(), correct, wrong),
        ],
    }


def _counts(num_gt: int, num_detections: int, correct: int, wrong: int) -> tuple[str, ...]:
    return (
        f"{num_gt:,}",
        f"{num_detections:,}",
        f"{correct + wrong:,}",
        percent(ratio(correct, correct + wrong), 1),
        percent(ratio(correct, num_gt), 1),
    )


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


def confusions(used: ErrorSplit) -> dict[str, Any]:
    """Returns which classes are mistaken for which.

    Returns:
        ``pairs`` of (count, actual class, detected class), most frequent first; the ``names`` of
        the columns of the matrix; its ``rows`` of (name, cells); the name ``background``. The last
        row and column hold the sums, those before them the background. A cell is (text,
        color, strength of the color in percent).
    """
    matrix = confusion.confusion_matrix(used)
    mistaken = matrix[:-1, :-1].copy()
    np.fill_diagonal(mistaken, 0)
    names = used.truth.class_names
    most = np.argsort(-mistaken, axis=None, kind="stable")[:_NUM_PAIRS]
    pairs = [
        (f"{mistaken[true, detected]:,}", names[true], names[detected])
        for true, detected in zip(*np.unravel_index(most, mistaken.shape), strict=True)
        if mistaken[true, detected]
    ]
    num_classes, sums = len(names), matrix.sum(axis=1)
    rows = []
    for true, (counts, num_gt) in enumerate(zip(matrix.tolist(), sums.tolist(), strict=True)):
        colors = ["background" if true == num_classes else "confusion"] * num_classes + [MISSED]
        if true < num_classes:
            colors[true] = "correct"
        cells = [_cell(*of, num_gt) for of in zip(counts, colors, strict=True)]
        rows.append([*cells, _sum(num_gt)])
    rows.append([*map(_sum, matrix.sum(axis=0).tolist()), _sum(int(matrix.sum()))])
    background, total = (_apart_from(names, word) for word in (BACKGROUND, "sum"))
    names = [*names, background, total]
    rows = list(zip(names, rows, strict=True))
    return {"pairs": pairs, "names": names, "rows": rows, "background": background}


def _class_figures(result: voc.Result | coco.Result) -> list[tuple[str, str, list[float]]]:
    """Returns title, name and values of each class's figures, the main figure first.

    The names are those of ``Intervals.classes``.
    """
    if isinstance(result, coco.Result):
        of_classes = [c.figures for c in result.classes]
        return [(name, name, [f[name] for f in of_classes]) for name in _COCO_FIGURES]
    return [
        ("AP area", "ap_area", [c.ap_area for c in result.classes]),
        ("AP 11-point", "ap_11point", [c.ap_11point for c in result.classes]),
    ]


def _means(result: voc.Result | coco.Result) -> list[float]:
    """Returns the means of the figures of ``_class_figures``."""
    if isinstance(result, coco.Result):
        return [result.figures[name] for name in _COCO_FIGURES]
    return [result.map_area, result.map_11point]


def _cell(count: int, color: str, num_gt: int) -> tuple[str, str, int]:
    strength = round(100 * min(0.5, 0.1 + 0.4 * count / max(1, num_gt)))
    return f"{count:,}" if count else "", color, strength


def _apart_from(names: Sequence[str], word: str) -> str:
    """Returns a word, in parentheses if it is also the name of a class."""
    return f"({word})" if word in {name.lower() for name in names} else word


def _sum(count: int) -> tuple[str, str, int]:
    return f"{count:,}", "", 0
