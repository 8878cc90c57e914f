"""Reads one annotation in PASCAL VOC's format: its XML, its size and its boxes."""

import math
import pathlib
import re
from typing import Any

import defusedxml.ElementTree
import numpy as np

from keras_frcnn.data.dataset import fit_box
from keras_frcnn.data.paths import error_message
from keras_frcnn.data.problems import DataError, Problem, ProblemKind, Remedy
from keras_frcnn.data.readers.annotated import AnnotatedImage, AnnotatedObject, Header

_MAX_BYTES = 8_000_000  # size of an annotation with tens of thousands of objects
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_WHOLE = re.compile(r"[0-9]{1,9}(\.0*)?")  # some tools write 128.0


def parse(path: pathlib.Path) -> Any:
    """Returns the root element of an annotation.

    Entities and huge files are refused, because they could fill the memory.

    Raises:
        DataError: If the file is missing or is not an annotation.
    """
    try:
        if not path.is_file():
            raise _error(path, ProblemKind.MISSING_ANNOTATION, "the annotation is missing")
        size = path.stat().st_size
    except (OSError, ValueError) as error:  # a name that no file can have
        if isinstance(error, DataError):
            raise
        raise _error(path, ProblemKind.MISSING_ANNOTATION, error_message(error)) from error
    if size > _MAX_BYTES:
        words = f"broken annotation: more than {_MAX_BYTES} bytes are refused"
        raise _error(path, ProblemKind.BROKEN_ANNOTATION, words)
    try:
        root = defusedxml.ElementTree.parse(path).getroot()
    except (SyntaxError, ValueError, LookupError, OSError) as error:
        words = f"broken annotation: {error_message(error)}"
        raise _error(path, ProblemKind.BROKEN_ANNOTATION, words) from error
    if root.tag != "annotation":
        words = f"expected <annotation> at the root. Received: <{root.tag}>"
        raise _error(path, ProblemKind.BROKEN_ANNOTATION, words)
    return root


def _error(path: pathlib.Path, kind: ProblemKind, words: str) -> DataError:
    problem = Problem(kind=kind, file=str(path), message=words, remedy=Remedy.LEAVE_OUT)
    return DataError(problem)


def annotate(
    image_id: str,
    path: str,
    header: Header | None,
    annotation: pathlib.Path,
    root: Any | None,
    problems: list[Problem],
) -> AnnotatedImage:
    """Joins an image with its annotation.

    Args:
        image_id: the id of the image.
        path: the file of the image; empty if there is none.
        header: the header of the image; None if it cannot be read.
        annotation: the file of the annotation.
        root: the root element of the annotation; None if it cannot be read.
        problems: the problems of the image and the annotation so far.

    Returns:
        The image with all objects, including unusable ones.
    """
    size, objects = None if header is None else header[:2], []
    orientation = 1 if header is None else header[2]
    if root is not None:
        size, problem = check_size(root, header)
        problems += [problem.replace(file=str(annotation))] if problem else []
        objects = read_objects(root, size)
    return AnnotatedImage(image_id, path, size, orientation, str(annotation), objects, problems)


def check_size(root: Any, header: Header | None) -> tuple[tuple[int, int] | None, Problem | None]:
    """Compares the size in an annotation with the image as displayed.

    Args:
        root: the root element of the annotation.
        header: height, width and EXIF orientation of the image; None if it cannot be read.

    Returns:
        ``(size, problem)``: the height and width to which the boxes refer, None if unknown; and the
        problem with the size, None if there is none. An annotation need not have a size.
    """
    true = None if header is None else header[:2]
    element = root.find("size")
    if element is None:
        return true, Problem(kind=ProblemKind.MISSING_SIZE, message="<size> is missing")
    sides = [(element.findtext(tag) or "").strip() for tag in ("height", "width")]
    received = " x ".join(sides)
    if not all(map(_WHOLE.fullmatch, sides)):
        return true, _size_problem(ProblemKind.MISSING_TAG, header, received)
    written = int(float(sides[0])), int(float(sides[1]))
    if true is None:
        return written, None
    if written == true:
        return true, None
    height, width = true
    if header[2] >= 5 and written == (width, height):
        note = ", its size before the EXIF rotation: the boxes are those of the image unrotated"
        return written, _size_problem(ProblemKind.SIZE_MISMATCH, header, received, note)
    same_form = abs(written[0] * width - written[1] * height) <= max(written)
    note = ": of the same form, perhaps resized after the boxes were drawn" if same_form else ""
    return true, _size_problem(ProblemKind.SIZE_MISMATCH, header, received, note)


