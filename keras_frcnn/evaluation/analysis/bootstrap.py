"""How far average precision could be another with other images of the same kind: the bootstrap.

A data set's images are drawn anew, as many as there are, with replacement, and the metric is
computed on each draw, to the digit: an image that is drawn twice counts as two images. Which
detections are right does not depend on other images, so that a draw only gives each image a
weight. Of an image drawn several times, the copies of a detection stand next to each other in the
order of scores.

The interval holds the middle 95 % of the draws, after all are moved so that their mean is the
measured figure. Draws have less variety than data, which flatters the best precision at a recall:
unmoved, their percentiles cover the truth in 80 to 90 % of cases, moved in about 95 %.

To compare two detectors, both are judged on the same draws: what makes a draw easy or hard is the
same for both and falls out of the difference.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_frcnn.console import with_progress
from keras_frcnn.data.dataset import GroundTruth
from keras_frcnn.evaluation.metrics import matching
from keras_frcnn.evaluation.metrics.average_precision import (
    area,
    average_precision,
    coco_points,
    eleven_points,
)
from keras_frcnn.evaluation.metrics.columns import Found

LEVEL = 0.95
COCO_IOU_THRESHOLDS = tuple(np.arange(10, 20) / 20)  # 0.5, 0.55, ..., 0.95

# Names of a figure's mean and of a class's.
VOC_FIGURES = (("map_11point", "ap_11point"), ("map_area", "ap_area"))
COCO_FIGURES = (("AP", "AP"), ("AP50", "AP50"))

_RESAMPLES_AT_ONCE = 100
_PROGRESS_FROM = 200_000


@dataclasses.dataclass(frozen=True)
class Interval:
    """Where ``LEVEL`` of the draws lie, around the measured figure; NaN where that is undefined."""

    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intervals:
    """Intervals of the figures of one evaluation, or of their differences between two.

    Attributes:
        num_resamples: number of draws.
        seed: of the draws.
        means: by figure: "map_11point" and "map_area", or "AP" and "AP50".
        classes: by figure, "ap_11point" and "ap_area", or "AP" and "AP50": of each class, in the
            dataset's order.
    """

    num_resamples: int
    seed: int
    means: dict[str, Interval]
    classes: dict[str, tuple[Interval, ...]]


@dataclasses.dataclass(frozen=True, eq=False)
class _Ranking:
    """One class's detections at T IoU thresholds, best first."""

    rows: np.ndarray  # [D], the images
    positive: np.ndarray  # bool [T, D]
    counted: np.ndarray  # bool [T, D]
    gt_rows: np.ndarray  # [G], the images of the objects that can be found


