"""Reader of annotations in COCO's form: COCO 2014, COCO 2017 and own data."""

import itertools
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_frcnn.config import DataSource
from keras_frcnn.data import coco_file, headers, records
from keras_frcnn.data.categories import join_categories
from keras_frcnn.data.coco_file import Problems
from keras_frcnn.data.records import Dataset, GroundTruth, Record


class _Place(NamedTuple):
    """One picture and where it comes from."""

    annotations: pathlib.Path
    path: pathlib.Path
    picture: coco_file.Picture


class _Found(NamedTuple):
    """What the files of some splits say.

    Attributes:
        places: the pictures.
        truth: the objects.
        ids: of the objects, for messages.
    """

    places: list[_Place]
    truth: GroundTruth
    ids: list

    def name(self, number: int) -> str:
        """Returns the words for one object in messages."""
        annotations = self.places[self.truth.rows[number]].annotations
        name = self.truth.class_names[self.truth.labels[number]]
        return f"{annotations}: annotation {self.ids[number]!r} ({name})"


def read(source: DataSource, splits: Sequence[str]) -> Dataset:
    """Reads annotated pictures in COCO's form.

    A split is, under ``source.data_dir``, one of

    - ``train2017``: the file ``annotations/instances_train2017.json`` (or ``annotations/
      train2017.json``) and the pictures of the folder ``train2017``, ``images/train2017`` or
      ``images``, whichever is there first;
    - ``labels/train.json``: that file, and the pictures of the first of the folders ``train``,
      ``images/train``, ``images`` or the file's own;
    - either of them, a colon and a folder: the pictures lie there, as in
      ``labels/train.json:photos``.

    - Image ids are those of the file. Where two splits share one, the split and a slash stand
      before all ids.
    - Classes are the categories, in the order of their ids, which the result keeps in
      ``truth.category_ids``.
    - A crowd region is one object with ``difficult`` set; its outline is not needed.
    - Boxes are clipped to the picture, silently by up to one pixel. A box without area is a
      problem, and so is a picture's file that an earlier image has.

    Args:
        source: its ``data_dir`` and ``on_bad_record``.
        splits: splits to join.

    Returns:
        The dataset. With ``on_bad_record="skip"`` unreadable pictures and objects are left out and
        impossible boxes dropped or clipped, each with a line in ``skipped``. ``truth`` has the
        boxes as written, also those without area: the figures are then those of any tool that
        reads the files.

    Raises:
        ValueError: naming the folder, split, file, or the image or annotation by its id.
    """
    problems: Problems = []
    found = _find(source, splits, problems, pictures=True)
    headers = list(records.read_files(_read_header, found.places))
    _refuse_repeats(found.places, headers)
    problems += [(header, "picture left out") for header in headers if isinstance(header, str)]
    readable = np.array([not isinstance(header, str) for header in headers], bool)
    objects = readable[found.truth.rows]
    boxes, usable = _boxes(found, headers, objects, problems)
    skipped = records.settle(problems, source.on_bad_record)
    if not readable.any():
        raise ValueError(
            f"{source.data_dir}: expected readable pictures in {', '.join(splits)}. Received:\n"
            + ("\n".join(skipped) or "none")
        )
    return Dataset(
        found.truth.class_names,
        _records(found, headers, boxes, usable),
        skipped,
        found.truth.select(readable, objects),
    )


def read_truth(source: DataSource, splits: Sequence[str]) -> Dataset:
    """Reads the annotations alone, for detections that are already there: no picture is needed.

    Args:
        source: as for ``read``.
        splits: likewise.

    Returns:
        A dataset without records, with the ``truth`` of all pictures.

    Raises:
        ValueError: as ``read``.
    """
    problems: Problems = []
    found = _find(source, splits, problems, pictures=False)
    skipped = records.settle(problems, source.on_bad_record)
    if not found.places:
        raise ValueError(f"{source.data_dir}: expected pictures in {', '.join(splits)}")
    return Dataset(found.truth.class_names, [], skipped, found.truth)


def _find(source: DataSource, splits: Sequence[str], problems: Problems, pictures: bool) -> _Found:
    """Reads and joins the annotation files of splits; adds single faults to ``problems``."""
    splits = tuple(dict.fromkeys(splits))
    if not splits:
        raise ValueError(f"{source.data_dir}: at least one split is needed. Received: none")
    located = [coco_file.locate(source.data_dir, split, pictures) for split in splits]
    files = [coco_file.read(path, problems, source.annotated) for path, _ in located]
    categories = join_categories((file.path, file.categories) for file in files)
    categories = dict(sorted(categories.items()))
    places, image_ids, rows = [], [], []
    for split, (path, folder), file in zip(splits, located, files, strict=True):
        rows.append(file.rows + len(places))
        places += [_Place(path, folder / picture.name, picture) for picture in file.pictures]
        image_ids += [(split, picture.image_id) for picture in file.pictures]
    unique = len({image_id for _, image_id in image_ids}) == len(image_ids)
    kinds = np.concatenate([file.category_ids for file in files])
    truth = GroundTruth(
        class_names=tuple(categories.values()),
        category_ids=tuple(categories),
        image_ids=tuple(i if unique else f"{split}/{i}" for split, i in image_ids),
        rows=np.concatenate(rows),
        labels=np.searchsorted(np.array(list(categories), np.int64), kinds),
        bboxes=np.concatenate([file.bboxes for file in files]),
        areas=np.concatenate([file.areas for file in files]),
        crowd=np.concatenate([file.crowd for file in files]),
    )
    return _Found(places, truth, list(itertools.chain.from_iterable(f.ids for f in files)))


