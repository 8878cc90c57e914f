"""Matching of detections with objects, by the rule of PASCAL VOC or of COCO.

Both rules go through the detections of a class by score, best first. ``voc`` and ``coco`` state
them in full. They differ in this:

- VOC: a detection can only match the object of its class with the highest IoU (the first one among
  equals). COCO: it matches the free object with the highest IoU (the last one among equals).
- VOC: a detection does not count if its highest IoU is with a difficult object. COCO: a detection
  does not count if no object is free for it and enough of its own area lies inside a crowd region.
- COCO counts only the best 100 detections of each class in each image.
"""

import dataclasses

import numpy as np

from keras_frcnn.data.dataset import GroundTruth
from keras_frcnn.evaluation.metrics.boxes import overlap
from keras_frcnn.evaluation.metrics.detections import DetectionTable
from keras_frcnn.evaluation.metrics.ground_truth import ranks_of_images

METRICS = ("voc", "coco")
MAX_DETECTIONS = 100  # per class and image, in COCO's metric
_ALMOST_ONE = 1 - 1e-10  # COCO's highest threshold
PAIRS_AT_ONCE = 1_000_000  # bounds the memory


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of a detection and an object of the same image, of any classes.

    Attributes:
        detections: int64 [P], indices of detections, ascending.
        objects: int64 [P], indices of objects, ascending for each detection.
        overlaps: float64 [P], IoU. In COCO's metric the overlap with a crowd region is the share of
            the detection that lies inside it.
        same_class: bool [P].
    """

    detections: np.ndarray
    objects: np.ndarray
    overlaps: np.ndarray
    same_class: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Matches:
    """What each detection matches at one IoU threshold.

    Attributes:
        objects: int64 [K], the object that the detection matches, or -1. By VOC's rule, a
            better detection may have matched it already.
        positive: bool [K], whether the detection is a true positive.
        counted: bool [K], whether it counts, as a true or a false positive.
    """

    objects: np.ndarray
    positive: np.ndarray
    counted: np.ndarray


def check_iou_threshold(iou_threshold: float) -> None:
    """Raises a ValueError unless an IoU threshold is above 0 and at most 1."""
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold must be above 0 and at most 1. Received: {iou_threshold}")


def find_pairs(
    truth: GroundTruth, detections: DetectionTable, min_overlap: float, metric: str
) -> Pairs:
    """Finds all pairs of a detection and an object that overlap enough.

    Args:
        truth: the objects.
        detections: the detections.
        min_overlap: least overlap of a pair, above 0.
        metric: one of ``METRICS``, which defines the overlap.

    Returns:
        The pairs.
    """
    order = np.argsort(truth.rows, kind="stable")
    first = np.searchsorted(truth.rows[order], detections.rows)
    counts = np.searchsorted(truth.rows[order], detections.rows, side="right") - first
    ends = np.cumsum(counts)
    chunks, start = [], 0
    while start < len(counts):
        limit = ends[start] - counts[start] + PAIRS_AT_ONCE
        stop = max(start + 1, int(np.searchsorted(ends, limit, side="right")))
        indices = np.repeat(np.arange(start, stop), counts[start:stop])
        offsets = np.arange(len(indices)) - np.repeat(
            ends[start:stop] - counts[start:stop] - ends[start] + counts[start], counts[start:stop]
        )
        objects = order[first[indices] + offsets]
        is_region = truth.crowd[objects] if metric == "coco" else False
        overlaps = overlap(detections.bboxes[indices], truth.bboxes[objects], is_region)
        near = overlaps >= min_overlap
        chunks.append((indices[near], objects[near], overlaps[near]))
        start = stop
    chunks = chunks or [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    indices, objects, overlaps = (np.concatenate(arrays) for arrays in zip(*chunks, strict=True))
    same_class = detections.labels[indices] == truth.labels[objects]
    return Pairs(indices, objects, overlaps, same_class)


def match(
    truth: GroundTruth,
    detections: DetectionTable,
    pairs: Pairs,
    iou_threshold: float,
    metric: str,
) -> Matches:
    """Matches detections with objects.

    Args:
        truth: the objects.
        detections: the detections.
        pairs: what ``find_pairs`` returned for the same metric, with a ``min_overlap`` of at most
            the threshold.
        iou_threshold: least overlap of a detection with its object.
        metric: one of ``METRICS``, which defines the rule.

    Returns:
        What each detection matches.
    """
    if metric == "coco":
        return _match_coco(truth, detections, pairs, min(iou_threshold, _ALMOST_ONE))
    return _match_voc(truth, detections, pairs, iou_threshold)


def rank_by_score(truth: GroundTruth, detections: DetectionTable, metric: str) -> np.ndarray:
    """Sorts all detections by score, best first, and breaks ties as the metric does.

    Args:
        truth: the objects.
        detections: the detections.
        metric: decides on ties. By VOC's metric, equal scores keep the order of the images; by
            COCO's, that of the image ids.

    Returns:
        int64 [K], indices of detections.
    """
    if metric == "coco":
        return np.lexsort((ranks_of_images(truth.image_ids)[detections.rows], -detections.scores))
    return np.argsort(-detections.scores, kind="stable")


def best_pairs(pairs: Pairs, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds each detection's pair with the highest overlap, the first one among equals.

    Args:
        pairs: the pairs.
        kept: bool [P], the pairs to choose from.

    Returns:
        ``(detections, objects, overlaps)``, one entry for each detection that has any pair;
        detections ascending.
    """
    detections, objects = pairs.detections[kept], pairs.objects[kept]
    overlaps = pairs.overlaps[kept]
    order = np.lexsort((-overlaps, detections))
    _, first = np.unique(detections[order], return_index=True)
    best = order[first]
    return detections[best], objects[best], overlaps[best]


