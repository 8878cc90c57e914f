"""An annotated image with all its faults, as ``check-data`` needs it: nothing is an error."""

import concurrent.futures
import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_frcnn.console import with_progress
from keras_frcnn.data.images.integrity import ImageFile
from keras_frcnn.data.images.spans import Span
from keras_frcnn.data.readers import voc_layout

SUBSETS = ("train", "eval")
LINK_WORDS = "a link out of the data folder; not followed"

_MOST_THREADS = 8

Problem = tuple[str, str]  # kind, words


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Object:
    """One object.

    Attributes:
        number: its place in the annotation, from 1.
        name: its class; may be empty.
        written: float64 [4], the box as written: yxyx pixels, far edge exclusive; it may lie
            anywhere. None if unreadable.
        box: float32 [4], the same inside the image; None if nothing usable of it is.
        difficult: see ``Record``.
        problem: what is wrong; None if nothing.
    """

    number: int
    name: str
    written: np.ndarray | None
    box: np.ndarray | None
    difficult: bool = False
    problem: Problem | None = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One image, its annotation and what is wrong with them.

    Attributes:
        image_id: name of the image in its dataset.
        subset: one of ``SUBSETS``.
        path: the image's file; None if there is none, or none that may be opened.
        annotation: the annotation's file; None if the source has none for each image.
        file: what the image's file holds.
        height: pixels of the image as the boxes see it; 0 if unknown.
        width: likewise.
        as_stored: whether the boxes see the image without its EXIF rotation.
        objects: its objects; None if it has no readable annotation.
        problems: what is wrong besides the objects.
        entry: where it lies, in VOC's layout.
        span: where in ``path`` the image lies; None: it is the whole file.
    """

    image_id: str
    subset: str
    path: Path | None
    annotation: Path | None
    file: ImageFile
    height: int
    width: int
    as_stored: bool = False
    objects: list[Object] | None = None
    problems: list[Problem] = dataclasses.field(default_factory=list)
    entry: voc_layout.Entry | None = None
    span: Span | None = None


@dataclasses.dataclass
class Source:
    """All images of a data set.

    Attributes:
        class_names: the classes; found in the training images unless given.
        samples: the images to train on, then those to evaluate on.
        left_out: ``(subset, line)`` for what the reader left out without saying where it was.
        remarks: what the user should know about what was read.
        unmatched: ``(subset, class, line)`` for each class of joined data that matches none.
    """

    class_names: tuple[str, ...]
    samples: list[Sample]
    left_out: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    remarks: list[str] = dataclasses.field(default_factory=list)
    unmatched: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)


def is_inside(path: Path, folders: Sequence[Path]) -> bool:
    """Says whether a file, links followed, lies in one of some resolved folders."""
    return any(path.resolve().is_relative_to(folder) for folder in folders)


def in_threads(function: Callable[[Any], Sample], items: list[Any]) -> list[Sample]:
    """Applies a function to items in order; Pillow decodes without holding the others up."""
    workers = min(_MOST_THREADS, os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        results = pool.map(function, items)
        return list(with_progress(results, "Checking images", len(items)))
