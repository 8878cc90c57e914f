"""Proposals files: regions found beforehand, which the second stage learns from or classifies.

A file is an NPZ archive (``numpy.savez``) with four arrays, one image after the other:

- ``image_ids`` [N]: strings or whole numbers, as in the records.
- ``counts`` [N], whole numbers: how many proposals each image has.
- ``boxes`` [M, 4] float32: yxyx pixels of the original image, far edge exclusive; within an image
  the best comes first.
- ``scores`` [M] float32: on any scale; within an image they never rise.

A file whose name ends in .json is in COCO's results format, see ``proposals_json``.
"""

import dataclasses
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_frcnn.console import with_progress
from keras_frcnn.data import proposals_json
from keras_frcnn.data.dataset import MAX_OVERHANG, Record
from keras_frcnn.ops import boxes as box_ops

_PART_IMAGES = 200  # a minute or so with the slow methods
_MAX_BYTES = 16 * 2**30
# For each array NumPy's letters of the types that it may have, and its number of dimensions.
_ARRAYS = {"image_ids": ("iuU", 1), "counts": ("iu", 1), "boxes": ("f", 2), "scores": ("f", 1)}


@dataclasses.dataclass(frozen=True, eq=False)
class Proposals:
    """The proposals of many images, in columns.

    Attributes:
        image_ids: names or numbers of the images.
        splits: int64 [N + 1]; the proposals of image n are the rows from ``splits[n]`` up to, and
            without, ``splits[n + 1]``.
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
    """Writes a proposals file. It appears under its name only when it is complete.

    Args:
        path: the file; an existing one is replaced.
        proposals: for each image its id, boxes [P, 4] and scores [P], best first.

    Raises:
        ValueError: as ``read``; nothing is written then.
    """
    image_ids, boxes, scores = [*zip(*proposals, strict=True)] or [()] * 3
    content = {
        "image_ids": np.array(image_ids),
        "counts": np.array([len(some) for some in boxes], np.int64),
        "boxes": np.concatenate([np.zeros([0, 4], np.float32), *boxes]).astype(np.float32),
        "scores": np.concatenate([np.zeros(0, np.float32), *scores]).astype(np.float32),
    }
    _check(content, path)
    path = Path(path)
    unfinished = path.with_suffix(".writing")
    try:
        with unfinished.open("wb") as file:
            if _is_json(path):
                proposals_json.write(file, content)
            else:
                np.savez(file, **content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_in_parts(
    path: str | os.PathLike,
    records: Sequence[Record],
    propose: Callable[[Sequence[Record]], Iterable[tuple[str | int, np.ndarray, np.ndarray]]],
    settings: str,
) -> None:
    """Writes a proposals file that takes hours, so that a stopped call can be continued.

    Args:
        path: the file. Its finished parts are kept in a folder beside it until it is complete.
        records: the images.
        propose: returns, for some of the records and in their order, what ``write`` takes.
        settings: a text that states everything else that decides the proposals. A call with another
            text does not continue the parts.

    Raises:
        ValueError: as ``write``; or naming a folder with parts that other settings decided.
    """
    folder = Path(path).with_suffix(".parts")
    folder.mkdir(exist_ok=True)
    settings_file = folder / "settings.txt"
    if settings_file.exists() and settings_file.read_text(encoding="utf-8") != settings:
        raise ValueError(
            f"{folder} holds parts of a file that was begun with other settings or images. Repeat "
            "the flags of that time to finish it, or remove the folder"
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
    """Reads a proposals file, which may come from anywhere: nothing in it is executed.

    Raises:
        ValueError: naming the file, and the image whose boxes are not finite or end before they
            begin, or whose scores rise.
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
        limit: the largest number of proposals for an image.

    Returns:
        The proposals of exactly these records, in their order, clipped to the images.

    Raises:
        ValueError: as ``read``; or naming the file and an image that has no entry in it, or whose
            proposals leave the image.
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
            f"{path}: a proposal of image {record.image_id!r} leaves its height {record.height} "
            f"and width {record.width}: {boxes[row].tolist()} (yxyx)"
        )
    boxes = box_ops.clip(boxes[:, np.newaxis], shapes)[:, 0].numpy()
    return Proposals([r.image_id for r in records], splits, boxes, found.scores[taken])


def lookup(
    source: str, records: Sequence[Record], limit: int, rows: Iterable[int]
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Stores the proposals of records in flat tensors, for look-up in the graph.

    Args:
        source: a proposals file; or "rpn" or "dense", for which there is nothing to look up.
        records: the images.
        limit: the largest number of proposals for an image.
        rows: rows of the records that will be looked up.

    Returns:
        A function from a row of the records to "proposals" float32 [P, 4], yxyx pixels of the
        original image, and "proposal_scores" float32 [P], best first. P is the same for all images;
        boxes past the end have no area. For "rpn" and "dense" the function returns an empty dict.

    Raises:
        ValueError: as ``read_for``.
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
    """Checks the arrays of a file, and returns the splits that result from the counts."""
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
            f"{path}: expected one count for each image id, and as many boxes (with 4 numbers) and "
            f"scores as the counts add up to. Received shapes: {shapes}, counts of {total} in all"
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
        (is_rising, "does not have its best proposal first: scores must not rise"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            image_id = image_ids[np.searchsorted(splits, row, side="right") - 1].item()
            raise ValueError(
                f"{path}: image {image_id!r} {words}: {boxes[row].tolist()} "
                f"(yxyx), score {scores[row]:g}"
            )
    return splits
