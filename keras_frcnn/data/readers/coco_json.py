"""COCO's instances JSON: where it lies, and what it says, as columns.

A file may come from anywhere: every value is checked, and no name in it leads out of its folder.
Outlines are dropped while the text is parsed, so that a million objects stay below two gigabytes.
"""

import dataclasses
import json
import pathlib
import re
import reprlib
from typing import Any

import numpy as np

from keras_frcnn.console import with_progress

MAX_BYTES = 2**30
"""Larger files are refused; COCO's largest, of 860,000 objects, has half of this."""

Problems = list[tuple[str, str]]  # see ``records.settle``

_LISTS = ("images", "annotations", "categories")
_KEPT = (
    *(*_LISTS, "id", "file_name", "height", "width", "name"),
    *("image_id", "category_id", "bbox", "area", "iscrowd"),
)
_MAX_NUMBER = 1e9  # far beyond any image, far below what overflows an area
_MAX_ID = 2**53  # JSON's numbers are exact up to here
_PREFIX = "instances_"
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # for file names, tables and logs
_PROGRESS_FROM = 100_000

_short = reprlib.repr  # a value for a message, cut to a readable length


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """One entry of "images"; height and width are None where it does not give them."""

    image_id: int | str
    name: str
    height: int | None
    width: int | None


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotationFile:
    """What an annotation file says.

    Attributes:
        path: the file.
        images: its images.
        categories: names by id.
        ids: ids of the objects, for messages.
        rows: int64 [N], index of each object's image.
        category_ids: int64 [N].
        bboxes: float64 [N, 4]: x, y, width, height, finite but otherwise as written.
        areas: float64 [N]; of the box where the file does not give it.
        crowd: bool [N].
    """

    path: pathlib.Path
    images: list[Image]
    categories: dict[int, str]
    ids: list[Any]
    rows: np.ndarray
    category_ids: np.ndarray
    bboxes: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray


def locate(data_dir: str, split: str, images: bool) -> tuple[pathlib.Path, pathlib.Path]:
    """Finds what belongs to a split.

    Args:
        data_dir: the setting of this name.
        split: a split as ``coco.read`` explains it.
        images: whether the folder of the images must be there.

    Returns:
        Its annotation file and the folder of its images.

    Raises:
        ValueError: naming what is missing, and the splits that there are.
    """
    root = pathlib.Path(data_dir).resolve()
    if not data_dir or not root.is_dir():
        raise ValueError(f"data_dir must be an existing folder. Received: {data_dir!r}")
    name, _, folder = split.partition(":")
    files = [root / "annotations" / f"{prefix}{name}.json" for prefix in (_PREFIX, "")]
    files = [root / name] if name.endswith(".json") else files
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        known = ", ".join(available_splits(data_dir)) or "none in annotations/"
        raise ValueError(
            f"{data_dir}: expected the path of a .json file or one of the splits: {known}. "
            f"Received: {split!r}"
        )
    stem = path.stem.removeprefix(_PREFIX)
    folders = [root / stem, root / "images" / stem, root / "images"]
    folders += [path.parent] if name.endswith(".json") else []
    folders = [root / folder] if folder else folders
    found = [candidate for candidate in folders if candidate.is_dir()]
    if images and not found:
        raise ValueError(
            f"{data_dir}: expected the images of {name} in {' or '.join(map(str, folders))}; "
            f"another folder can be given after a colon, as in {name}:FOLDER"
        )
    return path, [*found, root][0]


def available_splits(data_dir: str) -> list[str]:
    """Lists what can be said as a split of a data folder in COCO's layout."""
    stems = sorted(path.stem for path in pathlib.Path(data_dir).glob("annotations/*.json"))
    instances = [stem.removeprefix(_PREFIX) for stem in stems if stem.startswith(_PREFIX)]
    return instances or stems


def read(path: pathlib.Path, problems: Problems, annotated: bool = True) -> AnnotationFile:
    """Reads an annotation file.

    Args:
        path: the file.
        problems: what is wrong with single images and objects, which are left out, is added.
        annotated: whether to read the objects; COCO's files of test images have none.

    Returns:
        Its content. An object of an image that is left out is left out without a word.

    Raises:
        ValueError: naming the file, if it is no such file as a whole: missing, too large, not JSON,
            without one of its three lists, with wrong categories or with one image id twice.
    """
    content = _parse(path, annotated)
    categories = _read_categories(path, content["categories"])
    images, rows = _read_images(path, content["images"], problems)
    if len(items := content["annotations"]) > _PROGRESS_FROM:
        items = with_progress(items, "Reading annotations", len(items))
    objects = []
    for number, item in enumerate(items):
        try:
            values = read_object(item, rows, categories)
        except ValueError as error:
            known = isinstance(item, dict) and is_id(item.get("id"))
            which = f"annotation {item['id']!r}" if known else f"annotations[{number}]"
            problems.append((f"{path}: {which}: {error}", "object dropped"))
            continue
        if values[1] is not None:
            objects.append(values)
    columns = zip(*objects, strict=True) if objects else [()] * 6
    ids, rows, category_ids, bboxes, areas, crowd = columns
    return AnnotationFile(
        path=path,
        images=images,
        categories=categories,
        ids=list(ids),
        rows=np.array(rows, np.int64),
        category_ids=np.array(category_ids, np.int64),
        bboxes=np.array(bboxes, np.float64).reshape(-1, 4),
        areas=np.array(areas, np.float64),
        crowd=np.array(crowd, bool),
    )


