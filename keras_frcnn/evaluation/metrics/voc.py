"""Average precision by the rules of the PASCAL VOC development kit (VOCevaldet.m).

For each class:

1. The detections of all images are sorted by score, best first. Equal scores keep the order of the
   images, then that of an image's detections.
2. Each detection is compared with the objects of its class in its image, and is assigned to the one
   with the highest IoU.
3. If the IoU is below the threshold, the detection is a false positive. If the object is marked
   difficult, the detection does not count. If the object has not been found before, the detection
   is a true positive; if it has, a false positive, even if a neighbouring object is still free.
4. Recall is the share of the objects that are not difficult.

The development kit has 1-based, inclusive boxes, with sides of ``xmax - xmin + 1``. Read as
``(xmin - 1, ymin - 1, xmax, ymax)``, the same boxes have an exclusive far edge and sides of
``xmax - xmin``, so the IoU here, without "+1", is exactly the development kit's.
"""

import dataclasses
from typing import Any

import numpy as np

from keras_frcnn.data.dataset import GroundTruth
from keras_frcnn.evaluation.metrics import matching
from keras_frcnn.evaluation.metrics.average_precision import area, average_precision, eleven_points
from keras_frcnn.evaluation.metrics.detections import DetectionTable


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ClassResult:
    """The result of one class.

    The three arrays have one entry for each detection that counts, best score first. A class
    without objects has a ``recall`` and APs of NaN.

    Attributes:
        name: the class.
        num_gt: objects that are not difficult.
        num_difficult: objects that are difficult.
        num_detections: all detections, also those that do not count.
        ap_11point: average precision at 11 recalls, VOC2007's metric.
        ap_area: the area under the curve, VOC's metric since 2010.
        precision: float64, up to each detection.
        recall: float64, up to each detection.
        scores: float64.
    """

    name: str
    num_gt: int
    num_difficult: int
    num_detections: int
    ap_11point: float
    ap_area: float
    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """The result of a data set: its classes, in the data set's order, and their means."""

    classes: tuple[ClassResult, ...]
    iou_threshold: float
    num_images: int
    num_images_without_detections: int

    @property
    def map_11point(self) -> float:
        """The mean 11-point AP of the classes that have objects; NaN if none has."""
        return _mean([c.ap_11point for c in self.classes if c.num_gt])

    @property
    def map_area(self) -> float:
        """The mean area AP of the classes that have objects; NaN if none has."""
        return _mean([c.ap_area for c in self.classes if c.num_gt])

    @property
    def num_classes_without_gt(self) -> int:
        """The number of classes that the means leave out."""
        return sum(not c.num_gt for c in self.classes)

    @property
    def num_difficult(self) -> int:
        """The number of difficult objects of all classes."""
        return sum(c.num_difficult for c in self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything but the curves as plain values; APs are fractions of 1, or NaN."""
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


def evaluate(truth: GroundTruth, detections: DetectionTable, iou_threshold: float = 0.5) -> Result:
    """Computes 11-point AP (VOC2007) and area AP (VOC since 2010).

    Args:
        truth: the objects; ``crowd`` marks the difficult ones.
        detections: the detections.
        iou_threshold: least IoU of a true positive, above 0 and at most 1.

    Returns:
        The result of each class and their means.

    Raises:
        ValueError: if the threshold is out of range.
    """
    matching.check_iou_threshold(iou_threshold)
    pairs = matching.find_pairs(truth, detections, iou_threshold, "voc")
    matches = matching.match(truth, detections, pairs, iou_threshold, "voc")
    ranking = matching.rank_by_score(truth, detections, "voc")
    classes = []
    for label, name in enumerate(truth.class_names):
        difficult = truth.crowd[truth.labels == label]
        of_class = ranking[detections.labels[ranking] == label]
        counted = of_class[matches.counted[of_class]]
        classes.append(
            _class_result(
                name=name,
                num_gt=int(np.sum(~difficult)),
                num_difficult=int(np.sum(difficult)),
                num_detections=len(of_class),
                is_positive=matches.positive[counted],
                scores=detections.scores[counted],
            )
        )
    num_images = len(truth.image_ids)
    return Result(
        classes=tuple(classes),
        iou_threshold=float(iou_threshold),
        num_images=num_images,
        num_images_without_detections=num_images - len(np.unique(detections.rows)),
    )


def _class_result(
    *,
    name: str,
    num_gt: int,
    num_difficult: int,
    num_detections: int,
    is_positive: np.ndarray,
    scores: np.ndarray,
) -> ClassResult:
    true_positives, ranks = np.cumsum(is_positive), np.arange(1, len(is_positive) + 1)
    ap_11point, ap_area = average_precision(
        true_positives[is_positive], ranks[is_positive], num_gt, (eleven_points, area)
    )
    return ClassResult(
        name=name,
        num_gt=num_gt,
        num_difficult=num_difficult,
        num_detections=num_detections,
        ap_11point=float(ap_11point),
        ap_area=float(ap_area),
        precision=true_positives / ranks,
        recall=true_positives / num_gt if num_gt else np.full(len(ranks), np.nan),
        scores=scores,
    )


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
