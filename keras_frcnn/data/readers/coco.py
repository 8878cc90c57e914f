"""Reads annotations in COCO's format: COCO 2014, COCO 2017 and other data.

``coco_json`` reads one file.
"""

import itertools
import math
import pathlib
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_frcnn.config import DataSource
from keras_frcnn.data.categories import join_categories
from keras_frcnn.data.dataset import (
    MAX_OVERHANG,
    GroundTruth,
    Reading,
    Record,
    fit_box,
    map_in_threads,
)
from keras_frcnn.data.paths import data_folder, error_message
from keras_frcnn.data.problems import Problem, ProblemKind, Remedy, invalid, unknown_split
from keras_frcnn.data.readers import coco_json
from keras_frcnn.data.readers.annotated import Header, read_header

_PREFIX = "instances_"


class _ListedImage(NamedTuple):
    """One image and the file that lists it."""

    annotations: pathlib.Path
    path: pathlib.Path
    entry: coco_json.Image

    def problem(self, kind: ProblemKind, message: str, **fields: str) -> Problem:
        """Returns a problem of the whole image."""
        return Problem(
            kind=kind,
            message=message,
            file=str(self.annotations),
            object=f"image {self.entry.image_id!r}",
            remedy=Remedy.LEAVE_OUT,
            **fields,
        )


class _Annotations(NamedTuple):
    """The content of the files of several splits.

    Attributes:
        images: the images.
        truth: the objects.
        ids: the ids of the objects, for messages.
    """

    images: list[_ListedImage]
    truth: GroundTruth
    ids: list


def available_splits(data_dir: str) -> list[str]:
    """Lists the valid splits of a data folder in COCO's layout."""
    root = pathlib.Path(data_dir)
    stems = sorted(path.stem for path in root.glob("annotations/*.json"))
    instances = [stem.removeprefix(_PREFIX) for stem in stems if stem.startswith(_PREFIX)]
    return instances or stems or sorted(path.name for path in root.glob("*.json"))


def read(source: DataSource) -> Reading:
    """Reads annotated images in COCO's format.

    A split is, under ``source.data_dir``, one of

    - ``train2017``: the file ``annotations/instances_train2017.json`` (or ``annotations/
      train2017.json``), with the images in the first of the folders ``train2017``,
      ``images/train2017`` and ``images`` that exists;
    - ``labels/train.json``: this file, with the images in the first of the folders ``train``,
      ``images/train``, ``images`` and the file's own that exists;
    - either of these, followed by a colon and the folder of the images, as in
      ``labels/train.json:photos``.

    Details:

    - The name of an image is relative to the folder of images or to the annotation file. Folders in
      it that do not exist are left out, as those of Label Studio's server.
    - Image ids are those of the file. If two splits share an id, all ids are prefixed with their
      split and a slash.
    - The classes are the categories in the order of their ids, which are kept in
      ``truth.category_ids``.
    - A crowd region is an object with ``difficult`` set; its outline is not needed.
    - Boxes are clipped to the image, silently by up to one pixel. A box without area is a problem,
      and so is an image with the same file as an earlier one.

    Args:
        source: the source to read.

    Returns:
        All images with their problems. ``truth`` has the unchanged boxes, including boxes without
        area, so that figures equal those of other tools.

    Raises:
        DataError: If a folder, a split or a file cannot be read. The error names it.
    """
    problems: list[Problem] = []
    found = _read_annotations(source, problems, images=True)
    headers = list(map_in_threads(_read_header, found.images))
    image_problems = [[problem] if problem else [] for _, problem in headers]
    for row, problem in _repeats(found.images):
        image_problems[row] = [problem]
    sizes = np.array(
        [
            header[:2] if header else (image.entry.height or 0, image.entry.width or 0)
            for image, (header, _) in zip(found.images, headers, strict=True)
        ],
        np.float64,
    ).reshape(-1, 2)
    boxes, usable, faults = _boxes(found, np.where(sizes > 0, sizes, math.inf))
    for row, faults_of_image in faults.items():
        image_problems[row] += faults_of_image
    orientations = [header[2] if header else 1 for header, _ in headers]
    return Reading(
        found.truth.class_names,
        _records(found, sizes.astype(int).tolist(), orientations, image_problems, boxes, usable),
        problems,
        found.truth,
    )


