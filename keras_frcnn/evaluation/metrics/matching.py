"""Which object each detection finds, by the rule of PASCAL VOC or of COCO.

Both go through a class's detections by score, best first, equal scores in the order of images and
of an image's detections. ``voc`` and ``coco`` write the rules out; they differ in this:

- VOC: a detection has one chance, the object of its class that it overlaps most (of equal ones the
  first). COCO: the best object that is still free (of equal ones the last).
- VOC: what overlaps a difficult object most is not counted. COCO: what finds no free object and
  lies inside a crowd region, by the share of its own area, is not counted.
- COCO counts an image's best 100 detections of a class only.
"""

import dataclasses

import numpy as np

from keras_frcnn.data.dataset import GroundTruth
from keras_frcnn.evaluation.metrics.columns import Found, ranks_of_ids, to_boxes

METRICS = ("voc", "coco")
MAX_DETECTIONS = 100  # of a class in an image, in COCO's metric
_ALMOST_ONE = 1 - 1e-10  # COCO's highest threshold
_PAIRS_AT_ONCE = 1_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of a detection and an object of the same image, of any classes.

    Attributes:
        found: int64 [P], indices of detections, ascending.
        objects: int64 [P], indices of objects, ascending for each detection.
        overlaps: float64 [P], IoU; with a crowd region in COCO's metric the intersection over the
            detection's own area.
        same_class: bool [P].
    """

    found: np.ndarray
    objects: np.ndarray
    overlaps: np.ndarray
    same_class: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Matches:
    """What becomes of each detection at one IoU threshold.

    Attributes:
        objects: int64 [K], the object that it finds, or for VOC's rule finds again; -1 for none.
        positive: bool [K], whether it is right.
        counted: bool [K], whether it is counted at all, as right or wrong.
    """

    objects: np.ndarray
    positive: np.ndarray
    counted: np.ndarray


def find_pairs(truth: GroundTruth, found: Found, least: float, metric: str) -> Pairs:
    """Finds all pairs that overlap enough.

    Args:
        truth: the objects.
        found: the detections.
        least: smallest overlap of a pair, above 0.
        metric: one of ``METRICS``, whose overlap is meant.

    Returns:
        The pairs.
    """
    order = np.argsort(truth.rows, kind="stable")
    first = np.searchsorted(truth.rows[order], found.rows)
    counts = np.searchsorted(truth.rows[order], found.rows, side="right") - first
    ends = np.cumsum(counts)
    parts, start = [], 0
    while start < len(counts):
        limit = ends[start] - counts[start] + _PAIRS_AT_ONCE
        stop = max(start + 1, int(np.searchsorted(ends, limit, side="right")))
        some = np.repeat(np.arange(start, stop), counts[start:stop])
        offsets = np.arange(len(some)) - np.repeat(
            ends[start:stop] - counts[start:stop] - ends[start] + counts[start], counts[start:stop]
        )
        objects = order[first[some] + offsets]
        region = truth.crowd[objects] if metric == "coco" else False
        values = overlap(found.bboxes[some], truth.bboxes[objects], region)
        near = values >= least
        parts.append((some[near], objects[near], values[near]))
        start = stop
    parts = parts or [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    some, objects, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Pairs(some, objects, values, found.labels[some] == truth.labels[objects])


def match(
    truth: GroundTruth, found: Found, pairs: Pairs, iou_threshold: float, metric: str
) -> Matches:
    """Decides which detections are right.

    Args:
        truth: the objects.
        found: the detections.
        pairs: of ``find_pairs`` for the same metric, with a ``least`` of at most the threshold.
        iou_threshold: least overlap of a detection with its object.
        metric: one of ``METRICS``, whose rule is meant.

    Returns:
        What becomes of each detection.
    """
    if metric == "coco":
        return _match_coco(truth, found, pairs, min(iou_threshold, _ALMOST_ONE))
    return _match_voc(truth, found, pairs, iou_threshold)


def by_score(truth: GroundTruth, found: Found, metric: str) -> np.ndarray:
    """Returns the order of all detections by score, best first, as the metric breaks ties.

    Args:
        truth: the objects.
        found: the detections.
        metric: VOC's ties keep the order of the images, COCO's that of their ids.

    Returns:
        Indices of detections, int64 [K].
    """
    if metric == "coco":
        return np.lexsort((ranks_of_ids(truth.image_ids)[found.rows], -found.scores))
    return np.argsort(-found.scores, kind="stable")


def best_of_each(pairs: Pairs, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds the best of each detection's pairs.

    Args:
        pairs: the pairs.
        kept: bool [P], the pairs to choose from.

    Returns:
        ``(found, objects, overlaps)`` of the pair with the highest overlap, of equal ones the
        first, for each detection that has any; detections ascending.
    """
    some, objects, overlaps = pairs.found[kept], pairs.objects[kept], pairs.overlaps[kept]
    order = np.lexsort((-overlaps, some))
    _, first = np.unique(some[order], return_index=True)
    best = order[first]
    return some[best], objects[best], overlaps[best]


