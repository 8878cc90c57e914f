"""Writing files: whole or not at all, only to places that can be written to, and what failed."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# What can be wrong with the place of a file, as opposed to the program that uses it.
_FAULTS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.ESTALE),
)
_FAULTS_OF_A_NAME = (*_FAULTS, errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.EBUSY)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a hidden file to write to, which replaces a file once it is complete.

    If anything fails, an existing file stays as it was, and nothing else is left behind.

    Args:
        path: the file to replace.
    """
    path = Path(path)
    # The same name for every run, so that one remains; short enough at four bytes a character.
    part = path.with_name(f".{path.name[:50]}.part")
    try:
        yield part
        os.replace(part, path)
    except BaseException as error:
        if isinstance(error, OSError):  # it names the other file, or none if the disk is full
            error.filename, error.filename2 = str(path), None
        if part.is_file():
            part.unlink()
        raise


def write_text(path: str | os.PathLike, text: str, errors: str = "strict") -> None:
    """Writes a text file in UTF-8. An existing file is replaced once the new one is complete.

    Args:
        path: the file.
        text: its content.
        errors: how characters that UTF-8 cannot hold are written, as for ``open``.
    """
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", errors=errors)


def link_or_copy(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Gives a file a second name, by a hard link or else as a copy; replaces ``target`` whole."""
    with replacing(target) as part:
        part.unlink(missing_ok=True)  # of a run that was killed
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)


def unwritable(path: str | os.PathLike, is_folder: bool = True) -> str:
    """Says why files cannot be written to a folder, or why a file cannot be written.

    Nothing is left behind. A folder may be missing: then it must be possible to create it.

    Args:
        path: the folder or the file.
        is_folder: whether it is a folder.

    Returns:
        The reason, which names the place, or "" if it can be written to.
    """
    place = Path(path).absolute()
    try:
        if not is_folder and not _is_missing(place):
            if not place.is_file():
                return f"{place}: is not a file"
            place = place.parent
        while _is_missing(place):
            place = place.parent
        with tempfile.TemporaryFile(dir=place):  # the permissions alone do not tell
            return ""
    except OSError as error:
        return f"{place}: {os.strerror(error.errno)}"


def fault(error: BaseException, place: str = "") -> str:
    """Says what is wrong with the place of a file, such as a full disk.

    Libraries report this in errors of their own: TensorFlow and h5py only mention it in the text.

    Args:
        error: the error.
        place: the place to name if the error does not name one.

    Returns:
        The reason as a sentence, or "" if the error has another cause.
    """
    if isinstance(error, OSError) and error.errno:
        name = error.filename2 or error.filename  # a failed replacement lies in its target
        name = name if isinstance(name, str) else ""
        known = error.errno in (_FAULTS_OF_A_NAME if name else _FAULTS)
        reason = os.strerror(error.errno) if known else ""
    else:
        name, text = "", str(error).lower()
        reasons = map(os.strerror, _FAULTS)
        reason = next((reason for reason in reasons if reason.lower() in text), "")
    name = name or place or "A file"
    return f"{name} cannot be read or written: {reason}" if reason else ""


def _is_missing(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    return False
