"""Reader of annotations in COCO's form: COCO 2014, COCO 2017 and own data."""

import itertools
import pathlib
import reprlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_frcnn.config import Config
from keras_frcnn.data import coco_file, records, voc
from keras_frcnn.data.coco_file import Problems
from keras_frcnn.data.records import Dataset, GroundTruth, Record


class _Source(NamedTuple):
    """One picture and where it comes from."""

    annotations: pathlib.Path
    path: pathlib.Path
    picture: coco_file.Picture


class _Found(NamedTuple):
    """What the files of some splits say.

    Attributes:
        sources: the pictures.
        truth: the objects; those of an unknown class have label -1.
        ids: of the objects, for messages.
        categories: names of the objects' categories, likewise.
    """

    sources: list[_Source]
    truth: GroundTruth
    ids: list
    categories: list[str]

    def name(self, place: int) -> str:
        """Returns the words for one object in messages."""
        annotations = self.sources[self.truth.rows[place]].annotations
        return f"{annotations}: annotation {self.ids[place]!r} ({self.categories[place]})"


def read(
    config: Config, splits: Sequence[str], class_names: Sequence[str] | None = None
) -> Dataset:
    """Reads annotated pictures in COCO's form.

    A split is, under ``config.data_dir``, one of

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
      ``truth.category_ids``; the names in ``class_names`` or in the lines of
      ``config.classes_file`` choose and order them. One that the files lack gets a number above
      theirs.
    - A crowd region is one object with ``difficult`` set; its outline is not needed.
    - Boxes are clipped to the picture, silently by up to one pixel. A box without area is a
      problem.

    Args:
        config: settings ``data_dir``, ``classes_file`` and ``on_bad_record``.
        splits: splits to join.
        class_names: classes, in the order of their labels.

    Returns:
        The dataset. With ``on_bad_record="skip"`` unreadable pictures and objects are left out,
        impossible boxes dropped or clipped and unknown classes dropped, each with a line in
        ``skipped``. ``truth`` has the boxes as written, also those without area: the figures are
        then those of any tool that reads the files.

    Raises:
        ValueError: naming the folder, split, file, or the image or annotation by its id.
    """
    problems: Problems = []
    found = _find(config, splits, class_names, problems, pictures=True)
    headers = list(records.read_files(_read_header, found.sources))
    problems += [(header, "picture left out") for header in headers if isinstance(header, str)]
    readable = np.array([not isinstance(header, str) for header in headers], bool)
    objects = readable[found.truth.rows] & (found.truth.labels >= 0)
    boxes, usable = _boxes(found, headers, objects, problems)
    skipped = records.settle(problems, config.on_bad_record)
    if not readable.any():
        raise ValueError(
            f"{config.data_dir}: expected readable pictures in {', '.join(splits)}. Received:\n"
            + ("\n".join(skipped) or "none")
        )
    return Dataset(
        found.truth.class_names,
        _records(found, headers, boxes, usable),
        skipped,
        found.truth.select(readable, objects),
    )


def read_truth(
    config: Config, splits: Sequence[str], class_names: Sequence[str] | None = None
) -> tuple[GroundTruth, list[str]]:
    """Reads the annotations alone, for detections that are already there: no picture is needed.

    Args:
        config: as for ``read``.
        splits: likewise.
        class_names: likewise.

    Returns:
        What detections are compared with, and what was skipped.

    Raises:
        ValueError: as ``read``.
    """
    problems: Problems = []
    found = _find(config, splits, class_names, problems, pictures=False)
    skipped = records.settle(problems, config.on_bad_record)
    if not found.sources:
        raise ValueError(f"{config.data_dir}: expected pictures in {', '.join(splits)}")
    pictures = np.ones(len(found.sources), bool)
    return found.truth.select(pictures, found.truth.labels >= 0), skipped


