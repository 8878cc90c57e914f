"""How well the anchors of the settings fit the objects of a data set, and which would fit better.

The RPN learns from the anchors inside the image (or from all, by ``rpn_border_anchors``); proposals
come from all anchors and are clipped to the image. So every figure is given for both, "training"
and "proposals". The figures of "proposals" assume that regression moves no anchor.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_frcnn.config import Config
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.inspection.anchor_fit import search
from keras_frcnn.inspection.anchor_fit.best_iou import (
    LevelShapes,
    Objects,
    Scales,
    anchor_grids,
    are_by_level,
    best_iou,
    layout_of,
    objects_of,
)

SIZES = (("small", 0, 32), ("medium", 32, 96), ("large", 96, np.inf))
"""The name of each size, and its range as square roots of areas in pixels."""

WORKING_SIZES = (0.5, 0.75, 1.0, 1.5, 2.0)
"""The sizes of images that are compared, as factors of the chosen one."""

Anchors = tuple[Scales, Sequence[float]]  # scales, ratios


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """The results, as plain values that JSON can hold.

    A *coverage* is ``{"objects", "mean_iou", "share_50", "share_70"}``. The shares count the
    objects whose best IoU is at least 0.5 and 0.7. Without objects, all values but their number are
    None.

    Attributes:
        data: numbers of images, of objects and of difficult objects that were left out; the splits.
        chosen: the scales and ratios of the settings, the strides of the feature levels, the
            smallest of them as "stride", and the sides of the images.
        kinds: the coverage by each kind of anchors, "inside", "all" and "clipped", see
            ``best_iou``.
        training: the kind of anchors that the RPN learns from.
        groups: for "original_size", "working_size" and "class" one row for each group: its name and
            its coverage in "training" and by "proposals".
        limits: numbers of objects that the RPN has difficulties with, by reason.
        suggested: scales, ratios, and their coverage in "training" and by "proposals".
        working_sizes: the results for other image sizes: the sides, the coverage in "training", the
            share of objects below the smallest stride and the pixels per image.
    """

    data: dict[str, Any]
    chosen: dict[str, Any]
    kinds: dict[str, dict]
    training: str
    groups: dict[str, list[dict]]
    limits: dict[str, int]
    suggested: dict[str, Any]
    working_sizes: list[dict]

    @property
    def flags(self) -> str:
        """The suggested anchors as flags of the command line."""
        return " ".join(
            f"--{name}={format_numbers(self.suggested[name], ',', ',')}"
            for name in ("scales", "ratios")
        )

    @property
    def gain(self) -> float:
        """The improvement by the suggestion, 0 to 1, in the figure that the search maximises."""
        names = ("mean_iou", "share_50", "share_70")
        new, old = self.suggested["training"], self.kinds[self.training]
        return sum(new[name] - old[name] for name in names) / len(names)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything, for JSON."""
        return {**dataclasses.asdict(self), "flags": self.flags, "gain": self.gain}


def fit(
    dataset: Dataset,
    config: Config,
    strides: Sequence[int],
    level_shapes: LevelShapes,
    num_scales: int = 0,
    num_ratios: int = 0,
) -> Fit:
    """Measures the anchors of the settings, and searches for better ones.

    Args:
        dataset: the images.
        config: settings of the data, model and rpn groups.
        strides: the stride of each of the backbone's feature levels.
        level_shapes: the backbone's method of this name.
        num_scales: number of scales to suggest, per level if levels have their own; 0: as many as
            the settings have.
        num_ratios: number of ratios to suggest; 0: as many as the settings have.

    Returns:
        The results.

    Raises:
        ValueError: if there are no objects to learn from, or if more scales or ratios are asked for
            than there are to choose from.
    """
    keeps_difficult = config.difficult == "keep"
    difficult = sum(int(np.sum(record.difficult)) for record in dataset.records)

    def at(shorter_side: int, longer_side: int) -> Objects:
        sides = shorter_side, longer_side
        rules = keeps_difficult, config.resize_rounding
        return objects_of(dataset.records, *sides, level_shapes, *rules)

    objects = at(config.shorter_side, config.longer_side)
    if not len(objects.boxes):
        raise ValueError(
            f"expected objects to fit anchors to. Received: {len(dataset.records)} images with "
            f"{difficult} objects marked difficult and no others"
        )
    training = "all" if config.rpn_border_anchors else "inside"
    chosen, layout = (config.level_scales, config.ratios), layout_of(config)

    def best(objects: Objects, anchors: Anchors, kind: str) -> np.ndarray:
        return best_iou(objects, anchor_grids(*anchors, strides, **layout), kind)

    ious = {kind: best(objects, chosen, kind) for kind in ("inside", "all", "clipped")}
    counts = num_scales or _num_scales(config.level_scales), num_ratios or len(config.ratios)
    suggested = search.suggest(objects, strides, training, *counts, chosen, layout)
    return Fit(
        data={
            "images": len(dataset.records),
            "objects": len(objects.boxes),
            "difficult_left_out": 0 if keeps_difficult else difficult,
            "splits": list(config.train_split),
        },
        chosen={
            "scales": _as_lists(config.level_scales),
            "ratios": list(config.ratios),
            "stride": min(strides),
            "strides": list(strides),
            "shorter_side": config.shorter_side,
            "longer_side": config.longer_side,
        },
        kinds={kind: coverage(values) for kind, values in ious.items()},
        training=training,
        groups=_groups(objects, dataset.class_names, ious[training], ious["clipped"]),
        limits=_limits(objects, config, min(strides), ious[training]),
        suggested={
            "scales": _as_lists(suggested[0]),
            "ratios": list(suggested[1]),
            "training": coverage(best(objects, suggested, training)),
            "proposals": coverage(best(objects, suggested, "clipped")),
        },
        working_sizes=_working_sizes(config, min(strides), at, lambda o: best(o, chosen, training)),
    )


