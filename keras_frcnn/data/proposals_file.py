"""Proposals files: regions found beforehand, for the second stage to learn from or to classify.

A file is an NPZ archive (``numpy.savez``) of four arrays, one image after the other:

- ``image_ids`` [N]: text or whole numbers, as the records have them.
- ``counts`` [N] whole numbers: proposals of each image.
- ``boxes`` [M, 4] float32: yxyx pixels of the original image, far edge exclusive, the best of
  each image first.
- ``scores`` [M] float32: falling within an image; on any scale, or all equal.

A file whose name ends in .json is read and written as ``proposals_json`` says.
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

_PART = 200  # images: a minute or so of the slow methods
_MAX_BYTES = 16 * 2**30
_FORMS = {"image_ids": ("iuU", 1), "counts": ("iu", 1), "boxes": ("f", 2), "scores": ("f", 1)}


@dataclasses.dataclass(frozen=True, eq=False)
class Proposals:
    """Proposals of many images as columns.

    Attributes:
        image_ids: names or numbers of the images.
        splits: int64 [N + 1]; the proposals of image n are rows ``splits[n]`` to ``splits[n +
            1]``.
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
    """Writes a proposals file, which is whole at any moment: until it is complete there is none.

    Args:
        path: of the file; an older one is replaced.
        proposals: for each image its id, boxes [P, 4] and scores [P], best first.

    Raises:
        ValueError: as ``read``; then nothing is written.
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
    decided_by: str,
) -> None:
    """Writes a proposals file over hours: a stopped call goes on where it was.

    Args:
        path: of the file. The parts lie beside it until it is whole.
        records: the images.
        propose: gives, for some of them and in their order, what ``write`` takes.
        decided_by: what else decides the proposals, as text: parts of others are not gone on with.

    Raises:
        ValueError: as ``write``; or naming a folder of parts that were decided by something else.
    """
    folder = Path(path).with_suffix(".parts")
    folder.mkdir(exist_ok=True)
    settings = folder / "settings.txt"
    if settings.exists() and settings.read_text(encoding="utf-8") != decided_by:
        raise ValueError(
            f"{folder} holds parts of a file that other settings or images decide. Give the "
            "flags of then to finish it, or remove the folder"
        )
    settings.write_text(decided_by, encoding="utf-8")
    counter = iter(with_progress(records, "Proposing", len(records)))

    def counted(rows):
        for row, _ in zip(rows, counter, strict=False):
            yield row

    parts = []
    for start in range(0, len(records), _PART):
        some = records[start : start + _PART]
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
    """Reads a proposals file, from whatever source: nothing in it is executed.

    Raises:
        ValueError: naming the file, and the image if one is at fault: boxes that are not finite,
            that end before they begin, or scores that do not fall.
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
            size = sum(part.file_size for part in archive.infolist())
        if size > _MAX_BYTES:
            raise ValueError(f"it holds {size} bytes, more than {_MAX_BYTES} are refused")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in _FORMS}
    except Exception as error:  # zipfile, zlib and NumPy raise nearly anything on damaged files
        raise ValueError(f"{path} is not a proposals file: {error}") from error


def read_for(path: str | os.PathLike, records: Sequence[Record], limit: int) -> Proposals:
    """Reads the best proposals of some records.

    Args:
        path: a proposals file; it may hold other images too.
        records: the images.
        limit: proposals an image, at most.

    Returns:
        Proposals of exactly the records, in their order, clipped to their images.

    Raises:
        ValueError: as ``read``; or naming file and image where one has no entry, or a box that
            leaves it.
    """
    found = read(path)
    places = {image_id: place for place, image_id in enumerate(found.image_ids)}
    missing = [record.image_id for record in records if record.image_id not in places]
    if missing:
        raise ValueError(
            f"{path} has no proposals of {len(missing)} of {len(records)} images; the first is "
            f"{missing[0]!r}"
        )
    rows = np.array([places[record.image_id] for record in records], np.int64)
    counts = np.minimum(found.splits[rows + 1] - found.splits[rows], limit)
    splits = np.concatenate([[0], np.cumsum(counts)])
    within = np.arange(splits[-1]) - np.repeat(splits[:-1], counts)
    taken = np.repeat(found.splits[rows], counts) + within
    boxes = found.boxes[taken]

    sizes = np.array([[r.height, r.width] * 2 for r in records], np.float32).reshape(-1, 4)
    sizes = np.repeat(sizes, counts, axis=0)
    outside = np.any((boxes < -MAX_OVERHANG) | (boxes > sizes + MAX_OVERHANG), axis=1)
    if outside.any():
        row = int(np.argmax(outside))
        record = records[np.searchsorted(splits, row, side="right") - 1]
        raise ValueError(
            f"{path}: a proposal of image {record.image_id!r} leaves its height {record.height} "
            f"and width {record.width}: {boxes[row].tolist()} (yxyx)"
        )
    boxes = np.clip(boxes, 0, sizes)
    return Proposals([r.image_id for r in records], splits, boxes, found.scores[taken])


