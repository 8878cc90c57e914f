"""Reader of annotations in PASCAL VOC's form; ``voc_layout`` says where they lie."""

import dataclasses
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import defusedxml.ElementTree
import numpy as np

from keras_frcnn.config import DataSource
from keras_frcnn.data import dataset
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.data.images import headers
from keras_frcnn.data.readers import voc_layout

VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)

_VOC_FOLDER = re.compile(r"VOC20(0[7-9]|1[0-2])")
_MAX_BYTES = 8_000_000  # of an annotation: some ten thousand objects


@dataclasses.dataclass(frozen=True)
class Written:
    """One object as written.

    Attributes:
        number: its place in the annotation, from 1.
        name: its class.
        corners: xmin, ymin, xmax, ymax, 1-based inclusive; empty if unreadable.
        difficult: whether it is marked so.
        problem: what is wrong with its tags; empty if nothing.
    """

    number: int
    name: str = ""
    corners: tuple[float, ...] = ()
    difficult: bool = False
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class _Image:
    """One annotation as written and its image's header."""

    entry: voc_layout.Entry
    path: pathlib.Path
    height: int
    width: int
    orientation: int
    objects: list[Written]


def read(source: DataSource, splits: Sequence[str]) -> Dataset:
    """Reads annotated images in VOC's layout.

    ``source.data_dir`` is a VOCdevkit (a folder of VOCxxxx folders), one VOCxxxx folder, or own
    data in the same layout. A split is the name of a file in ``ImageSets/Main``, as ``trainval``,
    or with its folder, as ``VOC2007/trainval``; the folder may be left out where there is only one.

    - An image id is the line of the image set; where the splits lie in several folders, the
      folder's name and a slash stand before it. The image is ``JPEGImages/<line>`` with one of
      ``voc_layout.IMAGE_SUFFIXES``; the annotation's ``<filename>`` is not followed.
    - Only ``<object>`` directly under the root and ``<bndbox>`` directly under it count; those of
      a ``<part>`` do not.
    - 1-based inclusive corners become ``(ymin - 1, xmin - 1, ymax, xmax)``. One pixel outside the
      image is clipped silently: tools that count from 0 write it. A box whose corners coincide as
      written (``xmin == xmax``) is a slip of the hand, not an object one pixel wide: a problem.
    - Class names are those of ``class_names_of``.
    - Where objects are not wanted (``source.annotated``) no annotation is looked at, and the
      dataset has neither objects nor class names.

    Args:
        source: its ``data_dir`` and ``on_bad_record``.
        splits: image sets to join, without repeating an image.

    Returns:
        The dataset. With ``on_bad_record="skip"`` unreadable images and annotations are left out
        and impossible boxes dropped or clipped, each with a line in ``skipped``.

    Raises:
        ValueError: naming the folder, split, file or object (counted from 1) that is wrong.
    """
    entries = voc_layout.entries(source.data_dir, splits)
    read_one = _read_image if source.annotated else _read_header
    results = list(dataset.read_files(read_one, entries))
    images = [result for result in results if isinstance(result, _Image)]
    problems = [(result, "image left out") for result in results if isinstance(result, str)]
    found = {item.name for image in images for item in image.objects if not item.problem}
    folders = {image.entry.folder.name for image in images}
    names = class_names_of(found, folders) if source.annotated else ()
    kept = [_to_record(image, names, problems) for image in images]
    skipped = dataset.settle(problems, source.on_bad_record)
    if not kept:
        raise ValueError(
            f"{source.data_dir}: expected readable images in {', '.join(splits)}. Received:\n"
            + "\n".join(skipped)
        )
    return Dataset(names, kept, skipped)


def class_names_of(found: set[str], folders: set[str]) -> tuple[str, ...]:
    """Says which classes data in VOC's layout have.

    Args:
        found: names of the objects in the annotations.
        folders: names of the folders of VOC's layout that they lie in.

    Returns:
        VOC's twenty, if the folders bear a VOC year and hold no other name, else the found names,
        sorted.
    """
    if found <= set(VOC_CLASSES) and all(map(_VOC_FOLDER.fullmatch, folders)):
        return VOC_CLASSES
    return tuple(sorted(found))


def _read_image(entry: voc_layout.Entry) -> _Image | str:
    """Reads one annotation and its image's header; returns what is wrong if one is unusable."""
    try:
        root = parse(entry.annotation)
        path = entry.image()
        height, width, orientation = headers.image_header(path)
        _check_size(entry.annotation, root.find("size"), height, width)
    except (ValueError, OSError) as error:  # OSError: a name that no file can have
        return f"{entry.annotation}: {error}" if isinstance(error, OSError) else str(error)
    objects = [read_object(number, item) for number, item in enumerate(root.findall("object"), 1)]
    return _Image(entry, path, height, width, orientation, objects)


