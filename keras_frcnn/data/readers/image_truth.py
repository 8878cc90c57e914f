"""Builds the ground truth of COCO's evaluation image by image."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_frcnn.data.dataset import GroundTruth, Record
from keras_frcnn.data.problems import DataError
from keras_frcnn.data.readers import coco_json, tf_example


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ImageTruth:
    """The objects of one image as columns, see ``GroundTruth``."""

    labels: Sequence[int]
    bboxes: Sequence[Sequence[float]]
    areas: Sequence[float]
    crowd: Sequence[bool]


def of_record(record: Record, areas: np.ndarray | None) -> ImageTruth:
    """Converts the objects of a record.

    Args:
        record: the record.
        areas: float64 [G], pixels; None for the areas of the boxes.

    Returns:
        The objects; difficult objects become crowd regions.
    """
    y1, x1, y2, x2 = record.boxes.astype(np.float64).T
    bboxes = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)
    areas = bboxes[:, 2] * bboxes[:, 3] if areas is None else areas
    return ImageTruth(record.labels, bboxes, areas, record.difficult)


def of_annotations(text: bytes, label_of: Mapping[int, int]) -> ImageTruth:
    """Converts annotations in COCO's format.

    Args:
        text: a list of annotations, as JSON.
        label_of: labels by category id.

    Returns:
        The objects.

    Raises:
        DataError: If an annotation is wrong. The error names the key, the annotation, counted from
            0, and what is wrong.
    """
    try:
        items = coco_json.decode(text, list[coco_json.ObjectEntry])
    except DataError as error:
        raise tf_example.fault(tf_example.COCO, error.problems[0].text) from error
    except (ValueError, RecursionError) as error:
        raise tf_example.fault(tf_example.COCO, f"expected JSON. Received: {error}") from error
    rows = []
    for number, item in enumerate(items):
        if isinstance(item, coco_json.ObjectEntry):
            item.image_id = 0
        try:
            _, _, category_id, bbox, area, crowd = coco_json.read_object(item, {0: 0}, label_of)
        except DataError as error:
            key = f"{tf_example.COCO}[{number}]"
            raise tf_example.fault(key, error.problems[0].text) from error
        rows.append((label_of[category_id], bbox, area, bool(crowd)))
    return ImageTruth(*zip(*rows, strict=True)) if rows else ImageTruth([], [], [], [])


def join(
    images: Sequence[tuple[Record, ImageTruth]],
    class_names: tuple[str, ...],
    category_ids: tuple[int, ...],
) -> GroundTruth:
    """Joins the objects of several images.

    Args:
        images: the records, each with its objects.
        class_names: the name of label 0, 1, ...
        category_ids: COCO's category id of each label.

    Returns:
        The ground truth of these records.
    """

    def joined(name: str, dtype: Any) -> np.ndarray:
        values = (getattr(truth, name) for _, truth in images)
        return np.array(list(itertools.chain.from_iterable(values)), dtype)

    return GroundTruth(
        class_names=class_names,
        category_ids=category_ids,
        image_ids=tuple(record.image_id for record, _ in images),
        rows=np.repeat(np.arange(len(images)), [len(truth.labels) for _, truth in images]),
        labels=joined("labels", np.int64),
        bboxes=joined("bboxes", np.float64).reshape(-1, 4),
        areas=joined("areas", np.float64),
        crowd=joined("crowd", bool),
    )
