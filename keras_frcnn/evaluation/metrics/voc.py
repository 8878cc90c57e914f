"""Average precision by the rules of the PASCAL VOC development kit (VOCevaldet.m).

The rules, per class:

1. The detections of all images are sorted by score, best first.
2. Each is compared with the objects of its class in its image and keeps the one with the highest
   IoU.
3. IoU below the threshold: false positive. The object is marked difficult: the detection is not
   counted at all. The object was not found before: true positive. It was: false positive, even if
   another object nearby is still free.
4. Recall is the share of the objects that are not difficult.

The development kit measures a side of its 1-based, inclusive boxes as ``xmax - xmin + 1``. Read as
``(xmin - 1, ymin - 1, xmax, ymax)``, the same boxes have an exclusive far edge and the side
``xmax - xmin``, so the IoU here, without "+1", is the development kit's to the bit.
"""

import dataclasses
from typing import Any

import numpy as np

from keras_frcnn.data.dataset import GroundTruth
from keras_frcnn.evaluation.metrics import columns, matching
from keras_frcnn.evaluation.metrics.average_precision import area, average_precision, eleven_points
from keras_frcnn.evaluation.metrics.columns import Found
from keras_frcnn.evaluation.metrics.detections import Detections


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ClassResult:
    """The result of one class.

    The three arrays have one entry a counted detection, best score first; detections that were
    matched to a difficult object are not counted. Without ground truth ``recall`` and both APs are
    NaN.
    """

    name: str
    num_gt: int  # objects that are not difficult
    num_difficult: int
    num_detections: int  # including those that are not counted
    ap_11point: float
    ap_area: float
    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """The result of a dataset: its classes, in the dataset's order, and their means."""

    classes: tuple[ClassResult, ...]
    iou_threshold: float
    num_images: int
    num_images_without_detections: int

    @property
    def map_11point(self) -> float:
        """Mean 11-point AP of the classes that have ground truth; NaN if none has."""
        return _mean([c.ap_11point for c in self.classes if c.num_gt])

    @property
    def map_area(self) -> float:
        """Mean area AP of the classes that have ground truth; NaN if none has."""
        return _mean([c.ap_area for c in self.classes if c.num_gt])

    @property
    def num_classes_without_gt(self) -> int:
        """Number of classes that the means leave out."""
        return sum(not c.num_gt for c in self.classes)

    @property
    def num_difficult(self) -> int:
        """Number of objects of all classes that were ignored because they are marked difficult."""
        return sum(c.num_difficult for c in self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Returns all but the curves as plain values; APs are fractions, NaN where undefined."""
        return {
            "metric": "PASCAL VOC average precision",
            "iou_threshold": self.iou_threshold,
            "map_11point": self.map_11point,
            "map_area": self.map_area,
            "num_images": self.num_images,
            "num_images_without_detections": self.num_images_without_detections,
            "num_difficult": self.num_difficult,
            "num_classes": len(self.classes),
            "num_classes_without_gt": self.num_classes_without_gt,
            "classes": {
                c.name: {
                    "num_gt": c.num_gt,
                    "num_difficult": c.num_difficult,
                    "num_detections": c.num_detections,
                    "ap_11point": c.ap_11point,
                    "ap_area": c.ap_area,
                }
                for c in self.classes
            },
        }


def evaluate(dataset: Any, detections: Detections, iou_threshold: float = 0.5) -> Result:
    """Judges detections by the PASCAL VOC metric: 11-point (VOC2007) and area AP (from VOC2010 on).

    Equal scores keep their order: that of the dataset's records, then that of the image's rows.

    Args:
        dataset: the ground truth, with ``class_names`` and ``records``; of a record ``image_id``,
            ``boxes`` ([G, 4] yxyx pixels of the original image), ``labels`` and ``difficult``
            are read.
        detections: per image id ``{"boxes": [K, 4], "scores": [K], "labels": [K]}`` in the same
            pixels. An image without an entry has no detections.
        iou_threshold: least IoU of a true positive, above 0 and at most 1.

    Returns:
        The result of every class and their means.

    Raises:
        ValueError: if the detections are malformed or of an image that the dataset does not have,
            if two records share an id, or if the threshold is out of range.
    """
    truth = columns.truth_of_records(dataset)
    return evaluate_columns(truth, columns.found_of(detections, truth), iou_threshold)


def evaluate_columns(truth: GroundTruth, found: Found, iou_threshold: float = 0.5) -> Result:
    """Judges detections as columns by the PASCAL VOC metric.

    Args:
        truth: the objects; ``crowd`` marks the difficult ones.
        found: the detections.
        iou_threshold: as for ``evaluate``.

    Returns:
        The result.

    Raises:
        ValueError: if the threshold is out of range.
    """
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold must be above 0 and at most 1. Received: {iou_threshold}")
    pairs = matching.find_pairs(truth, found, iou_threshold, "voc")
    outcome = matching.match(truth, found, pairs, iou_threshold, "voc")
    classes = []
    for label, name in enumerate(truth.class_names):
        difficult = truth.crowd[truth.labels == label]
        order = np.flatnonzero(found.labels == label)
        order = order[np.argsort(-found.scores[order], kind="stable")]
        counted = order[outcome.counted[order]]
        classes.append(
            _class_result(
                name=name,
                num_gt=int(np.sum(~difficult)),
                num_difficult=int(np.sum(difficult)),
                num_detections=len(order),
                positive=outcome.positive[counted],
                scores=found.scores[counted],
            )
        )
    num_images = len(truth.image_ids)
    return Result(
        classes=tuple(classes),
        iou_threshold=float(iou_threshold),
        num_images=num_images,
        num_images_without_detections=num_images - len(np.unique(found.rows)),
    )


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the IoU of every box with every other.

    Args:
        boxes: [N, 4] yxyx.
        others: [M, 4] yxyx.

    Returns:
        [N, M] float64; 0 where boxes do not overlap, which a box without area never does.
    """
    boxes = columns.to_bboxes(np.asarray(boxes, np.float64).reshape(-1, 1, 4))
    return matching.overlap(boxes, columns.to_bboxes(np.asarray(others, np.float64).reshape(-1, 4)))


def _class_result(
    *,
    name: str,
    num_gt: int,
    num_difficult: int,
    num_detections: int,
    positive: np.ndarray,
    scores: np.ndarray,
) -> ClassResult:
    found, seen = np.cumsum(positive), np.arange(1, len(positive) + 1)
    ap_11point, ap_area = average_precision(
        found[positive], seen[positive], num_gt, (eleven_points, area)
    )
    return ClassResult(
        name=name,
        num_gt=num_gt,
        num_difficult=num_difficult,
        num_detections=num_detections,
        ap_11point=float(ap_11point),
        ap_area=float(ap_area),
        precision=found / seen,
        recall=found / num_gt if num_gt else np.full(len(found), np.nan),
        scores=scores,
    )


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
