"""Reads the YOLO layout: data.yaml, images/ and labels/*.txt.

Nothing in ``data.yaml`` is executed. Names in its lists and splits must not lead out of the folder
of the data; only ``path``, which gives this folder, may point anywhere.
"""

import dataclasses
import functools
import math
import os
import pathlib
import reprlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import yaml

from keras_frcnn.config import DataSource
from keras_frcnn.data.dataset import Reading, fit_box, map_in_threads
from keras_frcnn.data.paths import (
    FileFinder,
    data_folder,
    error_message,
    find_images,
    read_lines,
)
from keras_frcnn.data.problems import Problem, ProblemKind, Remedy, invalid, unknown_split
from keras_frcnn.data.readers.annotated import (
    AnnotatedImage,
    AnnotatedObject,
    read_header,
    to_reading,
    without_repeats,
)
from keras_frcnn.data.readers.coco_json import is_text

_SPLITS = ("train", "val", "test")
_MAX_YAML_BYTES = 1_000_000  # some ten thousand class names
_MAX_LABEL_BYTES = 8_000_000  # some hundred thousand boxes
_BOX_FIELDS = 5  # class cx cy w h
_LEAST_POLYGON_FIELDS = 7  # class and three points
_SHOWN = 100  # characters of a value


@dataclasses.dataclass(frozen=True)
class DataFile:
    """The content of ``data.yaml``.

    Attributes:
        path: the file.
        root: the folder to which images and lists are relative.
        class_names: the name of class 0, 1, ...
        splits: the entries of each split: folders of images, or files that list images.
    """

    path: pathlib.Path
    root: pathlib.Path
    class_names: tuple[str, ...]
    splits: dict[str, list[str]]


def read(source: DataSource) -> Reading:
    """Reads annotated images in the YOLO layout.

    ``source.data_dir`` is the folder of ``data.yaml``, or of another ``.yaml`` file if it is the
    only one. The file has

    - ``names``: the class names, as a list or by number; or ``nc``, the number of classes;
    - ``path``: the folder of the data, if it is not that of the file;
    - ``train``, ``val`` and ``test``: a folder of images at any depth, a text file with one image
      per line, or a list of either, relative to ``path``. These are the splits; ``trainval`` joins
      the first two.

    Details:

    - The labels of ``images/train/a.jpg`` are in ``labels/train/a.txt``: the last folder ``images``
      below ``path`` becomes ``labels``. If there is no such folder, they are beside the image. An
      image without such a file has no objects.
    - A line of labels is ``class cx cy w h``, the center and size of a box as fractions of the
      image as displayed; or ``class x1 y1 x2 y2 ...``, a polygon that becomes the box around it.
    - An image id is the path below ``path`` without the folder ``images`` and the suffix.
    - Boxes are clipped to the image, silently by up to one pixel.

    Args:
        source: the source to read.

    Returns:
        All images with their problems.

    Raises:
        DataError: If a folder, a file or a split cannot be read. The error names it.
    """
    data = read_data_file(source.data_dir)
    problems: list[Problem] = []
    paths = dict.fromkeys(
        path
        for split in source.splits
        for entry in _entries_of(data, source.data_dir, split)
        for path in _images_of(data, entry, problems)
    )
    read_one = functools.partial(
        _read_image, data=data, annotated=source.annotated, finder=FileFinder(data.root)
    )
    images = without_repeats(list(map_in_threads(read_one, list(paths))), "image_id")
    return to_reading(images, lambda found: data.class_names, problems, form="coco")


def available_splits(data_dir: str) -> list[str]:
    """Lists the valid splits of a folder in the YOLO layout."""
    splits = list(read_data_file(data_dir).splits)
    return [*splits, "trainval"] if {"train", "val"} <= {*splits} else splits


def read_data_file(data_dir: str) -> DataFile:
    """Reads ``data.yaml``.

    Args:
        data_dir: the setting of this name.

    Raises:
        DataError: If a key is missing or wrong. The error names the file and the key.
    """
    path = _find_data_file(data_folder(data_dir))
    content = _parse(path)
    root = content.get("path") or "."
    if not is_text(root):
        raise invalid("the folder of the data as path", _short(root), path)
    root = pathlib.Path(os.path.normpath(path.parent / root))
    if not os.path.isdir(root):  # such as ../datasets/name in a file that was moved into the folder
        root = path.parent
    splits = {key: _read_split(path, key, content[key]) for key in _SPLITS if content.get(key)}
    if not splits:
        raise invalid(f"at least one of the splits {', '.join(_SPLITS)}", "none", path)
    return DataFile(path, root, _read_names(path, content), splits)


