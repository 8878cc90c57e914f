"""Where the bytes of a picture are: a file of its own, or a part of a TFRecord file."""

import io
import os
from typing import BinaryIO, NamedTuple


class Span(NamedTuple):
    """Where in a TFRecord file a picture lies, bytes.

    Attributes:
        record: offset of the record that holds the picture.
        offset: of the picture.
        length: of the picture.
    """

    record: int
    offset: int
    length: int


def open_picture(path: str | os.PathLike, span: Span | None = None) -> BinaryIO:
    """Opens a picture's bytes.

    Args:
        path: the file.
        span: where in it the picture lies; None: it is the whole file.

    Returns:
        The bytes of the picture alone, as a file to read and seek in.

    Raises:
        OSError: if the file is missing or ends before the picture does.
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
