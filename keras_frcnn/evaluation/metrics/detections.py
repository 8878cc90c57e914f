"""Detections in memory: a dict by image, as a detector returns them, and a table for the metrics.

Images without detections may be missing from both forms; evaluation counts them from the ground
truth. ``report.coco_files`` and ``report.voc_files`` read and write detections.
"""

import dataclasses
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_frcnn.data.dataset import GroundTruth
from keras_frcnn.evaluation.metrics import ground_truth
from keras_frcnn.evaluation.metrics.boxes import to_bboxes

Detections = Mapping[str | int, Mapping[str, np.ndarray]]
"""Image id to ``{"boxes": [K, 4] float32, "scores": [K] float32, "labels": [K] int32}``, or to the
``ImageDetections`` of a detector; boxes are yxyx pixels of the original image."""

_MAX_COORDINATE = 1e9  # far beyond any image, far below what overflows an area
_shorten = reprlib.repr  # a value for a message, cut to a readable length


@dataclasses.dataclass(frozen=True, eq=False)
class DetectionTable:
    """The detections of all images as arrays, in which those of one image keep their order.

    Attributes:
        rows: int64 [K], index of each detection's image in the ground truth's ``image_ids``,
            ascending.
        index_in_image: int64 [K], the position of each detection among those of its image, from 0.
        labels: int64 [K].
        bboxes: float64 [K, 4]: x, y, width, height in pixels of the image.
        scores: float64 [K].
    """

    rows: np.ndarray
    index_in_image: np.ndarray
    labels: np.ndarray
    bboxes: np.ndarray
    scores: np.ndarray

    def select(self, kept: np.ndarray) -> "DetectionTable":
        """Returns some of the detections; ``kept`` is a bool [K] or ascending indices."""
        fields = dataclasses.fields(self)
        return DetectionTable(**{field.name: getattr(self, field.name)[kept] for field in fields})


def to_table(detections: Detections, truth: GroundTruth) -> DetectionTable:
    """Makes one table of detections by image.

    Args:
        detections: by image id.
        truth: the ground truth, which defines the images and classes.

    Returns:
        The detections in the order of the ground truth's images.

    Raises:
        ValueError: if the detections are malformed or of an unknown image, or if two images share
            an id.
    """
    check_detections(detections, len(truth.class_names))
    images = list(detections.values())
    rows = ground_truth.rows_of_images(detections, truth.image_ids)
    all_boxes = ground_truth.join([image["boxes"] for image in images], np.float64)
    return make_table(
        np.repeat(rows, [len(image["scores"]) for image in images]),
        ground_truth.join([image["labels"] for image in images], np.int64),
        to_bboxes(all_boxes.reshape(-1, 4)),
        ground_truth.join([image["scores"] for image in images], np.float64),
    )


def make_table(
    rows: np.ndarray, labels: np.ndarray, bboxes: np.ndarray, scores: np.ndarray
) -> DetectionTable:
    """Makes a table of detections that may be in any order of images.

    Args:
        rows: as in ``DetectionTable``, but in any order.
        labels: as in ``DetectionTable``, in the order of ``rows``.
        bboxes: as in ``DetectionTable``, in the order of ``rows``.
        scores: as in ``DetectionTable``, in the order of ``rows``.

    Returns:
        The table; the detections of one image keep their order.
    """
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    index_in_image = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return DetectionTable(rows, index_in_image, labels[order], bboxes[order], scores[order])


def check_detections(detections: Detections, num_classes: int) -> None:
    """Checks that detections are well formed.

    Args:
        detections: by image id, without padding rows.
        num_classes: labels must be below this number.

    Raises:
        ValueError: naming the image id, what was expected and what was received.
    """
    for image_id, image in detections.items():
        if not isinstance(image_id, (str, int, np.integer)):
            raise ValueError(
                f"Image ids must be strings or integers. Received: {_shorten(image_id)}"
            )
        problem = _problem(image, num_classes)
        if problem:
            raise ValueError(f"Detections of image {image_id!r}: {problem}")


def _problem(image: Any, num_classes: int) -> str | None:
    """Returns what is wrong with the detections of one image, or None."""
    names = image.keys() if hasattr(image, "keys") else ()
    if not {"boxes", "scores", "labels"}.issubset(names):
        return f"must be a dict with boxes, scores and labels. Received: {_shorten(image)}"
    boxes, scores, labels = (np.asarray(image[name]) for name in ("boxes", "scores", "labels"))
    if scores.ndim != 1 or boxes.shape != (len(scores), 4) or labels.shape != scores.shape:
        return (
            "boxes, scores and labels must have the shapes [K, 4], [K] and [K]. "
            f"Received: {boxes.shape}, {scores.shape} and {labels.shape}"
        )
    if not len(scores):
        return None
    if (
        boxes.dtype.kind not in "iuf"
        or scores.dtype.kind not in "iuf"
        or labels.dtype.kind not in "iu"
    ):
        return (
            "boxes and scores must be numbers and labels integers. "
            f"Received: {boxes.dtype}, {scores.dtype} and {labels.dtype}"
        )
    if not np.all(np.abs(boxes) <= _MAX_COORDINATE):
        return f"boxes must be finite and within {_MAX_COORDINATE:g} pixels"
    if not np.all(np.isfinite(scores)):
        return "scores must be finite"
    if labels.min() < 0 or labels.max() >= num_classes:
        return (
            f"labels must be between 0 and {num_classes - 1}, without padding rows. "
            f"Received: {labels.min()} to {labels.max()}"
        )
    return None
