"""Images of a page: small copies inside it, each with a caption and a link to its file."""

import dataclasses
import os
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_frcnn.drawing import thumbnails
from keras_frcnn.drawing.canvas import Canvas

SIDE = 640
"""Pixels of the longer side of an image; enough to enlarge it."""

MAX_BYTES = 12_000_000
"""The size of all images of a page."""


@dataclasses.dataclass(frozen=True)
class Shown:
    """An image of a page.

    Attributes:
        image_id: The id of the image.
        source: The image as a data URL; empty if there is none.
        reason: Why there is none.
        link: The URL of the image's file, relative to the page; empty if it has no file of its own.
    """

    image_id: str
    source: str
    reason: str
    link: str


@dataclasses.dataclass(frozen=True)
class Figure:
    """One or more images with a caption."""

    images: Sequence[Shown]
    caption: str


def own_file(image: Any) -> str | None:
    """Returns the file of a record or sample; None if the image lies in a file with others."""
    return image.path if image.span is None else None


def small_copy(record: Any) -> tuple[Canvas, np.ndarray]:
    """Reads a record's image for a page.

    Returns:
        A canvas with the image, and [4], the factors that turn the record's boxes into its pixels.

    Raises:
        ValueError: If the image cannot be read; the message names the file.
    """
    image = thumbnails.read(record.path, SIDE, record.orientation != 1, record.span)
    scale = np.array([image.height / record.height, image.width / record.width] * 2)
    return Canvas(np.asarray(image)), scale


class Gallery:
    """Makes the images of a page until they fill it.

    Args:
        page: The file of the page.
    """

    def __init__(self, page: Path):
        self._folder = os.path.abspath(os.path.dirname(page))
        self._bytes_left = MAX_BYTES

    def show(
        self, image_id: str, file: str | os.PathLike | None, draw: Callable[[], Image.Image]
    ) -> Shown:
        """Returns an image with a link to its file.

        Args:
            image_id: The id of the image.
            file: The file that holds this image and nothing else; None if there is none.
            draw: Returns the image. It may raise a ValueError if the image cannot be read.
        """
        link = self._link(file) if file is not None and os.path.isfile(file) else ""
        try:
            source = thumbnails.data_url(draw())
        except ValueError:  # the file is missing or unreadable
            return Shown(image_id, "", "no image", link)
        if len(source) > self._bytes_left:
            return Shown(image_id, "", "left out: the page is full", link)
        self._bytes_left -= len(source)
        return Shown(image_id, source, "", link)

    def _link(self, file: str | os.PathLike) -> str:
        """Returns a URL that works wherever the page and the file are moved together."""
        path = os.path.relpath(os.path.abspath(file), self._folder)
        return urllib.parse.quote(os.fsencode(path))  # names may be bytes that are not UTF-8
