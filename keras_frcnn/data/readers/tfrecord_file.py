"""Finds the TFRecord files of a split, and the positions of the records in them.

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
from keras_frcnn.data.problems import Problem, ProblemKind, Remedy, invalid, unknown_split

MAX_BYTES = 2**28
"""Longer records are refused, because no image that can be read has as many bytes."""

_HEADER = struct.Struct("<QI")
HEADER_BYTES = _HEADER.size
"""Number of bytes before a record's payload."""

_CHECKSUM = struct.Struct("<I")
_SUFFIX = r"(?:\.tfrecords?|\.records?)?"
_NAME = re.compile(rf"(?P<split>.+?){_SUFFIX}(?:-\d+-of-(?P<count>\d+))?{_SUFFIX}")


class Place(NamedTuple):
    """The position of a record.

    Attributes:
        split: the split to which it belongs, as the user names it.
        path: the file.
        number: the number of the record in the file, from 1.
        offset: the position of its payload in the file, in bytes.
        length: the length of its payload, in bytes.
    """

    split: str
    path: pathlib.Path
    number: int
    offset: int
    length: int

    @property
    def words(self) -> str:
        """The name of the record in messages about its file."""
        return f"record {self.number}"


def locate(data_dir: str, split: str) -> list[pathlib.Path]:
    """Finds the files of a split.

    Args:
        data_dir: the setting of this name.
        split: a split as ``tfrecord.read`` explains it.

    Returns:
        The files, sorted by name.

    Raises:
        DataError: If the split does not exist or is incomplete. The error lists the known splits.
    """
    root, pattern = data_folder(data_dir), pathlib.PurePath(split)
    if pattern.is_absolute() or ".." in pattern.parts:
        message = f"a split must lie below --data_dir. Received: {split!r}"
        raise invalid("a split below --data_dir", repr(split), data_dir, message)
    found = sorted(path for path in root.glob(split) if path.is_file())
    if found:
        return found
    folder = root / pattern.parent
    names = {path: _split_of(path) for path in folder.glob("*") if path.is_file()}
    found = sorted(path for path, (name, _) in names.items() if name == pattern.name)
    if not found:
        more = "a pattern of TFRecord files such as 'train-*.tfrecord'"
        raise unknown_split(split, available_splits(data_dir), data_dir, more)
    counts = {names[path][1] for path in found} - {0}
    if counts not in (set(), {len(found)}):
        expected = (
            f"all files of {split!r}, {' or '.join(map(str, counts))} by their names; to take some "
            "of them, give a pattern"
        )
        raise invalid(expected, f"{len(found)} files", folder)
    return found


def available_splits(data_dir: str) -> list[str]:
    """Lists the valid splits of a folder with TFRecord files."""
    names = (_split_of(path)[0] for path in pathlib.Path(data_dir).glob("*") if path.is_file())
    return sorted({name for name in names if name})


def index(split: str, path: pathlib.Path) -> tuple[list[Place], Problem | None]:
    """Finds the records of a file, without reading them.

    Args:
        split: see ``Place``.
        path: the file.

    Returns:
        The records before the first damage, and the problem there; None if there is none.
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
        place: its position.

    Returns:
        Its payload.

    Raises:
        ValueError: If the checksum is wrong. The error does not name the record.
        OSError: If the file cannot be read.
    """
    with open(place.path, "rb") as file:
        file.seek(place.offset)
        payload, checksum = file.read(place.length), file.read(_CHECKSUM.size)
    if checksum != _CHECKSUM.pack(_checksum(payload)):
        raise ValueError("the record is damaged: its checksum does not match")
    return payload


def _read_length(file: BinaryIO, left: int) -> int:
    """Reads the header of a record and returns its length; ``left`` bytes of the file remain."""
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
    """Returns the split in a file's name, or "", and the number of its files, or 0."""
    match = _NAME.fullmatch(path.name)
    if match is None or match["split"] == path.name:
        return "", 0
    return match["split"], int(match["count"] or 0)
