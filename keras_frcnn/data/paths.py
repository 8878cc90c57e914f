"""Paths in a data folder: finding images, reading lists, and refusing names that lead out of it."""

import os
import pathlib
import unicodedata
from collections.abc import Iterator, Sequence

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
        message = f"--data_dir must be an existing folder. Received: {data_dir!r}"
        if not data_dir:
            message = "--data_dir is missing: give the folder of the data"
        elif not os.path.isabs(data_dir):
            message += f", looked for in {os.getcwd()}"
        raise invalid("an existing folder as --data_dir", repr(data_dir), message=message)
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


class FileFinder:
    """Finds files that are named in lists and annotations, in whatever form the name is written.

    Names may differ from those of the files in two ways that nobody sees: accented letters are one
    character or two (Unicode's forms NFC and NFD; macOS writes the latter), and suffixes are in
    upper or lower case. Each folder is listed only once.

    Args:
        roots: folders; no others than these and those below them are looked into.
    """

    def __init__(self, *roots: pathlib.Path):
        self._roots = roots
        self._folders: dict[pathlib.Path, pathlib.Path] = {}
        self._listings: dict[pathlib.Path, dict[str, list[str]]] = {}

    def find(self, path: pathlib.Path) -> pathlib.Path | None:
        """Returns the file or folder of this name; None if there is none."""
        if path in self._roots:
            return path
        folder = self._folder(path.parent)
        stem, suffix = os.path.splitext(path.name)
        names = self._names(folder, stem)
        if path.name in names:
            return folder / path.name
        found = [name for name in names if os.path.splitext(name)[1].lower() == suffix.lower()]
        return folder / found[0] if found else None

    def of_stem(self, stem: pathlib.Path, suffixes: Sequence[str]) -> list[pathlib.Path]:
        """Finds files by their name without the suffix.

        Args:
            stem: the path without suffix.
            suffixes: the suffixes that the files may have, in lower case.

        Returns:
            The files, those with the first suffix first.
        """
        folder = self._folder(stem.parent)
        ranked = []
        for name in self._names(folder, stem.name):
            own_stem, suffix = os.path.splitext(name)
            if suffix.lower() in suffixes:
                place = suffixes.index(suffix.lower())
                ranked.append((place, own_stem != stem.name, suffix != suffix.lower(), name))
        return [folder / name for *_, name in sorted(ranked)]

    def hint(self, path: pathlib.Path) -> str:
        """Says which files have nearly the name of a missing one; empty if none does."""
        names = self._listing(self._folder(path.parent))
        stems = {_alike(path.name), _alike(os.path.splitext(path.name)[0])}
        near = sorted(name for stem in stems for name in names.get(stem, ()))
        return f"; a file with a similar name is {', '.join(near)}" if near else ""

    def _folder(self, folder: pathlib.Path) -> pathlib.Path:
        """Returns a folder, found like a file; if there is none, the path itself."""
        if folder not in self._folders:
            is_known = self._listing(folder) or not self._covers(folder)
            self._folders[folder] = folder if is_known else self.find(folder) or folder
        return self._folders[folder]

    def _names(self, folder: pathlib.Path, stem: str) -> list[str]:
        """Returns the names in a folder that have a stem in either form, with any suffix."""
        alike = self._listing(folder).get(_alike(stem), ())
        composed = _composed(stem)
        return [name for name in alike if _composed(os.path.splitext(name)[0]) == composed]

    def _covers(self, folder: pathlib.Path) -> bool:
        is_below = any(folder.is_relative_to(root) for root in self._roots)
        return is_below and ".." not in folder.parts

    def _listing(self, folder: pathlib.Path) -> dict[str, list[str]]:
        if folder not in self._listings:
            listing: dict[str, list[str]] = {}
            try:
                names = sorted(os.listdir(folder)) if self._covers(folder) else []
            except PermissionError as error:
                raise invalid("a folder that can be read", error_message(error), folder) from error
            except (OSError, ValueError):  # no such folder, or a name that none can have
                names = []
            for name in names:
                listing.setdefault(_alike(os.path.splitext(name)[0]), []).append(name)
            self._listings[folder] = listing
        return self._listings[folder]


def _composed(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _alike(name: str) -> str:
    return _composed(name).casefold()


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