def _parse(path: pathlib.Path, annotated: bool) -> dict[str, list]:
    """Returns the three lists of a file, that of the objects empty if they are not wanted."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes are refused")
        content = json.loads(path.read_text("utf-8-sig"), object_hook=_without_outlines)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: expected COCO's annotations as JSON. Received: {error}"
        ) from error
    content = content if isinstance(content, dict) else {}
    content |= {} if annotated else {"annotations": []}
    for key in _LISTS:
        if not isinstance(content.get(key), list):
            raise ValueError(
                f"{path}: expected an object with the lists images, annotations and categories. "
                f"Received: no list {key}"
            )
    return content


def _without_outlines(item: dict) -> dict:
    return {key: item[key] for key in _KEPT if key in item}


def _read_categories(path: pathlib.Path, items: list) -> dict[int, str]:
    categories, names = {}, set()
    for number, item in enumerate(items):
        key, name = (item.get("id"), item.get("name")) if isinstance(item, dict) else (None, None)
        if not is_id(key) or isinstance(key, str) or not is_text(name):
            raise ValueError(
                f"{path}: categories[{number}]: expected a whole number as id and a name. "
                f"Received: {_short(item)}"
            )
        if key in categories or name in names:
            raise ValueError(
                f"{path}: every category id and name must be there once. "
                f"Received twice: {key} or {name!r}"
            )
        categories[key] = name
        names.add(name)
    if not categories:
        raise ValueError(f"{path}: expected at least one category. Received: none")
    return categories


def _read_images(
    path: pathlib.Path, items: list, problems: Problems
) -> tuple[list[Image], dict[int | str, int | None]]:
    """Returns the images, and the index of each by its id, None for one that is left out."""
    images, rows = [], {}
    for number, item in enumerate(items):
        image_id = item.get("id") if isinstance(item, dict) else None
        if not is_id(image_id):
            what = f"images[{number}]: expected a number or text as id. Received: {_short(item)}"
            problems.append((f"{path}: {what}", "image left out"))
            continue
        if image_id in rows:
            raise ValueError(
                f"{path}: every image id must be there once. Received twice: {image_id!r}"
            )
        problem = _image_problem(item)
        if problem:
            problems.append((f"{path}: image {image_id!r}: {problem}", "image left out"))
            rows[image_id] = None
            continue
        rows[image_id] = len(images)
        images.append(Image(image_id, *map(item.get, ("file_name", "height", "width"))))
    return images, rows


def _image_problem(item: dict) -> str:
    name = item.get("file_name")
    if not is_text(name) or "\\" in name or name.startswith("/") or ".." in name.split("/"):
        return f"file_name must name a file below the folder of images. Received: {_short(name)}"
    for key in ("height", "width"):
        size = item.get(key)
        if size is not None and (type(size) is not int or not 0 < size <= _MAX_NUMBER):
            return f"{key} must be a positive whole number. Received: {_short(size)}"
    return ""


def read_object(item: Any, rows: dict, categories: dict[int, str]) -> tuple:
    """Reads one entry of "annotations".

    Args:
        item: the entry as parsed.
        rows: index of each image by its id; None for one that is left out.
        categories: names by number.

    Returns:
        Its id, row, category id, bbox, area and crowd.

    Raises:
        ValueError: saying what is wrong, without the file and the object.
    """
    if not isinstance(item, dict):
        raise ValueError(f"expected an object. Received: {_short(item)}")
    image_id, category_id, bbox = item.get("image_id"), item.get("category_id"), item.get("bbox")
    if not is_id(image_id) or image_id not in rows:
        raise ValueError(
            f"image_id must be that of one of the images. Received: {_short(image_id)}"
        )
    if type(category_id) is not int or category_id not in categories:
        raise ValueError(
            f"category_id must be that of one of the categories. Received: {_short(category_id)}"
        )
    if type(bbox) is not list or len(bbox) != 4 or not all(map(is_number, bbox)):
        raise ValueError(
            f"bbox must be four finite numbers: x, y, width, height. Received: {_short(bbox)}"
        )
    area, crowd = item.get("area"), item.get("iscrowd", 0)
    if area is None:
        area = bbox[2] * bbox[3]
    elif type(area) not in (int, float) or not 0 <= area <= _MAX_NUMBER**2:
        raise ValueError(f"area must be a finite number of at least 0. Received: {_short(area)}")
    if type(crowd) not in (int, bool) or crowd not in (0, 1):
        raise ValueError(f"iscrowd must be 0 or 1. Received: {_short(crowd)}")
    return item.get("id"), rows[image_id], category_id, bbox, area, crowd


def is_number(value: Any) -> bool:
    """Says whether a value is a finite number, no larger than any coordinate or score."""
    return type(value) in (int, float) and abs(value) <= _MAX_NUMBER


def is_id(value: Any) -> bool:
    """Says whether a value may be the id of an image."""
    return is_text(value) or (type(value) is int and abs(value) <= _MAX_ID)


def is_text(value: Any) -> bool:
    """Says whether a value is a text that may stand in file names, tables and logs."""
    return type(value) is str and value != "" and not _UNFIT.search(value)
