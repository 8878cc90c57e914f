"""Errors broken down by score, by size of the objects and by image."""

import dataclasses

import numpy as np

from keras_frcnn.evaluation.analysis import errors
from keras_frcnn.evaluation.analysis.errors import ERRORS, ErrorSplit, Kind
from keras_frcnn.evaluation.metrics.boxes import areas

SIZES = {"small": 0.0, "medium": 32.0**2, "large": 96.0**2}
"""COCO's object sizes, and the smallest area of each in square pixels."""


@dataclasses.dataclass(frozen=True)
class SizeResult:
    """Counts of the objects and of the detections of one size, each by its own area.

    Attributes:
        name: one of ``SIZES``.
        num_gt: objects that are not ignored.
        num_found: objects with a correct detection.
        num_missed: objects that are missed, see ``errors``.
        num_detections: detections that count.
        num_correct: detections that are correct.
    """

    name: str
    num_gt: int
    num_found: int
    num_missed: int
    num_detections: int
    num_correct: int


def best_score(split: ErrorSplit) -> float:
    """Returns the score threshold with the highest F1.

    Args:
        split: the errors of all detections.

    Returns:
        The score of one of the detections, the highest one if several are equally good. If no
        detection is correct, it is 0, or the lowest score if that is below 0.
    """
    counted = split.kinds != Kind.IGNORED
    scores = split.found.scores[counted]
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    correct = np.cumsum(split.kinds[counted][order] == Kind.CORRECT)
    if not len(correct) or not correct[-1]:
        return float(scores.min(initial=0))
    f1 = 2 * correct / (np.arange(1, len(correct) + 1) + np.sum(~split.truth.crowd))
    f1[:-1][scores[:-1] == scores[1:]] = -1  # a threshold keeps all equal scores or none
    return float(scores[np.argmax(f1)])


def at_best_score(split: ErrorSplit) -> ErrorSplit:
    """Returns the split of only those detections that reach the score with the best F1."""
    score = best_score(split)
    return errors.split(split.truth, split.found, split.iou_threshold, split.metric, score)


def by_score(split: ErrorSplit, num_bins: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Counts the detections of each kind by score.

    Args:
        split: the errors of all detections.
        num_bins: number of bins of equal width. They reach from 0, or the lowest score if that is
            lower, to 1, or the highest score if that is higher. The last bin includes its upper
            end.

    Returns:
        ``(edges, counts)``: [num_bins + 1] float64, and int64 [num_bins, len(Kind)].
    """
    scores = split.found.scores
    edges = np.linspace(scores.min(initial=0), scores.max(initial=1), num_bins + 1)
    bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, num_bins - 1)
    counts = np.zeros((num_bins, len(Kind)), np.int64)
    np.add.at(counts, (bins, split.kinds), 1)
    return edges, counts


def by_size(split: ErrorSplit) -> list[SizeResult]:
    """Counts objects and detections of each size.

    The area of an object is the one in its annotation, which may be that of the outline; the area
    of a detection is that of its box.
    """
    starts = list(SIZES.values())
    gt_sizes = np.searchsorted(starts, split.truth.areas, side="right") - 1
    sizes = np.searchsorted(starts, areas(split.found.bboxes), side="right") - 1
    results = []
    for number, name in enumerate(SIZES):
        objects = (gt_sizes == number) & ~split.truth.crowd
        counted = (sizes == number) & (split.kinds != Kind.IGNORED)
        results.append(
            SizeResult(
                name,
                num_gt=int(np.sum(objects)),
                num_found=int(np.sum(objects & (split.found_by >= 0))),
                num_missed=int(np.sum(objects & split.missed)),
                num_detections=int(np.sum(counted)),
                num_correct=int(np.sum(counted & (split.kinds == Kind.CORRECT))),
            )
        )
    return results


def by_image(split: ErrorSplit) -> tuple[np.ndarray, np.ndarray]:
    """Counts the detections of each kind and the missed objects of each image.

    Returns:
        ``(kinds, missed)``: int64 [images, len(Kind)] and int64 [images].
    """
    num_images = len(split.truth.image_ids)
    kinds = np.zeros((num_images, len(Kind)), np.int64)
    np.add.at(kinds, (split.found.rows, split.kinds), 1)
    return kinds, np.bincount(split.truth.rows[split.missed], minlength=num_images)


def worst_images(split: ErrorSplit) -> np.ndarray:
    """Returns the images with errors (wrong detections or missed objects), most errors first.

    Of images with equally many errors, the one with fewer correct detections comes first.

    Returns:
        int64, indices in ``truth.image_ids``.
    """
    kinds, missed = by_image(split)
    errors = kinds[:, ERRORS].sum(axis=1) + missed
    order = np.lexsort((kinds[:, Kind.CORRECT], -errors))
    return order[errors[order] > 0]


def best_images(split: ErrorSplit) -> np.ndarray:
    """Returns the images with correct detections and no error, most correct ones first.

    Returns:
        int64, indices in ``truth.image_ids``.
    """
    kinds, missed = by_image(split)
    errors = kinds[:, ERRORS].sum(axis=1) + missed
    order = np.argsort(-kinds[:, Kind.CORRECT], kind="stable")
    return order[(errors[order] == 0) & (kinds[order, Kind.CORRECT] > 0)]


def surest(split: ErrorSplit, kind: Kind) -> np.ndarray:
    """Returns the best detection of one kind in each image, highest score first.

    Returns:
        int64, indices of detections.
    """
    of_kind = np.flatnonzero(split.kinds == kind)
    of_kind = of_kind[np.argsort(-split.found.scores[of_kind], kind="stable")]
    _, first = np.unique(split.found.rows[of_kind], return_index=True)
    return of_kind[np.sort(first)]


def largest_missed(split: ErrorSplit) -> np.ndarray:
    """Returns the largest missed object of each image, largest first.

    Returns:
        int64, indices of objects.
    """
    missed = np.flatnonzero(split.missed)
    missed = missed[np.argsort(-split.truth.areas[missed], kind="stable")]
    _, first = np.unique(split.truth.rows[missed], return_index=True)
    return missed[np.sort(first)]


def at_scores(split: ErrorSplit, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes precision and recall at score thresholds.

    Args:
        split: the errors of all detections.
        thresholds: [T]; detections with a lower score are left out.

    Returns:
        ``(precision, recall)``: float64 [T], over all classes; NaN where there are no such
        detections, or no objects.
    """
    correct = np.sort(split.found.scores[split.kinds == Kind.CORRECT])
    counted = np.sort(split.found.scores[split.kinds != Kind.IGNORED])
    num_correct, num_counted = (len(s) - np.searchsorted(s, thresholds) for s in (correct, counted))
    num_gt = np.sum(~split.truth.crowd)
    precision = np.where(num_counted > 0, num_correct / np.maximum(num_counted, 1), np.nan)
    return precision, num_correct / num_gt if num_gt else np.full(len(thresholds), np.nan)