def read_truth(source: DataSource) -> Reading:
    """Reads only the annotations, to evaluate existing detections.

    Args:
        source: see ``read``.

    Returns:
        A reading without records, but with the ``truth`` of all images.

    Raises:
        DataError: See ``read``.
    """
    problems: list[Problem] = []
    truth = _read_annotations(source, problems, images=False).truth
    return Reading(truth.class_names, [], problems, truth)


def _read_annotations(source: DataSource, problems: list[Problem], images: bool) -> _Annotations:
    """Reads and joins the annotation files of splits."""
    splits = tuple(dict.fromkeys(source.splits))
    if not splits:
        raise invalid("at least one split", "none", source.data_dir)
    located = [_locate(source.data_dir, split, images) for split in splits]
    files = [coco_json.read(*paths, problems, source.annotated) for paths in located]
    categories = join_categories((file.path, file.categories) for file in files)
    categories = dict(sorted(categories.items()))
    listed, image_ids, rows = [], [], []
    for split, file in zip(splits, files, strict=True):
        rows.append(file.rows + len(listed))
        listed += [_ListedImage(file.path, image.path, image) for image in file.images]
        image_ids += [(split, image.image_id) for image in file.images]
    unique = len({image_id for _, image_id in image_ids}) == len(image_ids)
    numbers = np.concatenate([file.category_ids for file in files])
    truth = GroundTruth(
        class_names=tuple(categories.values()),
        category_ids=tuple(categories),
        image_ids=tuple(i if unique else f"{split}/{i}" for split, i in image_ids),
        rows=np.concatenate(rows),
        labels=np.searchsorted(np.array(list(categories), np.int64), numbers),
        bboxes=np.concatenate([file.bboxes for file in files]),
        areas=np.concatenate([file.areas for file in files]),
        crowd=np.concatenate([file.crowd for file in files]),
    )
    return _Annotations(listed, truth, list(itertools.chain.from_iterable(f.ids for f in files)))


def _locate(data_dir: str, split: str, images: bool) -> tuple[pathlib.Path, pathlib.Path]:
    """Finds the files of a split.

    Args:
        data_dir: the setting of this name.
        split: a split as described in ``read``.
        images: whether the folder of the images must exist.

    Returns:
        Its annotation file and the folder of its images.

    Raises:
        DataError: If the file or the folder is missing. The error also lists the known splits.
    """
    root = data_folder(data_dir)
    name, _, folder = split.partition(":")
    files = [root / "annotations" / f"{prefix}{name}.json" for prefix in (_PREFIX, "")]
    if name.endswith(".json"):  # in the data folder, or seen from the present one
        files = [root / name, pathlib.Path(name).absolute()]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        more = "the path of a .json file"
        raise unknown_split(split, available_splits(data_dir), data_dir, more)
    stem = path.stem.removeprefix(_PREFIX)
    folders = [root / stem, root / "images" / stem, root / "images"]
    folders += [path.parent] if name.endswith(".json") else []
    folders = [root / folder] if folder else folders
    found = [candidate for candidate in folders if candidate.is_dir()]
    if images and not found:
        expected = f"the images of {name} in {' or '.join(map(str, folders))}"
        hint = f"another folder can be given after a colon, as in {name}:FOLDER"
        raise invalid(expected, "none", data_dir, message=f"expected {expected}; {hint}")
    return path, [*found, root][0]


def _read_header(image: _ListedImage) -> tuple[Header | None, Problem | None]:
    """Returns the header of an image, or None, and the problem with the image, or None."""
    missing = ProblemKind.MISSING_IMAGE
    try:
        if not image.path.is_file():
            return None, image.problem(missing, f"the image {image.path} is missing")
    except (OSError, ValueError) as error:  # a name that no file can have
        return None, image.problem(missing, error_message(error))
    header, problem = read_header(image.path)
    if header is None:
        return None, image.problem(problem.kind, f"{image.path}: {problem.text}")
    written = image.entry.height, image.entry.width
    if all(size in (None, true) for size, true in zip(written, header[:2], strict=True)):
        return header, None
    expected, received = f"{header[0]} x {header[1]}", f"{written[0]} x {written[1]}"
    message = (
        f"the image {image.path} is {expected} (height x width, upright by its EXIF orientation). "
        f"The annotation says: {received}"
    )
    kind = ProblemKind.SIZE_MISMATCH
    return header, image.problem(kind, message, expected=expected, received=received)


