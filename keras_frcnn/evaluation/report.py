"""The result of an evaluation for people (a table) and for programs (JSON)."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_frcnn.evaluation.voc import Result


def print_table(result: Result, console: Console | None = None) -> None:
    """Prints a result: one row a class, their mean, and below it what was measured.

    Args:
        result: of ``evaluation.voc.evaluate``.
        console: where to print; by default the standard output.
    """
    console = console or Console()
    console.print(_table(result))
    console.print(Text(_summary(result), style="dim"))


def to_json(result: Result, path: str | Path, settings: Mapping[str, Any] | None = None) -> None:
    """Writes a result as JSON with sorted keys; APs are fractions of 1, null where undefined.

    Args:
        result: of ``evaluation.voc.evaluate``.
        path: file to write.
        settings: what the result depends on, stored with it under "settings": plain values, as
            ``Config.to_dict`` returns.
    """
    report = {**result.to_dict(), "settings": dict(settings or {})}
    text = json.dumps(_without_nan(report), sort_keys=True, indent=2, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def _table(result: Result) -> Table:
    table = Table(header_style="bold")
    table.add_column("class")
    for title in ("objects", "detections", "AP 11-point %", "AP area %"):
        table.add_column(title, justify="right")
    for c in result.classes:
        # A class name is never read as markup.
        table.add_row(
            Text(c.name),
            str(c.num_gt),
            str(c.num_detections),
            _percent(c.ap_11point),
            _percent(c.ap_area),
        )
    table.add_section()
    table.add_row(
        "mean",
        str(sum(c.num_gt for c in result.classes)),
        str(sum(c.num_detections for c in result.classes)),
        _percent(result.map_11point),
        _percent(result.map_area),
        style="bold",
    )
    return table


def _summary(result: Result) -> str:
    parts = [
        f"PASCAL VOC metric, IoU >= {result.iou_threshold:g}",
        f"{result.num_pictures} pictures",
        f"{result.num_pictures_without_detections} without detections",
        f"{result.num_difficult} difficult objects ignored",
    ]
    if result.num_classes_without_gt:
        num_classes = len(result.classes)
        num_with_gt = num_classes - result.num_classes_without_gt
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
