"""Average precision from counts: the area under the curve, and its mean at 11 or 101 recalls.

The precision at a recall is the highest precision at that recall or at any higher one, and 0 where
the recall is never reached. It changes only where a detection is a true positive, so the counts at
the true positives are all that is needed.
"""

from collections.abc import Callable, Sequence

import numpy as np

RecallSteps = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray | int]]

COCO_RECALLS = np.linspace(0.0, 1.0, 101)


def area(true_positives: np.ndarray, num_gt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts every recall that can occur: the area under the curve, VOC's metric since 2010.

    Args:
        true_positives: integers [U, ...], the true positives so far.
        num_gt: integers [...], objects, at least 1.

    Returns:
        ``(reached, total)``: how many of the recalls are reached, and how many recalls there are.
    """
    return true_positives, num_gt


def eleven_points(true_positives: np.ndarray, num_gt: np.ndarray) -> tuple[np.ndarray, int]:
    """Counts the recalls 0, 0.1, ..., 1: VOC2007's metric. Arguments and results as for ``area``.

    ``true_positives / num_gt >= t / 10`` is decided with integers: in floating point 3 * 0.1 is
    above 0.3, and a recall of exactly 0.3 would be missed.
    """
    return np.where(true_positives > 0, 10 * true_positives // num_gt + 1, 0), 11


def coco_points(true_positives: np.ndarray, num_gt: np.ndarray) -> tuple[np.ndarray, int]:
    """Counts the recalls 0, 0.01, ..., 1: COCO's metric. Arguments and results as for ``area``.

    It rounds as pycocotools does, which misses some recalls, such as 57 of 100.
    """
    reached = np.searchsorted(COCO_RECALLS, true_positives / num_gt, side="right")
    return np.where(true_positives > 0, reached, 0), len(COCO_RECALLS)


def average_precision(
    true_positives: np.ndarray,
    ranks: np.ndarray,
    num_gt: np.ndarray | int,
    recall_steps: Sequence[RecallSteps],
) -> list[np.ndarray]:
    """Computes average precision, for many rankings at once.

    Args:
        true_positives: integers [U, ...]. For each true positive, best score first, the number of
            true positives up to and including it. In a resampled data set a detection may count
            several times, or not at all.
        ranks: integers [U, ...]. For each true positive, the number of true and false positives up
        to and including it.
        num_gt: integers [...], objects that can be found.
        recall_steps: which averages to compute, such as ``area``.

    Returns:
        One float64 [...] for each of ``recall_steps``; NaN where there are no objects.
    """
    best = np.zeros(true_positives.shape)
    np.divide(true_positives, ranks, out=best, where=ranks > 0)
    best = np.maximum.accumulate(best[::-1], axis=0)[::-1]
    num_gt = np.asarray(num_gt)
    values = []
    for count_steps in recall_steps:
        reached, total = count_steps(true_positives, np.maximum(num_gt, 1))
        steps = np.diff(reached, axis=0, prepend=0)
        values.append(np.where(num_gt > 0, np.sum(best * steps, axis=0) / total, np.nan))
    return values
