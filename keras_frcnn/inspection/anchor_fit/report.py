"""The report of how well anchors fit: tables for the console, JSON for programs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from keras_frcnn import files
from keras_frcnn.console import Console, plain
from keras_frcnn.inspection.anchor_fit.fit import SIZES, Fit, count_numbers, format_numbers

GAIN = 0.01
"""The least improvement for which a suggestion is worth changing the settings."""

_KINDS = {
    "inside": "anchors inside the image",
    "all": "all, crossing the border too",
    "clipped": "all, clipped to the image",
}
_GROUPS = {
    "original_size": "size, original",
    "working_size": "size, resized",
    "class": "class",
}
_RANGES = {name: f">= {low} px" if np.isinf(high) else f"< {high} px" for name, low, high in SIZES}


def print_fit(fit: Fit, console: Console) -> None:
    """Prints all tables and the suggested flags.

    Args:
        fit: the results of ``fit.fit``.
        console: where to print.
    """
    console.print(_subject(fit), style="bold", soft_wrap=False)
    for table in (_anchors(fit), _groups(fit), _limits(fit), _working_sizes(fit)):
        console.print()
        console.print(table)
    console.print(f"\n{verdict(fit)}", style="bold", soft_wrap=False)
    console.print(fit.flags)


def write_json(fit: Fit, path: Path) -> None:
    """Writes all results as JSON with sorted keys."""
    text = json.dumps(fit.to_dict(), sort_keys=True, indent=2, allow_nan=False)
    files.write_text(path, text + "\n")


def verdict(fit: Fit) -> str:
    """Compares the chosen anchors with the suggested ones, in one sentence."""
    old, new = (
        f"{values['share_50']:.1%} at IoU 0.5, {values['share_70']:.1%} at 0.7, mean "
        f"{values['mean_iou']:.3f}"
        for values in (fit.kinds[fit.training], fit.suggested["training"])
    )
    chosen, suggested = (
        [count_numbers(anchors[name]) for name in ("scales", "ratios")]
        for anchors in (fit.chosen, fit.suggested)
    )
    number = f"{suggested[0]} scales x {suggested[1]} ratios"
    if chosen == suggested and fit.gain < GAIN:
        return f"The chosen anchors ({old}) are about as good as any {number}. The best found:"
    return f"The chosen anchors cover {old}; the best {number} found {new}:"


def _subject(fit: Fit) -> str:
    data, chosen = fit.data, fit.chosen
    left_out = data["difficult_left_out"]
    return (
        f"{data['objects']:,} objects in {data['images']:,} images of "
        f"{plain(', '.join(data['splits']))}, resized to {chosen['shorter_side']} / "
        f"{chosen['longer_side']}" + (f"; {left_out:,} difficult ones left out" if left_out else "")
    )


def _anchors(fit: Fit) -> Table:
    lines = [f"{name} {format_numbers(fit.chosen[name])}" for name in ("scales", "ratios")]
    strides = fit.chosen["strides"]
    lines.append(f"{'stride' if len(strides) == 1 else 'strides'} {format_numbers(strides)}")
    table = _table("\n".join(lines), _titles())
    for kind, values in fit.kinds.items():
        use = "proposals: " if kind == "clipped" else ""
        use = "training: " if kind == fit.training else use
        table.add_row(use + _KINDS[kind], *_cells(values))
    table.add_section()
    for use in ("training", "proposals"):
        table.add_row(f"{use}, with those suggested", *_cells(fit.suggested[use]))
    return table


def _groups(fit: Fit) -> Table:
    table = _table("objects by", ["number", *_titles("training"), *_titles("proposals")])
    for group, rows in fit.groups.items():
        table.add_section()
        table.add_row(_GROUPS[group], style="bold")
        for row in rows:
            name = row["name"] if group == "class" else f"{row['name']}, {_RANGES[row['name']]}"
            cells = [f"{row['training']['objects']:,}"]
            cells += [cell for use in ("training", "proposals") for cell in _cells(row[use])]
            table.add_row(f" {plain(name)}", *cells)
    return table


def _limits(fit: Fit) -> Table:
    smallest = "smallest " if len(fit.chosen["strides"]) > 1 else ""
    words = {
        "below_stride": f"have a side below the {smallest}stride, {fit.chosen['stride']} pixels",
        "forced_only": "have only anchors below --rpn_fg_iou_threshold",
        "below_background": "... and even below --rpn_bg_iou_threshold",
        "untouched": "are touched by no anchor that is used in training",
        "too_small": "no proposal can match (IoU 0.5), because of --min_size",
    }
    table = _table("objects that", ["number", "share"])
    for name, count in fit.limits.items():
        table.add_row(words[name], f"{count:,}", f"{count / fit.data['objects']:.1%}")
    return table


def _working_sizes(fit: Fit) -> Table:
    titles = [*_titles("training"), "below\nstride", "\npixels"]
    table = _table("with the chosen anchors,\nimages resized to", titles)
    own = next(row for row in fit.working_sizes if _sides(row) == _sides(fit.chosen))
    for row in fit.working_sizes:
        ending = [f"{row['share_below_stride']:.1%}", f"x {row['pixels'] / own['pixels']:.2g}"]
        style = "bold" if row is own else ""
        table.add_row(_sides(row), *_cells(row["training"]), *ending, style=style)
    return table


def _sides(values: dict[str, Any]) -> str:
    return f"{values['shorter_side']} / {values['longer_side']}"


def _titles(use: str = "") -> list[str]:
    return [f"{use}\n>= 0.5", "\n>= 0.7", "mean\nIoU"]


def _table(first: str, titles: list[str]) -> Table:
    table = Table(header_style="bold", box=box.SIMPLE, collapse_padding=True, show_edge=False)
    table.add_column(f"\n{first}" if "\n" not in first else first)
    for title in titles:
        table.add_column(title if "\n" in title else f"\n{title}", justify="right")
    return table


def _cells(values: dict[str, Any]) -> list[str]:
    if values["mean_iou"] is None:
        return ["-"] * 3
    return [f"{values['share_50']:.1%}", f"{values['share_70']:.1%}", f"{values['mean_iou']:.3f}"]