def _find_data_file(folder: pathlib.Path) -> pathlib.Path:
    found = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    plain = [path for path in found if path.stem == "data"] or found
    if len(plain) != 1:
        names = ", ".join(path.name for path in found) or "no .yaml file"
        raise invalid("one file data.yaml", names, folder)
    return plain[0]


def _parse(path: pathlib.Path) -> dict[Any, Any]:
    try:
        if path.stat().st_size > _MAX_YAML_BYTES:
            raise ValueError(f"more than {_MAX_YAML_BYTES} bytes")
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except Exception as error:  # PyYAML's constructors raise nearly anything on wrong values
        received = str(error).partition("\n")[0] or type(error).__name__
        raise invalid("YAML", received, path) from error
    if not isinstance(content, dict):
        raise invalid("YAML with names and splits", type(content).__name__, path)
    return content


def _read_split(path: pathlib.Path, key: str, value: Any) -> list[str]:
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if not is_text(entry):
            raise invalid(f"folders or lists of images as {key}", _short(entry), path)
    return entries


def _read_names(path: pathlib.Path, content: dict[Any, Any]) -> tuple[str, ...]:
    names, count = content.get("names"), content.get("nc")
    if names is None and type(count) is int and 0 < count <= _MAX_YAML_BYTES:
        return tuple(f"class_{number}" for number in range(count))
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise invalid("names by number from 0, none left out", _short(names), path)
        names = [names[number] for number in range(len(names))]
    if isinstance(names, list):
        names = [str(name) if type(name) in (int, float) else name for name in names]
    if not isinstance(names, list) or not names or not all(map(is_text, names)):
        words = "names as a list of texts (a word such as no or on needs quotation marks)"
        raise invalid(words, _short(names), path)
    if len(set(names)) < len(names):
        raise invalid("every name once", _short(names), path)
    return tuple(names)


def _entries_of(data: DataFile, data_dir: str, split: str) -> list[str]:
    if split in data.splits:
        return data.splits[split]
    if split == "trainval" and {"train", "val"} <= {*data.splits}:
        return data.splits["train"] + data.splits["val"]
    raise unknown_split(split, available_splits(data_dir), data.path)


def _images_of(data: DataFile, entry: str, problems: list[Problem]) -> Iterator[pathlib.Path]:
    """Yields the images of a folder or list. They may be missing."""
    # Some tools write ../train/images for the folder train/images.
    inside = [_below(data.root, entry)]
    inside += [_below(data.root, entry.removeprefix("../"))] if entry.startswith("../") else []
    inside = [path for path in inside if path is not None]
    if not inside:
        expected = f"a folder or list of images below {data.root}, or another folder as path"
        raise invalid(expected, repr(entry), data.path)
    found = next((path for path in inside if os.path.exists(path)), inside[0])
    if os.path.isdir(found):
        yield from find_images(found)
        return
    if not os.path.isfile(found):
        raise invalid("an existing folder or list of images", repr(entry), data.path)
    for line in read_lines(found):
        base = found.parent if line.startswith("./") else data.root
        path = _below(data.root, base / line)
        if path is not None:
            yield path
            continue
        problems.append(
            Problem(
                kind=ProblemKind.OUTSIDE_PATH,
                file=str(found),
                expected=f"names of images inside {data.root}",
                received=_short(line),
                remedy=Remedy.LEAVE_OUT,
            )
        )


def _below(root: pathlib.Path, name: str | pathlib.Path) -> pathlib.Path | None:
    """Returns the path of a name below a folder; None if it leads out of the folder.

    The name may be written as on Windows (images\\train\\a.jpg).
    """
    path = pathlib.Path(os.path.normpath(root / str(name).replace("\\", "/")))
    return path if path.is_relative_to(root) else None


def _read_image(
    path: pathlib.Path, data: DataFile, annotated: bool, finder: FileFinder
) -> AnnotatedImage:
    """Reads the header of an image and its labels."""
    path = finder.find(path) or path
    relative = pathlib.PurePosixPath(path.relative_to(data.root).as_posix())
    image_id, labels = _image_id(relative), data.root / labels_of(relative)
    labels = finder.find(labels) or labels
    if not os.path.isfile(path):
        kind, remedy = ProblemKind.MISSING_IMAGE, Remedy.LEAVE_OUT
        words = f"the image is missing{finder.hint(path)}"
        problem = Problem(kind=kind, file=str(path), message=words, remedy=remedy)
        return AnnotatedImage(image_id, "", None, problems=[problem])
    header, problem = read_header(path)
    problems = [problem] if problem else []
    size, orientation = (header[:2], header[2]) if header else (None, 1)
    if not annotated:
        return AnnotatedImage(image_id, str(path), size, orientation, problems=problems)
    objects, faults = read_labels(labels, data.class_names, size)
    problems += faults
    return AnnotatedImage(image_id, str(path), size, orientation, str(labels), objects, problems)


