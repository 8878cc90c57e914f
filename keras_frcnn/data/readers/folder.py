"""Reads a plain folder of images, each with a VOC .xml or a YOLO .txt file beside it.

Such a folder has no lists of images, so ``--split`` draws its splits, see ``data.splits``.
"""

import functools
import os
import pathlib

from keras_frcnn.config import DataSource
from keras_frcnn.data import splits
from keras_frcnn.data.dataset import Reading, map_in_threads
from keras_frcnn.data.paths import FileFinder, data_folder, leads_out, read_lines
from keras_frcnn.data.problems import DataError, Problem, ProblemKind, Remedy, invalid
from keras_frcnn.data.readers import voc_xml, yolo
from keras_frcnn.data.readers.annotated import (
    AnnotatedImage,
    read_header,
    to_reading,
    without_repeats,
)

CLASSES = "classes.txt"
EVERYTHING = "all"

_ALIASES = {"train": "trainval", "val": "test"}  # of the two shares


def read(source: DataSource) -> Reading:
    """Reads a plain folder of images, at any depth.

    A split is, under ``source.data_dir``, one of

    - ``trainval`` (or ``train``) and ``test`` (or ``val``), if ``source.split`` gives their shares;
    - the name of a folder in it, if there are no shares;
    - ``all``: every image.

    Details:

    - An image id is the name of the file, relative to ``data_dir``.
    - ``a.jpg`` is annotated by ``a.xml`` in VOC's format, or else by ``a.txt`` in YOLO's format.
      An image without either is a problem, because the annotation may have been forgotten; an empty
      ``a.txt`` means that there are no objects.
    - The classes are the lines of ``classes.txt``, or else of the classes file, to which the
      numbers in ``.txt`` files refer. Further classes in ``.xml`` files follow, sorted.

    Args:
        source: the source to read.

    Returns:
        All images with their problems.

    Raises:
        DataError: If the folder, a split or the class names of ``.txt`` files are missing.
    """
    root = data_folder(source.data_dir)
    lists = [_names_of(source, root, split) for split in source.splits]
    names = dict.fromkeys(name for names in lists for name in names)
    class_names = _class_names(source, root)
    read_one = functools.partial(
        _read_image,
        root=root,
        class_names=class_names,
        annotated=source.annotated,
        finder=FileFinder(root),
    )
    images = without_repeats(list(map_in_threads(read_one, list(names))), "annotation")

    def choose_names(found: set[str]) -> tuple[str, ...]:
        names = class_names or ()
        return names + tuple(sorted(found - set(names)))

    return to_reading(images, choose_names if source.annotated else lambda found: ())


def available_splits(data_dir: str) -> list[str]:
    """Lists the valid splits of a folder without shares."""
    root = data_folder(data_dir)
    return [EVERYTHING, *sorted(path.name for path in root.iterdir() if path.is_dir())]


def _names_of(source: DataSource, root: pathlib.Path, split: str) -> list[str]:
    """Returns the names of the images of a split."""
    if split == EVERYTHING:
        return splits.image_names(root)
    if source.split:
        drawn = splits.splits_of(source)
        name = _ALIASES.get(split, split)
        if name in drawn:
            return drawn[name]
        expected = f"one of the image sets {', '.join([*drawn, EVERYTHING])}"
        raise invalid(expected, repr(split), source.data_dir)
    if split and not leads_out(split) and os.path.isdir(root / split):
        return [f"{split}/{name}" for name in splits.image_names(root / split)]
    expected = (
        f"--split with the shares of training and evaluation, as in --split=0.8,0.2, or one of the "
        f"image sets {', '.join(available_splits(source.data_dir))}"
    )
    raise invalid(expected, repr(split), source.data_dir)


def _class_names(source: DataSource, root: pathlib.Path) -> tuple[str, ...] | None:
    """Returns the class names to which numbers refer; None if there are none."""
    for path in (root / CLASSES, pathlib.Path(source.classes_file)):
        if os.path.isfile(path):
            return tuple(read_lines(path))
    return None


def _read_image(
    name: str,
    root: pathlib.Path,
    class_names: tuple[str, ...] | None,
    annotated: bool,
    finder: FileFinder,
) -> AnnotatedImage:
    """Reads the header of an image and the annotation beside it."""
    path = finder.find(root / name) or root / name
    problems: list[Problem] = []
    if os.path.isfile(path):
        header, problem = read_header(path)
        problems += [problem] if problem else []
    else:  # a stored split may name an image that has been removed
        header, kind = None, ProblemKind.MISSING_IMAGE
        words, remedy = "the image is missing", Remedy.LEAVE_OUT
        problems.append(Problem(kind=kind, file=str(path), message=words, remedy=remedy))
        return AnnotatedImage(name, "", None, problems=problems)
    size, orientation = (header[:2], header[2]) if header else (None, 1)
    xml, txt = (finder.find(beside) or beside for beside in map(path.with_suffix, (".xml", ".txt")))
    if not annotated:
        return AnnotatedImage(name, str(path), size, orientation, problems=problems)
    if xml.is_file():
        try:
            root_element = voc_xml.parse(xml)
        except DataError as error:
            root_element = None
            problems += error.problems
        return voc_xml.annotate(name, str(path), header, xml, root_element, problems)
    if txt.is_file() and txt != root / CLASSES:
        if class_names is None:
            expected = f"the class names of .txt files in {CLASSES}, one per line"
            raise invalid(expected, "none", root)
        objects, faults = yolo.read_labels(txt, class_names, size)
        problems += faults
        return AnnotatedImage(name, str(path), size, orientation, str(txt), objects, problems)
    expected = f"{xml.name} or {txt.name} beside the image (an empty .txt file for no objects)"
    kind, remedy = ProblemKind.MISSING_ANNOTATION, Remedy.LEAVE_OUT
    problems.append(
        Problem(kind=kind, file=str(path), expected=expected, received="neither", remedy=remedy)
    )
    return AnnotatedImage(name, str(path), size, orientation, problems=problems)
