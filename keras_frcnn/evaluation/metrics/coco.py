"""Average precision and recall by COCO's definition, that of pycocotools.

The rules, per class, for each IoU threshold 0.5, 0.55, ..., 0.95:

1. In each image the detections, best score first and at most 100, take the object of their class
   with the highest IoU that is still free. Below the threshold: a false positive.
2. A crowd region may be taken by any number of detections, by the share of the detection that lies
   inside (intersection over the detection's own area); these are not counted at all.
3. AP is the mean precision at the recalls 0, 0.01, ..., 1; AR the highest recall with at most 1, 10
   or 100 detections an image. Means are over the thresholds and the classes that have objects.
4. Small, medium and large divide at areas of 32 x 32 and 96 x 96 pixels; objects of other sizes,
   and detections of other sizes that find nothing, are not counted then.

VOC's difficult objects are treated as crowd regions: COCO knows no other way to leave an object
out, so that any COCO tool gives the same figures. It is milder than the kit, which asks for IoU.

faster-coco-eval does the work; pycocotools gives the same figures in 10 to 20 times the time.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from keras_frcnn.data.dataset import GroundTruth
from keras_frcnn.evaluation.metrics import columns
from keras_frcnn.evaluation.metrics.columns import Found
from keras_frcnn.evaluation.metrics.detections import Detections, read_coco_rows, write_coco_rows

# Name: kind, IoU threshold (None: mean of all), areas, detections an image. As indices in the
# arrays of the engine: all, small, medium, large; 1, 10, 100.
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
        num_gt: objects that are no crowd regions.
        num_crowd: crowd regions.
        num_detections: all, also those that are not counted.
        figures: with the names of the whole's, NaN where undefined.
        precision: float64 [10, 101], at the IoU thresholds and the recalls 0, 0.01, ..., 1, of
            objects of all sizes with at most 100 detections an image; NaN without objects.
        scores: float64 [10, 101], the lowest score that counts there; NaN where the recall is not
            reached.
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
    """The result of a dataset.

    Attributes:
        classes: in the dataset's order.
        figures: COCO's twelve, fractions of 1: AP, AP50, AP75, APs, APm, APl (small, medium,
            large), AR1, AR10, AR100 (detections an image), ARs, ARm, ARl. NaN where no class has
            such objects; pycocotools prints -1.
        num_images: also those without objects.
        num_images_without_detections: of these.
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


def evaluate(dataset: Any, detections: Detections) -> Result:
    """Judges detections by COCO's metric.

    Equal scores keep the order of the image ids, then that of the image's rows.

    Args:
        dataset: a ``Dataset`` of any source.
        detections: per image id ``{"boxes": [K, 4], "scores": [K], "labels": [K]}``, yxyx pixels of
            the original image. An image without an entry has no detections.

    Returns:
        The result.

    Raises:
        ValueError: if the detections are malformed or of an image that the dataset does not have,
            or if two records share an id.
    """
    truth = columns.truth_of(dataset, "coco")
    return evaluate_columns(truth, columns.found_of(detections, truth))


def read_found(path: str | Path, truth: GroundTruth) -> Found:
    """Reads a results file, from whatever tool, with its numbers as written.

    Args:
        path: COCO's results JSON, with the ids of the images and categories of the truth.
        truth: what the detections are to be compared with: ``columns.truth_of`` a dataset.

    Returns:
        The detections.

    Raises:
        ValueError: naming the file, and the entry that is wrong, counted from 0.
    """
    entries = read_coco_rows(path, truth.class_names, truth.category_ids)
    image_ids, labels, scores, bboxes = zip(*entries, strict=True) if entries else [()] * 4
    try:
        rows = columns.rows_of_ids(image_ids, truth.image_ids)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return columns.make_found(
        rows,
        np.array(labels, np.int64),
        np.array(bboxes, np.float64).reshape(-1, 4),
        np.array(scores, np.float64),
    )


def write_found(path: str | Path, found: Found, truth: GroundTruth) -> None:
    """Writes detections as COCO's results JSON, so that ``read_found`` reads the same numbers.

    Args:
        path: file to write.
        found: the detections.
        truth: gives the ids of the images and categories.
    """
    image_ids = [truth.image_ids[row] for row in found.rows]
    numbers = [truth.category_ids[label] for label in found.labels]
    values = (found.bboxes.tolist(), found.scores.tolist())
    write_coco_rows(path, zip(image_ids, numbers, *values, strict=True))


def evaluate_columns(truth: GroundTruth, found: Found) -> Result:
    """Judges detections as columns, such as those of ``read_found``, by COCO's metric.

    Args:
        truth: the objects.
        found: the detections.

    Returns:
        The result.
    """
    arrays = _run_engine(truth, found) if truth.image_ids else None
    num_classes = len(truth.class_names)
    counts = {
        "num_gt": np.bincount(truth.labels[~truth.crowd], minlength=num_classes),
        "num_crowd": np.bincount(truth.labels[truth.crowd], minlength=num_classes),
        "num_detections": np.bincount(found.labels, minlength=num_classes),
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
        num_images_without_detections=len(truth.image_ids) - len(np.unique(found.rows)),
    )


def _run_engine(truth: GroundTruth, found: Found) -> dict[str, np.ndarray]:
    """Returns "precision" and "scores" [thresholds, recalls, classes, areas, limits] and "recall",
    which lacks the second axis; -1 where there is nothing to find.
    """
    import faster_coco_eval as engine  # only for those who evaluate

    # The engine goes through the images by their ids; to it they count from 1, as 0 means none.
    numbers = columns.ranks_of_ids(truth.image_ids) + 1
    annotations = {
        "id": np.arange(1, len(truth.rows) + 1),
        "image_id": numbers[truth.rows],
        "category_id": truth.labels + 1,
        "bbox": truth.bboxes,
        "area": truth.areas,
        "iscrowd": truth.crowd.astype(int),
    }
    detections = {
        "image_id": numbers[found.rows],
        "category_id": found.labels + 1,
        "bbox": found.bboxes,
        "score": found.scores,
    }
    ground_truth = engine.COCO(
        {
            "images": [{"id": number} for number in range(1, len(numbers) + 1)],
            "categories": [{"id": number} for number in range(1, len(truth.class_names) + 1)],
            "annotations": _entries(annotations),
        }
    )
    work = engine.COCOeval_faster(ground_truth, ground_truth.loadRes(_entries(detections)), "bbox")
    work.evaluate()
    work.accumulate()
    return {name: np.asarray(work.eval[name]) for name in ("precision", "scores", "recall")}


def _figures(arrays: dict[str, np.ndarray] | None, classes: slice) -> dict[str, float]:
    figures = {}
    for name, (kind, threshold, areas, limit) in _FIGURES.items():
        values = arrays[kind][..., classes, areas, limit] if arrays else np.zeros((10, 0))
        values = values if threshold is None else values[threshold]
        values = values[values > -1]
        figures[name] = float(np.mean(values)) if values.size else float("nan")
    return figures


def _curves(arrays: dict[str, np.ndarray] | None, label: int) -> dict[str, np.ndarray]:
    if arrays is None:
        return dict.fromkeys(("precision", "scores"), np.full((10, 101), np.nan))
    precision, scores = (arrays[kind][:, :, label, 0, 2] for kind in ("precision", "scores"))
    return {
        "precision": np.where(precision < 0, np.nan, precision),
        "scores": np.where(precision > 0, scores, np.nan),
    }


def _entries(columns: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Turns columns into a dict for each row, of plain values."""
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]
