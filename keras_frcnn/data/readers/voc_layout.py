"""Where things lie in PASCAL VOC's layout: annotations, image sets and images."""

import dataclasses
import pathlib
from collections.abc import Sequence

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")

_SHOWN_SPLITS = 12


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of an image set.

    Attributes:
        image_id: the line; with the folder's name and a slash before it where there are several.
        folder: the folder of VOC's layout.
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
            ValueError: if there is none.
        """
        stem = self.folder / "JPEGImages" / self.stem
        for suffix in IMAGE_SUFFIXES:
            path = stem.with_name(stem.name + suffix)
            if path.is_file():
                return path
        raise ValueError(f"{stem}: the image is missing (with any of {', '.join(IMAGE_SUFFIXES)})")


def available_splits(data_dir: str) -> list[str]:
    """Lists what can be said as a split of a data folder, plain names before VOC's lists by class.

    Raises:
        ValueError: when there is no such folder or nothing of VOC's layout in it.
    """
    folders = _folders(data_dir)
    found = [
        file.stem if len(folders) == 1 else f"{name}/{file.stem}"
        for name, folder in folders.items()
        for file in folder.glob("ImageSets/Main/*.txt")
    ]
    return sorted(found, key=lambda split: ("_" in split, split))


def _folders(data_dir: str) -> dict[str, pathlib.Path]:
    """Returns the folders of VOC's layout by name: data_dir itself, or those in it."""
    root = pathlib.Path(data_dir)
    if not data_dir or not root.is_dir():
        raise ValueError(f"data_dir must be an existing folder. Received: {data_dir!r}")
    root = root.resolve()
    for candidates in ([root], sorted(root.iterdir())):
        found = {path.name: path for path in candidates if (path / "ImageSets" / "Main").is_dir()}
        if found:
            return found
    raise ValueError(
        f"data_dir must be a folder with Annotations/, ImageSets/Main/ and JPEGImages/, or hold "
        f"such folders. Received: {data_dir!r}"
    )


def entries(data_dir: str, splits: Sequence[str], refused: list[str] | None = None) -> list[Entry]:
    """Reads image sets.

    Args:
        data_dir: see ``voc.read``.
        splits: likewise.
        refused: takes a sentence for each line that would lead out of the folder; without it the
            first of them is an error.

    Returns:
        Their lines in order, each once.

    Raises:
        ValueError: naming the folder or split that is missing or empty, or the line that would lead
            out of the folder.
    """
    if not splits:
        raise ValueError(f"{data_dir}: at least one split is needed. Received: none")
    folders = _folders(data_dir)
    lines = [line for split in splits for line in _split_lines(data_dir, folders, split, refused)]
    one_folder = len({folder for folder, _ in lines}) == 1
    return [
        Entry(stem if one_folder else f"{folder}/{stem}", folders[folder], stem)
        for folder, stem in dict.fromkeys(lines)
    ]


def _split_lines(
    data_dir: str, folders: dict[str, pathlib.Path], split: str, refused: list[str] | None
) -> list[tuple[str, str]]:
    """Returns (folder name, line) for the lines of one split."""
    folder, _, name = split.rpartition("/")
    if not folder and len(folders) == 1:
        folder = next(iter(folders))
    path = folders[folder] / "ImageSets" / "Main" / f"{name}.txt" if folder in folders else None
    if path is None or not path.is_file():
        known = available_splits(data_dir)
        more = ", ..." if len(known) > _SHOWN_SPLITS else ""
        raise ValueError(
            f"{data_dir}: expected one of the splits {', '.join(known[:_SHOWN_SPLITS])}{more}. "
            f"Received: {split!r}"
        )
    lines = read_lines(path)
    if not lines:
        raise ValueError(f"{path}: the split is empty")
    outside = {line for line in lines if _leads_out(line)}
    sentences = [
        f"{path}: expected names of images inside {folders[folder]}. Received: {line!r}"
        for line in lines
        if line in outside
    ]
    if sentences and refused is None:
        raise ValueError(sentences[0])
    if sentences:
        refused += sentences
    return [(folder, line) for line in lines if line not in outside]


def _leads_out(line: str) -> bool:
    return "\\" in line or pathlib.PurePosixPath(line).is_absolute() or ".." in line.split("/")


def read_lines(path: pathlib.Path) -> list[str]:
    """Reads a list from a text file.

    Returns:
        The lines that hold anything, stripped.

    Raises:
        ValueError: if the file is missing or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{path}: expected a text file in UTF-8. Received: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
