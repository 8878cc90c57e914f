"""Reads PASCAL VOC's layout: VOC 2007 to 2012, and other data in the same layout.

``entries`` reads image sets and finds the files. ``voc_xml`` reads an annotation.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Collection, Sequence

from keras_frcnn.config import DataSource
from keras_frcnn.data.categories import VOC_CLASSES
from keras_frcnn.data.dataset import Reading, map_in_threads
from keras_frcnn.data.paths import FileFinder, data_folder, leads_out, read_lines
from keras_frcnn.data.problems import (
    DataError,
    Problem,
    ProblemKind,
    Remedy,
    invalid,
    unknown_split,
)
from keras_frcnn.data.readers import voc_xml
from keras_frcnn.data.readers.annotated import AnnotatedImage, Header, read_header, to_reading

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
"""Suffixes of images, in lower or upper case. If there are several images, the first one counts."""

_VOC_FOLDER = re.compile(r"VOC20(0[7-9]|1[0-2])")
_FLAGGED = re.compile(r"(\S+)\s+(-1|0|1)")  # a line of a list of one class


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of an image set.

    Attributes:
        image_id: the line, after the folder's name and a slash if there are several folders.
        folder: the folder in VOC's layout.
        stem: the line.
        finder: finds the files of the entry.
    """

    image_id: str
    folder: pathlib.Path
    stem: str
    finder: FileFinder = dataclasses.field(repr=False, compare=False)

    @property
    def annotation(self) -> pathlib.Path:
        """The annotation's file, which may be missing."""
        path = self.folder / "Annotations" / f"{self.stem}.xml"
        return self.finder.find(path) or path

    @property
    def images(self) -> list[pathlib.Path]:
        """The files that may be the image, best first; empty if there is none."""
        found = self.finder.of_stem(self.folder / "JPEGImages" / self.stem, IMAGE_SUFFIXES)
        return [path for path in found if os.path.isfile(path)]


def available_splits(data_dir: str) -> list[str]:
    """Lists the splits of a data folder, without VOC's lists of one class.

    Raises:
        ValueError: If there is no such folder, or it does not have VOC's layout.
    """
    folders = _folders(data_dir)
    found = [
        file.stem if len(folders) == 1 else f"{name}/{file.stem}"
        for name, folder in folders.items()
        for file in folder.glob("ImageSets/Main/*.txt")
        if not _is_of_one_class(file)
    ]
    return sorted(found, key=lambda split: ("_" in split, split))


def _is_of_one_class(path: pathlib.Path) -> bool:
    if "_" not in path.stem or not path.is_file():
        return False
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        return _FLAGGED.fullmatch(file.readline().strip()) is not None


def _folders(data_dir: str) -> dict[str, pathlib.Path]:
    """Returns the folders in VOC's layout by name: data_dir itself, or folders in it."""
    root = data_folder(data_dir)
    for candidates in ([root], sorted(root.iterdir())):
        found = {path.name: path for path in candidates if (path / "ImageSets" / "Main").is_dir()}
        if found:
            return found
    expected = "a folder with Annotations/, ImageSets/Main/ and JPEGImages/, or hold such folders"
    message = f"--data_dir must be {expected}. Received: {data_dir!r}"
    raise invalid(expected, repr(data_dir), message=message)


def entries(
    data_dir: str, splits: Sequence[str], problems: list[Problem] | None = None
) -> list[Entry]:
    """Reads image sets.

    Args:
        data_dir: see ``read``.
        splits: see ``read``.
        problems: a list to which a problem is added for each line that would lead out of the
            folder. If it is None, the first such line raises an error.

    Returns:
        The lines of all image sets in order, each once.

    Raises:
        DataError: If a folder or a split is missing or empty, or a line would lead out of the
            folder. The error names it.
    """
    if not splits:
        raise invalid("at least one split", "none", data_dir)
    folders = _folders(data_dir)
    finder = FileFinder(*folders.values())
    lists = [_list_of(data_dir, folders, split) for split in splits]
    lines = [
        (folder, line)
        for folder, path in lists
        for line in _read_list(path, folders[folder], finder, problems)
    ]
    one_folder = len({folder for folder, _ in lines}) == 1
    return [
        Entry(stem if one_folder else f"{folder}/{stem}", folders[folder], stem, finder)
        for folder, stem in dict.fromkeys(lines)
    ]


def _list_of(
    data_dir: str, folders: dict[str, pathlib.Path], split: str
) -> tuple[str, pathlib.Path]:
    """Returns the name of the folder and the file of a split."""
    folder, _, name = split.rpartition("/")
    if not folder and len(folders) == 1:
        folder = next(iter(folders))
    path = folders[folder] / "ImageSets" / "Main" / f"{name}.txt" if folder in folders else None
    if path is None or not path.is_file():
        raise unknown_split(split, available_splits(data_dir), data_dir)
    return folder, path


