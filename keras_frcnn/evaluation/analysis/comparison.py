"""Comparison of two evaluations on the same images: differences, their intervals, images."""

import dataclasses

import numpy as np

from keras_frcnn.evaluation.analysis import bootstrap
from keras_frcnn.evaluation.analysis.bootstrap import Intervals, Progress
from keras_frcnn.evaluation.analysis.errors import ErrorSplit, Kind
from keras_frcnn.evaluation.analysis.summary import Summary
from keras_frcnn.evaluation.metrics.average_precision import area, average_precision
from keras_frcnn.evaluation.metrics.ground_truth import fingerprint


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Two evaluations side by side.

    Attributes:
        names: names of the two evaluations.
        before: the first evaluation.
        after: the second evaluation.
        differences: intervals of the second's figures minus the first's; None if not computed.
        image_aps: float64 [2, images], see ``image_aps``; the images are those of
            ``before.errors.truth.image_ids``.
    """

    names: tuple[str, str]
    before: Summary
    after: Summary
    differences: Intervals | None
    image_aps: np.ndarray

    def changed_images(self) -> np.ndarray:
        """Returns the images whose AP changed, from the largest gain to the largest loss.

        Among equal changes, images with more objects are nearer to the ends of the list.

        Returns:
            int64, indices in ``before.errors.truth.image_ids``.
        """
        truth = self.before.errors.truth
        change = self.image_aps[1] - self.image_aps[0]
        num_gt = np.bincount(truth.rows[~truth.crowd], minlength=len(change))
        order = np.lexsort((-num_gt * np.sign(change), -change))
        return order[np.abs(change[order]) > 0]


def compare(
    names: tuple[str, str],
    before: Summary,
    after: Summary,
    num_resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Compares two evaluations.

    Args:
        names: names of the two evaluations.
        before: the first evaluation.
        after: the second evaluation, of the same ground truth by the same metric.
        num_resamples: number of bootstrap resamples; 0: no intervals.
        seed: seed of the resamples.
        progress: as for ``bootstrap.intervals``.

    Returns:
        The comparison.

    Raises:
        ValueError: if the two do not have the same ground truth, metric and IoU threshold.
    """
    one, two = before.errors, after.errors
    for what, values in (
        ("the same metric", (one.metric, two.metric)),
        ("the same IoU threshold", (one.iou_threshold, two.iou_threshold)),
        ("images in the same order", (one.truth.image_ids, two.truth.image_ids)),
        ("classes in the same order", (one.truth.class_names, two.truth.class_names)),
        ("the same ground truth", (fingerprint(one.truth), fingerprint(two.truth))),
    ):
        if values[0] != values[1]:
            raise ValueError(f"{names[0]} and {names[1]} must be measured with {what}")
    differences = None
    if num_resamples and one.truth.image_ids:
        differences = bootstrap.differences(
            one.truth,
            two.found,
            one.found,
            one.metric,
            one.iou_threshold,
            num_resamples,
            seed,
            progress,
        )
    return Comparison(
        names=names,
        before=before,
        after=after,
        differences=differences,
        image_aps=np.stack([image_aps(one), image_aps(two)]),
    )


def image_aps(split: ErrorSplit) -> np.ndarray:
    """Computes the area AP of each image alone, over its detections of all classes in one ranking.

    Args:
        split: the errors of all detections.

    Returns:
        float64 [images]; NaN for an image without objects that count.
    """
    num_images = len(split.truth.image_ids)
    num_gt = np.bincount(split.truth.rows[~split.truth.crowd], minlength=num_images)
    counted = split.kinds != Kind.IGNORED
    order = np.lexsort((-split.found.scores, split.found.rows))
    order = order[counted[order]]
    correct = split.kinds[order] == Kind.CORRECT
    starts = np.searchsorted(split.found.rows[order], np.arange(num_images + 1))
    values = np.full(num_images, np.nan)
    for row in np.flatnonzero(num_gt):
        ranks = np.flatnonzero(correct[starts[row] : starts[row + 1]]) + 1
        true_positives = np.arange(1, len(ranks) + 1)
        (values[row],) = average_precision(true_positives, ranks, num_gt[row], (area,))
    return values
