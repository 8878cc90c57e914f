"""Proposals in COCO's results format (JSON), which most other tools read and write.

The file holds a list of {image_id, bbox: [x, y, width, height], score}; other keys are ignored. The
entries of an image may be anywhere in the list and in any order. Such a file is ten times as large
and as slow as an archive, and it cannot contain an image without proposals.
"""

import json
import os
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from keras_frcnn.data.readers.coco_json import MAX_BYTES, is_id, is_number

_short = reprlib.repr  # a value for a message, cut to a readable length


def write(file: BinaryIO, content: Mapping[str, np.ndarray]) -> None:
    """Writes the arrays of a proposals file as JSON, from which ``read`` returns the same bits.

    Args:
        file: the file to write to.
        content: ``image_ids``, ``counts``, ``boxes`` and ``scores``, which have been checked.
    """
    image_ids = np.repeat(content["image_ids"], content["counts"]).tolist()
    corners, scores = content["boxes"].astype(np.float64), content["scores"].tolist()
    bboxes = np.concatenate([corners[:, 1::-1], (corners[:, 2:] - corners[:, :2])[:, ::-1]], axis=1)
    file.write(b"[")
    for number, (image_id, bbox, score) in enumerate(
        zip(image_ids, bboxes.tolist(), scores, strict=True)
    ):
        entry = {"image_id": image_id, "category_id": 1, "bbox": bbox, "score": score}
        file.write(b",\n" * bool(number) + json.dumps(entry).encode())
    file.write(b"]\n")


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the arrays of a proposals file from JSON, with the best proposal of each image first.

    Raises:
        ValueError: If anything is wrong. The error names the file and the entry, counted from 0.
    """
    try:
        if os.path.getsize(path) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes are refused")
        with open(path, "rb") as file:
            entries = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a proposals file: {error}") from error
    if not isinstance(entries, list):
        raise ValueError(f"{path} must hold a list of proposals. Received: {_short(entries)}")
    rows: dict[str | int, list[tuple]] = {}
    for number, entry in enumerate(entries):
        try:
            image_id, *values = _parse(entry)
        except ValueError as error:
            raise ValueError(f"{path}, entry {number}: {error}") from error
        rows.setdefault(image_id, []).append(values)
    if len({type(image_id) for image_id in rows}) > 1:
        raise ValueError(f"{path}: image ids must be all strings or all numbers")
    found = [value for values in rows.values() for value in _best_first(values)]
    x, y, width, height = np.array([box for box, _ in found], np.float64).reshape(-1, 4).T
    return {
        "image_ids": np.array(list(rows)),
        "counts": np.array([len(values) for values in rows.values()], np.int64),
        "boxes": np.stack([y, x, y + height, x + width], axis=1).astype(np.float32),
        "scores": np.array([score for _, score in found], np.float32),
    }


def _best_first(values: Sequence[tuple]) -> list[tuple]:
    return sorted(values, key=lambda value: -value[1])


def _parse(entry: Any) -> tuple[str | int, list[float], float]:
    keys = ("image_id", "bbox", "score")
    if not isinstance(entry, dict) or not set(keys) <= entry.keys():
        raise ValueError(f"must be an object with {', '.join(keys)}. Received: {_short(entry)}")
    image_id, bbox, score = (entry[key] for key in keys)
    if not is_id(image_id):
        raise ValueError(f"image_id must be a string or an integer. Received: {_short(image_id)}")
    if type(bbox) is not list or len(bbox) != 4 or not all(map(is_number, bbox)):
        raise ValueError(
            f"bbox must be four finite numbers: x, y, width, height. Received: {_short(bbox)}"
        )
    if not is_number(score):
        raise ValueError(f"score must be a finite number. Received: {_short(score)}")
    return image_id, bbox, score
