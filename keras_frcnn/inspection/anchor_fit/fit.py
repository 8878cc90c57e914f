"""How well the anchors of some settings fit the objects of some images, and which would better.

The RPN learns from the anchors inside the image (or all, by ``rpn_border_anchors``); proposals
come from all of them and are clipped to the image. So every figure is given for both: "training"
and "proposals", the latter as if no anchor was moved by regression.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_frcnn.config import Config
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.inspection.anchor_fit import search
from keras_frcnn.inspection.anchor_fit.best_iou import (
    FeatureShape,
    Objects,
    best_iou,
    objects_of,
    shapes_of,
)

SIZES = (("small", 0, 32), ("medium", 32, 96), ("large", 96, np.inf))
"""Names of sizes, and where they begin and end: square roots of areas, pixels."""

WORKING_SIZES = (0.5, 0.75, 1.0, 1.5, 2.0)
"""Other sizes of images that are looked at, as factors of the chosen one."""

Anchors = tuple[Sequence[float], Sequence[float]]  # scales, ratios


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """What was found, as plain values that JSON can hold.

    A *coverage* is ``{"objects", "mean_iou", "share_50", "share_70"}``, where the shares are those
    of the objects whose best IoU is at least 0.5 and 0.7; all but the first are None without
    objects.

    Attributes:
        data: number of images, objects and left-out difficult objects; the splits.
        chosen: scales, ratios and stride that were measured, and the images' sides.
        kinds: coverage by which anchors count: "inside", "all" and "clipped" (see ``anchor_iou``).
        training: which of these the RPN learns from.
        groups: for "original_size", "working_size" and "class" a row for each group: its name, its
            coverage in "training" and by "proposals".
        limits: what keeps the RPN from objects: numbers of them, by reason.
        suggested: scales, ratios, and their coverage in "training" and by "proposals".
        working_sizes: for other sizes of the images: their sides, the coverage in "training", the
            share of objects below the stride and the pixels of an image.
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
            f"--{name}={','.join(f'{value:g}' for value in self.suggested[name])}"
            for name in ("scales", "ratios")
        )

    @property
    def gain(self) -> float:
        """What the suggestion is better by, in the figure that it was searched by: 0 to 1."""
        names = ("mean_iou", "share_50", "share_70")
        new, old = self.suggested["training"], self.kinds[self.training]
        return sum(new[name] - old[name] for name in names) / len(names)

    def to_dict(self) -> dict[str, Any]:
        """Returns all of it, for JSON."""
        return {**dataclasses.asdict(self), "flags": self.flags, "gain": self.gain}


def fit(
    dataset: Dataset,
    config: Config,
    stride: int,
    feature_shape: FeatureShape,
    num_scales: int = 0,
    num_ratios: int = 0,
) -> Fit:
    """Measures the anchors of the settings, and searches for better ones.

    Args:
        dataset: the images.
        config: settings of the data, model and rpn groups.
        stride: of the backbone, pixels.
        feature_shape: gives the rows and columns [B, 2] of the backbone's maps for images of
            heights and widths [B, 2].
        num_scales: scales to suggest; 0: as many as are chosen.
        num_ratios: likewise.

    Returns:
        All figures.

    Raises:
        ValueError: if there are no objects to learn, or more anchors are wanted than there are to
            choose from.
    """
    keeps_difficult = config.difficult == "keep"
    difficult = sum(int(np.sum(record.difficult)) for record in dataset.records)

    def at(shorter_side: int, longer_side: int) -> Objects:
        sides = shorter_side, longer_side
        return objects_of(dataset.records, *sides, feature_shape, keeps_difficult)

    objects = at(config.shorter_side, config.longer_side)
    if not len(objects.boxes):
        raise ValueError(
            f"expected objects to fit anchors to. Received: {len(dataset.records)} images with "
            f"{difficult} objects marked difficult and no others"
        )
    training = "all" if config.rpn_border_anchors else "inside"
    chosen = config.scales, config.ratios

    def best(objects: Objects, anchors: Anchors, kind: str) -> np.ndarray:
        return np.max(best_iou(objects, shapes_of(*anchors, stride), kind), axis=1)

    ious = {kind: best(objects, chosen, kind) for kind in ("inside", "all", "clipped")}
    counts = num_scales or len(chosen[0]), num_ratios or len(chosen[1])
    suggested = search.suggest(objects, stride, training, *counts, chosen)
    return Fit(
        data={
            "images": len(dataset.records),
            "objects": len(objects.boxes),
            "difficult_left_out": 0 if keeps_difficult else difficult,
            "splits": list(config.train_split),
        },
        chosen={
            "scales": list(config.scales),
            "ratios": list(config.ratios),
            "stride": stride,
            "shorter_side": config.shorter_side,
            "longer_side": config.longer_side,
        },
        kinds={kind: coverage(values) for kind, values in ious.items()},
        training=training,
        groups=_groups(objects, dataset.class_names, ious[training], ious["clipped"]),
        limits=_limits(objects, config, stride, ious[training]),
        suggested={
            "scales": list(suggested[0]),
            "ratios": list(suggested[1]),
            "training": coverage(best(objects, suggested, training)),
            "proposals": coverage(best(objects, suggested, "clipped")),
        },
        working_sizes=_working_sizes(config, stride, at, lambda o: best(o, chosen, training)),
    )


def coverage(ious: np.ndarray) -> dict[str, Any]:
    """Summarises the best IoUs of some objects: see ``Fit``."""
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
    """Counts the objects that the RPN has a hard time with.

    ``below_stride``: a side is shorter than a cell. ``forced_only``: no anchor reaches the
    threshold, so that what is learned of them is the anchors of their highest IoU alone;
    ``below_background`` are those among them whose other anchors are all taught as background.
    ``untouched``: no anchor that is learned from overlaps them at all. ``too_small``: however well
    the RPN regresses, no proposal reaches IoU 0.5, as proposals have sides of at least
    ``min_size``.
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