def lookup(
    source: str, records: Sequence[Record], limit: int, wanted: Iterable[int]
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Lays the proposals of all records out for look-up in the graph.

    Args:
        source: a proposals file; or "rpn" or "dense": there are none to look up.
        records: the images.
        limit: proposals an image, at most.
        wanted: rows of the records that will be looked up.

    Returns:
        A function from a row of the records to "proposals" float32 [P, 4], yxyx pixels of the
        original image, and "proposal_scores" float32 [P], best first; P is the same for all
        images, boxes past the end have no area. For "rpn" and "dense" it returns an empty dict.

    Raises:
        ValueError: as ``read_for``.
    """
    if source in ("rpn", "dense"):
        return lambda row: {}
    wanted = sorted(wanted)
    found = read_for(source, [records[row] for row in wanted], limit)
    counts = np.zeros(len(records), np.int64)
    counts[wanted] = np.diff(found.splits)
    longest = int(counts.max(initial=1))
    columns = {"proposals": tf.constant(found.boxes), "proposal_scores": tf.constant(found.scores)}
    splits = tf.constant(np.concatenate([[0], np.cumsum(counts)]))

    def padded(values, row):
        own = values[splits[row] : splits[row + 1]]
        rows = [0, longest - tf.shape(own)[0]]
        own = tf.pad(own, [rows] + [[0, 0]] * (own.shape.rank - 1))
        return tf.ensure_shape(own, [longest, *own.shape[1:]])

    return lambda row: {name: padded(values, row) for name, values in columns.items()}


def _check(content, path):
    """Checks the arrays of a file; returns the splits that the counts make."""
    for name, (kinds, rank) in _FORMS.items():
        array = content[name]
        if array.dtype.kind not in kinds or array.ndim != rank:
            raise ValueError(
                f"{path}: {name} must be of {rank} dimension(s) and of kind {kinds}. "
                f"Received: {array.dtype} of shape {array.shape}"
            )
    image_ids, counts, boxes, scores = (content[name] for name in _FORMS)
    shapes = [array.shape for array in (image_ids, counts, boxes, scores)]
    total = int(counts.sum(dtype=np.float64)) if (counts >= 0).all() else -1
    if shapes != [(len(image_ids),)] * 2 + [(total, 4), (total,)]:
        raise ValueError(
            f"{path}: as many counts as image_ids are expected, and as many boxes (of 4) and "
            f"scores as the counts add up to. Received shapes: {shapes}, counts of {total}"
        )
    unique, times = np.unique(image_ids, return_counts=True)
    if len(unique) < len(image_ids):
        twice = unique[np.argmax(times)].item()
        raise ValueError(f"{path}: image {twice!r} is in it {times.max()} times")
    splits = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    is_bad = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    is_rising = np.diff(scores, prepend=np.inf) > 0
    is_rising[splits[:-1][counts > 0]] = False
    for wrong, words in (
        (is_bad, "has a box that is not finite or ends before it begins"),
        (~np.isfinite(scores), "has a score that is not finite"),
        (is_rising, "does not have its best proposal first: scores must fall"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            place = np.searchsorted(splits, row, side="right") - 1
            raise ValueError(
                f"{path}: image {image_ids[place].item()!r} {words}: {boxes[row].tolist()} "
                f"(yxyx), score {scores[row]:g}"
            )
    return splits
