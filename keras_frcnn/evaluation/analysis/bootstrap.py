"""Bootstrap intervals: how much average precision might differ with other images of the same kind.

Images are drawn from the data set at random, with replacement, as many as there are, and the metric
is computed exactly on each such resample; an image that is drawn twice counts as two images. Which
detections are correct does not depend on other images, so a resample only gives each image a
weight. The copies of a detection, from an image drawn several times, stand next to each other in
the ranking by score.

The interval holds the middle 95 % of the resamples, after all of them are shifted so that their
mean is the measured figure. Resamples are less varied than real data, so the highest precision at a
recall comes out too high in them. Without the shift, their percentiles cover the true value in 80
to 90 % of cases; with it, in about 95 %.

To compare two detectors, both are evaluated on the same resamples. What makes a resample easy or
hard then affects both alike and cancels in the difference.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from keras_frcnn.data.dataset import GroundTruth
from keras_frcnn.evaluation.metrics import matching
from keras_frcnn.evaluation.metrics.average_precision import (
    area,
    average_precision,
    coco_points,
    eleven_points,
)
from keras_frcnn.evaluation.metrics.detections import DetectionTable

LEVEL = 0.95
COCO_IOU_THRESHOLDS = tuple(np.arange(10, 20) / 20)  # 0.5, 0.55, ..., 0.95

# The name of each figure's mean over the classes, and of its value for one class.
VOC_FIGURES = (("map_11point", "ap_11point"), ("map_area", "ap_area"))
COCO_FIGURES = (("AP", "AP"), ("AP50", "AP50"))
MAIN_FIGURES = {"voc": "map_area", "coco": "AP"}
"""The figure by which two detectors are compared, by metric."""

Progress = Callable[[Iterable, str, int], Iterable]
"""A function of items, a description and their number that yields the items and shows progress."""

_RESAMPLES_AT_ONCE = 100
_MANY_DETECTIONS = 200_000  # progress is shown from this number on


@dataclasses.dataclass(frozen=True)
class Interval:
    """The ends of an interval around the measured figure; NaN where the figure is undefined."""

    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intervals:
    """Intervals of the figures of one evaluation, or of the differences between two.

    Attributes:
        num_resamples: number of resamples.
        seed: the seed they were drawn with.
        means: the interval of each mean figure, "map_11point" and "map_area" or "AP" and "AP50".
        classes: the intervals of the classes, in the data set's order, of each figure, "ap_11point"
            and "ap_area" or "AP" and "AP50".
    """

    num_resamples: int
    seed: int
    means: dict[str, Interval]
    classes: dict[str, tuple[Interval, ...]]


@dataclasses.dataclass(frozen=True, eq=False)
class _Ranking:
    """The detections of one class, best first, at T IoU thresholds."""

    rows: np.ndarray  # [D], their images
    positive: np.ndarray  # bool [T, D]
    counted: np.ndarray  # bool [T, D]
    gt_rows: np.ndarray  # [G], the images of the objects that count


def intervals(
    truth: GroundTruth,
    detections: DetectionTable,
    metric: str,
    iou_threshold: float = 0.5,
    num_resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Intervals:
    """Computes the intervals of average precision.

    Args:
        truth: the objects.
        detections: the detections.
        metric: "voc" or "coco".
        iou_threshold: least IoU of a true positive in VOC's metric; COCO's has its own thresholds.
        num_resamples: number of resamples, at least 1.
        seed: seed of the resamples.
        progress: shows the progress where there are many detections; None: nothing is shown.

    Returns:
        The intervals.

    Raises:
        ValueError: if ``num_resamples`` is below 1.
    """
    rankings = _rank(truth, detections, metric, iou_threshold)
    num_images = len(truth.image_ids)
    (values,) = _resample([rankings], num_images, metric, num_resamples, seed, progress)
    return _summarize(values, _means(values), metric, seed, (0.0, 1.0))


def differences(
    truth: GroundTruth,
    detections: DetectionTable,
    others: DetectionTable,
    metric: str,
    iou_threshold: float = 0.5,
    num_resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Intervals:
    """Computes the intervals of the difference between the average precision of two detectors.

    Args:
        truth: the objects.
        detections: the detections of the first detector.
        others: the detections of the second detector.
        metric: as for ``intervals``.
        iou_threshold: as for ``intervals``.
        num_resamples: as for ``intervals``.
        seed: as for ``intervals``.
        progress: as for ``intervals``.

    Returns:
        The intervals of the first detector's figures minus the second's.

    Raises:
        ValueError: as for ``intervals``.
    """
    rankings = [_rank(truth, table, metric, iou_threshold) for table in (detections, others)]
    num_images = len(truth.image_ids)
    one, two = _resample(rankings, num_images, metric, num_resamples, seed, progress)
    return _summarize(one - two, _means(one) - _means(two), metric, seed, (-1.0, 1.0))


def resampled_means(
    truth: GroundTruth,
    detections: Sequence[DetectionTable],
    metric: str,
    iou_threshold: float = 0.5,
    num_resamples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Computes the mean AP of several detectors on the same resamples.

    Args:
        truth: the objects.
        detections: the detections of each detector.
        metric: as for ``intervals``.
        iou_threshold: as for ``intervals``.
        num_resamples: as for ``intervals``.
        seed: as for ``intervals``.

    Returns:
        float64 [detectors, 1 + num_resamples]: "map_area" or "AP" on the images themselves, then on
        each resample; NaN on a resample without objects.

    Raises:
        ValueError: as for ``intervals``.
    """
    rankings = [_rank(truth, table, metric, iou_threshold) for table in detections]
    num_images = len(truth.image_ids)
    values = _resample(rankings, num_images, metric, num_resamples, seed, None)
    figure = [name for name, _ in _figures(metric)].index(MAIN_FIGURES[metric])
    return np.stack([_means(of_one)[figure] for of_one in values])


