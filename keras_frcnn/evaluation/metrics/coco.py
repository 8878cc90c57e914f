"""Average precision and recall as COCO and pycocotools define them.

For each class and each of the IoU thresholds 0.5, 0.55, ..., 0.95:

1. The best 100 detections of an image, highest score first, are each assigned to the free object of
   their class with the highest IoU. A detection is a false positive if no free object reaches the
   threshold.
2. Any number of detections may be assigned to a crowd region, by the share of the detection that
   lies inside it (the intersection divided by the detection's own area). They do not count.
3. AP is the mean precision at the recalls 0, 0.01, ..., 1. AR is the highest recall with at most 1,
   10 or 100 detections per image. Both are averaged over the thresholds and the classes that have
   objects.
4. Small, medium and large objects also have figures of their own, separated at areas of 32 x 32 and
   96 x 96 pixels. Objects of other sizes do not count in them, and neither do detections of other
   sizes that match nothing.

VOC's difficult objects are treated as crowd regions, because COCO knows no other way to leave an
object out, and any COCO tool then gives the same figures. This is milder than VOC's rule, which
requires a minimum IoU.

faster-coco-eval computes the figures; pycocotools gives the same ones in 10 to 20 times the time.
"""

import dataclasses
from typing import Any

import numpy as np

from keras_frcnn.data.dataset import GroundTruth
from keras_frcnn.evaluation.metrics.detections import DetectionTable
from keras_frcnn.evaluation.metrics.ground_truth import ranks_of_images

