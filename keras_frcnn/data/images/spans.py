"""Spans: the position of an image inside a TFRecord file, and opening the image."""

import io
import os
from typing import BinaryIO, NamedTuple


class Span(NamedTuple):
    """The part of a TFRecord file that holds an image.

    Attributes:
        record: the offset of the TFRecord that contains the image, in bytes.
        offset: the offset of the image's first byte in the file.
        length: the number of the image's bytes.
    """

    record: int
    offset: int
    length: int


def open_image(path: str | os.PathLike, span: Span | None = None) -> BinaryIO:
    """Opens an image for reading.

    Args:
        path: the file.
        span: the position of the image in the file; None if the image is the whole file.

    Returns:
        A seekable file object with only the bytes of the image.

    Raises:
        OSError: If the file is missing or ends before the image does.
    """
    if span is None:
        return open(path, "rb")
    with open(path, "rb") as file:
        file.seek(span.offset)
        content = file.read(span.length)
    if len(content) < span.length:
        words = f"expected {span.length} bytes at {span.offset}"
        raise OSError(f"{path}: {words}. Received: {len(content)}")
    return io.BytesIO(content)
