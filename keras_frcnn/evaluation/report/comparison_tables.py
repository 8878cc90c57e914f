"""A comparison of two evaluations as tables for a terminal."""

from collections.abc import Iterable

import numpy as np
from rich.table import Table

from keras_frcnn.console import Console, plain
from keras_frcnn.evaluation.analysis.bootstrap import Interval
from keras_frcnn.evaluation.analysis.comparison import Comparison
from keras_frcnn.evaluation.analysis.errors import MISSED, Kind
from keras_frcnn.evaluation.metrics import voc
from keras_frcnn.evaluation.report.comparison_figures import (
    class_figures,
    difference_intervals,
    main_figure,
    verdict,
)
from keras_frcnn.evaluation.report.error_kinds import kind_name
from keras_frcnn.evaluation.report.formats import (
    LEVEL_TEXT,
    is_defined,
    percent,
    signed_percent,
)

_NUM_IMAGES = 5  # shown as most improved, and as many as most worsened


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Prints the figures of each class, the errors, and the images that changed most.

    Args:
        comparison: The comparison.
        console: Where to print; None for the standard output.
    """
    console = console or Console()
    for letter, name in zip("AB", comparison.names, strict=True):
        console.print(f"{letter}: {name}")
    console.print(_class_table(comparison))
    console.print(verdict(comparison), style="bold", soft_wrap=False)
    console.print(_error_table(comparison))
    a, b = (s.kept.score_threshold for s in (comparison.before, comparison.after))
    note = f"detections from the score on that gives the best F1: A {a:.3g}, B {b:.3g}"
    console.print(note, style="dim", soft_wrap=False)
    changed = comparison.changed_images()
    summary = f"{len(changed)} of {comparison.image_aps.shape[1]} images changed"
    console.print(summary, style="dim", soft_wrap=False)
    if len(changed):
        console.print(_image_table(comparison, changed))


def _class_table(comparison: Comparison) -> Table:
    table = Table(header_style="bold")
    table.add_column("class")
    figure = "AP area %" if isinstance(comparison.before.result, voc.Result) else "AP %"
    for title in (f"A {figure}", f"B {figure}", "B - A", f"{LEVEL_TEXT} of B - A"):
        table.add_column(title, justify="right")
    of_classes, of_mean = difference_intervals(comparison)
    for (name, a, b), interval in zip(class_figures(comparison), of_classes, strict=True):
        table.add_row(plain(name), *_cells(a, b, interval))
    table.add_section()
    (a, b), _ = main_figure(comparison)
    table.add_row("mean", *_cells(a, b, of_mean), style="bold")
    return table


def _cells(a: float, b: float, interval: Interval) -> Iterable[str]:
    ends = f"{signed_percent(interval.low)} to {signed_percent(interval.high)}"
    return percent(a), percent(b), signed_percent(b - a), ends if is_defined(interval) else "-"


def _error_table(comparison: Comparison) -> Table:
    table = Table(header_style="bold")
    table.add_column("detections")
    for title in ("A", "B", "B - A", "A gain %", "B gain %"):
        table.add_column(title, justify="right")
    splits = (comparison.before.kept, comparison.after.kept)
    counts = [split.counts().sum(axis=0).tolist() for split in splits]
    rows = [(kind_name(kind), *(of_split[kind] for of_split in counts)) for kind in Kind]
    rows.append((MISSED, *(int(split.num_missed().sum()) for split in splits)))
    for name, a, b in rows:
        gains = [s.gains.get(name) for s in (comparison.before, comparison.after)]
        gain_cells = ["" if gain is None else percent(gain) for gain in gains]
        title = "missed objects" if name == MISSED else name
        table.add_row(title, str(a), str(b), f"{b - a:+d}", *gain_cells)
    return table


def _image_table(comparison: Comparison, changed: np.ndarray) -> Table:
    table = Table(header_style="bold")
    table.add_column("image")
    for title in ("A AP %", "B AP %", "B - A"):
        table.add_column(title, justify="right")
    shown = changed
    if len(changed) > 2 * _NUM_IMAGES:
        shown = np.concatenate([changed[:_NUM_IMAGES], changed[-_NUM_IMAGES:]])
    image_ids = comparison.before.errors.truth.image_ids
    for number, row in enumerate(shown.tolist(), start=1):
        a, b = comparison.image_aps[:, row].tolist()
        is_gap = number == _NUM_IMAGES and len(shown) < len(changed)
        cells = (percent(a), percent(b), signed_percent(b - a))
        table.add_row(plain(str(image_ids[row])), *cells, end_section=is_gap)
    return table