def _match_voc(
    truth: GroundTruth, detections: DetectionTable, pairs: Pairs, iou_threshold: float
) -> Matches:
    hits, best, overlaps = best_pairs(pairs, pairs.same_class)
    hits, best = hits[overlaps >= iou_threshold], best[overlaps >= iou_threshold]
    objects = np.full(len(detections.rows), -1)
    objects[hits] = best
    counted = np.ones(len(objects), bool)
    counted[hits] = ~truth.crowd[best]
    ranking = hits[np.argsort(-detections.scores[hits], kind="stable")]
    _, first = np.unique(objects[ranking], return_index=True)  # the best detection of each object
    positive = np.zeros(len(objects), bool)
    positive[ranking[first]] = True
    return Matches(objects, positive & counted, counted)


def _match_coco(
    truth: GroundTruth, detections: DetectionTable, pairs: Pairs, iou_threshold: float
) -> Matches:
    ranking = np.argsort(-detections.scores, kind="stable")
    rank = np.empty_like(ranking)
    rank[ranking] = np.arange(len(ranking))
    counted = _rank_in_group(detections, ranking) < MAX_DETECTIONS
    kept = pairs.same_class & (pairs.overlaps >= iou_threshold) & counted[pairs.detections]
    indices, candidates = pairs.detections[kept], pairs.objects[kept]
    is_region = truth.crowd[candidates]
    # The candidates of a detection, best first: objects before regions, then by overlap.
    order = np.lexsort((-candidates, -pairs.overlaps[kept], is_region, rank[indices]))
    objects = [-1] * len(counted)
    taken = [False] * len(truth.rows)
    columns = (column[order].tolist() for column in (indices, candidates, is_region))
    for detection, candidate, may_share in zip(*columns, strict=True):
        if objects[detection] < 0 and (may_share or not taken[candidate]):
            objects[detection] = candidate
            taken[candidate] = True
    objects = np.array(objects, np.int64)
    matched = objects >= 0
    counted[matched] &= ~truth.crowd[objects[matched]]
    return Matches(objects, matched & counted, counted)


def _rank_in_group(detections: DetectionTable, ranking: np.ndarray) -> np.ndarray:
    """Ranks each detection, from 0, among those of the same image and class."""
    order = ranking[np.lexsort((detections.labels[ranking], detections.rows[ranking]))]
    rows, labels = detections.rows[order], detections.labels[order]
    changes = (np.diff(rows, prepend=-1) != 0) | (np.diff(labels, prepend=-1) != 0)
    starts = np.flatnonzero(changes)
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return ranks