def _read_header(place: _Place) -> tuple[int, int, int] | str:
    """Returns height, width and orientation of a picture, or what is wrong with it."""
    which = f"{place.annotations}: image {place.picture.image_id!r}"
    try:
        if not place.path.is_file():
            return f"{which}: the picture {place.path} is missing"
        height, width, orientation = headers.picture_header(place.path)
    except (ValueError, OSError) as error:  # OSError: a name that no file can have
        return f"{which}: {error}"
    written = place.picture.height, place.picture.width
    if any(size not in (None, true) for size, true in zip(written, (height, width), strict=True)):
        return (
            f"{which}: the picture {place.path} is {height} x {width} (height x width, upright by "
            f"its EXIF orientation). The annotation says: {written[0]} x {written[1]}"
        )
    return height, width, orientation


def _refuse_repeats(places: Sequence[_Place], headers: list) -> None:
    """Puts what is wrong in place of the header of a picture whose file an earlier one has."""
    first: dict[pathlib.Path, _Place] = {}
    for row, place in enumerate(places):
        other = first.setdefault(place.path, place)
        if other is not place:
            headers[row] = (
                f"{place.annotations}: image {place.picture.image_id!r}: the picture {place.path} "
                f"is that of image {other.picture.image_id!r} in {other.annotations} too"
            )


def _boxes(
    found: _Found, headers: Sequence, objects: np.ndarray, problems: Problems
) -> tuple[np.ndarray, np.ndarray]:
    """Converts the boxes of all objects at once.

    Args:
        found: the objects.
        headers: of each picture (height, width, orientation) or what is wrong with it.
        objects: bool [N], those in readable pictures.
        problems: what is wrong with boxes is added.

    Returns:
        float32 [N, 4] yxyx inside the pictures, and bool [N]: those that can be used.
    """
    sizes = [(0, 0) if isinstance(header, str) else header[:2] for header in headers]
    sizes = np.array(sizes, np.float64).reshape(-1, 2)[found.truth.rows]
    width, height = found.truth.bboxes[:, 2:].T
    inside, overhang, outside = to_boxes(found.truth.bboxes, sizes)
    for place in np.flatnonzero(objects & (overhang | outside)):
        words = "leaves the picture of height {:g}, width {:g}".format(*sizes[place])
        if min(width[place], height[place]) <= 0 or not overhang[place]:
            words = "has no area in the picture"
        written = "x={:g} y={:g} width={:g} height={:g}".format(*found.truth.bboxes[place])
        remedy = "object dropped" if outside[place] else "box clipped"
        problems.append((f"{found.name(place)}: box {words} ({written})", remedy))
    return inside, objects & ~outside


def to_boxes(bboxes: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Converts COCO's boxes to those of records.

    Args:
        bboxes: float64 [N, 4]: x, y, width, height, finite.
        sizes: [N, 2], height and width of each one's picture.

    Returns:
        ``(boxes, overhang, outside)``: float32 [N, 4] yxyx clipped to the pictures; bool [N], those
        that left theirs by more than ``records.MAX_OVERHANG``; bool [N], those without area there.
    """
    x, y, width, height = bboxes.T
    boxes = np.stack([y, x, y + height, x + width], axis=1)
    inside = np.clip(boxes, 0, np.tile(sizes, 2))
    overhang = np.abs(boxes - inside).max(axis=1, initial=0) > records.MAX_OVERHANG
    inside = inside.astype(np.float32)
    return inside, overhang, np.any(inside[:, :2] >= inside[:, 2:], axis=1)


def _records(
    found: _Found, headers: Sequence, boxes: np.ndarray, usable: np.ndarray
) -> list[Record]:
    """Makes a record of every readable picture; their arrays share the memory of the columns."""
    truth = found.truth
    order = np.flatnonzero(usable)
    order = order[np.argsort(truth.rows[order], kind="stable")]
    splits = np.searchsorted(truth.rows[order], np.arange(len(headers) + 1))
    boxes, labels, crowd = boxes[order], truth.labels[order].astype(np.int32), truth.crowd[order]
    return [
        Record(
            image_id=image_id,
            path=str(place.path),
            height=header[0],
            width=header[1],
            boxes=boxes[start:end],
            labels=labels[start:end],
            difficult=crowd[start:end],
            orientation=header[2],
            form="coco",
        )
        for image_id, place, header, start, end in zip(
            truth.image_ids, found.places, headers, splits[:-1], splits[1:], strict=True
        )
        if not isinstance(header, str)
    ]
