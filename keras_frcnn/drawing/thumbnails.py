"""Small images for pages: read from files that may be damaged, and embedded as data URLs."""

import base64
import io
import os
import warnings

from markupsafe import Markup
from PIL import Image, ImageFile

from keras_frcnn.data.images import exif, pillow
from keras_frcnn.data.images.headers import MAX_PIXELS
from keras_frcnn.data.images.spans import Span, open_image


def data_url(image: Image.Image) -> Markup:
    """Returns an RGB image as the ``src`` of an ``<img>``: a JPEG inside the URL."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80, subsampling=0)  # full color, as box lines are thin
    return Markup("data:image/jpeg;base64,") + base64.b64encode(buffer.getvalue()).decode("ascii")


def read(
    path: str | os.PathLike, side: int, upright: bool = True, span: Span | None = None
) -> Image.Image:
    """Reads a small version of an image. Of a truncated file it reads the part that is there.

    Args:
        path: A JPEG or PNG file.
        side: The longer side of the result has at most this many pixels.
        upright: Whether to turn the image as its EXIF orientation says.
        span: Where in the file the image lies; None if it is the whole file.

    Returns:
        An RGB image.

    Raises:
        ValueError: If nothing can be read or the image is too large; the message names the file.
    """
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about images that are known to be faulty
            return _read(path, side, upright, span)
    except Exception as error:  # Pillow's parsers raise nearly anything on damaged files
        raise ValueError(f"{path}: unreadable image: {error}") from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _read(path: str | os.PathLike, side: int, upright: bool, span: Span | None) -> Image.Image:
    # Pillow reads from memory: from a file, it would first reserve as many bytes as a damaged
    # header asks for, which may be more than there are.
    with open_image(path, span) as file:
        content = io.BytesIO(file.read())
    with Image.open(content, formats=("JPEG", "PNG")) as image:
        if image.width * image.height > MAX_PIXELS:
            size = f"{image.width} x {image.height}"
            raise ValueError(f"expected at most {MAX_PIXELS} pixels. Received: {size}")
        orientation = exif.orientation(image.info.get("exif", b"")) if upright else 1
        image.draft("RGB", (2 * side, 2 * side))
        image.load()
    image = pillow.to_rgb(pillow.upright(image, orientation))
    image.thumbnail((side, side))
    return image