def labels_of(image: pathlib.PurePosixPath) -> pathlib.PurePosixPath:
    """Returns the file of an image's labels; both are relative to the folder of the data."""
    folders = list(image.parts[:-1])
    index = _last_images(folders)
    if index is not None:
        folders[index] = "labels"
    return pathlib.PurePosixPath(*folders, f"{image.stem}.txt")


def _image_id(image: pathlib.PurePosixPath) -> str:
    folders = list(image.parts[:-1])
    index = _last_images(folders)
    if index is not None:
        del folders[index]
    return "/".join([*folders, image.stem])


def _last_images(folders: Sequence[str]) -> int | None:
    """Returns the index of the last folder ``images``; None if there is none."""
    indices = [index for index, name in enumerate(folders) if name == "images"]
    return indices[-1] if indices else None


def read_labels(
    path: pathlib.Path, class_names: Sequence[str], size: tuple[int, int] | None
) -> tuple[list[AnnotatedObject], list[Problem]]:
    """Reads a file of labels.

    Args:
        path: the file. If it is missing, there are no objects.
        class_names: the name of class 0, 1, ...
        size: height and width in pixels of the image as displayed; None if unknown.

    Returns:
        All objects, including unusable ones; and the problems of the file as a whole.
    """
    try:
        if not path.is_file():
            return [], []
        if path.stat().st_size > _MAX_LABEL_BYTES:
            raise ValueError(f"more than {_MAX_LABEL_BYTES} bytes are refused")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        words = f"broken annotation: {error_message(error)}"
        kind, remedy = ProblemKind.BROKEN_ANNOTATION, Remedy.LEAVE_OUT
        return [], [Problem(kind=kind, file=str(path), message=words, remedy=remedy)]
    rows = [(number, fields) for number, line in enumerate(lines, 1) if (fields := line.split())]
    objects = []
    for number, (line_number, fields) in enumerate(rows, start=1):
        item = _read_object(fields, class_names, size or (1, 1))
        if item.problem is not None:
            problem = item.problem.replace(
                object=f"line {line_number}", number=number, class_name=item.name
            )
            item = dataclasses.replace(item, problem=problem)
        objects.append(item)
    return objects, []


def _read_object(
    fields: Sequence[str], class_names: Sequence[str], size: tuple[int, int]
) -> AnnotatedObject:
    """Reads one line of labels."""
    written = _short(" ".join(fields))
    try:
        values = [float(field) for field in fields]
    except ValueError:
        return _faulty(ProblemKind.INVALID_ENTRY, "numbers", written)
    is_polygon = len(values) >= _LEAST_POLYGON_FIELDS and len(values) % 2 == 1
    if len(values) != _BOX_FIELDS and not is_polygon:
        expected = "class cx cy w h, or a class and the x and y of three or more points"
        return _faulty(ProblemKind.INVALID_ENTRY, expected, written)
    if not (math.isfinite(values[0]) and values[0] == int(values[0])):
        return _faulty(ProblemKind.INVALID_ENTRY, "a whole number as class", written)
    label = int(values[0])
    if not 0 <= label < len(class_names):
        expected = f"a class from 0 to {len(class_names) - 1}"
        return _faulty(ProblemKind.UNKNOWN_CLASS, expected, written)
    with np.errstate(over="ignore", invalid="ignore"):  # fit_box refuses what is not finite
        if is_polygon:
            points = np.array(values[1:]).reshape(-1, 2)[:, ::-1]
            box = np.concatenate([points.min(axis=0), points.max(axis=0)])
        else:
            x, y, width, height = values[1:]
            box = np.array([y - height / 2, x - width / 2, y + height / 2, x + width / 2])
        box = box * np.tile(size, 2)
    inside, problem = fit_box(box, *size, written)
    return AnnotatedObject(class_names[label], inside, problem=problem)


def _faulty(kind: ProblemKind, expected: str, received: str) -> AnnotatedObject:
    problem = Problem(kind=kind, expected=expected, received=received, remedy=Remedy.DROP)
    return AnnotatedObject("", None, problem=problem)


def _short(value: Any) -> str:
    """Returns a value for a message, cut to a readable length."""
    text = reprlib.repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
