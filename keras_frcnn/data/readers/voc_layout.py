"""Finds annotations, image sets and images in PASCAL VOC's layout."""

import dataclasses
import pathlib
from collections.abc import Sequence

from keras_frcnn.data.paths import data_folder, error_message, leads_out, read_lines
from keras_frcnn.data.problems import DataError, Problem, ProblemKind, Remedy, invalid

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")

_SHOWN_SPLITS = 12


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of an image set.

    Attributes:
        image_id: the line, after the folder's name and a slash if there are several folders.
        folder: the folder in VOC's layout.
        stem: the line.
    """

    image_id: str
    folder: pathlib.Path
    stem: str

    @property
    def annotation(self) -> pathlib.Path:
        """The annotation's file, which may be missing."""
        return self.folder / "Annotations" / f"{self.stem}.xml"

    def image(self) -> pathlib.Path:
        """Finds the image's file.

        Raises:
            DataError: If there is none.
        """
        stem = self.folder / "JPEGImages" / self.stem
        words = f"the image is missing (with any of {', '.join(IMAGE_SUFFIXES)})"
        try:
            for suffix in IMAGE_SUFFIXES:
                path = stem.with_name(stem.name + suffix)
                if path.is_file():
                    return path
        except (OSError, ValueError) as error:  # a name that no file can have
            words = error_message(error)
        kind, remedy = ProblemKind.MISSING_IMAGE, Remedy.LEAVE_OUT
        raise DataError(Problem(kind=kind, file=str(stem), message=words, remedy=remedy))


def available_splits(data_dir: str) -> list[str]:
    """Lists the valid splits of a data folder; VOC's lists of single classes come last.

    Raises:
        ValueError: If there is no such folder, or it does not have VOC's layout.
    """
    folders = _folders(data_dir)
    found = [
        file.stem if len(folders) == 1 else f"{name}/{file.stem}"
        for name, folder in folders.items()
        for file in folder.glob("ImageSets/Main/*.txt")
    ]
    return sorted(found, key=lambda split: ("_" in split, split))


def _folders(data_dir: str) -> dict[str, pathlib.Path]:
    """Returns the folders in VOC's layout by name: data_dir itself, or folders in it."""
    root = data_folder(data_dir)
    for candidates in ([root], sorted(root.iterdir())):
        found = {path.name: path for path in candidates if (path / "ImageSets" / "Main").is_dir()}
        if found:
            return found
    expected = "a folder with Annotations/, ImageSets/Main/ and JPEGImages/, or hold such folders"
    message = f"data_dir must be {expected}. Received: {data_dir!r}"
    raise invalid(expected, repr(data_dir), message=message)


def entries(
    data_dir: str, splits: Sequence[str], problems: list[Problem] | None = None
) -> list[Entry]:
    """Reads image sets.

    Args:
        data_dir: see ``voc.read``.
        splits: see ``voc.read``.
        problems: a list to which a problem is added for each line that would lead out of the
            folder. If it is None, the first such line raises an error.

    Returns:
        The lines of all image sets in order, each once.

    Raises:
        DataError: If a folder or a split is missing or empty, or a line would lead out of the
            folder. The error names it.
    """
    if not splits:
        raise invalid("at least one split", "none", data_dir)
    folders = _folders(data_dir)
    lines = [line for split in splits for line in _split_lines(data_dir, folders, split, problems)]
    one_folder = len({folder for folder, _ in lines}) == 1
    return [
        Entry(stem if one_folder else f"{folder}/{stem}", folders[folder], stem)
        for folder, stem in dict.fromkeys(lines)
    ]


def _split_lines(
    data_dir: str,
    folders: dict[str, pathlib.Path],
    split: str,
    problems: list[Problem] | None,
) -> list[tuple[str, str]]:
    """Returns (folder name, line) for the lines of one split."""
    folder, _, name = split.rpartition("/")
    if not folder and len(folders) == 1:
        folder = next(iter(folders))
    path = folders[folder] / "ImageSets" / "Main" / f"{name}.txt" if folder in folders else None
    if path is None or not path.is_file():
        known = available_splits(data_dir)
        more = ", ..." if len(known) > _SHOWN_SPLITS else ""
        expected = f"one of the splits {', '.join(known[:_SHOWN_SPLITS])}{more}"
        raise invalid(expected, repr(split), data_dir)
    lines = read_lines(path)
    if not lines:
        raise invalid("a list of images", "an empty file", path, message="the split is empty")
    outside = [
        Problem(
            kind=ProblemKind.OUTSIDE_PATH,
            file=str(path),
            expected=f"names of images inside {folders[folder]}",
            received=repr(line),
            remedy=Remedy.LEAVE_OUT,
        )
        for line in lines
        if leads_out(line)
    ]
    if outside and problems is None:
        raise DataError(outside[0])
    if outside:
        problems += outside
    return [(folder, line) for line in lines if not leads_out(line)]
