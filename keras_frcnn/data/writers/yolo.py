"""Writes data sets in the YOLO layout, which ``readers.yolo`` reads back."""

import pathlib
from collections.abc import Mapping

import numpy as np
import yaml

from keras_frcnn.console import with_progress
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.data.images.spans import open_image
from keras_frcnn.data.paths import LISTED_SUFFIXES, leads_out
from keras_frcnn.data.readers.coco_json import is_text
from keras_frcnn.data.readers.yolo import labels_of
from keras_frcnn.data.writers.new_folder import appearing, check_folder

DATA_FILE = "data.yaml"


def write(datasets: Mapping[str, Dataset], folder: str) -> dict[str, int]:
    """Writes data sets as data.yaml, images/ and labels/.

    The image files are copied unchanged. Difficult objects and crowd regions are left out, because
    the layout cannot mark them and other tools would treat them as ordinary objects. The folder
    only appears once everything is written.

    Args:
        datasets: the data set of each split, "train", "val" or "test"; all have the same classes.
        folder: a new or empty folder.

    Returns:
        The number of objects that were left out, for each split.

    Raises:
        ValueError: If the folder is not empty, or an image id or a class name cannot be written.
        OSError: If the folder cannot be written to, or an image cannot be read.
    """
    check_folder(folder)
    class_names = {dataset.class_names for dataset in datasets.values()}
    if len(class_names) != 1:
        raise ValueError(f"all data sets must have the same classes. Received: {class_names}")
    (names,) = class_names
    unprintable = [name for name in names if not is_text(name)]
    if unprintable:
        raise ValueError(f"expected printable class names. Received: {unprintable[0]!r}")
    content = {split: f"images/{split}" for split in datasets} | {"names": dict(enumerate(names))}
    with appearing(pathlib.Path(folder)) as part:
        left_out = {
            split: _write_split(part, split, dataset) for split, dataset in datasets.items()
        }
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        (part / DATA_FILE).write_text(text, encoding="utf-8")
    return left_out


def _write_split(root: pathlib.Path, split: str, dataset: Dataset) -> int:
    """Writes the images and labels of a split; returns the number of objects left out."""
    left_out = 0
    (root / "images" / split).mkdir(parents=True)
    (root / "labels" / split).mkdir(parents=True)
    records = dataset.records
    for record in with_progress(records, f"Writing {split}", total=len(records)):
        with open_image(record.path, record.span) as file:
            content = file.read()
        suffix = ".png" if content.startswith(b"\x89PNG") else ".jpg"
        image = pathlib.PurePosixPath("images", split, _file_name(record) + suffix)
        labels = root / labels_of(image)
        if (root / image).exists() or labels.exists():
            raise ValueError(f"{record.name}: another image has already been written to {image}")
        for path in (root / image, labels):
            path.parent.mkdir(parents=True, exist_ok=True)
        (root / image).write_bytes(content)
        kept = ~record.difficult
        text = label_lines(record.labels[kept], record.boxes[kept], (record.height, record.width))
        labels.write_text(text, encoding="utf-8")
        left_out += int(record.difficult.sum())
    return left_out


def _file_name(record: Record) -> str:
    """Returns the name of an image's file, made from its id, without the suffix."""
    name = str(record.image_id)
    path = pathlib.PurePosixPath(name)
    if not is_text(name) or leads_out(name) or str(path) in ("", "."):
        raise ValueError(f"{record.name}: expected an id that can name a file. Received: {name!r}")
    return str(path.with_suffix("") if path.suffix.lower() in LISTED_SUFFIXES else path)


def label_lines(labels: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> str:
    """Returns the lines of an image: class, center and size, as fractions of the image.

    Args:
        labels: [G] integers.
        boxes: [G, 4] yxyx pixels of the image.
        size: the image's height and width.
    """
    boxes = boxes.astype(np.float64) / np.tile(size, 2)
    centers, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    rows = np.concatenate([centers[:, ::-1], sizes[:, ::-1]], axis=1)
    return "".join(
        f"{label} {' '.join(f'{value:.12g}' for value in row)}\n"
        for label, row in zip(labels, rows, strict=True)
    )
