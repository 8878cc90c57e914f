"""Average precision from counts: the area under the curve, its mean at 11 recalls or at COCO's 101.

Precision at a recall is the best at this recall or a higher one, and 0 where it is not reached.
That only changes at right detections, so that the counts there are all that is needed.
"""

from collections.abc import Callable, Sequence

import numpy as np

Measure = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray | int]]

COCO_RECALLS = np.linspace(0.0, 1.0, 101)


def area(found: np.ndarray, num_gt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighs precision by recall: VOC's metric from 2010 on.

    Args:
        found: integers [U, ...], right detections so far.
        num_gt: integers [...], objects, at least 1.

    Returns:
        How many recalls are reached, and of how many.
    """
    return found, num_gt


def eleven_points(found: np.ndarray, num_gt: np.ndarray) -> tuple[np.ndarray, int]:
    """Takes precision at the recalls 0, 0.1, ..., 1: VOC2007's metric. See ``area``.

    ``found / num_gt >= t / 10`` is asked in whole numbers: in floating point 3 * 0.1 is above 0.3,
    and a recall of exactly 0.3 would be missed.
    """
    return np.where(found > 0, 10 * found // num_gt + 1, 0), 11


def coco_points(found: np.ndarray, num_gt: np.ndarray) -> tuple[np.ndarray, int]:
    """Takes precision at the recalls 0, 0.01, ..., 1: COCO's metric. See ``area``.

    Rounds as pycocotools does, which misses some recalls such as 57 of 100.
    """
    reached = np.searchsorted(COCO_RECALLS, found / num_gt, side="right")
    return np.where(found > 0, reached, 0), len(COCO_RECALLS)


def average_precision(
    found: np.ndarray, seen: np.ndarray, num_gt: np.ndarray | int, measures: Sequence[Measure]
) -> list[np.ndarray]:
    """Computes average precision, many at once.

    Args:
        found: integers [U, ...]: for each right detection, best score first, how many there are so
            far. In a resampled data set one may count several times, or not at all.
        seen: integers [U, ...]: likewise, right and wrong ones together.
        num_gt: integers [...], objects that can be found.
        measures: which average precisions, such as ``area``.

    Returns:
        For each measure float64 [...]; NaN where there are no objects.
    """
    best = np.zeros(found.shape)
    np.divide(found, seen, out=best, where=seen > 0)
    best = np.maximum.accumulate(best[::-1], axis=0)[::-1]
    num_gt = np.asarray(num_gt)
    values = []
    for measure in measures:
        reached, total = measure(found, np.maximum(num_gt, 1))
        steps = np.diff(reached, axis=0, prepend=0)
        values.append(np.where(num_gt > 0, np.sum(best * steps, axis=0) / total, np.nan))
    return values
