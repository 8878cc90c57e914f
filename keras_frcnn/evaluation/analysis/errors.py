"""What is wrong with each detection, and which objects were missed: TIDE's kinds of errors.

Bolya et al. 2020, "TIDE: A General Toolbox for Identifying Object Detection Errors", section 2. A
detection that the metric counts as wrong is, by the first of these that holds, where t is the IoU
threshold and the best of some objects is that with the highest IoU (of equal ones the first):

1. localisation: 0.1 <= IoU < t with the best object of its class.
2. confusion: IoU >= t with the best object of the other classes.
3. duplicate: IoU >= t with an object of its class, which a better detection has found.
4. both: 0.1 <= IoU < t with the best object of the other classes.
5. background: all else.

An object that has no right detection is missed, unless a localisation or confusion names it.

Right and wrong are the metric's: see ``matches``. What it does not count is of the kind "ignored",
and no object that it ignores is missed. VOC's difficult objects are real ones and may explain a
mistake; COCO's crowd regions are not and never do, as in TIDE's code. Where nothing is ignored the
counts by COCO's rule are those of tidecv 1.0.1.
"""

import dataclasses
import enum
import math
from typing import Any

import numpy as np

from keras_frcnn.data.dataset import GroundTruth
from keras_frcnn.evaluation.metrics import columns, matching
from keras_frcnn.evaluation.metrics.columns import Found
from keras_frcnn.evaluation.metrics.detections import Detections

BACKGROUND_IOU = 0.1


class Kind(enum.IntEnum):
    """The kind of a detection."""

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
    """Every detection and every object with what became of it.

    Attributes:
        truth: the objects, [N]: ``rows`` says of which image, an index in ``image_ids``;
            ``crowd`` marks those that are ignored.
        found: the detections, [K]: ``rows`` likewise, ``places`` says which of the image's.
        metric: "voc" or "coco", whose rule decides what is right.
        iou_threshold: least IoU of a right detection.
        score_threshold: detections below are not in ``found``.
        kinds: int8 [K], the ``Kind`` of each detection.
        objects: int64 [K], index of the object that makes it of its kind: the one found, found
            again, missed narrowly or confused; -1 for background and where there is none.
        ious: float64 [K], IoU with that object (with a crowd region the share of the detection that
            lies in it), 0 without one.
        found_by: int64 [N], index of each object's right detection, or -1.
        missed: bool [N].
    """

    truth: GroundTruth
    found: Found
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
        return columns.to_boxes(self.found.bboxes)

    @property
    def gt_boxes(self) -> np.ndarray:
        """The boxes of the objects, float64 [N, 4], likewise."""
        return columns.to_boxes(self.truth.bboxes)

    def counts(self, top: bool = False) -> np.ndarray:
        """Counts the detections of each class and kind.

        Args:
            top: whether to look only at as many of a class's best detections as it has objects
                (Hoiem et al. 2012): all of these could be right. Ignored ones are passed over.

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
        """Returns how often each class (rows) was said of objects of each class (columns).

        Only what is of the kind confusion is counted: int64 [classes, classes].
        """
        num_classes = len(self.truth.class_names)
        confused = self.kinds == Kind.CONFUSION
        counts = np.zeros((num_classes, num_classes), np.int64)
        said, true = self.found.labels[confused], self.truth.labels[self.objects[confused]]
        np.add.at(counts, (said, true), 1)
        return counts

    def _count_objects(self, chosen: np.ndarray) -> np.ndarray:
        return np.bincount(self.truth.labels[chosen], minlength=len(self.truth.class_names))


def split(
    dataset: Any,
    detections: Detections,
    iou_threshold: float = 0.5,
    metric: str = "voc",
    score_threshold: float = -math.inf,
) -> ErrorSplit:
    """Says of what kind each detection is, and which objects were missed.

    Args:
        dataset: a ``Dataset``.
        detections: per image id boxes, scores and labels, as for ``voc.evaluate``.
        iou_threshold: least IoU of a right detection, above 0 and at most 1.
        metric: "voc" or "coco", whose rule decides what is right.
        score_threshold: detections with a lower score are left out; by default none, as other tools
            may score below 0.

    Returns:
        The split; its images are in the order of the dataset's records.

    Raises:
        ValueError: if the detections are malformed or of an image that the dataset does not have,
            or a value is out of range.
    """
    if metric not in matching.METRICS:
        raise ValueError(f"metric must be voc or coco. Received: {metric!r}")
    truth = columns.truth_of(dataset, metric)
    found = columns.found_of(detections, truth)
    return split_columns(truth, found, iou_threshold, metric, score_threshold)


def split_columns(
    truth: GroundTruth,
    found: Found,
    iou_threshold: float = 0.5,
    metric: str = "voc",
    score_threshold: float = -math.inf,
) -> ErrorSplit:
    """Does what ``split`` does for objects and detections as columns.

    Args:
        truth: the objects.
        found: the detections.
        iou_threshold: as for ``split``.
        metric: likewise.
        score_threshold: likewise.

    Returns:
        The split.

    Raises:
        ValueError: if the threshold is out of range.
    """
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold must be above 0 and at most 1. Received: {iou_threshold}")
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
    """Returns the kind of each detection, its object and the overlap with it."""
    right = result.positive | ~result.counted
    kinds = np.where(result.positive, Kind.CORRECT, Kind.IGNORED).astype(np.int8)
    kinds[~right] = Kind.BACKGROUND
    objects = np.where(right, result.objects, -1)
    ious = np.zeros(len(kinds))
    matched = pairs.objects == objects[pairs.found]
    ious[pairs.found[matched]] = pairs.overlaps[matched]

    explains = ~right[pairs.found]
    if metric == "coco":
        explains &= ~truth.crowd[pairs.objects]
    own = matching.best_of_each(pairs, explains & pairs.same_class)
    others = matching.best_of_each(pairs, explains & ~pairs.same_class)
    # The last that holds stays: the order of the rules backwards.
    for kind, (some, candidates, overlaps), near in (
        (Kind.BOTH, others, False),
        (Kind.DUPLICATE, own, True),
        (Kind.CONFUSION, others, True),
        (Kind.LOCALISATION, own, False),
    ):
        holds = (overlaps >= iou_threshold) == near
        kinds[some[holds]] = kind
        objects[some[holds]] = candidates[holds]
        ious[some[holds]] = overlaps[holds]
    return kinds, objects, ious
