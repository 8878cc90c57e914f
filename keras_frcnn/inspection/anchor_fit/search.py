"""Searches round numbers for the scales and ratios of anchors that fit some objects well.

A candidate is a scale of a group of feature levels. If all levels share their scales there is one
group of all levels; if each level has its own scales, each level is a group.
"""

import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_frcnn.inspection.anchor_fit.best_iou import (
    Objects,
    Scales,
    anchor_grids,
    are_by_level,
    shape_ious,
)

IOUS = (0.5, 0.7)
"""The IoUs from which objects count as covered."""

SCALES = (
    8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512,
    640, 768, 1024,
)  # fmt: skip
"""The scales to choose from, pixels."""

RATIOS = (0.2, 0.25, 0.33, 0.4, 0.5, 0.67, 0.8, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5)
"""The ratios to choose from, height / width."""

MOST_OBJECTS = 10_000
"""If there are more objects, this many are drawn for the search, always the same ones."""

Picks = list[list[int]]  # rows and columns of the table: candidates, then ratios


def worth(ious: np.ndarray) -> np.ndarray:
    """Rates how well objects are covered, from 0 to 1, by their best IoUs.

    The mean of this rating is the mean of the three figures that people are shown: the shares of
    objects covered at ``IOUS``, and the mean best IoU. Optimising only one of them would be at the
    expense of the others: the mean favours objects that are covered well already, a share ignores
    all objects that are far from its IoU.
    """
    return np.mean([ious, *(ious >= threshold for threshold in IOUS)], axis=0)


