"""Detections in memory, and on disk as COCO's results JSON; ``voc_files`` has VOC's text files.

In memory detections are a dict from image id to ``{"boxes": [K, 4] float32 yxyx pixels of the
original image, "scores": [K] float32, "labels": [K] int32}``. Both files hold only detections,
so an image without any is not in the dict that is read back; the evaluation counts such images.

What is read may come from anywhere: every value is checked, and no image id is used as a path.
"""

import json
import reprlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_frcnn.data.readers.coco_json import MAX_BYTES, is_number

Detections = dict[str | int, dict[str, np.ndarray]]

_short = reprlib.repr  # a value for a message, cut to a readable length
_MAX_COORDINATE = 1e9  # far beyond any image, far below what overflows an area


def check_detections(detections: Detections, num_classes: int) -> None:
    """Checks the form of detections.

    Args:
        detections: per image id boxes, scores and labels, without padding rows.
        num_classes: labels must be below this.

    Raises:
        ValueError: naming the image id, what was expected and what was received.
    """
    for image_id, image in detections.items():
        if not isinstance(image_id, (str, int, np.integer)):
            raise ValueError(f"Image ids must be texts or integers. Received: {_short(image_id)}")
        problem = _problem(image, num_classes)
        if problem:
            raise ValueError(f"Detections of image {image_id!r}: {problem}")


def write_coco(
    path: str | Path,
    detections: Detections,
    class_names: Sequence[str],
    category_ids: Sequence[int] | None = None,
) -> None:
    """Writes COCO's results JSON.

    A list of {image_id, category_id, bbox: [x, y, width, height], score}. Numbers keep all their
    digits: read back, they are the same to the bit.

    Args:
        path: file to write.
        detections: what to write; image ids are texts or integers.
        class_names: names of the labels.
        category_ids: the category id of each label; by default label + 1.

    Raises:
        ValueError: if the detections or the category ids are malformed.
    """
    check_detections(detections, len(class_names))
    category_ids = _category_ids(class_names, category_ids)
    rows = []
    for image_id, image in detections.items():
        image_id = int(image_id) if isinstance(image_id, np.integer) else image_id
        for label, score, (y1, x1, y2, x2) in rows_of(image):
            rows.append((image_id, category_ids[label], [x1, y1, x2 - x1, y2 - y1], score))
    write_coco_rows(path, rows)


def write_coco_rows(
    path: str | Path, rows: Iterable[tuple[str | int, int, list[float], float]]
) -> None:
    """Writes COCO's results JSON of rows (image id, category id, bbox, score) of plain values."""
    keys = ("image_id", "category_id", "bbox", "score")
    entries = [dict(zip(keys, row, strict=True)) for row in rows]
    Path(path).write_text(json.dumps(entries, allow_nan=False), encoding="utf-8")


def read_coco(
    path: str | Path, class_names: Sequence[str], category_ids: Sequence[int] | None = None
) -> Detections:
    """Reads COCO's results JSON.

    Args:
        path: file to read.
        class_names: names of the labels.
        category_ids: the category id of each label; by default label + 1.

    Returns:
        The detections, in the order of the file.

    Raises:
        ValueError: naming the file and the entry that is wrong, counted from 0.
    """
    rows = read_coco_rows(path, class_names, category_ids)
    return gather((i, label, score, (y, x, y + h, x + w)) for i, label, score, (x, y, w, h) in rows)


def read_coco_rows(
    path: str | Path, class_names: Sequence[str], category_ids: Sequence[int] | None = None
) -> list[tuple[str | int, int, float, list[float]]]:
    """Reads COCO's results JSON with its numbers as they are, to the last digit.

    Args:
        path: as for ``read_coco``.
        class_names: likewise.
        category_ids: likewise.

    Returns:
        For each detection, in the order of the file, its image id, label, score and bbox [x, y,
        width, height].

    Raises:
        ValueError: as ``read_coco``.
    """
    labels = {
        number: label for label, number in enumerate(_category_ids(class_names, category_ids))
    }
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes are refused")
        entries = json.loads(Path(path).read_bytes(), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be a JSON file: {error}") from error
    if not isinstance(entries, list):
        raise ValueError(f"{path} must hold a list of detections. Received: {_short(entries)}")
    rows = []
    for number, entry in enumerate(entries):
        try:
            rows.append(_parse_coco(entry, labels))
        except ValueError as error:
            raise ValueError(f"{path}, entry {number}: {error}") from error
    return rows


def _problem(image: Any, num_classes: int) -> str | None:
    """Returns what is wrong with one image's detections, or None."""
    if not isinstance(image, dict) or not {"boxes", "scores", "labels"} <= image.keys():
        return f"must be a dict with boxes, scores and labels. Received: {_short(image)}"
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


def rows_of(image: dict[str, np.ndarray]) -> Iterable[tuple[int, float, list[float]]]:
    """Returns (label, score, box) of one image's detections as plain numbers."""
    return zip(
        np.asarray(image["labels"]).astype(int).tolist(),
        np.asarray(image["scores"], np.float64).tolist(),
        np.asarray(image["boxes"], np.float64).tolist(),
        strict=True,
    )


def gather(rows: Iterable[tuple[str | int, int, float, tuple]]) -> Detections:
    """Turns rows (image id, label, score, yxyx box) into detections."""
    images: dict[str | int, list[tuple]] = {}
    for image_id, *values in rows:
        images.setdefault(image_id, []).append(values)
    detections = {}
    for image_id, values in images.items():
        labels, scores, boxes = zip(*values, strict=True)
        detections[image_id] = {
            "boxes": np.array(boxes, np.float32),
            "scores": np.array(scores, np.float32),
            "labels": np.array(labels, np.int32),
        }
    return detections


def _category_ids(class_names: Sequence[str], category_ids: Sequence[int] | None) -> Sequence[int]:
    if category_ids is None:
        return range(1, len(class_names) + 1)
    if len(category_ids) != len(class_names) or len(set(category_ids)) != len(category_ids):
        raise ValueError(
            f"category_ids must be one different id for each of {len(class_names)} classes. "
            f"Received: {_short(category_ids)}"
        )
    return [int(number) for number in category_ids]


def _parse_coco(entry: Any, labels: dict[int, int]) -> tuple[str | int, int, float, list]:
    keys = ("image_id", "category_id", "bbox", "score")
    if not isinstance(entry, dict) or not set(keys) <= entry.keys():
        raise ValueError(f"must be an object with {', '.join(keys)}. Received: {_short(entry)}")
    image_id, category_id, bbox, score = (entry[key] for key in keys)
    if not isinstance(image_id, (str, int)) or isinstance(image_id, bool):
        raise ValueError(f"image_id must be a text or an integer. Received: {_short(image_id)}")
    if type(category_id) is not int or category_id not in labels:
        known = _short(list(labels))
        raise ValueError(f"category_id must be one of {known}. Received: {_short(category_id)}")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(is_number(v) for v in bbox):
        raise ValueError(f"bbox must be four finite numbers. Received: {_short(bbox)}")
    if bbox[2] < 0 or bbox[3] < 0:
        raise ValueError(f"bbox must have sides of at least 0. Received: {_short(bbox)}")
    if not is_number(score):
        raise ValueError(f"score must be a finite number. Received: {_short(score)}")
    return image_id, labels[category_id], score, bbox


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