def overlap(
    bboxes: np.ndarray, others: np.ndarray, region: np.ndarray | bool = False
) -> np.ndarray:
    """Returns how much boxes overlap, pair by pair.

    Args:
        bboxes: [..., 4]: x, y, width, height.
        others: likewise, of a shape that can be broadcast against the first.
        region: bool [...], whether the other is a region, in which the box may lie anywhere.

    Returns:
        IoU, or the share of the first box that lies in the region, float64 [...]; 0 where the
        boxes do not overlap, which a box without area never does.
    """
    boxes, other_boxes = to_boxes(bboxes), to_boxes(others)
    near = np.maximum(boxes[..., :2], other_boxes[..., :2])
    far = np.minimum(boxes[..., 2:], other_boxes[..., 2:])
    shared = np.prod(np.maximum(far - near, 0.0), axis=-1)
    area, other_area = bboxes[..., 2] * bboxes[..., 3], others[..., 2] * others[..., 3]
    whole = np.where(region, area, area + other_area - shared)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=shared > 0)


def _match_voc(truth: GroundTruth, found: Found, pairs: Pairs, iou_threshold: float) -> Matches:
    hits, best, overlaps = best_of_each(pairs, pairs.same_class)
    hits, best = hits[overlaps >= iou_threshold], best[overlaps >= iou_threshold]
    objects = np.full(len(found.rows), -1)
    objects[hits] = best
    counted = np.ones(len(objects), bool)
    counted[hits] = ~truth.crowd[best]
    by_score = hits[np.argsort(-found.scores[hits], kind="stable")]
    _, first = np.unique(objects[by_score], return_index=True)  # the best detection of each object
    positive = np.zeros(len(objects), bool)
    positive[by_score[first]] = True
    return Matches(objects, positive & counted, counted)


def _match_coco(truth: GroundTruth, found: Found, pairs: Pairs, iou_threshold: float) -> Matches:
    by_score = np.argsort(-found.scores, kind="stable")
    rank = np.empty_like(by_score)
    rank[by_score] = np.arange(len(by_score))
    counted = _rank_in_group(found, by_score) < MAX_DETECTIONS
    kept = pairs.same_class & (pairs.overlaps >= iou_threshold) & counted[pairs.found]
    some, candidates, overlaps = pairs.found[kept], pairs.objects[kept], pairs.overlaps[kept]
    crowd = truth.crowd[candidates]
    # A detection's choice, best first: objects before regions, then by overlap.
    order = np.lexsort((-candidates, -overlaps, crowd, rank[some]))
    objects = [-1] * len(counted)
    taken = [False] * len(truth.rows)
    rows = zip(*(column[order].tolist() for column in (some, candidates, crowd)), strict=True)
    for detection, candidate, region in rows:
        if objects[detection] < 0 and (region or not taken[candidate]):
            objects[detection] = candidate
            taken[candidate] = True
    objects = np.array(objects, np.int64)
    matched = objects >= 0
    counted[matched] &= ~truth.crowd[objects[matched]]
    return Matches(objects, matched & counted, counted)


def _rank_in_group(found: Found, by_score: np.ndarray) -> np.ndarray:
    """Returns the place of each detection, by score, among its image's of the same class."""
    order = by_score[np.lexsort((found.labels[by_score], found.rows[by_score]))]
    rows, labels = found.rows[order], found.labels[order]
    changes = (np.diff(rows, prepend=-1) != 0) | (np.diff(labels, prepend=-1) != 0)
    starts = np.flatnonzero(changes)
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return ranks