def _read_header(entry: voc_layout.Entry) -> _Image | str:
    """Reads the header of an image alone; returns what is wrong if it is unusable."""
    try:
        path = entry.image()
        return _Image(entry, path, *headers.image_header(path), [])
    except ValueError as error:
        return str(error)


def parse(path: pathlib.Path) -> Any:
    """Returns the root of an annotation; refuses what would fill memory: entities, huge files.

    Raises:
        ValueError: naming the file, if it is missing or no annotation.
    """
    if not path.is_file():
        raise ValueError(f"{path}: the annotation is missing")
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path}: broken annotation: more than {_MAX_BYTES} bytes are refused")
    try:
        root = defusedxml.ElementTree.parse(path).getroot()
    except (SyntaxError, ValueError, LookupError, OSError) as error:
        raise ValueError(f"{path}: broken annotation: {error}") from error
    if root.tag != "annotation":
        raise ValueError(f"{path}: expected <annotation> at the root. Received: <{root.tag}>")
    return root


def _check_size(annotation: pathlib.Path, size: Any, height: int, width: int) -> None:
    """Compares the annotation's size, where it has one, with the image as displayed."""
    if size is None:
        return
    written = [(size.findtext(tag) or "").strip() for tag in ("height", "width")]
    if written != [str(height), str(width)]:
        raise ValueError(
            f"{annotation}: the image is {height} x {width} (height x width, upright by its EXIF "
            f"orientation). The annotation says: {' x '.join(written)}"
        )


def read_object(number: int, element: Any) -> Written:
    """Reads one <object>; what is wrong with it is noted, so that the others are read too."""
    name = (element.findtext("name") or "").strip()
    if not name:
        return Written(number, problem="<name> is missing")
    try:
        corners = tuple(
            float(element.findtext(f"bndbox/{tag}")) for tag in ("xmin", "ymin", "xmax", "ymax")
        )
    except (TypeError, ValueError):
        return Written(number, name, problem="<bndbox> needs the numbers xmin, ymin, xmax, ymax")
    difficult = (element.findtext("difficult") or "").strip().lower() in ("1", "true")
    return Written(number, name, corners, difficult)


def _to_record(
    image: _Image, class_names: tuple[str, ...], problems: list[tuple[str, str]]
) -> Record:
    """Turns names into labels and corners into boxes; adds what is impossible to ``problems``."""
    label_of = {name: label for label, name in enumerate(class_names)}
    boxes, labels, difficult = [], [], []
    for item in image.objects:
        box, problem = None, item.problem
        if not problem:
            box, problem = to_box(item.corners, image.height, image.width)
        if problem:
            what = f"{image.entry.annotation}: object {item.number} ({item.name}): {problem}"
            problems.append((what, "object dropped" if box is None else "box clipped"))
        if box is not None:
            boxes.append(box)
            labels.append(label_of[item.name])
            difficult.append(item.difficult)
    return Record(
        image_id=image.entry.image_id,
        path=str(image.path),
        height=image.height,
        width=image.width,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int32),
        difficult=np.array(difficult, bool),
        orientation=image.orientation,
    )


def to_box(corners: tuple[float, ...], height: int, width: int) -> tuple[np.ndarray | None, str]:
    """Converts corners as written to a box inside the image.

    Args:
        corners: xmin, ymin, xmax, ymax, 1-based inclusive.
        height: pixels of the image.
        width: likewise.

    Returns:
        ``(box, problem)``: a float32 [4] yxyx box, or None if nothing of it lies in the image;
        and what is wrong with it, or an empty text.
    """
    xmin, ymin, xmax, ymax = corners
    written = f"xmin={xmin:g} ymin={ymin:g} xmax={xmax:g} ymax={ymax:g}"
    if not np.all(np.isfinite(corners)):
        return None, f"box is not finite ({written})"
    if not has_area(corners):
        return None, f"box has no area ({written})"
    box = np.array([ymin - 1, xmin - 1, ymax, xmax])
    inside = np.clip(box, 0, [height, width, height, width])
    problem = ""
    if np.abs(box - inside).max() > dataset.MAX_OVERHANG:
        problem = f"box leaves the image of height {height}, width {width} ({written})"
    inside = inside.astype(np.float32)
    if dataset.box_problem(inside, height, width):
        return None, problem or f"box lies outside the image ({written})"
    return inside, problem


def has_area(corners: tuple[float, ...]) -> bool:
    """Says whether xmin, ymin, xmax, ymax as written are those of a box: finite and in order."""
    xmin, ymin, xmax, ymax = corners
    return bool(np.all(np.isfinite(corners))) and xmin < xmax and ymin < ymax
