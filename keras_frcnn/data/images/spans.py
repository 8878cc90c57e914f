"""Where the bytes of an image are: a file of its own, or a part of a TFRecord file."""

import io
import os
from typing import BinaryIO, NamedTuple


class Span(NamedTuple):
    """Where in a TFRecord file an image lies, bytes.

    Attributes:
        record: offset of the record that holds the image.
        offset: of the image.
        length: of the image.
    """

    record: int
    offset: int
    length: int


def open_image(path: str | os.PathLike, span: Span | None = None) -> BinaryIO:
    """Opens an image's bytes.

    Args:
        path: the file.
        span: where in it the image lies; None: it is the whole file.

    Returns:
        The bytes of the image alone, as a file to read and seek in.

    Raises:
        OSError: if the file is missing or ends before the image does.
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
