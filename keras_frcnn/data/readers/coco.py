"""Reader of annotations in COCO's form: COCO 2014, COCO 2017 and own data."""

import itertools
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_frcnn.config import DataSource
from keras_frcnn.data import dataset
from keras_frcnn.data.dataset import Dataset, GroundTruth, Record
from keras_frcnn.data.images import headers
from keras_frcnn.data.readers import coco_json
from keras_frcnn.data.readers.categories import join_categories
from keras_frcnn.data.readers.coco_json import Problems


class _Place(NamedTuple):
    """One image and where it comes from."""

    annotations: pathlib.Path
    path: pathlib.Path
    image: coco_json.Image


class _Found(NamedTuple):
    """What the files of some splits say.

    Attributes:
        places: the images.
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
    """Reads annotated images in COCO's form.

    A split is, under ``source.data_dir``, one of

    - ``train2017``: the file ``annotations/instances_train2017.json`` (or ``annotations/
      train2017.json``) and the images of the folder ``train2017``, ``images/train2017`` or
      ``images``, whichever is there first;
    - ``labels/train.json``: that file, and the images of the first of the folders ``train``,
      ``images/train``, ``images`` or the file's own;
    - either of them, a colon and a folder: the images lie there, as in
      ``labels/train.json:photos``.

    - Image ids are those of the file. Where two splits share one, the split and a slash stand
      before all ids.
    - Classes are the categories, in the order of their ids, which the result keeps in
      ``truth.category_ids``.
    - A crowd region is one object with ``difficult`` set; its outline is not needed.
    - Boxes are clipped to the image, silently by up to one pixel. A box without area is a
      problem, and so is an image's file that an earlier image has.

    Args:
        source: its ``data_dir`` and ``on_bad_record``.
        splits: splits to join.

    Returns:
        The dataset. With ``on_bad_record="skip"`` unreadable images and objects are left out and
        impossible boxes dropped or clipped, each with a line in ``skipped``. ``truth`` has the
        boxes as written, also those without area: the figures are then those of any tool that
        reads the files.

    Raises:
        ValueError: naming the folder, split, file, or the image or annotation by its id.
    """
    problems: Problems = []
    found = _find(source, splits, problems, images=True)
    headers = list(dataset.read_files(_read_header, found.places))
    _refuse_repeats(found.places, headers)
    problems += [(header, "image left out") for header in headers if isinstance(header, str)]
    readable = np.array([not isinstance(header, str) for header in headers], bool)
    objects = readable[found.truth.rows]
    boxes, usable = _boxes(found, headers, objects, problems)
    skipped = dataset.settle(problems, source.on_bad_record)
    if not readable.any():
        raise ValueError(
            f"{source.data_dir}: expected readable images in {', '.join(splits)}. Received:\n"
            + ("\n".join(skipped) or "none")
        )
    return Dataset(
        found.truth.class_names,
        _records(found, headers, boxes, usable),
        skipped,
        found.truth.select(readable, objects),
    )


def read_truth(source: DataSource, splits: Sequence[str]) -> Dataset:
    """Reads the annotations alone, for detections that are already there: no image is needed.

    Args:
        source: as for ``read``.
        splits: likewise.

    Returns:
        A dataset without records, with the ``truth`` of all images.

    Raises:
        ValueError: as ``read``.
    """
    problems: Problems = []
    found = _find(source, splits, problems, images=False)
    skipped = dataset.settle(problems, source.on_bad_record)
    if not found.places:
        raise ValueError(f"{source.data_dir}: expected images in {', '.join(splits)}")
    return Dataset(found.truth.class_names, [], skipped, found.truth)


def _find(source: DataSource, splits: Sequence[str], problems: Problems, images: bool) -> _Found:
    """Reads and joins the annotation files of splits; adds single faults to ``problems``."""
    splits = tuple(dict.fromkeys(splits))
    if not splits:
        raise ValueError(f"{source.data_dir}: at least one split is needed. Received: none")
    located = [coco_json.locate(source.data_dir, split, images) for split in splits]
    files = [coco_json.read(path, problems, source.annotated) for path, _ in located]
    categories = join_categories((file.path, file.categories) for file in files)
    categories = dict(sorted(categories.items()))
    places, image_ids, rows = [], [], []
    for split, (path, folder), file in zip(splits, located, files, strict=True):
        rows.append(file.rows + len(places))
        places += [_Place(path, folder / image.name, image) for image in file.images]
        image_ids += [(split, image.image_id) for image in file.images]
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
    """Returns height, width and orientation of an image, or what is wrong with it."""
    which = f"{place.annotations}: image {place.image.image_id!r}"
    try:
        if not place.path.is_file():
            return f"{which}: the image {place.path} is missing"
        height, width, orientation = headers.image_header(place.path)
    except (ValueError, OSError) as error:  # OSError: a name that no file can have
        return f"{which}: {error}"
    written = place.image.height, place.image.width
    if any(size not in (None, true) for size, true in zip(written, (height, width), strict=True)):
        return (
            f"{which}: the image {place.path} is {height} x {width} (height x width, upright by "
            f"its EXIF orientation). The annotation says: {written[0]} x {written[1]}"
        )
    return height, width, orientation


def _refuse_repeats(places: Sequence[_Place], headers: list) -> None:
    """Puts what is wrong in place of the header of an image whose file an earlier one has."""
    first: dict[pathlib.Path, _Place] = {}
    for row, place in enumerate(places):
        other = first.setdefault(place.path, place)
        if other is not place:
            headers[row] = (
                f"{place.annotations}: image {place.image.image_id!r}: the image {place.path} "
                f"is that of image {other.image.image_id!r} in {other.annotations} too"
            )


def _boxes(
    found: _Found, headers: Sequence, objects: np.ndarray, problems: Problems
) -> tuple[np.ndarray, np.ndarray]:
    """Converts the boxes of all objects at once.

    Args:
        found: the objects.
        headers: of each image (height, width, orientation) or what is wrong with it.
        objects: bool [N], those in readable images.
        problems: what is wrong with boxes is added.

    Returns:
        float32 [N, 4] yxyx inside the images, and bool [N]: those that can be used.
    """
    sizes = [(0, 0) if isinstance(header, str) else header[:2] for header in headers]
    sizes = np.array(sizes, np.float64).reshape(-1, 2)[found.truth.rows]
    width, height = found.truth.bboxes[:, 2:].T
    inside, overhang, outside = to_boxes(found.truth.bboxes, sizes)
    for place in np.flatnonzero(objects & (overhang | outside)):
        words = "leaves the image of height {:g}, width {:g}".format(*sizes[place])
        if min(width[place], height[place]) <= 0 or not overhang[place]:
            words = "has no area in the image"
        written = "x={:g} y={:g} width={:g} height={:g}".format(*found.truth.bboxes[place])
        remedy = "object dropped" if outside[place] else "box clipped"
        problems.append((f"{found.name(place)}: box {words} ({written})", remedy))
    return inside, objects & ~outside


def to_boxes(bboxes: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Converts COCO's boxes to those of records.

    Args:
        bboxes: float64 [N, 4]: x, y, width, height, finite.
        sizes: [N, 2], height and width of each one's image.

    Returns:
        ``(boxes, overhang, outside)``: float32 [N, 4] yxyx clipped to the images; bool [N], those
        that left theirs by more than ``records.MAX_OVERHANG``; bool [N], those without area there.
    """
    x, y, width, height = bboxes.T
    boxes = np.stack([y, x, y + height, x + width], axis=1)
    inside = np.clip(boxes, 0, np.tile(sizes, 2))
    overhang = np.abs(boxes - inside).max(axis=1, initial=0) > dataset.MAX_OVERHANG
    inside = inside.astype(np.float32)
    return inside, overhang, np.any(inside[:, :2] >= inside[:, 2:], axis=1)


def _records(
    found: _Found, headers: Sequence, boxes: np.ndarray, usable: np.ndarray
) -> list[Record]:
    """Makes a record of every readable image; their arrays share the memory of the columns."""
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
