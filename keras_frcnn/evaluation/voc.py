"""Average precision by the rules of the PASCAL VOC development kit (VOCevaldet.m).

The rules, per class:

1. The detections of all pictures are sorted by score, best first.
2. Each is compared with the objects of its class in its picture and keeps the one with the highest
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
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_frcnn.evaluation.results import Detections, check_detections

_NO_DETECTIONS = {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "labels": np.zeros(0, np.int64)}


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
    num_pictures: int
    num_pictures_without_detections: int

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
            "num_pictures": self.num_pictures,
            "num_pictures_without_detections": self.num_pictures_without_detections,
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

    Equal scores keep their order: that of the dataset's records, then that of the picture's rows.

    Args:
        dataset: the ground truth, with ``class_names`` and ``records``; of a record ``image_id``,
            ``boxes`` ([G, 4] yxyx pixels of the original picture), ``labels`` and ``difficult``
            are read.
        detections: per image id ``{"boxes": [K, 4], "scores": [K], "labels": [K]}`` in the same
            pixels. A picture without an entry has no detections.
        iou_threshold: least IoU of a true positive, above 0 and at most 1.

    Returns:
        The result of every class and their means.

    Raises:
        ValueError: if the detections are malformed or of a picture that the dataset does not have,
            if two records share an id, or if the threshold is out of range.
    """
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold must be above 0 and at most 1. Received: {iou_threshold}")
    check_detections(detections, len(dataset.class_names))
    _check_ids(dataset.records, detections)
    pictures = [detections.get(record.image_id, _NO_DETECTIONS) for record in dataset.records]
    gt_labels = _join([record.labels for record in dataset.records], np.int64)
    gt_difficult = _join([record.difficult for record in dataset.records], bool)
    scores = _join([picture["scores"] for picture in pictures], np.float64)
    labels = _join([picture["labels"] for picture in pictures], np.int64)
    ious, matches = _match(dataset.records, pictures)

    classes = []
    for label, name in enumerate(dataset.class_names):
        of_class = gt_labels == label
        order = np.flatnonzero(labels == label)
        order = order[np.argsort(-scores[order], kind="stable")]
        positive, counted = _judge(ious[order] >= iou_threshold, matches[order], gt_difficult)
        classes.append(
            _class_result(
                name=name,
                num_gt=int(np.sum(of_class & ~gt_difficult)),
                num_difficult=int(np.sum(of_class & gt_difficult)),
                num_detections=len(order),
                positive=positive,
                scores=scores[order][counted],
            )
        )
    return Result(
        classes=tuple(classes),
        iou_threshold=float(iou_threshold),
        num_pictures=len(pictures),
        num_pictures_without_detections=sum(not len(p["scores"]) for p in pictures),
    )


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the IoU of every box with every other.

    Args:
        boxes: [N, 4] yxyx.
        others: [M, 4] yxyx.

    Returns:
        [N, M] float64; 0 where boxes do not overlap, which a box without area never does.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 1, 4)
    others = np.asarray(others, np.float64).reshape(1, -1, 4)
    near = np.maximum(boxes[..., :2], others[..., :2])
    far = np.minimum(boxes[..., 2:], others[..., 2:])
    overlap = np.prod(np.maximum(far - near, 0.0), axis=-1)
    union = _area(boxes) + _area(others) - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=overlap > 0)


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)


def _check_ids(records: Sequence[Any], detections: Detections) -> None:
    known = set()
    for record in records:
        if record.image_id in known:
            raise ValueError(
                f"Every image id must be there once. Received twice: {record.image_id!r}"
            )
        known.add(record.image_id)
    unknown = [image_id for image_id in detections if image_id not in known]
    if unknown:
        raise ValueError(
            "Detections must be of pictures of the dataset. "
            f"Received unknown image ids: {len(unknown)}, the first is {unknown[0]!r}"
        )


def _match(records: Sequence[Any], pictures: Sequence[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Finds the object of its class, in its picture, that each detection overlaps best.

    Returns:
        The best IoU of each detection of all pictures, and the index of that object among the
        objects of all pictures. Where the IoU is 0 the index means nothing.
    """
    ious, matches, first = [], [], 0
    for record, picture in zip(records, pictures, strict=True):
        best_iou = np.zeros(len(picture["scores"]))
        best = np.zeros(len(best_iou), np.int64)
        if len(best) and len(record.labels):
            same_class = np.equal.outer(picture["labels"], record.labels)
            overlaps = iou(picture["boxes"], record.boxes) * same_class
            best = np.argmax(overlaps, axis=1)  # the first of equals, as in the development kit
            best_iou = overlaps[np.arange(len(best)), best]
        ious.append(best_iou)
        matches.append(best + first)
        first += len(record.labels)
    return _join(ious, np.float64), _join(matches, np.int64)


def _judge(
    hit: np.ndarray, matches: np.ndarray, gt_difficult: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Judges a class's detections, best first: which are counted, which of these are true."""
    hits = np.flatnonzero(hit)
    counted = np.ones(len(hit), bool)
    counted[hits[gt_difficult[matches[hits]]]] = False
    _, first = np.unique(matches[hits], return_index=True)  # the best detection of each object
    positive = np.zeros(len(hit), bool)
    positive[hits[first]] = True
    return positive[counted], counted


def _class_result(
    *,
    name: str,
    num_gt: int,
    num_difficult: int,
    num_detections: int,
    positive: np.ndarray,
    scores: np.ndarray,
) -> ClassResult:
    found = np.cumsum(positive)
    precision = found / np.arange(1, len(found) + 1)
    # Best precision at this recall or a higher one.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return ClassResult(
        name=name,
        num_gt=num_gt,
        num_difficult=num_difficult,
        num_detections=num_detections,
        ap_11point=_ap_11point(found, envelope, num_gt) if num_gt else np.nan,
        ap_area=float(np.sum(envelope[positive]) / num_gt) if num_gt else np.nan,
        precision=precision,
        recall=found / num_gt if num_gt else np.full(len(found), np.nan),
        scores=scores,
    )


def _ap_11point(found: np.ndarray, envelope: np.ndarray, num_gt: int) -> float:
    """Returns the mean of the envelope at the recalls 0, 0.1, ..., 1; it is 0 at those not reached.

    ``found / num_gt >= t / 10`` is asked in whole numbers: in floating point 3 * 0.1 is above 0.3,
    and a recall of exactly 0.3 would be missed.
    """
    reached = np.searchsorted(10 * found, np.arange(11) * num_gt, side="left")
    return float(np.sum(envelope[reached[reached < len(envelope)]]) / 11)


def _join(arrays: list, dtype: Any) -> np.ndarray:
    return np.concatenate([np.asarray(a, dtype) for a in arrays]) if arrays else np.zeros(0, dtype)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
