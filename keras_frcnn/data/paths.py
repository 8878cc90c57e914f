"""Paths in a data folder: finding images, reading lists, and refusing names that lead out of it."""

import os
import pathlib
from collections.abc import Iterator

from keras_frcnn.data.problems import invalid

LISTED_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")
"""Suffixes of the files that count as images when a folder is searched. Files that are neither JPEG
nor PNG are reported as problems instead of being overlooked."""


def data_folder(data_dir: str) -> pathlib.Path:
    """Returns the path of a data folder, with links resolved.

    Raises:
        DataError: If there is no such folder.
    """
    if not data_dir or not os.path.isdir(data_dir):
        message = f"data_dir must be an existing folder. Received: {data_dir!r}"
        if data_dir and not os.path.isabs(data_dir):
            message += f", which is not in {os.getcwd()}: give its path as data_dir"
        raise invalid("an existing folder as data_dir", repr(data_dir), message=message)
    return pathlib.Path(data_dir).resolve()


def leads_out(name: str) -> bool:
    """Returns whether a name from a file could lead out of the folder that it is relative to."""
    if "\\" in name or pathlib.PurePosixPath(name).is_absolute():
        return True
    return ".." in name.split("/")


def find_images(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the image files at any depth below a folder, sorted within each folder.

    Links to folders are not followed.
    """
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = pathlib.Path(parent, name)
            if path.suffix.lower() in LISTED_SUFFIXES and path.is_file():
                yield path


def error_message(error: Exception) -> str:
    """Returns the message of an error without the name of the file, which may be very long."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def read_lines(path: pathlib.Path) -> list[str]:
    """Reads a list from a text file.

    Returns:
        The stripped lines, without empty ones.

    Raises:
        DataError: If the file is missing or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise invalid("a text file in UTF-8", error, path) from error
    return [line.strip() for line in text.splitlines() if line.strip()]
