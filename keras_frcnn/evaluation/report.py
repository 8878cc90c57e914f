"""The result of an evaluation for people (a table) and for programs (JSON)."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_frcnn.evaluation import coco, voc

_COCO_COLUMNS = ("AP", "AP50", "AP75", "AR100")  # the others stand below, to fit a terminal


def print_table(result: voc.Result | coco.Result, console: Console | None = None) -> None:
    """Prints a result: one row a class, their mean, and below it what was measured.

    Args:
        result: of ``evaluation.voc.evaluate`` or ``evaluation.coco.evaluate``.
        console: where to print; by default the standard output.
    """
    console = console or Console()
    is_coco = isinstance(result, coco.Result)
    console.print(_coco_table(result) if is_coco else _voc_table(result))
    console.print(Text(_coco_summary(result) if is_coco else _voc_summary(result), style="dim"))


def to_json(
    result: voc.Result | coco.Result,
    path: str | Path,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Writes a result as JSON with sorted keys; APs are fractions of 1, null where undefined.

    Args:
        result: as in ``print_table``.
        path: file to write.
        settings: what the result depends on, stored with it under "settings": plain values, as
            ``Config.to_dict`` returns.
    """
    report = {**result.to_dict(), "settings": dict(settings or {})}
    text = json.dumps(_without_nan(report), sort_keys=True, indent=2, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def _voc_table(result: voc.Result) -> Table:
    return _table(
        ("AP 11-point %", "AP area %"),
        ((c, (c.ap_11point, c.ap_area)) for c in result.classes),
        (result.map_11point, result.map_area),
    )


def _coco_table(result: coco.Result) -> Table:
    return _table(
        [f"{name} %" for name in _COCO_COLUMNS],
        ((c, [c.figures[name] for name in _COCO_COLUMNS]) for c in result.classes),
        [result.figures[name] for name in _COCO_COLUMNS],
    )


def _table(
    titles: Iterable[str], rows: Iterable[tuple[Any, Iterable[float]]], means: Iterable[float]
) -> Table:
    """Makes the table of some figures from rows (class, its figures)."""
    table = Table(header_style="bold")
    table.add_column("class")
    for title in ("objects", "detections", *titles):
        table.add_column(title, justify="right")
    num_gt = num_detections = 0
    for c, figures in rows:
        # A class name is never read as markup.
        counts = (str(c.num_gt), str(c.num_detections))
        table.add_row(Text(c.name), *counts, *map(_percent, figures))
        num_gt += c.num_gt
        num_detections += c.num_detections
    table.add_section()
    table.add_row("mean", str(num_gt), str(num_detections), *map(_percent, means), style="bold")
    return table


def _voc_summary(result: voc.Result) -> str:
    metric = f"PASCAL VOC metric, IoU >= {result.iou_threshold:g}"
    return _summary(metric, result, f"{result.num_difficult} difficult objects ignored")


def _coco_summary(result: coco.Result) -> str:
    others = [
        f"{name} {_percent(value)}"
        for name, value in result.figures.items()
        if name not in _COCO_COLUMNS
    ]
    num_crowd = sum(c.num_crowd for c in result.classes)
    figures = ", ".join(others) + " (%; s, m, l: small, medium, large objects)"
    metric = "COCO metric, IoU 0.50 to 0.95"
    return f"{figures}\n{_summary(metric, result, f'{num_crowd} regions ignored')}"


def _summary(metric: str, result: voc.Result | coco.Result, ignored: str) -> str:
    parts = [
        metric,
        f"{result.num_pictures} pictures",
        f"{result.num_pictures_without_detections} without detections",
        ignored,
    ]
    num_classes = len(result.classes)
    num_with_gt = sum(c.num_gt > 0 for c in result.classes)
    if num_with_gt < num_classes:
        parts.append(f"mean of {num_with_gt} of {num_classes} classes, the others have no objects")
    return "; ".join(parts)


def _percent(fraction: float) -> str:
    return "-" if math.isnan(fraction) else f"{100 * fraction:.2f}"


def _without_nan(value: Any) -> Any:
    """Returns plain values with null for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
