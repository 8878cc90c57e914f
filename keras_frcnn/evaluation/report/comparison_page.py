"""Two evaluations as one HTML page, complete in itself: what changed, in figures and images."""

import math
from collections.abc import Iterable
from pathlib import Path

from keras_frcnn.drawing import charts, page
from keras_frcnn.evaluation.analysis.bootstrap import LEVEL, Interval
from keras_frcnn.evaluation.analysis.comparison import Comparison
from keras_frcnn.evaluation.analysis.errors import ErrorSplit
from keras_frcnn.evaluation.report import (
    chart_sections,
    comparison_tables,
    error_sections,
    page_style,
)
from keras_frcnn.evaluation.report.comparison_tables import signed
from keras_frcnn.evaluation.report.error_sections import cells, percent, table
from keras_frcnn.evaluation.report.evaluation_page import card, name_of_data, section, used
from keras_frcnn.evaluation.report.judged_images import Gallery

FILE = "comparison.html"

_SHOWN = 6  # images at either end


def write(comparison: Comparison, path: Path) -> None:
    """Writes the page.

    Args:
        comparison: of ``evaluation.compare.compare``. A few images are read again.
        path: file to write.
    """
    works = [used(summary.errors) for summary in (comparison.before, comparison.after)]
    body = [
        *(f"<p>{letter}: {page.text(name)}</p>" for letter, name in _lettered(comparison.names)),
        _cards(comparison),
        f"<p>{page.text(comparison_tables.verdict(comparison))}</p>",
        section("classes", "Classes", "", _classes(comparison)),
        section(
            "errors",
            "What they do wrong",
            "Each from the score on that makes its F1 (of precision and recall) best: "
            + ", ".join(f"{letter} {work.score_threshold:.3g}" for letter, work in _lettered(works))
            + ".",
            _errors(works),
        ),
        section("curves", "Precision and recall", "", _curves(comparison)),
        _images(comparison, works),
    ]
    title = f"Comparison on {name_of_data(comparison.before)}"
    page.write(path, title, "\n".join(body), page_style.STYLE, page_style.SORT)


def _lettered(both: Iterable) -> Iterable[tuple]:
    return zip("AB", both, strict=True)


def _ends(interval: Interval) -> str:
    known = math.isfinite(interval.low)
    return f"{signed(interval.low, 1)} to {signed(interval.high, 1)}" if known else ""


def _cards(comparison: Comparison) -> str:
    (a, b), _ = comparison_tables.main_figure(comparison)
    *_, interval = comparison_tables.main_intervals(comparison)
    ends = _ends(interval)
    cards = [
        card(percent(a), "A, mAP", ""),
        card(percent(b), "B, mAP", ""),
        card(signed(b - a, 1), "B - A", f"{LEVEL:.0%}: {ends}" if ends else ""),
    ]
    return f'<div class="cards">{"".join(cards)}</div>'


def _classes(comparison: Comparison) -> str:
    rows = []
    *of_classes, _ = comparison_tables.main_intervals(comparison)
    figures = comparison_tables.figure_rows(comparison)
    for (name, a, b), interval in zip(figures, of_classes, strict=True):
        rows.append(
            f'<tr><td class="name">{page.text(name)}</td>'
            f"{cells(percent(a), percent(b), signed(b - a, 1))}{_bar(b - a, interval)}"
            f"{cells(_ends(interval))}</tr>"
        )
    titles = ("class", "A AP", "B AP", "B - A", "", f"{LEVEL:.0%} of B - A")
    return table(titles, rows, sortable=True)


def _bar(change: float, interval: Interval) -> str:
    """Returns a cell with a bar from its middle, to the right for the better."""
    if not math.isfinite(change):
        return '<td class="bars"></td>'
    color = "correct" if change > 0 else "background"
    left, right = 50 + 50 * min(change, 0), 50 - 50 * max(change, 0)
    bar = f'<span class="change {color}" style="left:{left:.1f}%;right:{right:.1f}%"></span>'
    if math.isfinite(interval.low):
        left, right = 50 + 50 * interval.low, 50 - 50 * interval.high
        bar += f'<span class="whisker" style="left:{left:.1f}%;right:{right:.1f}%"></span>'
    return f'<td class="bars"><div class="range middle">{bar}</div></td>'


def _errors(works: list[ErrorSplit]) -> str:
    both = [error_sections.kind_parts(w.counts().sum(axis=0), w.num_missed().sum()) for w in works]
    whole = max(sum(part.value for part in parts) for parts in both)
    bars = "".join(
        f'<div class="tall">{letter}{charts.stack(parts, whole)}</div>'
        for letter, parts in _lettered(both)
    )
    rows = [
        f'<tr><td><span class="swatch {a.color}"></span>{a.color}</td>'
        f"{cells(f'{a.value:,}', f'{b.value:,}', f'{b.value - a.value:+,}')}</tr>"
        for a, b in zip(*both, strict=True)
    ]
    return bars + table(("kind", "A", "B", "B - A"), rows)


def _curves(comparison: Comparison) -> str:
    drawn = []
    for summary, name, color in (
        (comparison.before, "A", "step1"),
        (comparison.after, "B", "step3"),
    ):
        for iou in list(dict.fromkeys(curve.iou for curve in summary.curves))[:1]:
            drawn += chart_sections.mean_curve(summary.curves, iou, f"{name}, IoU {iou}", color)
    return f'<div class="charts">{chart_sections.mean_chart(drawn)}</div>'


def _images(comparison: Comparison, works: list[ErrorSplit]) -> str:
    changed = comparison.changed_images()
    change = comparison.image_aps[1] - comparison.image_aps[0]
    records = comparison.before.dataset.records if comparison.before.dataset else []
    if not records:
        words = "Only annotations were read: their images are not there to be shown."
        return section("images", "Images", words, " ")
    galleries = [Gallery(work, records, share=0.5) for work in works]
    markup = [error_sections.legend(("ignored", "on an object that does not count"))]
    for title, rows in (
        ("Most improved", changed[change[changed] > 0][:_SHOWN]),
        ("Most worsened", changed[change[changed] < 0][::-1][:_SHOWN]),
    ):
        pairs = [
            "".join(gallery.whole(row, f"{letter}: ") for letter, gallery in _lettered(galleries))
            for row in rows.tolist()
        ]
        if pairs:
            figures = "".join(f'<div class="pair">{pair}</div>' for pair in pairs)
            markup.append(f'<h3>{title}</h3><div class="images pairs">{figures}</div>')
    words = f"{len(changed):,} of {len(change):,} changed; each image by A, then by B."
    return section("images", "Images", words, "".join(markup))
