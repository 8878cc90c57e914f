"""A comparison of two evaluations as tables for a terminal and as files for programs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_frcnn.evaluation.analysis import bootstrap
from keras_frcnn.evaluation.analysis.comparison import Comparison
from keras_frcnn.evaluation.analysis.errors import MISSED, Kind
from keras_frcnn.evaluation.metrics import voc
from keras_frcnn.evaluation.report import files
from keras_frcnn.evaluation.report.console import percent

_CLASS_FIGURES = dict((*bootstrap.VOC_FIGURES, *bootstrap.COCO_FIGURES))
_SHOWN_IMAGES = 5  # at either end


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Prints the figures of each class, the errors and the images that changed most.

    Args:
        comparison: what to print.
        console: where to print; by default the standard output.
    """
    console = console or Console()
    for letter, name in zip("AB", comparison.names, strict=True):
        console.print(Text(f"{letter}: {name}"))
    console.print(_class_table(comparison))
    console.print(Text(verdict(comparison), style="bold"))
    console.print(_error_table(comparison))
    changed = comparison.changed_images()
    words = f"{len(changed)} of {comparison.image_aps.shape[1]} images changed"
    console.print(Text(words, style="dim"))
    if len(changed):
        console.print(_image_table(comparison, changed))


def write(comparison: Comparison, folder: str | Path) -> list[str]:
    """Writes comparison.json, comparison_per_class.csv and comparison_images.csv.

    Args:
        comparison: what to write.
        folder: where to; made if it is missing.

    Returns:
        The names of the files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = ["comparison.json", "comparison_per_class.csv", "comparison_images.csv"]
    files.write_json(to_dict(comparison), folder / names[0])
    files.write_csv(_class_rows(comparison), folder / names[1])
    files.write_csv(_image_rows(comparison), folder / names[2])
    return names


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """Returns a comparison as plain values, NaN where undefined; differences are B less A."""
    rows, (mean, mean_name) = figure_rows(comparison), main_figure(comparison)
    both = (comparison.before, comparison.after)
    class_names = comparison.before.errors.truth.class_names
    return {
        "A": {"name": comparison.names[0], **files.to_dict(both[0])},
        "B": {"name": comparison.names[1], **files.to_dict(both[1])},
        "figure": mean_name,
        "difference": mean[1] - mean[0],
        "differences": {name: b - a for name, a, b in rows},
        "intervals": files.intervals_to_dict(comparison.differences, class_names),
        "images": [
            dict(zip(("image_id", "ap_A", "ap_B"), row, strict=True))
            for row in list(_image_rows(comparison))[1:]
        ],
    }


def main_figure(comparison: Comparison) -> tuple[tuple[float, float], str]:
    """Returns the main figure of both and its name."""
    results = (comparison.before.result, comparison.after.result)
    if isinstance(results[0], voc.Result):
        return (results[0].map_area, results[1].map_area), "map_area"
    return (results[0].figures["AP"], results[1].figures["AP"]), "AP"


def figure_rows(comparison: Comparison) -> list[tuple[str, float, float]]:
    """Returns each class and its main figure in both."""
    some, others = comparison.before.result.classes, comparison.after.result.classes
    if isinstance(comparison.before.result, voc.Result):
        return [(a.name, a.ap_area, b.ap_area) for a, b in zip(some, others, strict=True)]
    return [(a.name, a.figures["AP"], b.figures["AP"]) for a, b in zip(some, others, strict=True)]


def main_intervals(comparison: Comparison) -> list[bootstrap.Interval]:
    """Returns the intervals of the main figure's differences: of the classes, then of the mean."""
    nothing = bootstrap.Interval(float("nan"), float("nan"))
    rows, differences = figure_rows(comparison), comparison.differences
    if differences is None:
        return [nothing] * (len(rows) + 1)
    _, mean_name = main_figure(comparison)
    return [*differences.classes[_CLASS_FIGURES[mean_name]], differences.means[mean_name]]