# Name: array of faster-coco-eval, IoU threshold (None: the mean of all), area range, detections per
# image. The last three are indices of the array. The areas are all, small, medium and large; the
# detections per image are 1, 10 and 100.
_FIGURES = {
    "AP": ("precision", None, 0, 2),
    "AP50": ("precision", 0, 0, 2),
    "AP75": ("precision", 5, 0, 2),
    "APs": ("precision", None, 1, 2),
    "APm": ("precision", None, 2, 2),
    "APl": ("precision", None, 3, 2),
    "AR1": ("recall", None, 0, 0),
    "AR10": ("recall", None, 0, 1),
    "AR100": ("recall", None, 0, 2),
    "ARs": ("recall", None, 1, 2),
    "ARm": ("recall", None, 2, 2),
    "ARl": ("recall", None, 3, 2),
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ClassResult:
    """The result of one class.

    Attributes:
        name: the class.
        num_gt: objects that are not crowd regions.
        num_crowd: crowd regions.
        num_detections: all detections, also those that do not count.
        figures: as in ``Result``, for this class; NaN where undefined.
        precision: float64 [10, 101], at the IoU thresholds and the recalls 0, 0.01, ..., 1, for
            objects of all sizes and at most 100 detections per image; NaN without objects.
        scores: float64 [10, 101], the lowest score needed for that recall; NaN where the recall is
            not reached.
    """

    name: str
    num_gt: int
    num_crowd: int
    num_detections: int
    figures: dict[str, float]
    precision: np.ndarray
    scores: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """The result of a data set.

    Attributes:
        classes: in the data set's order.
        figures: COCO's twelve figures as fractions of 1: AP, AP50, AP75, APs, APm, APl (small,
            medium, large), AR1, AR10, AR100 (detections per image), ARs, ARm, ARl. NaN where no
            class has such objects; pycocotools prints -1.
        num_images: images, also those without objects.
        num_images_without_detections: images without any detection.
    """

    classes: tuple[ClassResult, ...]
    figures: dict[str, float]
    num_images: int
    num_images_without_detections: int

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain values."""
        return {
            "metric": "COCO average precision and recall",
            **self.figures,
            "num_images": self.num_images,
            "num_images_without_detections": self.num_images_without_detections,
            "num_classes": len(self.classes),
            "num_classes_without_gt": sum(not c.num_gt for c in self.classes),
            "num_crowd": sum(c.num_crowd for c in self.classes),
            "classes": {
                c.name: {
                    "num_gt": c.num_gt,
                    "num_crowd": c.num_crowd,
                    "num_detections": c.num_detections,
                    **c.figures,
                }
                for c in self.classes
            },
        }


def evaluate(truth: GroundTruth, detections: DetectionTable) -> Result:
    """Computes COCO's twelve figures.

    Equal scores keep the order of the image ids, then that of an image's detections.

    Args:
        truth: the objects.
        detections: the detections.

    Returns:
        The result of each class and of the data set.
    """
    arrays = _run_coco_eval(truth, detections) if truth.image_ids else None
    num_classes = len(truth.class_names)
    counts = {
        "num_gt": np.bincount(truth.labels[~truth.crowd], minlength=num_classes),
        "num_crowd": np.bincount(truth.labels[truth.crowd], minlength=num_classes),
        "num_detections": np.bincount(detections.labels, minlength=num_classes),
    }
    classes = tuple(
        ClassResult(
            name=name,
            figures=_figures(arrays, slice(label, label + 1)),
            **_curves(arrays, label),
            **{key: int(values[label]) for key, values in counts.items()},
        )
        for label, name in enumerate(truth.class_names)
    )
    return Result(
        classes=classes,
        figures=_figures(arrays, slice(None)),
        num_images=len(truth.image_ids),
        num_images_without_detections=len(truth.image_ids) - len(np.unique(detections.rows)),
    )


def _run_coco_eval(truth: GroundTruth, detections: DetectionTable) -> dict[str, np.ndarray]:
    """Runs faster-coco-eval.

    Returns:
        "precision" and "scores" [thresholds, recalls, classes, areas, limits], and "recall",
        without the second axis; -1 where there are no objects.
    """
    import faster_coco_eval  # imported late, so that training does not wait for it

    # COCO breaks ties by image id, so these ids are the ranks of the real ones, from 1 (0: none).
    image_ids = ranks_of_images(truth.image_ids) + 1
    annotations = {
        "id": np.arange(1, len(truth.rows) + 1),
        "image_id": image_ids[truth.rows],
        "category_id": truth.labels + 1,
        "bbox": truth.bboxes,
        "area": truth.areas,
        "iscrowd": truth.crowd.astype(int),
    }
    results = {
        "image_id": image_ids[detections.rows],
        "category_id": detections.labels + 1,
        "bbox": detections.bboxes,
        "score": detections.scores,
    }
    coco = faster_coco_eval.COCO(
        {
            "images": [{"id": number} for number in range(1, len(image_ids) + 1)],
            "categories": [{"id": number} for number in range(1, len(truth.class_names) + 1)],
            "annotations": _rows(annotations),
        }
    )
    evaluation = faster_coco_eval.COCOeval_faster(coco, coco.loadRes(_rows(results)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    return {name: np.asarray(evaluation.eval[name]) for name in ("precision", "scores", "recall")}


def _figures(arrays: dict[str, np.ndarray] | None, classes: slice) -> dict[str, float]:
    figures = {}
    for name, (array, threshold, areas, limit) in _FIGURES.items():
        values = arrays[array][..., classes, areas, limit] if arrays else np.zeros((10, 0))
        values = values if threshold is None else values[threshold]
        values = values[values > -1]
        figures[name] = float(np.mean(values)) if values.size else float("nan")
    return figures


def _curves(arrays: dict[str, np.ndarray] | None, label: int) -> dict[str, np.ndarray]:
    if arrays is None:
        return dict.fromkeys(("precision", "scores"), np.full((10, 101), np.nan))
    precision, scores = (arrays[name][:, :, label, 0, 2] for name in ("precision", "scores"))
    return {
        "precision": np.where(precision < 0, np.nan, precision),
        "scores": np.where(precision > 0, scores, np.nan),
    }


def _rows(columns: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Turns columns into one dict of plain values for each row."""
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]
