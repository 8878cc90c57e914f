"""Statistics of a data set: objects and images of each class, sizes and shapes of boxes."""

from typing import Any

import numpy as np

from keras_frcnn.inspection.check_data.samples import SUBSETS, Source

SIDES = (0, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Lower edges of the bins of box sizes: square roots of areas, pixels."""

RATIOS = (0, 1 / 8, 1 / 4, 1 / 2, 0.8, 1.25, 2, 4, 8)
"""Lower edges of the bins of box shapes: height / width."""


def collect(source: Source, shorter_side: int, longer_side: int, stride: int) -> dict[str, Any]:
    """Counts images, objects and boxes.

    Args:
        source: the data. Objects without a usable box are counted only for their class.
        shorter_side: the setting of this name.
        longer_side: the setting of this name.
        stride: pixels of the resized image for one cell of the finest feature level.

    Returns:
        Plain values: ``"images"`` and ``"objects"`` by subset; ``"classes"``, one row for each
        class with objects and images by subset, also for classes that are not known;
        ``"box_sizes"`` and ``"aspect_ratios"``, histograms of all boxes with the lower edges of
        their bins. ``"box_sizes"`` also has the share of boxes whose shorter side is below the
        stride after resizing, or null if there are no boxes.
    """
    boxes, factors = _usable_boxes(source, shorter_side, longer_side)
    sizes = boxes[:, 2:] - boxes[:, :2]
    sides = np.sqrt(np.prod(sizes, axis=1))
    below = np.min(sizes, axis=1, initial=np.inf) * factors < stride
    return {
        "images": {
            subset: sum(sample.subset == subset for sample in source.samples) for subset in SUBSETS
        },
        "objects": {
            subset: sum(len(s.objects or ()) for s in source.samples if s.subset == subset)
            for subset in SUBSETS
        },
        "classes": _classes(source),
        "box_sizes": {
            "from": list(SIDES),
            "as_stored": _histogram(sides, SIDES),
            "as_resized": _histogram(sides * factors, SIDES),
            "shorter_side": shorter_side,
            "longer_side": longer_side,
            "stride": stride,
            "share_below_stride": float(np.mean(below)) if len(below) else None,
        },
        "aspect_ratios": {
            "from": list(RATIOS),
            "counts": _histogram(sizes[:, 0] / sizes[:, 1], RATIOS),
        },
    }


def _classes(source: Source) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}

    def row(name: str) -> dict[str, Any]:
        counts = {f"{subset}_{what}": 0 for subset in SUBSETS for what in ("objects", "images")}
        known = name in source.class_names
        return rows.setdefault(name, {"name": name, "known": known, **counts})

    for name in source.class_names:
        row(name)
    for sample in source.samples:
        names = [item.name for item in sample.objects or () if item.name]
        for name in names:
            row(name)[f"{sample.subset}_objects"] += 1
        for name in set(names):
            row(name)[f"{sample.subset}_images"] += 1
    return list(rows.values())


def _usable_boxes(
    source: Source, shorter_side: int, longer_side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns all boxes, float64 [N, 4] yxyx, and the factor that each image is resized by."""
    boxes, factors = [], []
    for sample in source.samples:
        for item in sample.objects or ():
            if item.box is not None and sample.height and np.all(np.isfinite(item.box)):
                boxes.append(item.box)
                shorter, longer = sorted((sample.height, sample.width))
                factors.append(min(shorter_side / shorter, longer_side / longer))
    return np.array(boxes, np.float64).reshape(-1, 4), np.array(factors)


def _histogram(values: np.ndarray, starts: tuple[float, ...]) -> list[int]:
    bins = np.searchsorted(starts, values, side="right") - 1
    return np.bincount(bins, minlength=len(starts)).tolist()