def suggest(
    objects: Objects,
    strides: Sequence[int],
    kind: str,
    num_scales: int,
    num_ratios: int,
    chosen: tuple[Scales, Sequence[float]] = ((), ()),
    layout: Mapping[str, Any] = types.MappingProxyType({}),
) -> tuple[Scales, tuple[float, ...]]:
    """Searches for the scales and ratios of the highest ``worth``, averaged over the objects.

    The search begins at several starts. It replaces one number at a time by the best alternative,
    until no replacement helps. The result is very good, but not provably the best.

    Args:
        objects: the objects to cover, at least one.
        strides: the stride of each feature level.
        kind: which anchors count, one of ``best_iou.KINDS``.
        num_scales: number of scales, per level if levels have their own.
        num_ratios: number of ratios.
        chosen: the scales and ratios of the settings. A result with as many numbers is not worse
            than these. If the scales are given by level, each level gets its own.
        layout: where anchors lie; see ``best_iou.layout_of``.

    Returns:
        ``(scales, ratios)``, each rising; the scales by level if the chosen ones are.

    Raises:
        ValueError: if more are asked for than there are to choose from.
    """
    counts = (num_scales, num_ratios)
    for name, count, numbers in zip(("scales", "ratios"), counts, (SCALES, RATIOS), strict=True):
        if not 1 <= count <= len(numbers):
            raise ValueError(f"num_{name} must be 1 to {len(numbers)}. Received: {count}")
    if len(objects.boxes) > MOST_OBJECTS:
        drawn = np.random.default_rng(0).permutation(len(objects.boxes))[:MOST_OBJECTS]
        objects = objects.take(np.sort(drawn))
    by_level = are_by_level(chosen[0])
    chosen_scales = chosen[0] if by_level else [chosen[0]]
    scales = sorted({*map(float, SCALES), *(s for group in chosen_scales for s in group)})
    ratios = sorted({*map(float, RATIOS), *chosen[1]})
    search = _Search(_table(objects, strides, kind, scales, ratios, by_level, layout), len(scales))
    slots = [num_scales] * len(chosen_scales), num_ratios
    starts = [_quantiles(objects, scales, ratios, *slots), search.greedy(*slots)]
    if all(len({*group}) == num_scales for group in chosen_scales) and (
        len({*chosen[1]}) == num_ratios
    ):
        rows = [
            number * len(scales) + scales.index(scale)
            for number, group in enumerate(chosen_scales)
            for scale in group
        ]
        starts.append([rows, [ratios.index(ratio) for ratio in chosen[1]]])
    _, (rows, columns) = max(map(search.climb, starts), key=lambda result: result[0])
    groups = [
        tuple(scales[row % len(scales)] for row in sorted(rows) if row // len(scales) == number)
        for number in range(len(chosen_scales))
    ]
    best_ratios = tuple(ratios[column] for column in sorted(columns))
    return tuple(groups) if by_level else groups[0], best_ratios


def _table(objects, strides, kind, scales, ratios, by_level, layout) -> np.ndarray:
    """Returns the worth of every candidate with every ratio for each object: float32 [candidates,
    ratios, objects]; the candidates are all scales of the first group, then of the next.
    """
    levels = []
    for grid in anchor_grids(scales, ratios, strides, **layout):
        of_shapes = worth(shape_ious(objects, grid, kind)).astype(np.float32)
        # The layer orders its anchors by ratio, then scale; objects last, as they are averaged.
        of_shapes = np.ascontiguousarray(of_shapes.T).reshape(len(ratios), len(scales), -1)
        levels.append(of_shapes.transpose(1, 0, 2))
    return np.concatenate(levels) if by_level else np.maximum.reduce(levels)


def _quantiles(objects, scales, ratios, num_scales: list[int], num_ratios: int) -> Picks:
    """Starts where the objects are: at evenly spread quantiles of their scales and ratios."""
    height, width = objects.sides.T
    rows = []
    targets = _log_quantiles(np.sqrt(height * width), sum(num_scales))
    for number, count in enumerate(num_scales):  # the smallest objects for the first level
        of_group, targets = targets[:count], targets[count:]
        rows += [number * len(scales) + index for index in _nearest(of_group, scales)]
    return [rows, _nearest(_log_quantiles(height / width, num_ratios), ratios)]


def _log_quantiles(values: np.ndarray, count: int) -> np.ndarray:
    return np.quantile(np.log(values), (np.arange(count) + 0.5) / count)


def _nearest(log_targets: np.ndarray, numbers: Sequence[float]) -> list[int]:
    """Returns the index of the number nearest to each target, no index twice."""
    indices: list[int] = []
    for row in np.abs(np.log(numbers) - log_targets[:, np.newaxis]):
        row[indices] = np.inf
        indices.append(int(np.argmin(row)))
    return indices


class _Search:
    """Exchanges picks in a table of worths.

    Args:
        table: see ``_table``.
        group_size: candidates of each group.
    """

    def __init__(self, table: np.ndarray, group_size: int):
        self._table = table
        self._groups = np.arange(table.shape[0]) // group_size, np.zeros(table.shape[1], int)

    def greedy(self, num_scales: list[int], num_ratios: int) -> Picks:
        """Starts with the best single anchor, and adds the best ratio or scale until complete."""
        missing = [list(num_scales), [num_ratios]]
        first = np.unravel_index(np.argmax(np.mean(self._table, axis=2)), self._table.shape[:2])
        picks = [[], []]
        for axis, index in enumerate(map(int, first)):
            picks[axis].append(index)
            missing[axis][self._groups[axis][index]] -= 1
        for axis in (1, 0):
            while any(missing[axis]):
                is_open = np.array(missing[axis])[self._groups[axis]] > 0
                index = self._best(picks, axis, picks[axis], is_open)[1]
                picks[axis].append(index)
                missing[axis][self._groups[axis][index]] -= 1
        return picks

    def climb(self, picks: Picks) -> tuple[float, Picks]:
        """Exchanges one pick at a time; returns the mean worth and the picks."""
        best, picks = -1.0, [list(indices) for indices in picks]
        while True:
            before = best
            for axis in (0, 1):
                groups = self._groups[axis]
                for slot, current in enumerate(picks[axis]):
                    others = picks[axis][:slot] + picks[axis][slot + 1 :]
                    value, index = self._best(picks, axis, others, groups == groups[current])
                    if value > best + 1e-6:
                        best, picks[axis][slot] = value, index
            if best == before:
                return best, picks

    def _best(
        self, picks: Picks, axis: int, others: list[int], allowed: np.ndarray
    ) -> tuple[float, int]:
        """Returns the highest mean worth that one more pick can give, and that pick."""
        across = np.max(np.take(self._table, picks[1 - axis], axis=1 - axis), axis=1 - axis)
        if others:
            across = np.maximum(across, np.max(across[others], axis=0))
        means = np.where(allowed, np.mean(across, axis=1), -1.0)
        means[others] = -1.0  # no number twice
        index = int(np.argmax(means))
        return float(means[index]), index
