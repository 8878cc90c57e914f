"""The kind of error of each detection, and the objects that were missed, as TIDE defines them.

Bolya et al. 2020, "TIDE: A General Toolbox for Identifying Object Detection Errors", section 2. A
detection that the metric counts as wrong has the first of these kinds whose condition holds. Here t
is the IoU threshold, and the best object is the one with the highest IoU (the first one among
equals):

1. localisation: 0.1 <= IoU < t with the best object of its class.
2. confusion: IoU >= t with the best object of the other classes.
3. duplicate: IoU >= t with an object of its class that a better detection has found.
4. both: 0.1 <= IoU < t with the best object of the other classes.
5. background: everything else.

An object without a correct detection is missed, unless a localisation or confusion error names it.

The metric decides what is correct, see ``metrics.matching``. A detection that the metric does not
count has the kind "ignored", and an object that it ignores is never missed. VOC's difficult objects
are real objects and may explain an error; COCO's crowd regions never do, as in TIDE's code. Where
nothing is ignored, the counts by COCO's rule are those of tidecv 1.0.1.
"""

import dataclasses
import enum
import math

import numpy as np

from keras_frcnn.data.dataset import GroundTruth
from keras_frcnn.evaluation.metrics import matching
from keras_frcnn.evaluation.metrics.boxes import to_boxes
from keras_frcnn.evaluation.metrics.detections import DetectionTable

BACKGROUND_IOU = 0.1
MISSED = "missed"
"""The name of the error at an object that no detection finds, beside the names of ``Kind``."""


class Kind(enum.IntEnum):
    """What a detection is: correct, one of the kinds of errors, or ignored."""

    CORRECT = 0
    LOCALISATION = 1
    CONFUSION = 2
    BOTH = 3
    DUPLICATE = 4
    BACKGROUND = 5
    IGNORED = 6


ERRORS = tuple(kind for kind in Kind if kind not in (Kind.CORRECT, Kind.IGNORED))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ErrorSplit:
    """All detections and objects, and what became of each.

    Attributes:
        truth: the N objects; ``crowd`` marks those that are ignored.
        found: the K detections.
        metric: "voc" or "coco", whose rule decides what is correct.
        iou_threshold: least IoU of a correct detection.
        score_threshold: detections with a lower score are not in ``found``.
        kinds: int8 [K], the ``Kind`` of each detection.
        objects: int64 [K], index of the object that gives a detection its kind: the object that it
            finds, finds again, localises badly or confuses; -1 if there is none.
        ious: float64 [K], the IoU with that object (for a crowd region the share of the detection
            that lies inside it); 0 without an object.
        found_by: int64 [N], index of each object's correct detection, or -1.
        missed: bool [N].
    """

    truth: GroundTruth
    found: DetectionTable
    metric: str
    iou_threshold: float
    score_threshold: float
    kinds: np.ndarray
    objects: np.ndarray
    ious: np.ndarray
    found_by: np.ndarray
    missed: np.ndarray

    @property
    def boxes(self) -> np.ndarray:
        """The boxes of the detections, float64 [K, 4] yxyx pixels of the original images."""
        return to_boxes(self.found.bboxes)

    @property
    def gt_boxes(self) -> np.ndarray:
        """The boxes of the objects, float64 [N, 4] yxyx pixels of the original images."""
        return to_boxes(self.truth.bboxes)

    def counts(self, top: bool = False) -> np.ndarray:
        """Counts the detections of each class and kind.

        Args:
            top: whether to count only the n best detections of a class with n objects (Hoiem et al.
                2012), since all of these could be correct. Ignored detections are skipped.

        Returns:
            int64 [classes, len(Kind)], in the order of ``Kind``.
        """
        num_classes = len(self.truth.class_names)
        chosen = np.ones(len(self.kinds), bool)
        if top:
            counted = self.kinds != Kind.IGNORED
            order = np.argsort(-self.found.scores, kind="stable")
            order = order[counted[order]]
            chosen[:] = False
            for label, limit in enumerate(self.num_gt()):
                chosen[order[self.found.labels[order] == label][:limit]] = True
        counts = np.zeros((num_classes, len(Kind)), np.int64)
        np.add.at(counts, (self.found.labels[chosen], self.kinds[chosen]), 1)
        return counts

    def num_gt(self) -> np.ndarray:
        """Returns the number of objects of each class that are not ignored, int64 [classes]."""
        return self._count_objects(~self.truth.crowd)

    def num_missed(self) -> np.ndarray:
        """Returns the number of missed objects of each class, int64 [classes]."""
        return self._count_objects(self.missed)

    def confusions(self) -> np.ndarray:
        """Counts the confusion errors by detected class (rows) and true class (columns).

        Returns:
            int64 [classes, classes].
        """
        num_classes = len(self.truth.class_names)
        confused = self.kinds == Kind.CONFUSION
        counts = np.zeros((num_classes, num_classes), np.int64)
        detected, true = self.found.labels[confused], self.truth.labels[self.objects[confused]]
        np.add.at(counts, (detected, true), 1)
        return counts

    def _count_objects(self, chosen: np.ndarray) -> np.ndarray:
        return np.bincount(self.truth.labels[chosen], minlength=len(self.truth.class_names))


