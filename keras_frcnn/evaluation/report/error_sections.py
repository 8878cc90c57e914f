"""Sections of the evaluation's page with tables: kinds of errors, classes, confusions, sizes."""

import functools
import math
from collections.abc import Sequence

import numpy as np

from keras_frcnn.drawing import charts, page
from keras_frcnn.drawing.charts import Part
from keras_frcnn.evaluation.analysis import breakdown
from keras_frcnn.evaluation.analysis.bootstrap import Interval
from keras_frcnn.evaluation.analysis.errors import ERRORS, MISSED, ErrorSplit, Kind
from keras_frcnn.evaluation.analysis.summary import Summary
from keras_frcnn.evaluation.metrics import coco, voc
from keras_frcnn.evaluation.report import console

percent = functools.partial(console.percent, digits=1)
"""A fraction in percent: the intervals are far wider than a second digit."""

SHOWN = (Kind.CORRECT, *ERRORS)
"""The kinds of detections that are counted."""

_WORDS = {
    "correct": "the right class on an object, the first to find it",
    "localisation": "the right class near an object, but IoU only 0.1 to {iou:g}",
    "confusion": "on an object, but of another class",
    "both": "near an object of another class, IoU 0.1 to {iou:g}",
    "duplicate": "the right class on an object that a better detection found",
    "background": "on nothing that is annotated",
    "missed": "an object with neither a right detection nor one that is near or confused",
}
_NEARLY = "found badly or as another class"
_MOST_CONFUSED = 20  # classes of the matrix
_LISTED = 5  # pairs in words


def kind_name(kind: Kind) -> str:
    """Returns the name of a kind, which is its color's too."""
    return kind.name.lower()


def class_figures(result: voc.Result | coco.Result) -> dict[str, tuple[str, list[float]]]:
    """Returns the figures of each class, the one to compare by first.

    Returns:
        By title: the figure's name, as in ``Intervals.classes``, and its values.
    """
    if isinstance(result, coco.Result):
        names = ("AP", "AP50", "AP75", "AR100")
        return {name: (name, [c.figures[name] for c in result.classes]) for name in names}
    return {
        "AP area": ("ap_area", [c.ap_area for c in result.classes]),
        "AP 11-point": ("ap_11point", [c.ap_11point for c in result.classes]),
    }


def between(interval: Interval) -> str:
    """Returns an interval in percent."""
    return f"{percent(interval.low)} to {percent(interval.high)}"


def share(part: float, whole: float) -> float:
    """Returns a part of a whole; NaN of nothing."""
    return part / whole if whole else math.nan


def cells(*values: str) -> str:
    """Returns cells of numbers; what is nothing is dim."""
    return "".join(
        f'<td class="number{" dim" * (value in ("0", "0.0", "-"))}">{value}</td>'
        for value in values
    )


