"""Headers of image files: size and orientation, and refusals before a pixel is decoded."""

import os
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from keras_frcnn.data.images import exif
from keras_frcnn.data.images.spans import Span, open_image

MAX_PIXELS = 80_000_000
"""Images whose header claims more pixels are refused, before memory is spent."""

_END_MARKERS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_TAIL_BYTES = 64
_FORMATS = ("JPEG", "PNG")
_OTHER_FORMATS = {
    **{b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP", b"II*\0": "TIFF", b"MM\0*": "TIFF"},
    **{b"\xff\xd8": "a damaged header", b"\x89PNG": "a damaged header"},
}


def image_header(path: str | os.PathLike, span: Span | None = None) -> tuple[int, int, int]:
    """Reads an image's size from its header and makes sure that the file is not cut off.

    The pixels are decoded only if the file's last bytes lack the format's end marker, to tell a
    file that is cut off from one with harmless bytes behind the image.

    Args:
        path: a JPEG or PNG file, or a file that contains one.
        span: where the image lies in that file; None if it is the whole file.

    Returns:
        ``(height, width, orientation)``: the size in pixels of the image as displayed, and the EXIF
        orientation of the stored pixels.

    Raises:
        ValueError: naming the file, if it is missing, not a JPEG or PNG, cut off or too large.
    """
    try:
        if not os.path.isfile(path):  # opening a pipe would wait for its writer
            raise ValueError("there is no such file")
        with open_image(path, span) as file, Image.open(file, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"{width} x {height} pixels, more than {MAX_PIXELS} are refused")
            if image.mode == "CMYK" and "adobe" not in image.info:
                raise ValueError(
                    "CMYK without Adobe's marker, whose colours programs read in two ways; save it "
                    "as RGB"
                )
            orientation = exif.orientation(image.info.get("exif", b""))
            _check_end(image, file)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: unreadable image: {_wrong_format(path, span)}") from error
    except Exception as error:  # Pillow's parsers raise nearly anything on damaged files
        raise ValueError(f"{path}: unreadable image: {error}") from error
    return (width, height, orientation) if orientation >= 5 else (height, width, orientation)


def size_problem(header_size: tuple[int, int], decoded_size: tuple[int, int]) -> str:
    """Describes an image whose decoded size, (height, width), differs from its header's."""
    (height, width), (decoded_height, decoded_width) = header_size, decoded_size
    return (
        f"{height} x {width} pixels (height x width) by its header, {decoded_height} x "
        f"{decoded_width} when decoded"
    )


def _wrong_format(path: str | os.PathLike, span: Span | None) -> str:
    """Describes a file that is neither JPEG nor PNG by its first bytes."""
    with open_image(path, span) as file:
        head = file.read(8)
    if not head:
        return "the file is empty"
    names = [name for start, name in _OTHER_FORMATS.items() if head.startswith(start)]
    names += ["HEIC or AVIF"] if head[4:] == b"ftyp" else []  # behind 4 bytes with a size
    return f"expected JPEG or PNG, found {(*names, 'something else')[0]}"


def _check_end(image: Image.Image, file: BinaryIO) -> None:
    """Raises an error if the image's file is cut off."""
    marker, offset = _END_MARKERS[image.format], file.tell()
    file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
    if marker in file.read():
        return
    file.seek(0)
    if image.format == "PNG" and marker not in file.read():
        raise ValueError("the file is cut off")
    file.seek(offset)
    image.load()  # a thumbnail inside a JPEG has an end marker too, so only decoding can tell
