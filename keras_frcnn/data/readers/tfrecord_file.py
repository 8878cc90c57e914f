"""TFRecord files: which ones belong to a split, and where each whole record lies in them.

A file is a sequence of records. Each has the length of its payload (8 bytes, little endian), the
checksum of the length (4), the payload and its checksum (4). A checksum is a masked CRC-32C.
"""

import os
import pathlib
import re
import struct
from typing import BinaryIO, NamedTuple

import google_crc32c

from keras_frcnn.data.paths import data_folder
from keras_frcnn.data.problems import Problem, ProblemKind, Remedy, invalid

MAX_BYTES = 2**28
"""Longer records are refused: no image that may be read has as many bytes."""

_HEADER = struct.Struct("<QI")
HEADER_BYTES = _HEADER.size
"""What stands before a record's payload."""

_CHECKSUM = struct.Struct("<I")
_SUFFIX = r"(?:\.tfrecords?|\.records?)?"
_NAME = re.compile(rf"(?P<split>.+?){_SUFFIX}(?:-\d+-of-(?P<count>\d+))?{_SUFFIX}")
_SHOWN = 12


class Place(NamedTuple):
    """Where a record lies.

    Attributes:
        split: the split that it belongs to, as the user names it.
        path: the file.
        number: the place of the record in the file, from 1.
        offset: where its payload begins, bytes.
        length: how long its payload is, bytes.
    """

    split: str
    path: pathlib.Path
    number: int
    offset: int
    length: int

    @property
    def words(self) -> str:
        """The words for the record in messages about its file."""
        return f"record {self.number}"


def locate(data_dir: str, split: str) -> list[pathlib.Path]:
    """Finds the files of a split.

    Args:
        data_dir: the setting of this name.
        split: a split as ``tfrecord.read`` explains it.

    Returns:
        The files, sorted by name.

    Raises:
        DataError: naming what is missing, and the splits that there are.
    """
    root, wanted = data_folder(data_dir), pathlib.PurePath(split)
    if wanted.is_absolute() or ".." in wanted.parts:
        message = f"a split must lie below data_dir. Received: {split!r}"
        raise invalid("a split below data_dir", repr(split), data_dir, message)
    found = sorted(path for path in root.glob(split) if path.is_file())
    if found:
        return found
    folder = root / wanted.parent
    names = {path: _split_of(path) for path in folder.glob("*") if path.is_file()}
    found = sorted(path for path, (name, _) in names.items() if name == wanted.name)
    if not found:
        known = available_splits(data_dir)
        more = ", ..." if len(known) > _SHOWN else ""
        expected = (
            "a pattern of TFRecord files, as in 'train-*.tfrecord', or one of the splits: "
            f"{', '.join(known[:_SHOWN]) or 'none'}{more}"
        )
        raise invalid(expected, repr(split), data_dir)
    counts = {names[path][1] for path in found} - {0}
    if counts not in (set(), {len(found)}):
        expected = (
            f"all files of {split!r}, {' or '.join(map(str, counts))} by their names; to take some "
            "of them, give a pattern"
        )
        raise invalid(expected, f"{len(found)} files", folder)
    return found


def available_splits(data_dir: str) -> list[str]:
    """Lists what can be said as a split of a folder with TFRecord files."""
    names = (_split_of(path)[0] for path in pathlib.Path(data_dir).glob("*") if path.is_file())
    return sorted({name for name in names if name})


def index(split: str, path: pathlib.Path) -> tuple[list[Place], Problem | None]:
    """Finds the records of a file, without reading them.

    Args:
        split: see ``Place``.
        path: the file.

    Returns:
        The records up to the first damaged place, and what is wrong there; None if nothing is.
    """
    places: list[Place] = []
    try:
        with open(path, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            offset = file.seek(0)
            while offset < end:
                length = _read_length(file, end - offset)
                offset += _HEADER.size
                places.append(Place(split, path, len(places) + 1, offset, length))
                offset = file.seek(offset + length + _CHECKSUM.size)
    except (OSError, ValueError) as error:
        return places, Problem(
            kind=ProblemKind.INVALID_ENTRY,
            message=str(error),
            file=str(path),
            object=f"record {len(places) + 1}",
            remedy=Remedy.STOP_READING,
        )
    return places, None


def read(place: Place) -> bytes:
    """Reads a record.

    Args:
        place: where it lies.

    Returns:
        Its payload.

    Raises:
        ValueError: if the checksum is wrong; without the record's name.
        OSError: if the file cannot be read.
    """
    with open(place.path, "rb") as file:
        file.seek(place.offset)
        payload, checksum = file.read(place.length), file.read(_CHECKSUM.size)
    if checksum != _CHECKSUM.pack(_checksum(payload)):
        raise ValueError("the record is damaged: its checksum does not match")
    return payload


def _read_length(file: BinaryIO, left: int) -> int:
    """Reads the head of a record; ``left`` bytes of the file are left."""
    head = file.read(_HEADER.size)
    if head[:2] == b"\x1f\x8b":
        raise ValueError("the file is compressed by gzip: write it without compression")
    if len(head) < _HEADER.size:
        raise ValueError("the file is cut off")
    length, checksum = _HEADER.unpack(head)
    if checksum != _checksum(head[:8]):
        raise ValueError("no TFRecord file, or a damaged one: the checksum of a length is wrong")
    if length > MAX_BYTES:
        raise ValueError(f"{length} bytes, more than {MAX_BYTES} are refused")
    if _HEADER.size + length + _CHECKSUM.size > left:
        raise ValueError("the file is cut off")
    return length


def _checksum(content: bytes) -> int:
    value = google_crc32c.value(content)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _split_of(path: pathlib.Path) -> tuple[str, int]:
    """Returns the split that a file's name says, empty if none, and of how many files it is."""
    match = _NAME.fullmatch(path.name)
    if match is None or match["split"] == path.name:
        return "", 0
    return match["split"], int(match["count"] or 0)
