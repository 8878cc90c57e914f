"""Objects and detections of all images as columns: what the metrics compute with.

Boxes are x, y, width, height in float64: COCO's form, in which the numbers of its files stay as
they are. Boxes of records are float32 pixels, so that nothing is lost on the way here and back.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from keras_frcnn.data.dataset import GroundTruth
from keras_frcnn.evaluation.metrics.detections import Detections, check_detections


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """Detections as columns, those of an image in the order in which they were given.

    Attributes:
        rows: int64 [K], index of each detection's image in the truth's ``image_ids``, ascending.
        places: int64 [K], which of its image's detections it is, from 0.
        labels: int64 [K].
        bboxes: float64 [K, 4]: x, y, width, height in pixels of the image.
        scores: float64 [K].
    """

    rows: np.ndarray
    places: np.ndarray
    labels: np.ndarray
    bboxes: np.ndarray
    scores: np.ndarray

    def select(self, kept: np.ndarray) -> "Found":
        """Returns some of the detections; kept is a bool [K], or indices in ascending order."""
        fields = dataclasses.fields(self)
        return Found(**{field.name: getattr(self, field.name)[kept] for field in fields})


def truth_of(dataset: Any, metric: str) -> GroundTruth:
    """Returns what a metric compares with.

    Args:
        dataset: a ``Dataset``.
        metric: "voc": the objects of the records; "coco": the annotations of a source that has
            COCO's form, else the same.

    Returns:
        The objects.
    """
    truth = getattr(dataset, "truth", None)
    return truth if metric == "coco" and truth is not None else truth_of_records(dataset)


def truth_of_records(dataset: Any) -> GroundTruth:
    """Returns the objects of a dataset's records.

    Args:
        dataset: with ``class_names`` and ``records``; of a record ``image_id``, ``boxes``,
            ``labels`` and ``difficult`` are read.

    Returns:
        The objects in the order of the records. An object's area is its box's, difficult objects
        are ``crowd``, and categories count from 1 if the source has no numbers of its own.
    """
    records, source = dataset.records, getattr(dataset, "truth", None)
    numbers = range(1, len(dataset.class_names) + 1) if source is None else source.category_ids
    bboxes = to_bboxes(_join([r.boxes for r in records], np.float64).reshape(-1, 4))
    return GroundTruth(
        class_names=tuple(dataset.class_names),
        category_ids=tuple(numbers),
        image_ids=tuple(r.image_id for r in records),
        rows=np.repeat(np.arange(len(records)), [len(r.labels) for r in records]),
        labels=_join([r.labels for r in records], np.int64),
        bboxes=bboxes,
        areas=bboxes[:, 2] * bboxes[:, 3],
        crowd=_join([r.difficult for r in records], bool),
    )


def fingerprint(truth: GroundTruth) -> str:
    """Returns a SHA-256 of what is to be found: equal for equal images, classes and objects.

    The order of images, of classes and of an image's objects does not matter.
    """
    kinds = np.argsort(np.argsort(truth.class_names))[truth.labels]
    images = ranks_of_ids(truth.image_ids)[truth.rows]
    table = np.column_stack([images, kinds, truth.bboxes, truth.crowd]) + 0.0  # no -0
    table = table[np.lexsort(table.T[::-1])]
    head = repr([sorted(truth.class_names), sorted(map(repr, truth.image_ids))])
    return hashlib.sha256(head.encode() + table.astype("<f8").tobytes()).hexdigest()


def found_of(detections: Detections, truth: GroundTruth) -> Found:
    """Turns detections into columns.

    Args:
        detections: per image id ``{"boxes": [K, 4], "scores": [K], "labels": [K]}``, yxyx pixels of
            the original image.
        truth: the images and classes that they are of.

    Returns:
        The detections, in the order of the truth's images.

    Raises:
        ValueError: if the detections are malformed or of an unknown image, or if two images
            share an id.
    """
    check_detections(detections, len(truth.class_names))
    images = list(detections.values())
    boxes = _join([image["boxes"] for image in images], np.float64).reshape(-1, 4)
    return make_found(
        np.repeat(rows_of_ids(detections, truth.image_ids), [len(p["scores"]) for p in images]),
        _join([image["labels"] for image in images], np.int64),
        to_bboxes(boxes),
        _join([image["scores"] for image in images], np.float64),
    )


def make_found(
    rows: np.ndarray, labels: np.ndarray, bboxes: np.ndarray, scores: np.ndarray
) -> Found:
    """Brings detections into the order of their images; those of an image keep theirs.

    Args:
        rows: int64 [K], the images, in any order.
        labels: as in ``Found``, like the others.
        bboxes: likewise.
        scores: likewise.

    Returns:
        The columns.
    """
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    places = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return Found(rows, places, labels[order], bboxes[order], scores[order])


def rows_of_ids(wanted: Iterable[str | int], image_ids: Sequence[str | int]) -> np.ndarray:
    """Returns where image ids are among the truth's, int64.

    Raises:
        ValueError: if one is not, or if two of the truth's are equal.
    """
    rows = {image_id: row for row, image_id in enumerate(image_ids)}
    if len(rows) < len(image_ids):
        twice = next(image_id for row, image_id in enumerate(image_ids) if rows[image_id] != row)
        raise ValueError(f"Every image id must be there once. Received twice: {twice!r}")
    wanted = list(wanted)
    unknown = dict.fromkeys(image_id for image_id in wanted if image_id not in rows)
    if unknown:
        raise ValueError(
            "Detections must be of images of the dataset. "
            f"Received unknown image ids: {len(unknown)}, the first is {next(iter(unknown))!r}"
        )
    return np.array([rows[image_id] for image_id in wanted], np.int64)


def ranks_of_ids(image_ids: Sequence[str | int]) -> np.ndarray:
    """Returns the place of each image id among all when sorted, numbers before texts, int64."""
    order = sorted(
        range(len(image_ids)), key=lambda row: (isinstance(image_ids[row], str), image_ids[row])
    )
    return np.argsort(order)


def to_bboxes(boxes: np.ndarray) -> np.ndarray:
    """Turns yxyx [..., 4] into x, y, width, height."""
    return np.concatenate([boxes[..., 1::-1], (boxes[..., 2:] - boxes[..., :2])[..., ::-1]], -1)


def to_boxes(bboxes: np.ndarray) -> np.ndarray:
    """Turns x, y, width, height [..., 4] into yxyx."""
    far = bboxes[..., :2] + bboxes[..., 2:]
    return np.concatenate([bboxes[..., 1::-1], far[..., ::-1]], -1)


def _join(arrays: list, dtype: Any) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *(np.asarray(a, dtype).ravel() for a in arrays)])