def _class_table(comparison: Comparison) -> Table:
    table = Table(header_style="bold")
    table.add_column("class")
    figure = "AP area %" if isinstance(comparison.before.result, voc.Result) else "AP %"
    for title in (f"A {figure}", f"B {figure}", "B - A", f"{bootstrap.LEVEL:.0%} of B - A"):
        table.add_column(title, justify="right")
    *of_classes, of_mean = main_intervals(comparison)
    for (name, a, b), interval in zip(figure_rows(comparison), of_classes, strict=True):
        table.add_row(Text(name), *_cells(a, b, interval))
    table.add_section()
    (a, b), _ = main_figure(comparison)
    table.add_row("mean", *_cells(a, b, of_mean), style="bold")
    return table


def _cells(a: float, b: float, interval: bootstrap.Interval) -> Iterable[str]:
    ends = f"{signed(interval.low)} to {signed(interval.high)}"
    return percent(a), percent(b), signed(b - a), ends if interval.low == interval.low else "-"


def signed(fraction: float, digits: int = 2) -> str:
    """Returns a difference of fractions in percent; a dash where it is undefined."""
    return "-" if fraction != fraction else f"{100 * fraction:+.{digits}f}"


def verdict(comparison: Comparison) -> str:
    """Returns a sentence: which is better, as far as the interval of the difference tells."""
    interval = main_intervals(comparison)[-1]
    if interval.low != interval.low:
        return "No interval of the difference."
    if interval.low > 0:
        return "B is better than A: the interval of the difference lies above 0."
    if interval.high < 0:
        return "B is worse than A: the interval of the difference lies below 0."
    return "These images do not tell which is better: the interval of the difference holds 0."


def _error_table(comparison: Comparison) -> Table:
    table = Table(header_style="bold")
    table.add_column("detections")
    for title in ("A", "B", "B - A", "A gain %", "B gain %"):
        table.add_column(title, justify="right")
    splits = (comparison.before.errors, comparison.after.errors)
    counts = [split.counts().sum(axis=0).tolist() for split in splits]
    rows = [(kind.name.lower(), *(of[kind] for of in counts)) for kind in Kind]
    rows.append((MISSED, *(int(split.num_missed().sum()) for split in splits)))
    for name, a, b in rows:
        gains = [s.gains.get(name) for s in (comparison.before, comparison.after)]
        words = ["" if gain is None else percent(gain) for gain in gains]
        table.add_row(
            "missed objects" if name == MISSED else name, str(a), str(b), f"{b - a:+d}", *words
        )
    return table


def _image_table(comparison: Comparison, changed: np.ndarray) -> Table:
    table = Table(header_style="bold")
    table.add_column("image")
    for title in ("A AP %", "B AP %", "B - A"):
        table.add_column(title, justify="right")
    ends = changed
    if len(changed) > 2 * _SHOWN_IMAGES:
        ends = np.concatenate([changed[:_SHOWN_IMAGES], changed[-_SHOWN_IMAGES:]])
    image_ids = comparison.before.errors.truth.image_ids
    for place, row in enumerate(ends.tolist()):
        a, b = comparison.image_aps[:, row].tolist()
        last = place + 1 == _SHOWN_IMAGES and len(ends) < len(changed)
        words = (percent(a), percent(b), signed(b - a))
        table.add_row(Text(str(image_ids[row])), *words, end_section=last)
    return table


def _class_rows(comparison: Comparison) -> Iterable[list]:
    figure = _CLASS_FIGURES[main_figure(comparison)[1]]
    yield ["class", f"{figure}_A", f"{figure}_B", "difference", "difference_low", "difference_high"]
    for (name, a, b), interval in zip(
        figure_rows(comparison), main_intervals(comparison)[:-1], strict=True
    ):
        yield [name, a, b, b - a, interval.low, interval.high]


def _image_rows(comparison: Comparison) -> Iterable[list]:
    """Returns the images that changed, the most improved first."""
    yield ["image_id", "ap_A", "ap_B"]
    image_ids = comparison.before.errors.truth.image_ids
    for row in comparison.changed_images().tolist():
        yield [image_ids[row], *comparison.image_aps[:, row].tolist()]
