"""The ground truth that metrics compare detections with: the objects of all images as arrays."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from keras_frcnn.data.dataset import GroundTruth
from keras_frcnn.evaluation.metrics.boxes import areas, to_bboxes


def of_dataset(dataset: Any, metric: str) -> GroundTruth:
    """Returns the objects that a metric uses.

    Args:
        dataset: a ``Dataset``.
        metric: "voc" takes the objects of the records. "coco" takes the annotations as they were
            written if all sources have COCO's format, and otherwise the same as "voc".

    Returns:
        The objects.
    """
    truth = getattr(dataset, "truth", None)
    return truth if metric == "coco" and truth is not None else of_records(dataset)


def of_records(dataset: Any) -> GroundTruth:
    """Returns the objects of a data set's records.

    Args:
        dataset: has ``class_names`` and ``records``; a record has ``image_id``, ``boxes``,
            ``labels`` and ``difficult``.

    Returns:
        The objects in the order of the records. The area of an object is that of its box, difficult
        objects are marked as ``crowd``, and category ids count from 1 unless the source has its
        own.
    """
    records, source = dataset.records, getattr(dataset, "truth", None)
    default_ids = range(1, len(dataset.class_names) + 1)
    gt_boxes = join([r.boxes for r in records], np.float64).reshape(-1, 4)
    bboxes = to_bboxes(gt_boxes)
    return GroundTruth(
        class_names=tuple(dataset.class_names),
        category_ids=tuple(default_ids if source is None else source.category_ids),
        image_ids=tuple(r.image_id for r in records),
        rows=np.repeat(np.arange(len(records)), [len(r.labels) for r in records]),
        labels=join([r.labels for r in records], np.int64),
        bboxes=bboxes,
        areas=areas(bboxes),
        crowd=join([r.difficult for r in records], bool),
    )


def fingerprint(truth: GroundTruth) -> str:
    """Returns a SHA-256 that is equal for equal images, classes and objects.

    The order of the images, of the classes and of an image's objects does not matter.
    """
    class_ranks = np.argsort(np.argsort(truth.class_names))[truth.labels]
    image_ranks = ranks_of_images(truth.image_ids)[truth.rows]
    table = np.column_stack([image_ranks, class_ranks, truth.bboxes, truth.crowd]) + 0.0  # no -0
    table = table[np.lexsort(table.T[::-1])]
    head = repr([sorted(truth.class_names), sorted(map(repr, truth.image_ids))])
    return hashlib.sha256(head.encode() + table.astype("<f8").tobytes()).hexdigest()


def rows_of_images(detected_ids: Iterable[str | int], image_ids: Sequence[str | int]) -> np.ndarray:
    """Returns the position of each image with detections among the images of the ground truth.

    Args:
        detected_ids: the image ids of detections.
        image_ids: the image ids of the ground truth.

    Returns:
        int64, one row for each of ``detected_ids``.

    Raises:
        ValueError: if a detected id is not in the ground truth, or if the ground truth has an id
            twice.
    """
    rows = {image_id: row for row, image_id in enumerate(image_ids)}
    if len(rows) < len(image_ids):
        twice = next(image_id for row, image_id in enumerate(image_ids) if rows[image_id] != row)
        raise ValueError(f"Every image id of a data set must be unique. Received twice: {twice!r}")
    detected_ids = list(detected_ids)
    unknown = dict.fromkeys(image_id for image_id in detected_ids if image_id not in rows)
    if unknown:
        raise ValueError(
            "Detections must be of images of the data set. "
            f"Received unknown image ids: {len(unknown)}, the first is {next(iter(unknown))!r}"
        )
    return np.array([rows[image_id] for image_id in detected_ids], np.int64)


def ranks_of_images(image_ids: Sequence[str | int]) -> np.ndarray:
    """Returns the rank of each image id when all are sorted, numbers before strings: int64."""
    order = sorted(
        range(len(image_ids)), key=lambda row: (isinstance(image_ids[row], str), image_ids[row])
    )
    return np.argsort(order)


def join(arrays: Sequence[np.ndarray], dtype: Any) -> np.ndarray:
    """Concatenates flattened arrays; without any, the result is an empty array."""
    return np.concatenate([np.zeros(0, dtype), *(np.asarray(a, dtype).ravel() for a in arrays)])