def format_numbers(values: Scales, separator: str = ", ", level_separator: str = "; ") -> str:
    """Formats scales, which may be given by level, or ratios."""
    if are_by_level(values):
        return level_separator.join(format_numbers(of_level, separator) for of_level in values)
    return separator.join(f"{value:g}" for value in values)


def count_numbers(values: Scales) -> int:
    """Returns the number of scales, those of all levels together, or of ratios."""
    return sum(map(len, values)) if are_by_level(values) else len(values)


def coverage(ious: np.ndarray) -> dict[str, Any]:
    """Summarises the best IoUs of some objects, see ``Fit``."""
    shares = {f"share_{round(100 * t)}": ious >= t for t in search.IOUS}
    columns = {"mean_iou": ious, **shares}
    means = {name: float(np.mean(c)) if len(c) else None for name, c in columns.items()}
    return {"objects": len(ious), **means}


def _groups(
    objects: Objects, class_names: Sequence[str], training: np.ndarray, proposals: np.ndarray
) -> dict[str, list[dict]]:
    def row(name: str, members: np.ndarray) -> dict[str, Any]:
        values = {"training": training, "proposals": proposals}
        return {"name": name, **{k: coverage(v[members]) for k, v in values.items()}}

    def sizes(sides: np.ndarray) -> list[dict]:
        size = np.sqrt(np.prod(sides, axis=1))
        return [row(name, (size >= low) & (size < high)) for name, low, high in SIZES]

    return {
        "original_size": sizes(objects.original_sides),
        "working_size": sizes(objects.sides),
        "class": [row(name, objects.labels == i) for i, name in enumerate(class_names)],
    }


def _limits(objects: Objects, config: Config, stride: int, best: np.ndarray) -> dict[str, int]:
    """Counts the objects that the RPN has difficulties with.

    - ``below_stride``: a side is shorter than the smallest stride.
    - ``forced_only``: no anchor reaches the foreground threshold, so that only the anchors with the
      highest IoU are positive.
    - ``below_background``: even the highest IoU is below the background threshold.
    - ``untouched``: no anchor that the RPN learns from overlaps the object.
    - ``too_small``: no proposal can reach IoU 0.5, however well the RPN regresses, because the
      sides of proposals are at least ``min_size``.
    """
    forced = (best > 0) & (best < config.rpn_fg_iou_threshold)
    sides = objects.original_sides
    reachable = np.prod(sides / np.maximum(sides, config.min_size), axis=1)
    masks = {
        "below_stride": np.min(objects.sides, axis=1) < stride,
        "forced_only": forced,
        "below_background": forced & (best < config.rpn_bg_iou_threshold),
        "untouched": best == 0,
        "too_small": reachable < search.IOUS[0],
    }
    return {name: int(np.sum(mask)) for name, mask in masks.items()}


def _working_sizes(
    config: Config,
    stride: int,
    at: Callable[[int, int], Objects],
    best: Callable[[Objects], np.ndarray],
) -> list[dict]:
    rows = []
    for factor in WORKING_SIZES:
        sides = [max(1, round(factor * s)) for s in (config.shorter_side, config.longer_side)]
        objects = at(*sides)
        below = np.min(objects.sides, axis=1) < stride
        rows.append(
            {
                "shorter_side": sides[0],
                "longer_side": sides[1],
                "training": coverage(best(objects)),
                "share_below_stride": float(np.mean(below)),
                "pixels": objects.pixels,
            }
        )
    return rows


def _num_scales(scales: Scales) -> int:
    """Returns the number of scales, per level if levels have their own."""
    return len(scales[0]) if are_by_level(scales) else len(scales)


def _as_lists(values: Scales) -> list:
    return [_as_lists(value) if isinstance(value, Sequence) else value for value in values]