def intervals(
    truth: GroundTruth,
    found: Found,
    metric: str,
    iou_threshold: float = 0.5,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Intervals:
    """Finds the intervals of average precision.

    Args:
        truth: the objects.
        found: the detections.
        metric: "voc" or "coco".
        iou_threshold: least IoU of a right detection, for VOC's metric; COCO's has its own.
        num_resamples: number of draws, at least 1.
        seed: of the draws.

    Returns:
        The intervals.

    Raises:
        ValueError: if ``num_resamples`` is below 1.
    """
    rankings = _rank(truth, found, metric, iou_threshold)
    (values,) = _resample([rankings], len(truth.image_ids), metric, num_resamples, seed)
    return _summarize(values, _means(values), metric, seed, (0.0, 1.0))


def differences(
    truth: GroundTruth,
    found: Found,
    other: Found,
    metric: str,
    iou_threshold: float = 0.5,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Intervals:
    """Finds the intervals of what one detector's average precision is above another's.

    Args:
        truth: the objects.
        found: the detections of the one.
        other: the detections of the other.
        metric: as for ``intervals``.
        iou_threshold: likewise.
        num_resamples: likewise.
        seed: likewise.

    Returns:
        The intervals of the one's figures less the other's.

    Raises:
        ValueError: as ``intervals``.
    """
    rankings = [_rank(truth, some, metric, iou_threshold) for some in (found, other)]
    one, two = _resample(rankings, len(truth.image_ids), metric, num_resamples, seed)
    return _summarize(one - two, _means(one) - _means(two), metric, seed, (-1.0, 1.0))


def _rank(truth: GroundTruth, found: Found, metric: str, iou_threshold: float) -> list[_Ranking]:
    """Returns the ranking of each class."""
    thresholds = (iou_threshold,) if metric == "voc" else COCO_IOU_THRESHOLDS
    pairs = matching.find_pairs(truth, found, thresholds[0], metric)
    outcomes = [matching.match(truth, found, pairs, t, metric) for t in thresholds]
    positive = np.stack([outcome.positive for outcome in outcomes])
    counted = np.stack([outcome.counted for outcome in outcomes])
    order = matching.by_score(truth, found, metric)
    rankings = []
    for label in range(len(truth.class_names)):
        own = order[found.labels[order] == label]
        gt_rows = truth.rows[(truth.labels == label) & ~truth.crowd]
        rankings.append(_Ranking(found.rows[own], positive[:, own], counted[:, own], gt_rows))
    return rankings


def _resample(
    rankings: Sequence[list[_Ranking]],
    num_images: int,
    metric: str,
    num_resamples: int,
    seed: int,
) -> list[np.ndarray]:
    """Returns for each list of rankings the APs [figures, classes, 1 + resamples]: those of all
    images as they are, then those of the draws.
    """
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1. Received: {num_resamples}")
    generator = np.random.default_rng(seed)
    starts = range(0, num_resamples, _RESAMPLES_AT_ONCE)
    if sum(len(ranking.rows) for some in rankings for ranking in some) > _PROGRESS_FROM:
        starts = with_progress(starts, "Resampling images", len(starts))
    measured = np.ones((num_images, 1), np.int32)
    parts = [[_all_precisions(some, measured, metric)] for some in rankings]
    for start in starts:
        size = min(_RESAMPLES_AT_ONCE, num_resamples - start)
        drawn = [generator.integers(0, num_images, num_images) for _ in range(size)]
        weights = [np.bincount(rows, minlength=num_images) for rows in drawn]
        weights = np.stack(weights, axis=1).astype(np.int32)
        for part, some in zip(parts, rankings, strict=True):
            part.append(_all_precisions(some, weights, metric))
    return [np.concatenate(part, axis=2) for part in parts]


def _all_precisions(rankings: list[_Ranking], weights: np.ndarray, metric: str) -> np.ndarray:
    """Returns the APs of all classes [figures, classes, B], see ``_average_precisions``."""
    values = np.zeros((2, len(rankings), weights.shape[1]))
    for label, ranking in enumerate(rankings):
        values[:, label] = _average_precisions(ranking, weights, metric)
    return values


def _average_precisions(ranking: _Ranking, weights: np.ndarray, metric: str) -> np.ndarray:
    """Returns a class's APs [figures, B] where images count as often as weights [P, B] say."""
    num_gt = weights[ranking.gt_rows].sum(axis=0)
    # Between these detections there are only wrong ones, of which the number will do.
    events = np.flatnonzero(np.any(ranking.positive | ~ranking.counted, axis=0))
    seen = np.zeros((0, weights.shape[1]), np.int32)
    if len(events):
        rows = ranking.rows[: events[-1] + 1]
        starts = np.append(0, events[:-1] + 1)
        seen = np.cumsum(np.add.reduceat(weights[rows], starts, axis=0), axis=0)
    own = weights[ranking.rows[events]]
    measures = (eleven_points, area) if metric == "voc" else (coco_points,)
    values = []
    for positive, counted in zip(
        ranking.positive[:, events], ranking.counted[:, events], strict=True
    ):
        right = np.flatnonzero(positive)
        counts = seen[right]
        if not counted.all():
            counts = counts - np.cumsum(own * ~counted[:, np.newaxis], axis=0)[right]
        found = np.cumsum(own[right], axis=0)
        values.append(average_precision(found, counts, num_gt, measures))
    if metric == "voc":
        return np.array(values[0])
    return np.array([np.mean(values, axis=0)[0], values[0][0]])


def _means(values: np.ndarray) -> np.ndarray:
    """Returns the means over the classes that have objects in a draw [figures, resamples]."""
    there = ~np.isnan(values)
    count = there.sum(axis=1)
    total = np.where(there, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _summarize(
    classes: np.ndarray, means: np.ndarray, metric: str, seed: int, limits: tuple[float, float]
) -> Intervals:
    """Makes intervals of values [figures, classes, 1 + resamples] and [figures, 1 + resamples]."""
    names = VOC_FIGURES if metric == "voc" else COCO_FIGURES
    return Intervals(
        num_resamples=means.shape[1] - 1,
        seed=seed,
        means={name: _interval(row, limits) for (name, _), row in zip(names, means, strict=True)},
        classes={
            name: tuple(_interval(row, limits) for row in rows)
            for (_, name), rows in zip(names, classes, strict=True)
        },
    )


def _interval(values: np.ndarray, limits: tuple[float, float]) -> Interval:
    """Makes the interval of a measured figure and, after it, its draws."""
    measured, draws = values[0], values[1:][~np.isnan(values[1:])]
    if np.isnan(measured) or not len(draws):
        return Interval(float("nan"), float("nan"))
    ends = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) + measured - draws.mean()
    low, high = np.clip(ends, *limits)
    return Interval(float(low), float(high))