def table(titles: Sequence[str], rows: Sequence[str], sortable: bool = False) -> str:
    """Returns a table.

    Args:
        titles: of the columns, the first of names, the others of numbers; "": of bars.
        rows: markup.
        sortable: whether it can be sorted, by the page's script.
    """
    first, *others = titles
    heads = "".join(
        f'<th scope="col" class="number">{title}</th>' if title else '<td class="bars"></td>'
        for title in others
    )
    return (
        f'<div class="scroll"><table{" class=sortable" * sortable}><thead><tr><th scope="col">'
        f"{first}</th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def legend(*more: tuple[str, str]) -> str:
    """Returns the names of the colors of the kinds, and of more pairs (color, plain text)."""
    return charts.legend([*((name, name) for name in (*map(kind_name, SHOWN), MISSED)), *more])


def kinds_table(work: ErrorSplit, summary: Summary) -> str:
    """Returns the table of what became of the detections, each kind explained."""
    parts = kind_parts(work.counts().sum(axis=0), work.num_missed().sum())
    rows = []
    for part in parts:
        gain = summary.gains.get(part.color, math.nan)
        gained = f"{100 * gain:+.1f}" if math.isfinite(gain) else ""
        words = _WORDS[part.color].format(iou=work.iou_threshold)
        rows.append(
            f'<tr><td class="words"><span class="kind"><span class="swatch {part.color}"></span>'
            f'{part.color}</span> <span class="dim">{words}</span></td>'
            f"{cells(f'{part.value:,}', gained)}</tr>"
        )
    figure = "AP50" if isinstance(summary.result, coco.Result) else "mAP (area)"
    bar = charts.stack(parts, sum(part.value for part in parts))
    titles = ("kind", "number", f"{figure} if mended")
    return f'<div class="tall">{bar}</div>{table(titles, rows)}'


def kinds_by_class(work: ErrorSplit) -> str:
    """Returns the table of the kinds of each class, with bars."""
    rows = []
    of_classes = zip(work.truth.class_names, work.counts(), work.num_missed(), strict=True)
    for name, counts, missed in of_classes:
        parts = kind_parts(counts, missed)
        bar = charts.stack(parts, sum(part.value for part in parts))
        rows.append(
            f'<tr><td class="name">{page.text(name)}</td><td class="bars">{bar}</td>'
            f"{cells(*(f'{part.value:,}' for part in parts))}</tr>"
        )
    titles = ("class", "", *map(kind_name, SHOWN), MISSED)
    return legend() + table(titles, rows, sortable=True)


def kind_parts(counts: Sequence[int], missed: int) -> list[Part]:
    """Returns the kinds that are counted, and the missed objects, as parts of a bar."""
    values = [(kind_name(kind), int(counts[kind])) for kind in SHOWN] + [(MISSED, int(missed))]
    return [Part(f"{name}: {value:,}", name, value) for name, value in values]


def classes_table(work: ErrorSplit, summary: Summary) -> str:
    """Returns the table of the figures of each class."""
    counts, num_gt = work.counts(), work.num_gt()
    figures = class_figures(summary.result)
    first, *others = figures
    intervals = summary.intervals and summary.intervals.classes[figures[first][0]]
    rows = []
    for label, name in enumerate(work.truth.class_names):
        correct, wrong = counts[label, Kind.CORRECT], counts[label, ERRORS].sum()
        values = [column[label] for _, column in figures.values()]
        bar = _bar(values[0], intervals[label] if intervals else None)
        numbers = (
            f"{num_gt[label]:,}",
            f"{correct + wrong:,}",
            percent(share(correct, correct + wrong)),
            percent(share(correct, num_gt[label])),
        )
        rows.append(
            f'<tr><td class="name">{page.text(name)}</td>{cells(percent(values[0]))}{bar}'
            f"{cells(*map(percent, values[1:]), *numbers)}</tr>"
        )
    titles = ("class", first, "", *others, "objects", "detections", "precision", "recall")
    return table(titles, rows, sortable=True)


def _bar(value: float, interval: Interval | None) -> str:
    """Returns a cell with a bar as long as a fraction, and a line over its interval."""
    if not math.isfinite(value):
        return '<td class="bars"></td>'
    line = words = ""
    if interval is not None and math.isfinite(interval.low):
        place = f"left:{100 * interval.low:.1f}%;right:{100 * (1 - interval.high):.1f}%"
        line = f'<span class="whisker" style="{place}"></span>'
        words = f' title="{between(interval)}"'
    bar = f'<span class="bar" style="width:{100 * value:.1f}%"></span>'
    return f'<td class="bars"><div class="range"{words}>{bar}{line}</div></td>'


def sizes_table(work: ErrorSplit) -> str:
    """Returns the table of small, medium and large objects."""
    rows = []
    for size in breakdown.by_size(work):
        near = size.num_gt - size.num_found - size.num_missed
        parts = [
            Part(f"found: {size.num_found:,}", "correct", size.num_found),
            Part(f"{_NEARLY}: {near:,}", "localisation", near),
            Part(f"{MISSED}: {size.num_missed:,}", MISSED, size.num_missed),
        ]
        numbers = (
            percent(share(size.num_found, size.num_gt)),
            f"{size.num_detections:,}",
            percent(share(size.num_correct, size.num_detections)),
        )
        rows.append(
            f"<tr><td>{size.name}</td>{cells(f'{size.num_gt:,}')}"
            f'<td class="bars">{charts.stack(parts, size.num_gt)}</td>{cells(*numbers)}</tr>'
        )
    entries = [("correct", "found"), ("localisation", _NEARLY), (MISSED, MISSED)]
    titles = ("size", "objects", "", "recall", "detections", "precision")
    return charts.legend(entries) + table(titles, rows)


def confusion_matrix(work: ErrorSplit) -> str:
    """Returns which classes are taken for which; empty if there is one class or no confusion."""
    taken = work.confusions().T  # rows: what the object is, columns: what is said
    if not taken.any():
        return ""
    names = work.truth.class_names
    involved = taken.sum(axis=0) + taken.sum(axis=1)
    chosen = np.sort(np.argsort(-involved, kind="stable")[:_MOST_CONFUSED])
    chosen = chosen[involved[chosen] > 0]
    found = work.counts()[:, Kind.CORRECT]
    missed = work.num_missed()
    rows = []
    for true in chosen:
        whole = max(1, work.num_gt()[true])
        row = []
        for said in chosen:
            count = found[true] if said == true else taken[true, said]
            color = "correct" if said == true else "confusion"
            row.append(_shaded(int(count), count / whole, color))
        row.append(_shaded(int(missed[true]), missed[true] / whole, MISSED))
        rows.append(f'<tr><th scope="row">{page.text(names[true])}</th>{"".join(row)}</tr>')
    columns = "".join(f'<th scope="col">{page.text(names[said])}</th>' for said in chosen)
    pairs = np.argsort(-taken, axis=None, kind="stable")[:_LISTED]
    listed = [
        f"{taken[true, said]:,} {page.text(names[true])} taken for {page.text(names[said])}"
        for true, said in zip(*np.unravel_index(pairs, taken.shape), strict=True)
        if taken[true, said]
    ]
    left_out = int(np.sum(involved > 0)) - len(chosen)
    more = f" Shown are the {len(chosen)} classes with most confusions." if left_out else ""
    return (
        f"<p>Most often: {'; '.join(listed)}.</p>"
        '<p class="dim">Rows: what an object is. Columns: what was said of it; on the diagonal it '
        f"was found.{more}</p>"
        f'<div class="scroll"><table class="matrix"><thead><tr><td></td>{columns}'
        f'<th scope="col">missed</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _shaded(count: int, part: float, color: str) -> str:
    if not count:
        return "<td></td>"
    strength = round(100 * min(1.0, 0.12 + 0.6 * part))
    shade = f"color-mix(in srgb, var(--{color}) {strength}%, transparent)"
    return f'<td style="background:{shade}">{count:,}</td>'