def _repeats(images: Sequence[_ListedImage]) -> list[tuple[int, Problem]]:
    """Returns the rows of images with the same file as an earlier image, each with its problem."""
    first: dict[pathlib.Path, _ListedImage] = {}
    repeats = []
    for row, image in enumerate(images):
        other = first.setdefault(image.path, image)
        if other is not image:
            words = (
                f"the image {image.path} also belongs to image {other.entry.image_id!r} in "
                f"{other.annotations}"
            )
            repeats.append((row, image.problem(ProblemKind.REPEATED_IMAGE, words)))
    return repeats


def _boxes(
    found: _Annotations, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[int, list[Problem]]]:
    """Converts the boxes of all objects at once.

    Args:
        found: the objects.
        sizes: [images, 2], height and width of each image; infinite if unknown.

    Returns:
        float32 [N, 4], yxyx inside the images; bool [N], whether each box is usable; and the
        problems of unusable and clipped boxes by the row of their image.
    """
    truth, faults = found.truth, defaultdict(list)
    boxes, overhang, outside = to_boxes(truth.bboxes, sizes[truth.rows])
    order = np.argsort(truth.rows, kind="stable")
    places = np.empty_like(order)  # of each object among those of its image, from 0
    places[order] = np.arange(len(order)) - np.searchsorted(truth.rows[order], truth.rows[order])
    for index in np.flatnonzero(overhang | outside).tolist():
        row = truth.rows[index].item()
        x, y, width, height = bbox = truth.bboxes[index]
        written = "x={:g} y={:g} width={:g} height={:g}".format(*bbox)
        limits = (int(side) if math.isfinite(side) else side for side in sizes[row])
        _, problem = fit_box(np.array([y, x, y + height, x + width]), *limits, written)
        faults[row].append(
            problem.replace(
                file=str(found.images[row].annotations),
                object=f"annotation {found.ids[index]!r}",
                number=places[index].item() + 1,
                class_name=truth.class_names[truth.labels[index]],
            )
        )
    return boxes, ~outside, faults


def to_boxes(bboxes: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Converts COCO's boxes to the boxes of records.

    Args:
        bboxes: float64 [N, 4]: x, y, width, height, finite.
        sizes: [N, 2], height and width of each box's image.

    Returns:
        ``(boxes, overhang, outside)``: float32 [N, 4], yxyx clipped to the images; bool [N],
        whether a box extended beyond its image by more than ``dataset.MAX_OVERHANG``; bool [N],
        whether it has no area inside its image.
    """
    x, y, width, height = bboxes.T
    boxes = np.stack([y, x, y + height, x + width], axis=1)
    inside = np.clip(boxes, 0, np.tile(sizes, 2))
    overhang = np.abs(boxes - inside).max(axis=1, initial=0) > MAX_OVERHANG
    inside = inside.astype(np.float32)
    return inside, overhang, np.any(inside[:, :2] >= inside[:, 2:], axis=1)


def _records(
    found: _Annotations,
    sizes: Sequence[tuple[int, int]],
    orientations: Sequence[int],
    problems: Sequence[list[Problem]],
    boxes: np.ndarray,
    usable: np.ndarray,
) -> list[Record]:
    """Makes a record of every image; their arrays share the memory of the columns."""
    truth = found.truth
    order = np.flatnonzero(usable)
    order = order[np.argsort(truth.rows[order], kind="stable")]
    starts = np.searchsorted(truth.rows[order], np.arange(len(sizes) + 1)).tolist()
    boxes, labels, crowd = boxes[order], truth.labels[order].astype(np.int32), truth.crowd[order]
    return [
        Record(
            image_id=truth.image_ids[row],
            path="" if _is_missing(problems[row]) else str(found.images[row].path),
            height=height,
            width=width,
            boxes=boxes[starts[row] : starts[row + 1]],
            labels=labels[starts[row] : starts[row + 1]],
            difficult=crowd[starts[row] : starts[row + 1]],
            orientation=orientations[row],
            form="coco",
            problems=tuple(problems[row]),
        )
        for row, (height, width) in enumerate(sizes)
    ]


def _is_missing(problems: Sequence[Problem]) -> bool:
    return any(problem.kind == ProblemKind.MISSING_IMAGE for problem in problems)
