"""Proposals files, whose regions the second stage is trained on or classifies.

A file is an NPZ archive (``numpy.savez``) with four arrays, one image after the other:

- ``image_ids`` [N]: strings or integers, as in the records.
- ``counts`` [N]: integers, the number of proposals of each image.
- ``boxes`` [M, 4] float32: yxyx pixels of the original image, far edge exclusive, with the best box
  of each image first.
- ``scores`` [M] float32: on any scale, not increasing within an image.

A file whose name ends in .json has COCO's results format, see ``proposals_json``.
"""

import dataclasses
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_frcnn import files
from keras_frcnn.console import with_progress
from keras_frcnn.data import proposals_json
from keras_frcnn.data.dataset import MAX_OVERHANG, Record
from keras_frcnn.ops import boxes as box_ops

_PART_IMAGES = 200  # a minute or so with the slow methods
_MAX_BYTES = 16 * 2**30
# For each array, NumPy's codes of the allowed types, and the number of dimensions.
_ARRAYS = {"image_ids": ("iuU", 1), "counts": ("iu", 1), "boxes": ("f", 2), "scores": ("f", 1)}


@dataclasses.dataclass(frozen=True, eq=False)
class Proposals:
    """The proposals of many images, in columns.

    Attributes:
        image_ids: the ids of the images, strings or integers.
        splits: int64 [N + 1]; the proposals of image n are the rows ``splits[n]:splits[n + 1]``.
        boxes: float32 [M, 4], yxyx pixels of the original image, best first.
        scores: float32 [M].
    """

    image_ids: Sequence[str | int]
    splits: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray


def write(
    path: str | os.PathLike, proposals: Iterable[tuple[str | int, np.ndarray, np.ndarray]]
) -> None:
    """Writes a proposals file. The file only appears once it is complete.

    Args:
        path: the file; an existing file is replaced.
        proposals: for each image its id, boxes [P, 4] and scores [P], best first.

    Raises:
        ValueError: If the proposals are not valid, see ``read``. Nothing is written then.
    """
    image_ids, boxes, scores = [*zip(*proposals, strict=True)] or [()] * 3
    content = {
        "image_ids": np.array(image_ids),
        "counts": np.array([len(some) for some in boxes], np.int64),
        "boxes": np.concatenate([np.zeros([0, 4], np.float32), *boxes]).astype(np.float32),
        "scores": np.concatenate([np.zeros(0, np.float32), *scores]).astype(np.float32),
    }
    _check(content, path)
    with files.replacing(path) as part, part.open("wb") as file:
        if _is_json(path):
            proposals_json.write(file, content)
        else:
            np.savez(file, **content)


def write_in_parts(
    path: str | os.PathLike,
    records: Sequence[Record],
    propose: Callable[[Sequence[Record]], Iterable[tuple[str | int, np.ndarray, np.ndarray]]],
    settings: str,
) -> None:
    """Writes a proposals file in parts, so that a call that takes hours can be continued.

    Args:
        path: the file. Finished parts are kept in a folder beside it until it is complete.
        records: the images.
        propose: returns the argument of ``write`` for some of the records, in their order.
        settings: a text that states everything else on which the proposals depend. A call with
            a different text does not continue earlier parts.

    Raises:
        ValueError: See ``write``; also if a folder holds parts that were made with other settings.
    """
    folder = Path(path).with_suffix(".parts")
    folder.mkdir(exist_ok=True)
    settings_file = folder / "settings.txt"
    if settings_file.exists() and settings_file.read_text(encoding="utf-8") != settings:
        raise ValueError(
            f"{folder} holds parts of a file that was begun with other settings or images. Use the "
            "same flags again to finish it, or remove the folder"
        )
    settings_file.write_text(settings, encoding="utf-8")
    counter = iter(with_progress(records, "Proposing", len(records)))

    def counted(rows):
        for row, _ in zip(rows, counter, strict=False):
            yield row

    parts = []
    for start in range(0, len(records), _PART_IMAGES):
        some = records[start : start + _PART_IMAGES]
        parts.append(folder / f"{start:08}.npz")
        if parts[-1].exists():
            list(counted(some))
        else:
            write(parts[-1], counted(propose(some)))

    def rows():
        for part in parts:
            found = read(part)
            cuts = found.splits[1:-1]
            columns = (np.split(column, cuts) for column in (found.boxes, found.scores))
            yield from zip(found.image_ids, *columns, strict=True)

    write(path, rows())
    shutil.rmtree(folder)


def read(path: str | os.PathLike) -> Proposals:
    """Reads a proposals file. Nothing in it is executed, so it may come from anywhere.

    Raises:
        ValueError: If the file cannot be read, a box is not finite or ends before it begins, or the
            scores of an image increase. The error names the file and the image.
    """
    if not os.path.isfile(path):
        raise ValueError(f"There is no proposals file {path}")
    content = proposals_json.read(path) if _is_json(path) else _read_archive(path)
    splits = _check(content, path)
    boxes, scores = (content[name].astype(np.float32, copy=False) for name in ("boxes", "scores"))
    return Proposals(content["image_ids"].tolist(), splits, boxes, scores)


def _is_json(path):
    return Path(path).suffix == ".json"


def _read_archive(path):
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _MAX_BYTES:
            raise ValueError(f"it holds {size} bytes, more than {_MAX_BYTES} are refused")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in _ARRAYS}
    except Exception as error:  # zipfile, zlib and NumPy raise nearly anything on damaged files
        raise ValueError(f"{path} is not a proposals file: {error}") from error


