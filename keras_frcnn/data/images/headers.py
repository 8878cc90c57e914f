"""Reads the size and orientation of image files, and refuses bad files before decoding them."""

import os
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from keras_frcnn.data.images import exif, pillow
from keras_frcnn.data.images.spans import Span, open_image

MAX_PIXELS = 80_000_000
"""Images with more pixels in their header are refused, before memory is allocated."""

MAX_SCANNED_PIXELS = 12 * MAX_PIXELS
"""JPEGs whose scans decode more pixels than this altogether are refused. Programs write about ten
scans, but a small file may hold hundreds, and each one takes time for every pixel."""

SCAN = b"\xff\xda\0"
"""The first bytes of every scan of a JPEG. Its pixels never hold them."""

MAX_TEXTS = 20
"""PNGs with more chunks of text are refused: one of a few kilobytes may unpack to 8 megabytes."""

TEXTS = (b"zTXt", b"iTXt")
"""The names of the chunks of a PNG with text that may be compressed."""

_END_MARKERS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_TAIL_BYTES = 64
_FORMATS = ("JPEG", "PNG")
_OTHER_FORMATS = {
    **{b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP", b"II*\0": "TIFF", b"MM\0*": "TIFF"},
    **{b"\xff\xd8": "a damaged header", b"\x89PNG": "a damaged header"},
}


def image_header(path: str | os.PathLike, span: Span | None = None) -> tuple[int, int, int]:
    """Reads an image's size from its header and checks that the file is not cut off.

    The pixels are only decoded if the format's end marker is not among the last bytes, to tell
    whether the file is cut off or has harmless bytes after the image.

    Args:
        path: a JPEG or PNG file, or a file that contains one.
        span: the position of the image in the file; None if it is the whole file.

    Returns:
        ``(height, width, orientation)``: the size in pixels of the image as displayed, and the EXIF
        orientation of the stored pixels.

    Raises:
        ValueError: If the file is missing, neither JPEG nor PNG, cut off or too large. The error
            names the file.
    """
    try:
        if not os.path.isfile(path):  # opening a pipe would block
            raise ValueError("there is no such file")
        with open_image(path, span) as file, Image.open(file, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"{width} x {height} pixels, more than {MAX_PIXELS} are refused")
            pillow.check_colors(image)
            orientation = exif.orientation(image.info.get("exif", b""))
            _check_end(image, file)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: unreadable image: {_wrong_format(path, span)}") from error
    except Exception as error:  # Pillow's parsers raise nearly anything on damaged files
        raise ValueError(f"{path}: unreadable image: {error}") from error
    return (width, height, orientation) if orientation >= 5 else (height, width, orientation)


def work_problem(content: bytes, height: int, width: int) -> str:
    """Describes why a file would take too long to decode for its size; empty if it would not.

    Args:
        content: the bytes of a JPEG or PNG.
        height: its height in pixels.
        width: its width in pixels.
    """
    if content.startswith(b"\x89PNG"):
        texts = sum(map(content.count, TEXTS))
        return f"{texts} texts, more than {MAX_TEXTS} are refused" if texts > MAX_TEXTS else ""
    scans = content.count(SCAN)
    is_long = scans * height * width > MAX_SCANNED_PIXELS
    return f"{scans} scans of {width} x {height} pixels are refused" if is_long else ""


def size_problem(header_size: tuple[int, int], decoded_size: tuple[int, int]) -> str:
    """Describes the difference between an image's size in its header and when decoded."""
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
    names += ["HEIC or AVIF"] if head[4:] == b"ftyp" else []  # the first 4 bytes hold a size
    return f"expected JPEG or PNG, found {(*names, 'something else')[0]}"


def _check_end(image: Image.Image, file: BinaryIO) -> None:
    """Raises an error if the file of an image is cut off."""
    marker, offset = _END_MARKERS[image.format], file.tell()
    file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
    if marker in file.read():
        return
    file.seek(0)
    content = file.read()
    if image.format == "PNG" and marker not in content:
        raise ValueError("the file is cut off")
    problem = work_problem(content, image.height, image.width)
    if problem:
        raise ValueError(problem)
    file.seek(offset)
    image.load()  # a thumbnail inside a JPEG has an end marker too, so only decoding can tell
