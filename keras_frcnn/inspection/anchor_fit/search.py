"""Finds scales and ratios of anchors that fit some objects well, among numbers easy to remember."""

from collections.abc import Sequence

import numpy as np

from keras_frcnn.inspection.anchor_fit.best_iou import Objects, best_iou, shapes_of

IOUS = (0.5, 0.7)
"""The IoUs from which on objects count as covered."""

SCALES = (
    8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512,
    640, 768, 1024,
)  # fmt: skip
"""What scales are chosen from, pixels."""

RATIOS = (0.2, 0.25, 0.33, 0.4, 0.5, 0.67, 0.8, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5)
"""What ratios are chosen from, height / width."""

MOST_OBJECTS = 10_000
"""Of more objects so many are drawn to search with, always the same ones."""


def worth(ious: np.ndarray) -> np.ndarray:
    """Says how well objects are covered, from 0 to 1, by their best IoUs.

    Its mean is that of the three figures that people are shown: the shares of objects covered at
    ``IOUS``, and the mean best IoU. One of these alone would be bought with the others: the mean
    with objects from 0.7 on, a share with all objects that are far from its IoU.
    """
    return np.mean([ious, *(ious >= threshold for threshold in IOUS)], axis=0)


def suggest(
    objects: Objects,
    stride: int,
    kind: str,
    num_scales: int,
    num_ratios: int,
    chosen: tuple[Sequence[float], Sequence[float]] = ((), ()),
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Searches for the scales and ratios of the highest ``worth``, averaged over the objects.

    From several starts one number at a time is exchanged for the best in its place, until no
    exchange helps. The result is a very good choice, not provably the best one.

    Args:
        objects: to be covered, at least one.
        stride: pixels between neighbouring anchors.
        kind: which anchors count, one of ``anchor_iou.KINDS``.
        num_scales: scales wanted.
        num_ratios: ratios wanted.
        chosen: scales and ratios that a result must not fall behind, if they are as many.

    Returns:
        Scales and ratios, each rising.

    Raises:
        ValueError: if more are wanted than there are to choose from.
    """
    lists = [
        sorted({*map(float, known), *own})
        for known, own in zip((SCALES, RATIOS), chosen, strict=True)
    ]
    counts = (num_scales, num_ratios)
    for name, count, numbers in zip(("scales", "ratios"), counts, (SCALES, RATIOS), strict=True):
        if not 1 <= count <= len(numbers):
            raise ValueError(f"num_{name} must be 1 to {len(numbers)}. Received: {count}")
    if len(objects.boxes) > MOST_OBJECTS:
        drawn = np.random.default_rng(0).permutation(len(objects.boxes))[:MOST_OBJECTS]
        objects = objects.take(np.sort(drawn))
    shapes = shapes_of(*lists, stride)
    table = worth(best_iou(objects, shapes, kind)).astype(np.float32)
    # The layer orders its anchors by ratio, then scale; objects last, as they are averaged.
    table = np.ascontiguousarray(table.T).reshape(len(lists[1]), len(lists[0]), -1)
    table = table.transpose(1, 0, 2)
    starts = [_quantiles(objects, lists, counts), _greedy(table, counts)]
    if tuple(map(len, map(set, chosen))) == counts:
        starts.append([[lists[i].index(value) for value in chosen[i]] for i in (0, 1)])
    results = [_climb(table, start) for start in starts]
    _, picks = max(results, key=lambda result: result[0])
    scales, ratios = (sorted(lists[i][place] for place in picks[i]) for i in (0, 1))
    return tuple(scales), tuple(ratios)


def _quantiles(objects, lists, counts) -> list[list[int]]:
    """Starts where the objects are: at evenly spread quantiles of their scales and ratios."""
    height, width = objects.sides.T
    picks = []
    for values, numbers, count in zip(
        (np.sqrt(height * width), height / width), lists, counts, strict=True
    ):
        wanted = np.quantile(np.log(values), (np.arange(count) + 0.5) / count)
        distances = np.abs(np.log(numbers) - wanted[:, np.newaxis])
        places: list[int] = []
        for row in distances:
            row[places] = np.inf  # each number once
            places.append(int(np.argmin(row)))
        picks.append(places)
    return picks


def _greedy(table: np.ndarray, counts: tuple[int, int]) -> list[list[int]]:
    """Starts with the best single anchor, and adds the best ratio or scale till all are there."""
    first = np.unravel_index(np.argmax(np.mean(table, axis=2)), table.shape[:2])
    picks = [[int(place)] for place in first]
    for axis in (1, 0):
        while len(picks[axis]) < counts[axis]:
            picks[axis].append(_best_place(table, picks, axis, picks[axis])[1])
    return picks


def _climb(table: np.ndarray, picks: list[list[int]]) -> tuple[float, list[list[int]]]:
    """Exchanges one pick at a time; returns the mean worth and the picks."""
    best, picks = -1.0, [list(places) for places in picks]
    while True:
        before = best
        for axis in (0, 1):
            for slot in range(len(picks[axis])):
                others = picks[axis][:slot] + picks[axis][slot + 1 :]
                value, place = _best_place(table, picks, axis, others)
                if value > best + 1e-6:
                    best, picks[axis][slot] = value, place
        if best == before:
            return best, picks


def _best_place(table, picks, axis: int, others: list[int]) -> tuple[float, int]:
    """Returns the place on an axis that is the best besides others, and the mean worth it gives."""
    across = np.max(np.take(table, picks[1 - axis], axis=1 - axis), axis=1 - axis)
    if others:
        across = np.maximum(across, np.max(across[others], axis=0))
    means = np.mean(across, axis=1)
    means[others] = -1.0  # each number once
    place = int(np.argmax(means))
    return float(means[place]), place
