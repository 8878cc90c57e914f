"""An error split seen from several sides: by score, by size of the objects, by image."""

import dataclasses

import numpy as np

from keras_frcnn.evaluation.analysis.errors import ERRORS, ErrorSplit, Kind

SIZES = {"small": 0.0, "medium": 32.0**2, "large": 96.0**2}
"""COCO's sizes of objects: the areas, pixels, from which each name holds."""


@dataclasses.dataclass(frozen=True)
class SizeResult:
    """What became of the objects and the detections of one size, each by its own area.

    Attributes:
        name: one of ``SIZES``.
        num_gt: objects that are not ignored.
        num_found: of these, with a right detection.
        num_missed: of these, without any that comes near.
        num_detections: counted ones.
        num_correct: of these.
    """

    name: str
    num_gt: int
    num_found: int
    num_missed: int
    num_detections: int
    num_correct: int


def best_score(split: ErrorSplit) -> float:
    """Returns the score from which on detections are worth most: the one with the highest F1.

    Args:
        split: of all detections.

    Returns:
        The score of one of the detections, of equally good ones the highest; 0, or the lowest score
        if that is lower, if none is right.
    """
    counted = split.kinds != Kind.IGNORED
    scores = split.found.scores[counted]
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    found = np.cumsum(split.kinds[counted][order] == Kind.CORRECT)
    if not len(found) or not found[-1]:
        return float(scores.min(initial=0))
    f1 = 2 * found / (np.arange(1, len(found) + 1) + np.sum(~split.truth.crowd))
    f1[:-1][scores[:-1] == scores[1:]] = -1  # equal scores come all or not at all
    return float(scores[np.argmax(f1)])


def by_score(split: ErrorSplit, num_bins: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Counts the detections of each kind in bins of their score.

    Args:
        split: of all detections.
        num_bins: bins of equal width between 0, or the lowest score if lower, and 1, or the highest
            if higher. The last holds its upper end.

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
    """Says how objects and detections of each size fare.

    An object's area is the annotation's, where it has one of its outline; a detection's is its
    box's.
    """
    starts = list(SIZES.values())
    gt_sizes = np.searchsorted(starts, split.truth.areas, side="right") - 1
    sizes = np.searchsorted(starts, np.prod(split.found.bboxes[:, 2:], axis=1), side="right") - 1
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
    """Counts what happened in each image.

    Returns:
        ``(kinds, missed)``: int64 [images, len(Kind)] detections of each kind, and [images]
        missed objects.
    """
    num_images = len(split.truth.image_ids)
    kinds = np.zeros((num_images, len(Kind)), np.int64)
    np.add.at(kinds, (split.found.rows, split.kinds), 1)
    return kinds, np.bincount(split.truth.rows[split.missed], minlength=num_images)


def worst_images(split: ErrorSplit) -> np.ndarray:
    """Returns the images with errors (wrong detections and missed objects), most errors first.

    Of equal ones that with fewer right detections comes first.

    Returns:
        int64, indices in ``truth.image_ids``.
    """
    kinds, missed = by_image(split)
    errors = kinds[:, ERRORS].sum(axis=1) + missed
    order = np.lexsort((kinds[:, Kind.CORRECT], -errors))
    return order[errors[order] > 0]


def best_images(split: ErrorSplit) -> np.ndarray:
    """Returns the images with right detections and no error, most right ones first.

    Returns:
        int64, indices in ``truth.image_ids``.
    """
    kinds, missed = by_image(split)
    errors = kinds[:, ERRORS].sum(axis=1) + missed
    order = np.argsort(-kinds[:, Kind.CORRECT], kind="stable")
    return order[(errors[order] == 0) & (kinds[order, Kind.CORRECT] > 0)]


def surest(split: ErrorSplit, kind: Kind) -> np.ndarray:
    """Returns the detections of a kind, best score first, the best of each image only.

    Returns:
        int64, indices of detections.
    """
    of_kind = np.flatnonzero(split.kinds == kind)
    of_kind = of_kind[np.argsort(-split.found.scores[of_kind], kind="stable")]
    _, first = np.unique(split.found.rows[of_kind], return_index=True)
    return of_kind[np.sort(first)]


def largest_missed(split: ErrorSplit) -> np.ndarray:
    """Returns the missed objects, largest first, the largest of each image only.

    Returns:
        int64, indices of objects.
    """
    missed = np.flatnonzero(split.missed)
    missed = missed[np.argsort(-split.truth.areas[missed], kind="stable")]
    _, first = np.unique(split.truth.rows[missed], return_index=True)
    return missed[np.sort(first)]


def at_scores(split: ErrorSplit, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns what one gets who looks only at detections scored at least a threshold.

    Args:
        split: of all detections.
        thresholds: [T].

    Returns:
        ``(precision, recall)``: float64 [T], over all classes; NaN where there are no such
        detections, or no objects.
    """
    counted = split.kinds != Kind.IGNORED
    correct = np.sort(split.found.scores[split.kinds == Kind.CORRECT])
    every = np.sort(split.found.scores[counted])
    num_correct, num_found = (len(s) - np.searchsorted(s, thresholds) for s in (correct, every))
    num_gt = np.sum(~split.truth.crowd)
    precision = np.where(num_found > 0, num_correct / np.maximum(num_found, 1), np.nan)
    return precision, num_correct / num_gt if num_gt else np.full(len(thresholds), np.nan)
