"""Reads and writes detections as COCO's results JSON.

The file is a list of ``{"image_id", "category_id", "bbox": [x, y, width, height], "score"}``.
Numbers keep all their digits: read back, they are the same to the bit. An image without detections
is not in the file.

A file may come from any program, so every value is checked, and no image id is used as a path.
"""

import codecs
import re
import reprlib
from pathlib import Path

import msgspec
import numpy as np

from keras_frcnn import files
from keras_frcnn.data.dataset import GroundTruth
from keras_frcnn.data.readers.coco_json import MAX_BYTES, is_number
from keras_frcnn.evaluation.metrics.detections import DetectionTable, make_table
from keras_frcnn.evaluation.metrics.ground_truth import rows_of_images


class _Entry(msgspec.Struct):
    """One detection of the file."""

    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


_DECODER = msgspec.json.Decoder(list[_Entry])


def write(path: str | Path, detections: DetectionTable, truth: GroundTruth) -> None:
    """Writes a results file.

    Args:
        path: file to write.
        detections: the detections.
        truth: has the ids of the images and categories.

    Raises:
        ValueError: if the ground truth does not have one category id for each class.
    """
    labels = _labels_by_category(truth)
    category_ids = dict(zip(labels.values(), labels, strict=True))
    columns = (array.tolist() for array in (detections.rows, detections.labels))
    values = (detections.bboxes.tolist(), detections.scores.tolist())
    entries = [
        _Entry(_plain_id(truth.image_ids[row]), category_ids[label], bbox, score)
        for row, label, bbox, score in zip(*columns, *values, strict=True)
    ]
    files.write_text(path, msgspec.json.encode(entries).decode())


def read(path: str | Path, truth: GroundTruth) -> DetectionTable:
    """Reads a results file that any program may have written.

    Args:
        path: file to read.
        truth: the ground truth, which defines the images, classes and category ids.

    Returns:
        The detections.

    Raises:
        ValueError: naming the file and the entry (counted from 0) that is wrong, or an image that
            is not in the ground truth.
    """
    labels = _labels_by_category(truth)
    entries = _decode(Path(path))
    for number, entry in enumerate(entries):
        problem = _problem(entry, labels)
        if problem:
            raise ValueError(f"{path}, entry {number}: {problem}")
    try:
        rows = rows_of_images((entry.image_id for entry in entries), truth.image_ids)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return make_table(
        rows,
        np.array([labels[entry.category_id] for entry in entries], np.int64),
        np.array([entry.bbox for entry in entries], np.float64).reshape(-1, 4),
        np.array([entry.score for entry in entries], np.float64),
    )


def _decode(path: Path) -> list[_Entry]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"files of more than {MAX_BYTES} bytes are refused")
        return _DECODER.decode(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except msgspec.ValidationError as error:
        # msgspec ends its messages with the place, such as " - at `$[3].bbox[0]`".
        message, _, place = str(error).partition(" - at ")
        number = re.match(r"`\$\[(\d+)\]\.?(.*)`", place)
        if not number:
            raise ValueError(f"{path} must hold a list of detections: {error}") from error
        field = f"{number[2]}: " if number[2] else ""
        raise ValueError(f"{path}, entry {number[1]}: {field}{message}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be a JSON file: {error}") from error


def _problem(entry: _Entry, labels: dict[int, int]) -> str:
    """Returns what is wrong with an entry of the right types; empty if nothing is."""
    if entry.category_id not in labels:
        known = reprlib.repr(list(labels))
        return f"category_id must be one of {known}. Received: {entry.category_id}"
    if not all(map(is_number, entry.bbox)):
        return f"bbox must be four finite numbers. Received: {list(entry.bbox)}"
    if min(entry.bbox[2:]) < 0:
        return f"bbox must have sides of at least 0. Received: {list(entry.bbox)}"
    if not is_number(entry.score):
        return f"score must be a finite number. Received: {entry.score}"
    return ""


def _labels_by_category(truth: GroundTruth) -> dict[int, int]:
    labels = {int(number): label for label, number in enumerate(truth.category_ids)}
    if not len(labels) == len(truth.category_ids) == len(truth.class_names):
        raise ValueError(
            f"category_ids must be one different id for each of {len(truth.class_names)} classes. "
            f"Received: {truth.category_ids}"
        )
    return labels


def _plain_id(image_id: str | int) -> str | int:
    return image_id if isinstance(image_id, str) else int(image_id)
