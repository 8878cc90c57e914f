"""Annotated images with class names, for formats with one annotation per image."""

import dataclasses
import os
from collections.abc import Callable, Sequence

import numpy as np

from keras_frcnn.data.dataset import Reading, Record
from keras_frcnn.data.images import headers
from keras_frcnn.data.images.spans import Span
from keras_frcnn.data.paths import error_message
from keras_frcnn.data.problems import Problem, ProblemKind, Remedy

Header = tuple[int, int, int]
"""Height and width of an image as displayed, pixels, and its EXIF orientation."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class AnnotatedObject:
    """One object of an annotation.

    Attributes:
        name: its class; empty if it has none.
        box: float32 [4], yxyx pixels inside the image; None if the object cannot be used.
        difficult: whether it is marked as difficult.
        problem: the problem with it; None if there is none.
    """

    name: str
    box: np.ndarray | None
    difficult: bool = False
    problem: Problem | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """One image with its annotation, with class names instead of labels.

    Attributes:
        image_id: the id of the image.
        path: its file; empty if there is none.
        size: the height and width to which its boxes refer; None if unknown.
        orientation: see ``Record``.
        annotation: the annotation's file; empty if there is none.
        objects: its objects, in the order of the annotation.
        problems: the problems of the image and of the annotation as a whole.
    """

    image_id: str
    path: str
    size: tuple[int, int] | None
    orientation: int = 1
    annotation: str = ""
    objects: Sequence[AnnotatedObject] = ()
    problems: Sequence[Problem] = ()

    def to_record(self, label_of: dict[str, int], form: str) -> Record:
        """Returns the record of the image, with the labels of its objects."""
        kept = [item for item in self.objects if item.box is not None]
        faults = [item.problem for item in self.objects if item.problem is not None]
        height, width = self.size or (0, 0)
        return Record(
            image_id=self.image_id,
            path=self.path,
            height=height,
            width=width,
            boxes=np.array([item.box for item in kept], np.float32).reshape(-1, 4),
            labels=np.array([label_of[item.name] for item in kept], np.int32),
            difficult=np.array([item.difficult for item in kept], bool),
            orientation=self.orientation,
            form=form,
            annotation=self.annotation,
            problems=(*self.problems, *(p.replace(file=self.annotation) for p in faults)),
        )


def to_reading(
    images: Sequence[AnnotatedImage],
    choose_names: Callable[[set[str]], tuple[str, ...]],
    problems: Sequence[Problem] = (),
    form: str = "voc",
) -> Reading:
    """Chooses the classes of images, and converts class names to labels.

    Args:
        images: all images of a source.
        choose_names: takes the class names of the objects in usable images, and returns the names
            of the data set in the order of their labels.
        problems: the problems that belong to no image.
        form: see ``Record``.

    Returns:
        The reading.
    """
    used, others = set(), set()
    for image in images:
        is_usable = all(problem.remedy != Remedy.LEAVE_OUT for problem in image.problems)
        for item in image.objects:
            has_box = item.problem is None or item.problem.kind != ProblemKind.MISSING_TAG
            (used if is_usable and has_box else others).add(item.name)
    names = choose_names(used - {""})
    further = tuple(sorted((used | others) - {*names, ""}))
    label_of = {name: label for label, name in enumerate(names + further)}
    records = [image.to_record(label_of, form) for image in images]
    return Reading(names, records, list(problems), further_class_names=further)


def without_repeats(images: Sequence[AnnotatedImage], name: str) -> list[AnnotatedImage]:
    """Adds a problem to images that have the same objects as an earlier one.

    Args:
        images: the images.
        name: the attribute that decides which objects an image has, "image_id" or "annotation".

    Returns:
        The images, in the same order.
    """
    first: dict[str, AnnotatedImage] = {}
    checked = []
    for image in images:
        value = getattr(image, name)
        other = first.setdefault(value, image) if value else image
        if other is not image:
            problem = Problem(
                kind=ProblemKind.REPEATED_IMAGE,
                file=image.path,
                message=f"{other.path} has the same {name.replace('_', ' ')} {value!r}",
                remedy=Remedy.LEAVE_OUT,
            )
            image = dataclasses.replace(image, problems=[*image.problems, problem])
        checked.append(image)
    return checked


def read_header(
    path: str | os.PathLike, span: Span | None = None
) -> tuple[Header | None, Problem | None]:
    """Reads the header of an image.

    Args:
        path: the file that holds the image.
        span: the position of the image in the file; None if it is the whole file.

    Returns:
        ``(header, problem)``, one of which is None.
    """
    try:
        return headers.image_header(path, span), None
    except (ValueError, OSError) as error:  # OSError: a name that is not valid for a file
        words = error_message(error).removeprefix(f"{path}: ")
    return None, Problem(
        kind=ProblemKind.BROKEN_IMAGE, file=str(path), message=words, remedy=Remedy.LEAVE_OUT
    )