def _find(
    config: Config,
    splits: Sequence[str],
    class_names: Sequence[str] | None,
    problems: Problems,
    pictures: bool,
) -> _Found:
    """Reads and joins the annotation files of splits; adds single faults to ``problems``."""
    splits = tuple(dict.fromkeys(splits))
    if not splits:
        raise ValueError(f"{config.data_dir}: at least one split is needed. Received: none")
    places = [coco_file.locate(config.data_dir, split, pictures) for split in splits]
    files = [coco_file.read(path, problems) for path, _ in places]
    categories = _join_categories(files)
    if class_names is not None or config.classes_file:
        names = voc.choose_class_names(class_names, config.classes_file, set(), set())
    else:
        names = tuple(categories.values())
    numbers = np.array(list(categories), np.int64)
    label_of = {name: label for label, name in enumerate(names)}
    labels = np.array([label_of.get(name, -1) for name in categories.values()], np.int64)

    sources, image_ids, rows = [], [], []
    for split, (path, folder), file in zip(splits, places, files, strict=True):
        rows.append(file.rows + len(sources))
        sources += [_Source(path, folder / picture.name, picture) for picture in file.pictures]
        image_ids += [(split, picture.image_id) for picture in file.pictures]
    unique = len({image_id for _, image_id in image_ids}) == len(image_ids)
    kinds = np.concatenate([file.category_ids for file in files])
    truth = GroundTruth(
        class_names=names,
        category_ids=_category_ids(names, categories),
        image_ids=tuple(i if unique else f"{split}/{i}" for split, i in image_ids),
        rows=np.concatenate(rows),
        labels=labels[np.searchsorted(numbers, kinds)],
        bboxes=np.concatenate([file.bboxes for file in files]),
        areas=np.concatenate([file.areas for file in files]),
        crowd=np.concatenate([file.crowd for file in files]),
    )
    ids = list(itertools.chain.from_iterable(file.ids for file in files))
    found = _Found(sources, truth, ids, [categories[kind] for kind in kinds.tolist()])
    unknown = truth.labels < 0
    for kind, place, count in zip(
        *np.unique(kinds[unknown], return_index=True, return_counts=True), strict=True
    ):
        first = found.name(np.flatnonzero(unknown)[place])
        more = f" and {count - 1} more" if count > 1 else ""
        what = f"{first}{more}: category {kind} is an unknown class; known are {', '.join(names)}"
        problems.append((what, "object dropped"))
    return found


def _join_categories(files: Sequence[coco_file.AnnotationFile]) -> dict[int, str]:
    """Returns the categories of all files, in the order of their ids."""
    joined: dict[int, str] = {}
    for file in files:
        differ = any(joined.get(key, name) != name for key, name in file.categories.items())
        joined |= file.categories
        if differ or len(set(joined.values())) < len(joined):
            raise ValueError(
                f"{file.path}: expected the same category ids and names as in the other splits. "
                f"Received: {reprlib.repr(file.categories)}"
            )
    return dict(sorted(joined.items()))


def _category_ids(names: Sequence[str], categories: dict[int, str]) -> tuple[int, ...]:
    """Returns each class's number: the category's, or one that no category has."""
    number_of = {name: number for number, name in categories.items()}
    missing = [name for name in names if name not in number_of]
    first = max(0, *categories) + 1
    return tuple(number_of[n] if n in number_of else first + missing.index(n) for n in names)


def _read_header(source: _Source) -> tuple[int, int, int] | str:
    """Returns height, width and orientation of a picture, or what is wrong with it."""
    which = f"{source.annotations}: image {source.picture.image_id!r}"
    try:
        if not source.path.is_file():
            return f"{which}: the picture {source.path} is missing"
        height, width, orientation = records.picture_header(source.path)
    except (ValueError, OSError) as error:  # OSError: a name that no file can have
        return f"{which}: {error}"
    written = source.picture.height, source.picture.width
    if any(size not in (None, true) for size, true in zip(written, (height, width), strict=True)):
        return (
            f"{which}: the picture {source.path} is {height} x {width} (height x width, upright by "
            f"its EXIF orientation). The annotation says: {written[0]} x {written[1]}"
        )
    return height, width, orientation


def _boxes(
    found: _Found, headers: Sequence, objects: np.ndarray, problems: Problems
) -> tuple[np.ndarray, np.ndarray]:
    """Converts the boxes of all objects at once.

    Args:
        found: the objects.
        headers: of each picture (height, width, orientation) or what is wrong with it.
        objects: bool [N], objects of known classes in readable pictures.
        problems: what is wrong with boxes is added.

    Returns:
        float32 [N, 4] yxyx inside the pictures, and bool [N]: those that can be used.
    """
    sizes = [(0, 0) if isinstance(header, str) else header[:2] for header in headers]
    sizes = np.array(sizes, np.float64).reshape(-1, 2)[found.truth.rows]
    x, y, width, height = found.truth.bboxes.T
    boxes = np.stack([y, x, y + height, x + width], axis=1)
    inside = np.clip(boxes, 0, np.tile(sizes, 2))
    overhang = np.abs(boxes - inside).max(axis=1, initial=0) > records.MAX_OVERHANG
    inside = inside.astype(np.float32)
    outside = np.any(inside[:, :2] >= inside[:, 2:], axis=1)
    for place in np.flatnonzero(objects & (overhang | outside)):
        words = "leaves the picture of height {:g}, width {:g}".format(*sizes[place])
        if min(width[place], height[place]) <= 0 or not overhang[place]:
            words = "has no area in the picture"
        written = "x={:g} y={:g} width={:g} height={:g}".format(*found.truth.bboxes[place])
        remedy = "object dropped" if outside[place] else "box clipped"
        problems.append((f"{found.name(place)}: box {words} ({written})", remedy))
    return inside, objects & ~outside


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
            path=str(source.path),
            height=header[0],
            width=header[1],
            boxes=boxes[start:end],
            labels=labels[start:end],
            difficult=crowd[start:end],
            orientation=header[2],
        )
        for image_id, source, header, start, end in zip(
            truth.image_ids, found.sources, headers, splits[:-1], splits[1:], strict=True
        )
        if not isinstance(header, str)
    ]
