"""Finds image files and reads their pixels.

``to_image`` reads images for everything outside tf.data: detection, drawings and classic proposals.
It decodes with the same operations as the training pipeline, and converts Pillow's images to the
pixels that it would read from their files.
"""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from keras_frcnn.data.dataset import Record
from keras_frcnn.data.images import exif, headers, pillow
from keras_frcnn.data.images.spans import Span, open_image

_SUFFIXES = (".jpg", ".jpeg", ".png")
_FORMS = "a file name or a uint8 array [H, W, 3] with RGB from 0 to 255, or a PIL image"


def find_images(sources: Iterable[str]) -> list[Path]:
    """Finds the image files that a user names.

    Args:
        sources: files, folders (whose .jpg, .jpeg and .png files are taken, without subfolders) and
            patterns with ``*``, ``?``, ``[...]`` or ``**``.

    Returns:
        The files in the order of the sources, sorted by name within a source; each file once.

    Raises:
        ValueError: If a source contains no image. The error names it.
    """
    found = {}
    for source in sources:
        paths = _files_of(source)
        if not paths:
            raise ValueError(
                "--images must be image files, folders of images or patterns of file names. "
                f"Found no image at: {source}"
            )
        for path in paths:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def to_image(image: str | os.PathLike | Record | Image.Image | np.ndarray) -> np.ndarray:
    """Reads an image file and turns it upright, or checks and converts an image in memory.

    Args:
        image: the name of a JPEG or PNG file; the record of an image; an image of Pillow in any
            mode, which is turned upright by its EXIF orientation; or a uint8 array: RGB [H, W, 3],
            RGB with alpha [H, W, 4], or grey [H, W] or [H, W, 1]. Alpha is dropped.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        ValueError: If the file cannot be read or the array is not an image. The error names the
            file, or the array's dtype and shape.
    """
    if isinstance(image, Record):
        return _read(image.path, image.span, image.name)
    if isinstance(image, str | os.PathLike):
        return _read(image, None, str(image))
    return _converted(image) if isinstance(image, Image.Image) else _checked(image)


def _files_of(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES and p.is_file())
    return sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())


def _read(path: str | os.PathLike, span: Span | None, name: str) -> np.ndarray:
    height, width, orientation = headers.image_header(path, span)
    import tensorflow as tf  # takes seconds to load; finding images does not need it

    from keras_frcnn.data.images import transforms

    try:
        with tf.device("CPU:0"), open_image(path, span) as file:
            content = file.read()
            problem = headers.work_problem(content, height, width)
            image = None if problem else transforms.decode(content, orientation).numpy()
    except tf.errors.OpError as error:
        raise ValueError(f"{name}: unreadable image: {error.message}") from error
    if not problem and image.shape != (height, width, 3):
        problem = headers.size_problem((height, width), image.shape[:2])
    if problem:
        raise ValueError(f"{name}: unreadable image: {problem}")
    return image


def _converted(image: Image.Image) -> np.ndarray:
    """Converts an image of Pillow to the pixels that ``_read`` gives for its file."""
    name = getattr(image, "filename", "") or f"a PIL image of mode {image.mode}"
    try:
        pillow.check_colors(image)
        # Loading a PNG adds EXIF data behind its pixels, which the rule ignores.
        orientation = exif.orientation(image.info.get("exif", b""))
        array = np.array(pillow.upright(pillow.to_rgb(image), orientation))
    except Exception as error:  # Pillow decodes only now; see headers.image_header
        raise ValueError(f"{name}: unreadable image: {error}") from error
    return _checked(array)


def _checked(image) -> np.ndarray:
    try:
        image = np.asarray(image)
    except Exception as error:  # of nested lists, and of what other libraries convert
        raise ValueError(f"an image must be {_FORMS}. Received: {type(image)}: {error}") from error
    channels = {2: [1], 3: image.shape[2:]}.get(image.ndim, [0])[0]
    if image.dtype != np.uint8 or not image.size or channels not in (1, 3, 4):
        raise ValueError(f"an image must be {_FORMS}. Received: {image.dtype} {list(image.shape)}")
    if channels == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    return image[..., :3]
