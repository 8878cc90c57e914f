"""The page of a comparison of two evaluations: what changed, in figures and in images."""

import math
from pathlib import Path
from typing import Any

from keras_frcnn.drawing import page
from keras_frcnn.drawing.gallery import Figure, Gallery
from keras_frcnn.evaluation.analysis.bootstrap import Interval
from keras_frcnn.evaluation.analysis.comparison import Comparison
from keras_frcnn.evaluation.analysis.errors import ErrorSplit
from keras_frcnn.evaluation.report import comparison_figures
from keras_frcnn.evaluation.report.error_kinds import COLORS
from keras_frcnn.evaluation.report.formats import (
    LEVEL_TEXT,
    is_defined,
    percent,
    signed_percent,
)
from keras_frcnn.evaluation.report.pages import evaluation_charts, evaluation_tables
from keras_frcnn.evaluation.report.pages.evaluation_page import card, data_name
from keras_frcnn.evaluation.report.pages.image_gallery import ErrorImages

FILE = "comparison.html"
"""The usual name of the file."""

_TEMPLATE = "evaluation/report/pages/templates/comparison.html"
_NUM_IMAGES = 6  # shown as most improved, and as many as most worsened


def write(comparison: Comparison, path: Path) -> None:
    """Writes the page.

    Args:
        comparison: The comparison. Some images of its dataset are read again.
        path: The file to write.
    """
    used = [summary.kept for summary in (comparison.before, comparison.after)]
    groups = _groups(comparison, used, Gallery(path))
    page.write(
        path,
        _TEMPLATE,
        title=f"Comparison on {data_name(comparison.before)}",
        colors=COLORS,
        names=list(zip("AB", comparison.names, strict=True)),
        cards=_cards(comparison),
        verdict=comparison_figures.verdict(comparison),
        level=LEVEL_TEXT,
        classes=_classes(comparison),
        scores=[(letter, f"{split.score_threshold:.3g}") for letter, split in _lettered(used)],
        **_kinds(used),
        curve_figure=_curves(comparison),
        legend=evaluation_tables.KIND_LEGEND,
        has_images=groups is not None,
        num_changed=f"{len(comparison.changed_images()):,}",
        num_images=f"{comparison.image_aps.shape[1]:,}",
        groups=groups or [],
    )


def _lettered(both: list) -> list[tuple[str, Any]]:
    return list(zip("AB", both, strict=True))


def _ends(interval: Interval) -> str:
    if not is_defined(interval):
        return ""
    return f"{signed_percent(interval.low, 1)} to {signed_percent(interval.high, 1)}"


def _cards(comparison: Comparison) -> list[dict[str, str]]:
    (a, b), _ = comparison_figures.main_figure(comparison)
    _, interval = comparison_figures.difference_intervals(comparison)
    ends = _ends(interval)
    return [
        card(percent(a, 1), "A, mAP"),
        card(percent(b, 1), "B, mAP"),
        card(signed_percent(b - a, 1), "B - A", f"{LEVEL_TEXT}: {ends}" if ends else ""),
    ]


def _classes(comparison: Comparison) -> list[dict[str, Any]]:
    """Returns the rows of the table of classes; the bar of a row starts in its middle."""
    rows = []
    intervals, _ = comparison_figures.difference_intervals(comparison)
    figures = comparison_figures.class_figures(comparison)
    for (name, a, b), interval in zip(figures, intervals, strict=True):
        change = b - a
        rows.append(
            {
                "name": name,
                "before": (percent(a, 1), percent(b, 1), signed_percent(change, 1)),
                "after": (_ends(interval),),
                "change": change if math.isfinite(change) else None,
                "interval": interval if is_defined(interval) else None,
            }
        )
    return rows


def _kinds(used: list[ErrorSplit]) -> dict[str, Any]:
    """Returns a bar for each evaluation and the rows of the table of kinds."""
    both = [
        evaluation_tables.kind_parts(split.counts().sum(axis=0), split.num_missed().sum())
        for split in used
    ]
    rows = [
        (a.color, (f"{a.value:,}", f"{b.value:,}", f"{b.value - a.value:+,}"))
        for a, b in zip(*both, strict=True)
    ]
    longest = max(sum(part.value for part in parts) for parts in both)
    return {"kind_bars": _lettered(both), "kind_rows": rows, "longest_bar": longest}


def _curves(comparison: Comparison) -> evaluation_charts.Figure:
    lines = []
    summaries = (comparison.before, comparison.after)
    for (letter, summary), color in zip(_lettered(summaries), ("step1", "step3"), strict=True):
        if summary.curves:
            iou = summary.curves[0].iou
            name = f"{letter}, IoU {iou}"
            lines += evaluation_charts.mean_lines(summary.curves, iou, name, color)
    return evaluation_charts.mean_figure(lines)


def _groups(
    comparison: Comparison, used: list[ErrorSplit], gallery: Gallery
) -> list[tuple[str, list[list[Figure]]]] | None:
    """Returns the titles and the pairs of images of each group; None if there are no images."""
    records = comparison.before.dataset.records if comparison.before.dataset else []
    if not records:
        return None
    changed = comparison.changed_images()
    change = (comparison.image_aps[1] - comparison.image_aps[0])[changed]
    both = [ErrorImages(split, records, gallery) for split in used]
    groups = []
    for title, rows in (
        ("Most improved", changed[change > 0][:_NUM_IMAGES]),
        ("Most worsened", changed[change < 0][::-1][:_NUM_IMAGES]),
    ):
        pairs = [
            [images.whole_image(row, f"{letter}: ") for letter, images in _lettered(both)]
            for row in rows.tolist()
        ]
        if pairs:
            groups.append((title, pairs))
    return groups
