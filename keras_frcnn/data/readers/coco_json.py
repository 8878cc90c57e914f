"""Reads COCO's instances JSON files.

A file may come from anywhere, so every value is checked, and no name may lead out of its folder.
Outlines are skipped during parsing, so that a million objects need less than two gigabytes.
"""

import dataclasses
import json
import pathlib
import re
import reprlib
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import numpy as np

from keras_frcnn.data.paths import FileFinder, leads_out
from keras_frcnn.data.problems import DataError, Problem, ProblemKind, Remedy, invalid

MAX_BYTES = 2**30
"""Larger files are refused; COCO's largest file, with 860,000 objects, has half this size."""

_MAX_NUMBER = 1e9  # far larger than any image, but an area of such sides does not overflow
_MAX_ID = 2**53  # integers in JSON are exact up to this number
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # for file names, tables and logs

_short = reprlib.repr  # a value for a message, cut to a readable length


class _ImageEntry(msgspec.Struct, gc=False):
    """One entry of "images", unchecked."""

    id: Any = None
    file_name: Any = None
    height: Any = None
    width: Any = None


class _CategoryEntry(msgspec.Struct, gc=False):
    """One entry of "categories", unchecked."""

    id: Any = None
    name: Any = None


class ObjectEntry(msgspec.Struct, gc=False):
    """One entry of "annotations", unchecked."""

    id: Any = None
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    area: Any = None
    iscrowd: Any = 0


class _Images(msgspec.Struct):
    """An annotation file without its objects."""

    images: list[_ImageEntry]
    categories: list[_CategoryEntry]


class _Annotations(_Images):
    """An annotation file."""

    annotations: list[ObjectEntry]


