"""Decodes the images of records in tf.data, and checks all of them before a long run.

The check decodes with the same operations as training, so an image that passes it does not stop a
run later.
"""

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.console import with_progress
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.data.images import attempt, headers, transforms
from keras_frcnn.data.problems import Problem, ProblemKind, Remedy, settle
from keras_frcnn.data.readers.tfrecord_file import HEADER_BYTES

_UNREADABLE = "unreadable image"
_NAMED = re.compile(rf"\[{_UNREADABLE}\] \[(.*?)\]\s*(?:\[\[|\[Op:|\n|$)", re.DOTALL)


def image_reader(records: Sequence[Record]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that reads the image of a row: uint8 [H, W, 3], upright RGB.

    The function runs in tf.data. It raises an InvalidArgumentError if an image cannot be decoded or
    does not have its record's size; ``naming_images`` turns this into a ValueError.
    """
    decode_or_empty = _decoder(records)
    names = tf.constant([os.fsencode(record.name) for record in records], tf.string)
    shapes = tf.constant([(record.height, record.width) for record in records], tf.int32)

    def read_image(row: tf.Tensor) -> tf.Tensor:
        image = decode_or_empty(row)
        is_sound = tf.reduce_all(tf.shape(image)[:2] == shapes[row])
        with tf.control_dependencies([tf.debugging.Assert(is_sound, [_UNREADABLE, names[row]])]):
            return tf.identity(image)

    return read_image


@contextlib.contextmanager
def naming_images() -> Iterator[None]:
    """Turns the error of ``image_reader`` into a ValueError that names the image."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = _NAMED.search(error.message)
        if not found:
            raise
        raise ValueError(
            f"{found[1]}: {_UNREADABLE}: it cannot be decoded, or no longer has the size that its "
            "header had when the data was read"
        ) from error


def leave_out_broken(dataset: Dataset, config: Config) -> Dataset:
    """Decodes every image of a dataset once, and leaves out or refuses images that are broken.

    The header of a file gives its size, and its last bytes show whether it was cut off. Only
    decoding finds damage in between.

    Args:
        dataset: the records.
        config: the settings; ``on_bad_record`` is used.

    Returns:
        The dataset without the broken images, each of which has a line in ``skipped``.

    Raises:
        ValueError: If there are broken images and ``on_bad_record`` is "error", or if no image is
            left. The error names the images.
    """
    rows = list(zip(dataset.records, problems(dataset.records), strict=True))
    broken = [
        Problem(
            kind=ProblemKind.BROKEN_IMAGE,
            file=record.name,
            message=f"{_UNREADABLE}: {problem}",
            remedy=Remedy.LEAVE_OUT,
        )
        for record, problem in rows
        if problem
    ]
    found = [*dataset.problems, *settle(broken, config.on_bad_record)]
    kept = [record for record, problem in rows if not problem]
    if not kept:
        lines = "\n".join(problem.skipped_line for problem in found)
        raise ValueError(f"expected images that can be decoded. Received:\n{lines}")
    truth, ids = dataset.truth, {record.image_id for record in kept}
    if truth is not None:
        truth = truth.select(np.array([image_id in ids for image_id in truth.image_ids]))
    return dataclasses.replace(dataset, records=kept, problems=found, truth=truth)


def problems(records: Sequence[Record]) -> list[str]:
    """Decodes every image once, on all cores, with a progress bar on a terminal.

    Args:
        records: images with valid headers.

    Returns:
        For each image a description of what is wrong; empty for an image that training can read.
    """
    if not records:
        return []
    decode_or_empty = _decoder(records)
    stream = tf.data.Dataset.range(len(records))
    stream = stream.map(lambda row: tf.shape(decode_or_empty(row))[:2], tf.data.AUTOTUNE)
    shapes = stream.as_numpy_iterator()
    shapes = with_progress(shapes, "Decoding images once", len(records))
    return [_problem(*pair) for pair in zip(records, shapes, strict=True)]


def _decoder(records: Sequence[Record]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that decodes the image of a row, or returns an empty image on failure."""
    read_bytes = _byte_reader(records)
    orientations = tf.constant([record.orientation for record in records], tf.int32)

    def decode_or_empty(row: tf.Tensor) -> tf.Tensor:
        # TensorFlow's decoding error does not name the file. It is only logged here; callers
        # recognise the failure by the empty image.
        return attempt.or_else(
            lambda row, turn: transforms.decode(read_bytes(row), turn),
            (row, orientations[row]),
            otherwise=tf.zeros([0, 0, 3], tf.uint8),
            log_warning=True,
        )

    return decode_or_empty


def _byte_reader(records: Sequence[Record]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that reads the bytes of the image of a row, a string scalar."""
    paths = tf.constant([os.fsencode(record.path) for record in records], tf.string)
    if all(record.span is None for record in records):
        return lambda row: tf.io.read_file(paths[row])
    spans = tf.constant([record.span or (0, 0, 0) for record in records], tf.int64)

    def read_span(row: tf.Tensor) -> tf.Tensor:
        # open_image does not fit: a program cannot end while threads of tf.data wait for Python.
        start, offset, length = tf.unstack(spans[row])
        stream = tf.raw_ops.TFRecordDatasetV2(
            filenames=paths[row : row + 1],
            compression_type="",
            buffer_size=tf.constant(0, tf.int64),
            byte_offsets=[start],
        )
        stream = tf.data.experimental.from_variant(stream, tf.TensorSpec([], tf.string))
        payload = stream.take(1).get_single_element()
        return tf.strings.substr(payload, offset - start - HEADER_BYTES, length)

    def read_bytes(row: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            spans[row, 2] > 0, lambda: read_span(row), lambda: tf.io.read_file(paths[row])
        )

    return read_bytes


def _problem(record: Record, shape: np.ndarray) -> str:
    height, width = shape.tolist()
    if not height:
        return "its header is valid, but its pixels cannot be decoded"
    if (height, width) != (record.height, record.width):
        return headers.size_problem((record.height, record.width), (height, width))
    return ""