def _size_problem(
    kind: ProblemKind, header: Header | None, received: str, note: str = ""
) -> Problem:
    expected = "whole numbers as height and width in <size>"
    message = f"expected {expected}. Received: {received}"
    if header is not None:
        expected = f"{header[0]} x {header[1]}"
        message = (
            f"the image is {expected} (height x width, upright by its EXIF orientation). The "
            f"annotation says: {received}{note}"
        )
    return Problem(
        kind=kind,
        message=message,
        expected=expected,
        received=received,
        remedy=Remedy.LEAVE_OUT,
    )


def read_objects(root: Any, size: tuple[int, int] | None) -> list[AnnotatedObject]:
    """Reads the objects of an annotation.

    Only ``<object>`` elements directly under the root, and ``<bndbox>`` elements directly under
    them, are read. Those of a ``<part>`` are ignored.

    Args:
        root: the root element of the annotation.
        size: the height and width to which the boxes refer; None if unknown.

    Returns:
        All objects, including unusable ones.
    """
    height, width = size or (math.inf, math.inf)
    elements = enumerate(root.findall("object"), start=1)
    return [_read_object(number, element, height, width) for number, element in elements]


def _read_object(number: int, element: Any, height: float, width: float) -> AnnotatedObject:
    name = (element.findtext("name") or "").strip()
    difficult = (element.findtext("difficult") or "").strip().lower() in ("1", "1.0", "true")
    corners = _read_corners(element)
    if not name or corners is None:
        words = "<bndbox> needs the numbers xmin, ymin, xmax, ymax" if name else "<name> is missing"
        problem = Problem(kind=ProblemKind.MISSING_TAG, message=words, remedy=Remedy.DROP)
        box = None
    else:
        box, problem = to_box(corners, height, width)
    if problem is not None:
        problem = problem.replace(object=f"object {number}", number=number, class_name=name)
    return AnnotatedObject(name, box, difficult, problem)


def _read_corners(element: Any) -> tuple[float, ...] | None:
    try:
        return tuple(float(element.findtext(f"bndbox/{tag}")) for tag in _CORNERS)
    except (TypeError, ValueError):
        return None


def to_box(
    corners: tuple[float, ...], height: float, width: float
) -> tuple[np.ndarray | None, Problem | None]:
    """Converts corners in VOC's format to a box inside the image.

    The 1-based inclusive corners become ``(ymin - 1, xmin - 1, ymax, xmax)``. A box that extends
    beyond the image by at most one pixel is clipped silently, because tools that count from 0 write
    such boxes. A box with equal corners (``xmin == xmax``) is a problem, because it is more likely
    a mistake than an object one pixel wide.

    Args:
        corners: xmin, ymin, xmax, ymax.
        height: height of the image in pixels; infinite if unknown.
        width: width of the image in pixels; infinite if unknown.

    Returns:
        See ``dataset.fit_box``.
    """
    xmin, ymin, xmax, ymax = corners
    written = f"xmin={xmin:g} ymin={ymin:g} xmax={xmax:g} ymax={ymax:g}"
    box = np.array([ymin - 1, xmin - 1, ymax, xmax])
    if not has_area(corners) and np.all(np.isfinite(corners)):
        kind, words = ProblemKind.DEGENERATE_BOX, f"box has no area ({written})"
        return None, Problem(kind=kind, message=words, box=box, remedy=Remedy.DROP)
    return fit_box(box, height, width, written)


def has_area(corners: tuple[float, ...]) -> bool:
    """Returns whether xmin, ymin, xmax, ymax are finite and in order."""
    xmin, ymin, xmax, ymax = corners
    return bool(np.all(np.isfinite(corners))) and xmin < xmax and ymin < ymax