def read_for(path: str | os.PathLike, records: Sequence[Record], limit: int) -> Proposals:
    """Reads the best proposals of some records.

    Args:
        path: a proposals file, which may hold other images too.
        records: the images.
        limit: the largest number of proposals per image.

    Returns:
        The proposals of exactly these records, in their order, clipped to the images.

    Raises:
        ValueError: See ``read``; also if an image has no entry in the file, or a proposal extends
            beyond its image. The error names the file and the image.
    """
    found = read(path)
    indices = {image_id: index for index, image_id in enumerate(found.image_ids)}
    missing = [record.image_id for record in records if record.image_id not in indices]
    if missing:
        raise ValueError(
            f"{path} has no proposals of {len(missing)} of {len(records)} images; the first is "
            f"{missing[0]!r}"
        )
    rows = np.array([indices[record.image_id] for record in records], np.int64)
    counts = np.minimum(found.splits[rows + 1] - found.splits[rows], limit)
    splits = np.concatenate([[0], np.cumsum(counts)])
    within = np.arange(splits[-1]) - np.repeat(splits[:-1], counts)
    taken = np.repeat(found.splits[rows], counts) + within
    boxes = found.boxes[taken]

    shapes = np.array([[r.height, r.width] for r in records], np.float32).reshape(-1, 2)
    shapes = np.repeat(shapes, counts, axis=0)
    limits = np.tile(shapes, 2) + MAX_OVERHANG
    outside = np.any((boxes < -MAX_OVERHANG) | (boxes > limits), axis=1)
    if outside.any():
        row = int(np.argmax(outside))
        record = records[np.searchsorted(splits, row, side="right") - 1]
        raise ValueError(
            f"{path}: a proposal of image {record.image_id!r} leaves the image of height "
            f"{record.height}, width {record.width}: {boxes[row].tolist()} (yxyx)"
        )
    boxes = box_ops.clip(boxes[:, np.newaxis], shapes)[:, 0].numpy()
    return Proposals([r.image_id for r in records], splits, boxes, found.scores[taken])


def lookup(
    source: str, records: Sequence[Record], limit: int, rows: Iterable[int]
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Stores the proposals of records in flat tensors, for look-up in the graph.

    Args:
        source: a proposals file, or "rpn" or "dense", for which there is nothing to look up.
        records: the images.
        limit: the largest number of proposals per image.
        rows: the rows of the records that will be looked up.

    Returns:
        A function that maps a row of the records to a dict of "proposals" float32 [P, 4], yxyx
        pixels of the original image, and "proposal_scores" float32 [P], best first. P is the same
        for all images; padding boxes have no area. For "rpn" and "dense" the dict is empty.

    Raises:
        ValueError: See ``read_for``.
    """
    if source in ("rpn", "dense"):
        return lambda row: {}
    rows = sorted(rows)
    found = read_for(source, [records[row] for row in rows], limit)
    counts = np.zeros(len(records), np.int64)
    counts[rows] = np.diff(found.splits)
    longest = int(counts.max(initial=1))
    columns = {"proposals": tf.constant(found.boxes), "proposal_scores": tf.constant(found.scores)}
    splits = tf.constant(np.concatenate([[0], np.cumsum(counts)]))

    def padded(values, row):
        own = values[splits[row] : splits[row + 1]]
        missing = [0, longest - tf.shape(own)[0]]
        own = tf.pad(own, [missing] + [[0, 0]] * (own.shape.rank - 1))
        return tf.ensure_shape(own, [longest, *own.shape[1:]])

    return lambda row: {name: padded(values, row) for name, values in columns.items()}


def _check(content, path):
    """Checks the arrays of a file, and returns the splits that follow from the counts."""
    for name, (types, rank) in _ARRAYS.items():
        array = content[name]
        if array.dtype.kind not in types or array.ndim != rank:
            raise ValueError(
                f"{path}: {name} must have {rank} dimension(s) and one of the NumPy types {types}. "
                f"Received: {array.dtype} of shape {array.shape}"
            )
    image_ids, counts, boxes, scores = (content[name] for name in _ARRAYS)
    shapes = [array.shape for array in (image_ids, counts, boxes, scores)]
    total = int(counts.sum(dtype=np.float64)) if (counts >= 0).all() else -1
    if shapes != [(len(image_ids),)] * 2 + [(total, 4), (total,)]:
        raise ValueError(
            f"{path}: expected one count for each image id, and as many boxes (of 4 numbers) and "
            f"scores as the sum of the counts. Received: shapes {shapes}, a sum of {total}"
        )
    unique, times = np.unique(image_ids, return_counts=True)
    if len(unique) < len(image_ids):
        twice = unique[np.argmax(times)].item()
        raise ValueError(f"{path}: image {twice!r} occurs {times.max()} times")
    splits = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    is_bad = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    is_rising = np.diff(scores, prepend=np.inf) > 0
    is_rising[splits[:-1][counts > 0]] = False
    for wrong, words in (
        (is_bad, "has a box that is not finite or ends before it begins"),
        (~np.isfinite(scores), "has a score that is not finite"),
        (is_rising, "does not have its best proposal first: scores must not increase"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            image_id = image_ids[np.searchsorted(splits, row, side="right") - 1].item()
            raise ValueError(
                f"{path}: image {image_id!r} {words}: {boxes[row].tolist()} "
                f"(yxyx), score {scores[row]:g}"
            )
    return splits
