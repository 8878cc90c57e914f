"""Reads PASCAL VOC's layout: VOC 2007 to 2012, and other data in the same layout.

``voc_layout`` finds the files, and ``voc_xml`` reads an annotation.
"""

import re
from collections.abc import Collection

from keras_frcnn.config import DataSource
from keras_frcnn.data.dataset import Reading, map_in_threads
from keras_frcnn.data.problems import DataError, Problem
from keras_frcnn.data.readers import voc_layout, voc_xml
from keras_frcnn.data.readers.annotated import AnnotatedImage, Header, read_header, to_reading

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

available_splits = voc_layout.available_splits


def read(source: DataSource) -> Reading:
    """Reads annotated images in VOC's layout.

    ``source.data_dir`` is a VOCdevkit (a folder of VOCxxxx folders), one VOCxxxx folder, or other
    data in the same layout. A split is the name of a file in ``ImageSets/Main``, such as
    ``trainval``, optionally with its folder, as in ``VOC2007/trainval``. The folder may be omitted
    if there is only one. An image that several splits contain is read once.

    - An image id is the line of the image set. If the splits are in several folders, it begins with
      the name of the folder and a slash. The image is ``JPEGImages/<line>`` with one of
      ``voc_layout.IMAGE_SUFFIXES``; the annotation's ``<filename>`` is ignored.
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
    entries = voc_layout.entries(source.data_dir, source.splits, problems)
    images = list(map_in_threads(_read_annotated if source.annotated else _read_bare, entries))
    folders = {entry.folder.name for entry in entries}
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


def _read_annotated(entry: voc_layout.Entry) -> AnnotatedImage:
    """Reads one annotation and the header of its image."""
    problems: list[Problem] = []
    root = None
    try:
        root = voc_xml.parse(entry.annotation)
    except DataError as error:
        problems += error.problems
    path, header = _read_header(entry, problems)
    return voc_xml.annotate(entry.image_id, path, header, entry.annotation, root, problems)


def _read_bare(entry: voc_layout.Entry) -> AnnotatedImage:
    """Reads the header of an image without looking at its annotation."""
    problems: list[Problem] = []
    path, header = _read_header(entry, problems)
    height, width, orientation = header or (0, 0, 1)
    return AnnotatedImage(entry.image_id, path, (height, width), orientation, problems=problems)


def _read_header(entry: voc_layout.Entry, problems: list[Problem]) -> tuple[str, Header | None]:
    """Returns the file of an image, or "", and its header, or None if it cannot be read."""
    try:
        path = str(entry.image())
    except DataError as error:
        problems += error.problems
        return "", None
    header, problem = read_header(path)
    problems += [problem] if problem else []
    return path, header