def split(
    truth: GroundTruth,
    found: DetectionTable,
    iou_threshold: float = 0.5,
    metric: str = "voc",
    score_threshold: float = -math.inf,
) -> ErrorSplit:
    """Determines the kind of each detection, and which objects were missed.

    Args:
        truth: the objects.
        found: the detections.
        iou_threshold: least IoU of a correct detection, above 0 and at most 1.
        metric: "voc" or "coco", whose rule decides what is correct.
        score_threshold: detections with a lower score are left out. By default none is left
            out, because other tools may give scores below 0.

    Returns:
        The split.

    Raises:
        ValueError: if a value is out of range.
    """
    if metric not in matching.METRICS:
        raise ValueError(f"metric must be voc or coco. Received: {metric!r}")
    matching.check_iou_threshold(iou_threshold)
    found = found.select(found.scores >= score_threshold)
    pairs = matching.find_pairs(truth, found, min(BACKGROUND_IOU, iou_threshold), metric)
    result = matching.match(truth, found, pairs, iou_threshold, metric)
    kinds, objects, ious = _explain(truth, pairs, result, iou_threshold, metric)
    found_by = np.full(len(truth.rows), -1)
    found_by[objects[kinds == Kind.CORRECT]] = np.flatnonzero(kinds == Kind.CORRECT)
    missed = (found_by < 0) & ~truth.crowd
    missed[objects[(kinds == Kind.LOCALISATION) | (kinds == Kind.CONFUSION)]] = False
    return ErrorSplit(
        truth=truth,
        found=found,
        metric=metric,
        iou_threshold=float(iou_threshold),
        score_threshold=float(score_threshold),
        kinds=kinds,
        objects=objects,
        ious=ious,
        found_by=found_by,
        missed=missed,
    )


def _explain(
    truth: GroundTruth,
    pairs: matching.Pairs,
    result: matching.Matches,
    iou_threshold: float,
    metric: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the kind of each detection, its object and its overlap with that object."""
    is_settled = result.positive | ~result.counted
    kinds = np.where(result.positive, Kind.CORRECT, Kind.IGNORED).astype(np.int8)
    kinds[~is_settled] = Kind.BACKGROUND
    objects = np.where(is_settled, result.objects, -1)
    ious = np.zeros(len(kinds))
    matched = pairs.objects == objects[pairs.detections]
    ious[pairs.detections[matched]] = pairs.overlaps[matched]

    explains = ~is_settled[pairs.detections]
    if metric == "coco":
        explains &= ~truth.crowd[pairs.objects]
    own = matching.best_pairs(pairs, explains & pairs.same_class)
    others = matching.best_pairs(pairs, explains & ~pairs.same_class)
    # Later kinds overwrite earlier ones, so the rules are applied from the last to the first.
    for kind, (detections, candidates, overlaps), near in (
        (Kind.BOTH, others, False),
        (Kind.DUPLICATE, own, True),
        (Kind.CONFUSION, others, True),
        (Kind.LOCALISATION, own, False),
    ):
        holds = (overlaps >= iou_threshold) == near
        kinds[detections[holds]] = kind
        objects[detections[holds]] = candidates[holds]
        ious[detections[holds]] = overlaps[holds]
    return kinds, objects, ious