def _read_list(
    path: pathlib.Path, folder: pathlib.Path, finder: FileFinder, problems: list[Problem] | None
) -> list[str]:
    """Returns the names of the images in a list."""
    written, lines = read_lines(path), []
    for line in written:
        flagged = None if leads_out(line) else _FLAGGED.fullmatch(line)
        # The name of an image may end like a line of a list of one class: "photo 1".
        if not flagged or finder.of_stem(folder / "JPEGImages" / line, IMAGE_SUFFIXES):
            lines.append(line)
        elif flagged[2] != "-1":
            lines.append(flagged[1])
    if not lines:
        message = "no image of the split has its class: all are marked -1"
        message = message if written else "the split is empty"
        raise invalid("a list of images", "no image", path, message=message)
    outside = [
        Problem(
            kind=ProblemKind.OUTSIDE_PATH,
            file=str(path),
            expected=f"names of images inside {folder}",
            received=repr(line),
            remedy=Remedy.LEAVE_OUT,
        )
        for line in lines
        if leads_out(line)
    ]
    if outside and problems is None:
        raise DataError(outside[0])
    if outside:
        problems += outside
    return [line for line in lines if not leads_out(line)]


def read(source: DataSource) -> Reading:
    """Reads annotated images in VOC's layout.

    ``source.data_dir`` is a VOCdevkit (a folder of VOCxxxx folders), one VOCxxxx folder, or other
    data in the same layout. A split is the name of a file in ``ImageSets/Main``, such as
    ``trainval``, optionally with its folder, as in ``VOC2007/trainval``. The folder may be omitted
    if there is only one. An image that several splits contain is read once.

    - An image id is the line of the image set. If the splits are in several folders, it begins with
      the name of the folder and a slash. The image is ``JPEGImages/<line>`` with one of
      ``IMAGE_SUFFIXES``; the annotation's ``<filename>`` is ignored.
    - A list of one class, such as ``cat_trainval``, has a number after each image: 1 if the image
      has objects of the class, 0 if all of these are difficult, and -1 if it has none. As a split
      it stands for the images with 1 or 0.
    - ``class_names_of`` chooses the class names.
    - Without ``source.annotated``, annotations are not opened, and there are neither objects nor
      class names.

    Args:
        source: the source to read.

    Returns:
        All images with their problems.

    Raises:
        DataError: If the folder or a split is missing or empty.
    """
    problems: list[Problem] = []
    listed = entries(source.data_dir, source.splits, problems)
    images = list(map_in_threads(_read_annotated if source.annotated else _read_bare, listed))
    folders = {entry.folder.name for entry in listed}
    choose_names = (lambda found: class_names_of(found, folders)) if source.annotated else tuple
    return to_reading(images, choose_names, problems)


def class_names_of(found: Collection[str], folders: Collection[str]) -> tuple[str, ...]:
    """Chooses the class names of data in VOC's layout.

    Args:
        found: the class names in the annotations.
        folders: the names of the folders in VOC's layout.

    Returns:
        VOC's twenty classes, if all folders are named like VOC's and no other class is found; or
        else the found names, sorted.
    """
    if set(found) <= set(VOC_CLASSES) and all(map(_VOC_FOLDER.fullmatch, folders)):
        return VOC_CLASSES
    return tuple(sorted(found))


def _read_annotated(entry: Entry) -> AnnotatedImage:
    """Reads one annotation and the header of its image."""
    problems: list[Problem] = []
    annotation, root = entry.annotation, None
    try:
        root = voc_xml.parse(annotation)
    except DataError as error:
        (problem,) = error.problems
        is_missing = problem.kind == ProblemKind.MISSING_ANNOTATION
        hint = entry.finder.hint(annotation) if is_missing else ""
        problems.append(problem.replace(message=problem.message + hint))
    path, header = _read_header(entry, problems)
    return voc_xml.annotate(entry.image_id, path, header, annotation, root, problems)


def _read_bare(entry: Entry) -> AnnotatedImage:
    """Reads the header of an image without looking at its annotation."""
    problems: list[Problem] = []
    path, header = _read_header(entry, problems)
    height, width, orientation = header or (0, 0, 1)
    return AnnotatedImage(entry.image_id, path, (height, width), orientation, problems=problems)


def _read_header(entry: Entry, problems: list[Problem]) -> tuple[str, Header | None]:
    """Returns the file of an image, or "", and its header, or None if it cannot be read."""
    stem, images = entry.folder / "JPEGImages" / entry.stem, entry.images
    if not images:
        words = f"the image is missing (with any of {', '.join(IMAGE_SUFFIXES)})"
        words += entry.finder.hint(stem)
        kind, remedy = ProblemKind.MISSING_IMAGE, Remedy.LEAVE_OUT
        problems.append(Problem(kind=kind, file=str(stem), message=words, remedy=remedy))
        return "", None
    path, *others = images
    if others:
        names = ", ".join(ascii(other.name)[1:-1] for other in others)
        words = f"{ascii(path.name)[1:-1]} is used for the image {entry.stem}, and {names} is not"
        problems.append(Problem(kind=ProblemKind.SIMILAR_FILE, file=str(path), message=words))
    header, problem = read_header(path)
    problems += [problem] if problem else []
    return str(path), header
