"""Reading and writing detections as PASCAL VOC text files, one file for each class.

The files may come from any program, so every value is checked and no image id is used as a path.
"""

import os
import re
import reprlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from keras_frcnn import files
from keras_frcnn.data.readers.coco_json import is_number
from keras_frcnn.evaluation.metrics.detections import Detections, check_detections

_ROUNDING = 0.1  # programs that write one decimal can turn a thin box inside out by this much

_LONGEST_NAME = 255  # of common file systems, in bytes

_short = reprlib.repr  # shortens a value for a message


def write_voc(
    folder: str | Path, detections: Detections, class_names: Sequence[str], split: str
) -> None:
    """Writes ``comp4_det_<split>_<class>.txt`` for every class, as the VOC development kit does.

    A line is ``image_id score xmin ymin xmax ymax``. VOC counts pixels from 1 and includes the last
    one, so (y1, x1, y2, x2) becomes (x1 + 1, y1 + 1, x2, y2). Boxes have two decimals. Scores keep
    all digits of a float32, because rounding would create ties.

    Args:
        folder: Where to write; the folder is created if it is missing.
        detections: The detections to write.
        class_names: The names of the labels. In file names, every character other than a letter, a
            digit, a space or one of "._-" becomes "_".
        split: The name of the image set. It only appears in file names, treated in the same way.

    Raises:
        ValueError: If the detections are malformed, or see ``check_names``.
    """
    check_detections(detections, len(class_names))
    check_names(detections, class_names, split)
    paths = _voc_paths(folder, class_names, split)
    lines: list[list[str]] = [[] for _ in class_names]
    for image_id, image in detections.items():
        for label, score, (y1, x1, y2, x2) in _rows_of(image):
            box = f"{x1 + 1:.2f} {y1 + 1:.2f} {x2:.2f} {y2:.2f}"
            lines[label].append(f"{image_id} {score:.9g} {box}\n")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, of_class in zip(paths, lines, strict=True):
        files.write_text(path, "".join(of_class))


def check_names(image_ids: Iterable[str | int], class_names: Sequence[str], split: str) -> None:
    """Checks that the names of images and classes can be written as ``write_voc`` does.

    Args:
        image_ids: The ids of the images.
        class_names: The names of the labels.
        split: The name of the image set.

    Raises:
        ValueError: If an image id is empty or contains white space, two classes would share a file,
            or the name of a file would be too long. The message gives the name.
    """
    for image_id in map(str, image_ids):
        if image_id.split() != [image_id]:
            raise ValueError(
                f"VOC image ids must have no white space. Received: {_short(image_id)}"
            )
    for path in _voc_paths("", class_names, split):
        if len(os.fsencode(path.name)) > _LONGEST_NAME:
            raise ValueError(
                f"file names must have at most {_LONGEST_NAME} bytes. Received: {_short(path.name)}"
            )


def read_voc(folder: str | Path, class_names: Sequence[str], split: str) -> Detections:
    """Reads ``comp4_det_<split>_<class>.txt`` of every class, which any program may have written.

    Args:
        folder: The folder of the files. Every class must have one, even if it is empty.
        class_names: The names of the labels.
        split: The name of the image set, as in the file names.

    Returns:
        The detections, ordered by class and then by line. Image ids are strings.

    Raises:
        ValueError: If a file is missing or a line is wrong; the message names the file and line.
    """
    rows = []
    for label, path in enumerate(_voc_paths(folder, class_names, split)):
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except FileNotFoundError as error:
            raise ValueError(f"expected a result file for every class. Missing: {path}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} must be a UTF-8 text file: {error}") from error
        for number, line in enumerate(lines, start=1):
            try:
                rows += [_parse_voc(line, label)] if line.strip() else []
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
    return _gather(rows)


def _parse_voc(line: str, label: int) -> tuple[str, int, float, tuple]:
    image_id, *fields = line.split()
    try:
        score, xmin, ymin, xmax, ymax = numbers = [float(field) for field in fields]
    except ValueError:
        numbers = []
    if not numbers or not all(is_number(number) for number in numbers):
        form = "an image id and five finite numbers, score xmin ymin xmax ymax"
        raise ValueError(f"must be {form}. Received: {_short(line)}")
    x1, y1 = xmin - 1, ymin - 1
    if min(xmax - x1, ymax - y1) < -_ROUNDING:
        raise ValueError(f"must have xmin <= xmax and ymin <= ymax. Received: {_short(line)}")
    return image_id, label, score, (y1, x1, max(y1, ymax), max(x1, xmax))


def _rows_of(image: dict[str, np.ndarray]) -> Iterable[tuple[int, float, list[float]]]:
    """Returns (label, score, box) of the detections of one image as plain numbers."""
    return zip(
        np.asarray(image["labels"]).astype(int).tolist(),
        np.asarray(image["scores"], np.float64).tolist(),
        np.asarray(image["boxes"], np.float64).tolist(),
        strict=True,
    )


def _gather(rows: Iterable[tuple[str, int, float, tuple]]) -> Detections:
    """Groups rows (image id, label, score, yxyx box) by image."""
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


def _voc_paths(folder: str | Path, class_names: Sequence[str], split: str) -> list[Path]:
    """Returns the result file of each class. No name can lead out of the folder."""
    paths: dict[Path, str] = {}
    for name in class_names:
        path = Path(folder) / re.sub(r"[^\w.\- ]", "_", f"comp4_det_{split}_{name}.txt")
        if path in paths:
            raise ValueError(f"{paths[path]!r} and {name!r} would share the file {path.name}")
        paths[path] = name
    return list(paths)
