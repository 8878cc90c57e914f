"""Writes TFRecords, which ``readers.tfrecord`` reads back exactly."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from keras_frcnn.console import with_progress
from keras_frcnn.data import categories
from keras_frcnn.data.dataset import Dataset, GroundTruth, Record
from keras_frcnn.data.images.spans import open_image
from keras_frcnn.data.readers import coco, tf_example, tfrecord_file
from keras_frcnn.data.writers.new_folder import appearing, check_folder

LABEL_MAP = "label_map.pbtxt"

_MEGABYTE = 1_000_000


def write(datasets: Mapping[str, Dataset], folder: str, shard_megabytes: int = 128) -> list[str]:
    """Writes data sets as TFRecords with a label map.

    The image files are copied unchanged. The folder only appears once everything is written.

    Args:
        datasets: the data set of each split, by name; all have the same classes.
        folder: a new or empty folder.
        shard_megabytes: the approximate size of a file, in millions of bytes.

    Returns:
        The names of the files.

    Raises:
        ValueError: If the folder is not empty, or the classes differ.
        OSError, tf.errors.OpError: If the folder cannot be written to, or an image cannot be read.
    """
    check_folder(folder)
    if shard_megabytes < 1:
        raise ValueError(f"shard_megabytes must be at least 1. Received: {shard_megabytes}")
    label_maps = {_categories(dataset) for dataset in datasets.values()}
    if len(label_maps) != 1:
        received = sorted(label_maps)
        raise ValueError(f"all data sets must have the same classes. Received: {received}")
    splits = {
        split: with_progress(_encoded(dataset), f"Writing {split}", total=len(dataset.records))
        for split, dataset in datasets.items()
    }
    return write_folder(pathlib.Path(folder), splits, dict(label_maps.pop()), shard_megabytes)


def write_folder(
    folder: pathlib.Path,
    splits: Mapping[str, Iterable[bytes]],
    label_map: Mapping[int, str],
    shard_megabytes: int = 128,
) -> list[str]:
    """Writes examples as TFRecords with a label map. The folder only appears once it is complete.

    Args:
        folder: a new or empty folder.
        splits: the serialized examples of each split, by name.
        label_map: the names of the classes by number.
        shard_megabytes: see ``write``.

    Returns:
        The names of the files.

    Raises:
        OSError, tf.errors.OpError: If the folder cannot be written to.
    """
    names = []
    with appearing(folder) as part:
        for split, payloads in splits.items():
            names += _write_split(part, split, payloads, shard_megabytes * _MEGABYTE)
        categories.write_label_map(part / LABEL_MAP, label_map)
    return names


def encode(
    image: bytes,
    image_id: int | str,
    filename: str,
    size: tuple[int, int] | None,
    boxes: np.ndarray,
    objects: dict[str, Any],
    annotations: list[dict[str, Any]] | None = None,
) -> bytes:
    """Serializes an image and its objects.

    Args:
        image: the bytes of a JPEG or PNG file; they are stored unchanged.
        image_id: number or name of the image.
        filename: name of the image's file.
        size: height and width of the image as displayed; None if its header is unreadable.
        boxes: [G, 4] yxyx, float32 pixels, or fractions of the sides if ``size`` is None.
        objects: lists of G values by their keys in ``tf_example``.
        annotations: the objects in COCO's format, with bbox, category_id, area and iscrowd.

    Returns:
        The serialized tf.Example.
    """
    fractions = np.asarray(boxes, np.float64).reshape(-1, 4)
    columns: dict[str, Any] = {
        "image/encoded": [image],
        "image/format": ["png" if image.startswith(b"\x89PNG") else "jpeg"],
        "image/filename": [filename],
        "image/source_id": [str(image_id)],
        "image/id": [image_id],
        **objects,
    }
    if size is not None:
        columns |= {
            "image/height": [size[0]],
            "image/width": [size[1]],
            tf_example.PIXELS: fractions.ravel(),
        }
        fractions = fractions / np.tile(size, 2)
    columns |= dict(zip(tf_example.SIDES, fractions.T, strict=True))
    if annotations is not None:
        columns[tf_example.COCO] = [json.dumps(annotations)]
    return _serialize(columns)


def _serialize(columns: dict[str, Any]) -> bytes:
    import tensorflow as tf  # see above

    example = tf.train.Example()
    for key, values in columns.items():
        feature, values = example.features.feature[key], list(values)
        if not values:
            continue  # a feature without a type suits readers of any type
        if isinstance(values[0], str | bytes):
            values = [v.encode() if isinstance(v, str) else v for v in values]
            feature.bytes_list.value.extend(values)
        elif isinstance(values[0], float | np.floating):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(int(value) for value in values)
    return example.SerializeToString(deterministic=True)


def _categories(dataset: Dataset) -> tuple[tuple[int, str], ...]:
    """Returns the number and name of each class."""
    numbers = range(1, len(dataset.class_names) + 1)
    numbers = dataset.truth.category_ids if dataset.truth else numbers
    return tuple(zip(numbers, dataset.class_names, strict=True))


def _encoded(dataset: Dataset) -> Iterator[bytes]:
    numbers, names = zip(*_categories(dataset), strict=True)
    truth, splits = dataset.truth, None
    if truth is not None:
        order = np.argsort(truth.rows, kind="stable")
        splits = np.searchsorted(truth.rows[order], np.arange(len(dataset.records) + 1))
    for row, record in enumerate(dataset.records):
        objects = {
            tf_example.TEXT: [names[label] for label in record.labels],
            tf_example.LABEL: [numbers[label] for label in record.labels],
        }
        key = tf_example.CROWD if record.form == "coco" else tf_example.DIFFICULT
        objects[key] = record.difficult
        annotations = None
        if truth is not None and record.form == "coco":
            indices = order[splits[row] : splits[row + 1]]
            objects[tf_example.AREA] = _areas(record, truth, indices)
            annotations = _annotations(truth, indices)
        size, name = (record.height, record.width), pathlib.Path(record.path).name
        name = name if record.span is None else str(record.image_id)
        with open_image(record.path, record.span) as file:
            image = file.read()
        payload = encode(image, record.image_id, name, size, record.boxes, objects, annotations)
        if len(payload) > tfrecord_file.MAX_BYTES:
            raise ValueError(
                f"{record.name}: expected at most {tfrecord_file.MAX_BYTES} bytes. Received: "
                f"{len(payload)}"
            )
        yield payload


def _areas(record: Record, truth: GroundTruth, indices: np.ndarray) -> np.ndarray:
    """Returns the areas of a record's objects, which are the objects of the truth with a box."""
    sizes = np.tile([record.height, record.width], (len(indices), 1))
    indices = indices[~coco.to_boxes(truth.bboxes[indices], sizes)[2]]
    if len(indices) != len(record.labels):
        raise ValueError(
            f"{record.name}: expected the {len(indices)} objects of the ground truth. Received: "
            f"{len(record.labels)} objects"
        )
    return truth.areas[indices]


def _annotations(truth: GroundTruth, indices: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "bbox": truth.bboxes[index].tolist(),
            "category_id": truth.category_ids[truth.labels[index]],
            "area": float(truth.areas[index]),
            "iscrowd": int(truth.crowd[index]),
        }
        for index in indices
    ]


def _write_split(
    folder: pathlib.Path, split: str, payloads: Iterable[bytes], shard_bytes: int
) -> list[str]:
    """Writes the files of a split, each of about ``shard_bytes``, and returns their names."""
    import tensorflow as tf  # see above

    paths: list[pathlib.Path] = []
    size = shard_bytes
    with contextlib.ExitStack() as stack:
        for payload in payloads:
            if size >= shard_bytes:
                stack.close()
                paths.append(folder / f"{split}-{len(paths)}")
                writer, size = stack.enter_context(tf.io.TFRecordWriter(str(paths[-1]))), 0
            writer.write(payload)
            size += len(payload)
    names = [f"{split}-{i:05}-of-{len(paths):05}.tfrecord" for i in range(len(paths))]
    for path, name in zip(paths, names, strict=True):
        os.replace(path, folder / name)
    return names
