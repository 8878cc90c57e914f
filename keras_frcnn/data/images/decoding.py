"""From a record's row to its pixels, and the look at all of them before hours are spent.

TensorFlow decodes, in training and here, so what passes here does not stop a run later.
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
from keras_frcnn.data.images import transforms
from keras_frcnn.data.problems import Problem, ProblemKind, Remedy, settle
from keras_frcnn.data.readers.tfrecord_file import HEADER_BYTES

_UNREADABLE = "unreadable image"
_NAMED = re.compile(rf"\[{_UNREADABLE}\] \[(.*?)\]\s*(?:\[\[|\[Op:|\n|$)", re.DOTALL)


def image_reader(records: Sequence[Record]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function from a row to its image, uint8 [H, W, 3], upright RGB.

    An image that cannot be decoded, or that is not of its record's size, is an
    InvalidArgumentError; ``naming_images`` says which it was.
    """
    attempt = _attempts(records)
    names = tf.constant([os.fsencode(record.name) for record in records], tf.string)
    shapes = tf.constant([(record.height, record.width) for record in records], tf.int32)

    def read_image(row: tf.Tensor) -> tf.Tensor:
        image = attempt(row)
        is_sound = tf.reduce_all(tf.shape(image)[:2] == shapes[row])
        with tf.control_dependencies([tf.debugging.Assert(is_sound, [_UNREADABLE, names[row]])]):
            return tf.identity(image)

    return read_image


@contextlib.contextmanager
def naming_images() -> Iterator[None]:
    """Turns the error of an image that ``image_reader`` cannot read into a ValueError."""
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
    """Decodes every image of a dataset once, and settles what cannot be decoded.

    The header of a file tells its size and its end whether it was cut off; what lies between shows
    in decoding only.

    Args:
        dataset: the records.
        config: setting ``on_bad_record``.

    Returns:
        The dataset; under "skip" without the broken images, each with a line in ``skipped``.

    Raises:
        ValueError: naming the broken images under "error", or if no other is there.
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
    """Decodes every image once, on all cores; a long run on a terminal shows a progress bar.

    Args:
        records: the images, whose headers are sound.

    Returns:
        What is wrong with each, in words; empty for an image that training reads.
    """
    if not records:
        return []
    attempt = _attempts(records)
    stream = tf.data.Dataset.range(len(records))
    stream = stream.map(lambda row: tf.shape(attempt(row))[:2], tf.data.AUTOTUNE)
    shapes = stream.as_numpy_iterator()
    shapes = with_progress(shapes, "Decoding images once", len(records))
    return [_problem(*pair) for pair in zip(records, shapes, strict=True)]


def _attempts(records: Sequence[Record]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function from a row to its image; one that cannot be decoded has 0 pixels."""
    read_bytes = _byte_reader(records)
    orientations = tf.constant([record.orientation for record in records], tf.int32)

    def attempt(row: tf.Tensor) -> tf.Tensor:
        # TensorFlow's decoding error does not name the file. So a failed attempt, which leaves its
        # own message in the log, yields an empty image.
        stream = tf.data.Dataset.from_tensors((row, orientations[row]))
        stream = stream.map(lambda row, turn: transforms.decode(read_bytes(row), turn))
        empty = tf.data.Dataset.from_tensors(tf.zeros([0, 0, 3], tf.uint8))
        stream = stream.ignore_errors(log_warning=True).concatenate(empty).take(1)
        return stream.get_single_element()

    return attempt


def _byte_reader(records: Sequence[Record]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function from a row to its image's encoded bytes, a string scalar."""
    paths = tf.constant([os.fsencode(record.path) for record in records], tf.string)
    if all(record.span is None for record in records):
        return lambda row: tf.io.read_file(paths[row])
    spans = tf.constant([record.span or (0, 0, 0) for record in records], tf.int64)

    def read_span(row: tf.Tensor) -> tf.Tensor:
        # In C++ and not by open_image: a program could not end while threads wait for Python.
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
        return "its header is sound, but its pixels cannot be decoded"
    if (height, width) != (record.height, record.width):
        return (
            f"{record.height} x {record.width} pixels (height x width) by its header, {height} x "
            f"{width} when decoded"
        )
    return ""