_ENTRIES = {
    "images": _ImageEntry,
    "annotations": ObjectEntry,
    "categories": _CategoryEntry,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """One entry of "images"; height and width are None if it does not give them."""

    image_id: int | str
    path: pathlib.Path
    height: int | None
    width: int | None


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotationFile:
    """The content of an annotation file.

    Attributes:
        path: the file.
        images: its images.
        categories: the class names by id.
        ids: the ids of the objects, for messages.
        rows: int64 [N], the index of each object's image.
        category_ids: int64 [N].
        bboxes: float64 [N, 4]: x, y, width, height, finite but not checked otherwise.
        areas: float64 [N]; the area of the box if the file does not give it.
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


def read(
    path: pathlib.Path, folder: pathlib.Path, problems: list[Problem], annotated: bool = True
) -> AnnotationFile:
    """Reads an annotation file.

    Args:
        path: the file.
        folder: the folder of its images.
        problems: a list to which the problems of images and objects that are left out are added.
        annotated: whether to read the objects; COCO's files of test images have none.

    Returns:
        Its content. If an image is left out, its objects are left out silently.

    Raises:
        DataError: If the file is missing, too large or not JSON, lacks one of its three lists, or
            has wrong categories or an image id twice. The error names the file.
    """
    content = _parse(path, annotated)
    categories = _read_categories(path, content.categories)
    images, rows = _read_images(path, folder, content.images, problems)
    items = content.annotations if annotated else []
    objects = []
    for number, item in enumerate(items):
        try:
            values = read_object(item, rows, categories)
        except DataError as error:
            known = isinstance(item, ObjectEntry) and is_id(item.id)
            which = f"annotation {item.id!r}" if known else f"annotations[{number}]"
            problems += [p.replace(file=str(path), object=which) for p in error.problems]
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


def _parse(path: pathlib.Path, annotated: bool) -> _Annotations | _Images:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes are refused")
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        return decode(text, _Annotations if annotated else _Images)
    except DataError as error:
        raise DataError(error.problems[0].replace(file=str(path))) from error
    except (OSError, ValueError, RecursionError) as error:
        raise invalid("COCO's annotations as JSON", error, path) from error


def decode(text: bytes, form: Any) -> Any:
    """Parses JSON into structures of this module.

    Args:
        text: the JSON. NaN and Infinity, which Python writes although they are not JSON, are
            accepted.
        form: the type of the result: ``list[ObjectEntry]`` or a structure for whole files.

    Returns:
        The content. Entries of lists that are not JSON objects are left unchanged.

    Raises:
        DataError: If a list of a file is missing.
        ValueError: If the text is not JSON.
        RecursionError: If it is nested too deeply.
    """
    try:
        return msgspec.json.decode(text, type=form)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        content = json.loads(text.decode("utf-8"), object_hook=_without_outlines)
    if form not in (_Annotations, _Images):
        if not isinstance(content, list):
            raise invalid("a list", type(content).__name__)
        return [_to_entry(item, ObjectEntry) for item in content]
    lists = {}
    for key in form.__struct_fields__:
        items = content.get(key) if isinstance(content, dict) else None
        if not isinstance(items, list):
            expected = "an object with the lists images, annotations and categories"
            raise invalid(expected, f"no list {key}")
        lists[key] = [_to_entry(item, _ENTRIES[key]) for item in items]
    return form(**lists)


_KEPT = {name for entry in _ENTRIES.values() for name in entry.__struct_fields__} | {*_ENTRIES}


def _without_outlines(item: dict) -> dict:
    return {key: item[key] for key in _KEPT if key in item}


def _to_entry(item: Any, form: type) -> Any:
    if not isinstance(item, dict):
        return item
    return form(**{key: item[key] for key in form.__struct_fields__ if key in item})


def _read_categories(path: pathlib.Path, items: list) -> dict[int, str]:
    categories, names = {}, set()
    for number, item in enumerate(items):
        known = isinstance(item, _CategoryEntry)
        key, name = (whole(item.id), item.name) if known else (None, None)
        if not is_id(key) or isinstance(key, str) or not is_text(name):
            place = f"{path}: categories[{number}]"
            expected = "a whole number as id and a name without control characters"
            raise invalid(expected, _describe(item), place)
        if key in categories or name in names:
            twice = f"{key} or {name!r}"
            words = f"every category id and name must occur only once. Received twice: {twice}"
            raise invalid("every category id and name once", f"{key} {name!r}", path, words)
        categories[key] = name
        names.add(name)
    if not categories:
        raise invalid("at least one category", "none", path)
    return categories


def _read_images(
    path: pathlib.Path, folder: pathlib.Path, items: list, problems: list[Problem]
) -> tuple[list[Image], dict[int | str, int | None]]:
    """Returns the images, and the index of each by its id, or None if it is left out."""
    images, rows, finder = [], {}, FileFinder(folder, path.parent)
    for number, item in enumerate(items):
        image_id = whole(item.id) if isinstance(item, _ImageEntry) else None
        if not is_id(image_id):
            problem, which = _fault("", "a number or text as id", item), f"images[{number}]"
        elif image_id in rows:
            words = f"every image id must occur only once. Received twice: {image_id!r}"
            raise invalid("every image id once", f"{image_id!r} twice", path, words)
        else:
            file = _find_image(item.file_name, path, folder, finder)
            problem, which = _image_problem(item, file), f"image {image_id!r}"
            rows[image_id] = None if problem else len(images)
        if problem:
            remedy = Remedy.LEAVE_OUT
            problems.append(problem.replace(file=str(path), object=which, remedy=remedy))
        else:
            images.append(Image(image_id, file, whole(item.height), whole(item.width)))
    return images, rows


def _find_image(
    name: Any, annotations: pathlib.Path, folder: pathlib.Path, finder: FileFinder
) -> pathlib.Path | None:
    """Finds the file of an image, whose name should be relative to the folder of images.

    Label Studio writes names relative to the annotation file (images/a.jpg), in Windows' form
    (images\\a.jpg), and with folders of its server that are not in the export (images\\1/a.jpg,
    ..\\..\\label-studio\\media\\upload\\1\\a.jpg). Folders that are not there are left out.

    Returns:
        The file, which may be missing; None if the name is none or leads out of the folder.
    """
    if not is_text(name):
        return None
    name = name.replace("\\", "/")
    places = () if leads_out(name) else (folder, annotations.parent)
    for place in places:
        found = finder.find(place / name)
        if found is not None:
            return found
    if not any(finder.find((place / name).parent) for place in places):
        found = finder.find(folder / name.rpartition("/")[2])
        if found is not None:
            return found
    return folder / name if places else None


def _image_problem(item: _ImageEntry, file: pathlib.Path | None) -> Problem | None:
    if file is None:
        expected = "name a file below the folder of images"
        message = f"file_name must {expected}. Received: {_short(item.file_name)}"
        return Problem(
            kind=ProblemKind.OUTSIDE_PATH if is_text(item.file_name) else ProblemKind.INVALID_ENTRY,
            message=message,
            expected=expected,
            received=_short(item.file_name),
        )
    for key, size in (("height", whole(item.height)), ("width", whole(item.width))):
        if size is not None and (type(size) is not int or not 0 < size <= _MAX_NUMBER):
            return _fault(key, "a positive whole number", size)
    return None


def read_object(
    item: Any, rows: Mapping[int | str, int | None], categories: Collection[int]
) -> tuple:
    """Checks one entry of "annotations".

    Args:
        item: the entry, from ``decode``.
        rows: the index of each image by its id; None for an image that is left out.
        categories: the category ids.

    Returns:
        Its id, row, category id, bbox, area and crowd.

    Raises:
        DataError: If a value is wrong. The error names neither the file nor the object.
    """
    if not isinstance(item, ObjectEntry):
        raise DataError(_fault("", "an object", item))
    image_id, category_id, bbox = whole(item.image_id), whole(item.category_id), item.bbox
    if type(image_id) not in (int, str) or image_id not in rows:
        raise DataError(_fault("image_id", "that of one of the images", image_id))
    if type(category_id) is not int or category_id not in categories:
        expected, kind = "that of one of the categories", ProblemKind.UNKNOWN_CLASS
        raise DataError(_fault("category_id", expected, category_id, kind))
    if type(bbox) is not list or len(bbox) != 4 or not all(map(is_number, bbox)):
        raise DataError(_fault("bbox", "four finite numbers: x, y, width, height", bbox))
    area, crowd = item.area, 0 if item.iscrowd is None else whole(item.iscrowd)
    if area is None:
        area = bbox[2] * bbox[3]
    elif type(area) not in (int, float) or not 0 <= area <= _MAX_NUMBER**2:
        raise DataError(_fault("area", "a finite number of at least 0", area))
    if type(crowd) not in (int, bool) or crowd not in (0, 1):
        raise DataError(_fault("iscrowd", "0 or 1", crowd))
    return item.id, rows[image_id], category_id, bbox, area, crowd


def _fault(
    key: str, expected: str, value: Any, kind: ProblemKind = ProblemKind.INVALID_ENTRY
) -> Problem:
    """Returns the problem of an unexpected value; its key may be empty."""
    received = _describe(value)
    message = f"{key} must be {expected}. Received: {received}" if key else ""
    return Problem(
        kind=kind, message=message, expected=expected, received=received, remedy=Remedy.DROP
    )


def _describe(value: Any) -> str:
    """Returns a value for a message, shortened to a readable length."""
    if isinstance(value, msgspec.Struct):
        value = {key: v for key, v in msgspec.structs.asdict(value).items() if v is not None}
    return _short(value)


def is_number(value: Any) -> bool:
    """Returns whether a value is a finite number in the range of coordinates and scores."""
    return type(value) in (int, float) and abs(value) <= _MAX_NUMBER


def whole(value: Any) -> Any:
    """Returns a whole number as an integer, if it is written as a float; or else the value."""
    is_whole = type(value) is float and abs(value) <= _MAX_ID and value.is_integer()
    return int(value) if is_whole else value


def is_id(value: Any) -> bool:
    """Returns whether a value may be the id of an image."""
    return is_text(value) or (type(value) is int and abs(value) <= _MAX_ID)


def is_text(value: Any) -> bool:
    """Returns whether a value is a string that is safe in file names, tables and logs."""
    return type(value) is str and value != "" and not _UNFIT.search(value)
