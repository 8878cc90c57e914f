"""Headers of images' files: what can be told, and refused, before a pixel is decoded."""

import os
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from keras_frcnn.data.images import exif
from keras_frcnn.data.images.spans import Span, open_image

MAX_PIXELS = 80_000_000
"""Images that claim more pixels than this are refused by their header, before memory is spent."""

_END_MARKERS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_TAIL_BYTES = 64
_FORMATS = ("JPEG", "PNG")
_FOREIGN_FORMS = {
    **{b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP", b"II*\0": "TIFF", b"MM\0*": "TIFF"},
    **{b"\xff\xd8": "a damaged header", b"\x89PNG": "a damaged header"},
}


def image_header(path: str | os.PathLike, span: Span | None = None) -> tuple[int, int, int]:
    """Reads an image's size from its header and makes sure that the file is not cut off.

    The pixels are not decoded, unless the file's last bytes lack the format's end marker: bytes
    after the image are harmless, a cut is not.

    Args:
        path: a JPEG or PNG file, or one that holds such an image.
        span: where in it the image lies; None: it is the whole file.

    Returns:
        ``(height, width, orientation)``: pixels of the image as displayed, and the EXIF
        orientation of the stored pixels.

    Raises:
        ValueError: naming the file, if it is missing, no JPEG or PNG, cut off or too large.
    """
    try:
        if not os.path.isfile(path):  # a pipe would be waited for
            raise ValueError("there is no such file")
        with open_image(path, span) as file, Image.open(file, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"{width} x {height} pixels, more than {MAX_PIXELS} are refused")
            if image.mode == "CMYK" and "adobe" not in image.info:
                raise ValueError(
                    "CMYK without Adobe's marker, whose colours programs read in two ways: save it "
                    "as RGB"
                )
            orientation = exif.orientation(image.info.get("exif", b""))
            _check_end(image, file)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: unreadable image: {_foreign_form(path, span)}") from error
    except Exception as error:  # Pillow's parsers raise nearly anything on damaged files
        raise ValueError(f"{path}: unreadable image: {error}") from error
    return (width, height, orientation) if orientation >= 5 else (height, width, orientation)


def _foreign_form(path: str | os.PathLike, span: Span | None) -> str:
    """Says what a file is that is no JPEG or PNG, by its first bytes."""
    with open_image(path, span) as file:
        head = file.read(8)
    if not head:
        return "the file is empty"
    forms = [form for start, form in _FOREIGN_FORMS.items() if head.startswith(start)]
    forms += ["HEIC or AVIF"] if head[4:] == b"ftyp" else []  # 4 bytes of size before it
    return f"expected JPEG or PNG, found {(*forms, 'something else')[0]}"


def _check_end(image: Image.Image, file: BinaryIO) -> None:
    """Raises an error if the image's file is cut off."""
    marker, place = _END_MARKERS[image.format], file.tell()
    file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
    if marker in file.read():
        return
    file.seek(0)
    if image.format == "PNG" and marker not in file.read():
        raise ValueError("the file is cut off")
    file.seek(place)
    image.load()  # a preview inside a JPEG has an end marker too, so that only decoding can tell