def _rank(
    truth: GroundTruth, detections: DetectionTable, metric: str, iou_threshold: float
) -> list[_Ranking]:
    """Returns the ranking of each class."""
    thresholds = (iou_threshold,) if metric == "voc" else COCO_IOU_THRESHOLDS
    pairs = matching.find_pairs(truth, detections, thresholds[0], metric)
    matches = [matching.match(truth, detections, pairs, t, metric) for t in thresholds]
    positive = np.stack([at_threshold.positive for at_threshold in matches])
    counted = np.stack([at_threshold.counted for at_threshold in matches])
    order = matching.rank_by_score(truth, detections, metric)
    rankings = []
    for label in range(len(truth.class_names)):
        own = order[detections.labels[order] == label]
        gt_rows = truth.rows[(truth.labels == label) & ~truth.crowd]
        rankings.append(_Ranking(detections.rows[own], positive[:, own], counted[:, own], gt_rows))
    return rankings


def _resample(
    rankings: Sequence[list[_Ranking]],
    num_images: int,
    metric: str,
    num_resamples: int,
    seed: int,
    progress: Progress | None,
) -> list[np.ndarray]:
    """Returns the APs [figures, classes, 1 + resamples] of each list of rankings. Those of the data
    set itself come first, then those of the resamples.
    """
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1. Received: {num_resamples}")
    generator = np.random.default_rng(seed)
    starts = range(0, num_resamples, _RESAMPLES_AT_ONCE)
    num_detections = sum(len(ranking.rows) for of_one in rankings for ranking in of_one)
    if progress is not None and num_detections > _MANY_DETECTIONS:
        starts = progress(starts, "Resampling images", len(starts))
    each_once = np.ones((num_images, 1), np.int32)
    chunks = [[_all_precisions(of_one, each_once, metric)] for of_one in rankings]
    for start in starts:
        size = min(_RESAMPLES_AT_ONCE, num_resamples - start)
        drawn = [generator.integers(0, num_images, num_images) for _ in range(size)]
        weights = [np.bincount(rows, minlength=num_images) for rows in drawn]
        weights = np.stack(weights, axis=1).astype(np.int32)
        for of_one, values in zip(rankings, chunks, strict=True):
            values.append(_all_precisions(of_one, weights, metric))
    return [np.concatenate(values, axis=2) for values in chunks]


def _all_precisions(rankings: list[_Ranking], weights: np.ndarray, metric: str) -> np.ndarray:
    """Returns the APs of all classes [figures, classes, B], see ``_average_precisions``."""
    values = np.zeros((2, len(rankings), weights.shape[1]))
    for label, ranking in enumerate(rankings):
        values[:, label] = _average_precisions(ranking, weights, metric)
    return values


def _average_precisions(ranking: _Ranking, weights: np.ndarray, metric: str) -> np.ndarray:
    """Returns the APs [figures, B] of a class if each image counts as often as its weight in
    weights [images, B].
    """
    num_gt = weights[ranking.gt_rows].sum(axis=0)
    # Only false positives lie between these detections, and their number is all that is needed.
    events = np.flatnonzero(np.any(ranking.positive | ~ranking.counted, axis=0))
    ranks = np.zeros((0, weights.shape[1]), np.int32)
    if len(events):
        rows = ranking.rows[: events[-1] + 1]
        starts = np.append(0, events[:-1] + 1)
        ranks = np.cumsum(np.add.reduceat(weights[rows], starts, axis=0), axis=0)
    own = weights[ranking.rows[events]]
    recall_steps = (eleven_points, area) if metric == "voc" else (coco_points,)
    values = []
    for positive, counted in zip(
        ranking.positive[:, events], ranking.counted[:, events], strict=True
    ):
        hits = np.flatnonzero(positive)
        counted_ranks = ranks[hits]
        if not counted.all():
            counted_ranks = counted_ranks - np.cumsum(own * ~counted[:, np.newaxis], axis=0)[hits]
        true_positives = np.cumsum(own[hits], axis=0)
        values.append(average_precision(true_positives, counted_ranks, num_gt, recall_steps))
    if metric == "voc":
        return np.array(values[0])
    return np.array([np.mean(values, axis=0)[0], values[0][0]])


def _figures(metric: str) -> tuple[tuple[str, str], ...]:
    return VOC_FIGURES if metric == "voc" else COCO_FIGURES


def _means(values: np.ndarray) -> np.ndarray:
    """Returns the means over the classes that have objects in a resample [figures, resamples]."""
    has_objects = ~np.isnan(values)
    count = has_objects.sum(axis=1)
    total = np.where(has_objects, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _summarize(
    classes: np.ndarray, means: np.ndarray, metric: str, seed: int, limits: tuple[float, float]
) -> Intervals:
    """Makes intervals of values [figures, classes, 1 + resamples] and [figures, 1 + resamples]."""
    names = _figures(metric)
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
    """Makes the interval of values: the measured figure, then those of the resamples."""
    measured, resampled = values[0], values[1:][~np.isnan(values[1:])]
    if np.isnan(measured) or not len(resampled):
        return Interval(float("nan"), float("nan"))
    ends = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) + measured - resampled.mean()
    low, high = np.clip(ends, *limits)
    return Interval(float(low), float(high))
