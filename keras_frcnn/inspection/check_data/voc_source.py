"""The images of VOC's layout with all their faults, the annotations as written."""

from pathlib import Path
from typing import Any

import numpy as np

from keras_frcnn.config import DataSource
from keras_frcnn.data.images import integrity
from keras_frcnn.data.images.integrity import ImageFile
from keras_frcnn.data.readers import voc, voc_layout
from keras_frcnn.inspection.check_data import samples
from keras_frcnn.inspection.check_data.samples import Object, Problem, Sample, Source


def read(source: DataSource, subset: str) -> Source:
    """Reads image sets of VOC's layout; files that are links to elsewhere stay shut.

    Args:
        source: where they are.
        subset: one of ``samples.SUBSETS``.

    Returns:
        Their images, with the classes found in them.

    Raises:
        ValueError: if the folder or an image set is missing or unreadable as a whole.
    """
    refused: list[str] = []
    entries = voc_layout.entries(source.data_dir, source.splits, refused)
    root = Path(source.data_dir).resolve()
    found = samples.in_threads(lambda entry: _voc_sample(entry, subset, root), entries)
    names = {item.name for sample in found for item in sample.objects or () if item.name}
    class_names = voc.class_names_of(names, {entry.folder.name for entry in entries})
    return Source(class_names, found, [(subset, line) for line in refused])


def _voc_sample(entry: voc_layout.Entry, subset: str, root: Path) -> Sample:
    # The folders of the layout may be links of the user's, a single file may not lead elsewhere.
    folders = [root, entry.folder.resolve()]
    folders += [(entry.folder / name).resolve() for name in ("JPEGImages", "Annotations")]
    problems: list[Problem] = []
    path, file = _voc_image(entry, folders, problems)
    tree = _voc_annotation(entry, folders, problems)
    height, width, as_stored, objects = file.height, file.width, False, None
    if tree is not None:
        size = _written_size(tree, problems)
        as_stored = file.orientation >= 5 and size == (width, height) and height != width
        if size and file.height and size != (height, width):
            problems.append(("size_mismatch", _size_words(size, file, as_stored)))
        if as_stored or not file.height:
            height, width = size or (0, 0)
        objects = [
            _voc_object(voc.read_object(number, element), height, width)
            for number, element in enumerate(tree.findall("object"), 1)
        ]
    return Sample(
        entry.image_id,
        subset,
        path,
        entry.annotation,
        file,
        height,
        width,
        as_stored,
        objects,
        problems,
        entry,
    )


def _voc_image(
    entry: voc_layout.Entry, folders: list[Path], problems: list[Problem]
) -> tuple[Path | None, ImageFile]:
    try:
        path = entry.image()
        if samples.is_inside(path, folders):
            return path, integrity.read(path)
        problems.append(("outside_path", f"{path}: {samples.LINK_WORDS}"))
    except (ValueError, OSError) as error:  # OSError: a name that no file can have
        problems.append(("missing_image", _words(error)))
    return None, ImageFile()


def _voc_annotation(
    entry: voc_layout.Entry, folders: list[Path], problems: list[Problem]
) -> Any | None:
    path = entry.annotation
    kind = "missing_annotation"
    try:
        if path.is_file():
            kind = "broken_annotation"
            if samples.is_inside(path, folders):
                return voc.parse(path)
            kind = "outside_path"
            raise ValueError(samples.LINK_WORDS)
        raise ValueError("the annotation is missing")
    except (ValueError, OSError) as error:
        problems.append((kind, _words(error).removeprefix(f"{path}: ")))
    return None


def _words(error: Exception) -> str:
    """Returns what is wrong; the system's errors repeat names, however long."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _written_size(tree: Any, problems: list[Problem]) -> tuple[int, int] | None:
    size = tree.find("size")
    if size is None:
        problems.append(("missing_size", "<size> is missing"))
        return None
    written = [(size.findtext(tag) or "").strip() for tag in ("height", "width")]
    if not all(side.isascii() and side.isdigit() and len(side) < 10 for side in written):
        words = f"<size> needs whole numbers as height and width. Received: {' x '.join(written)}"
        problems.append(("missing_tag", words))
        return None
    return int(written[0]), int(written[1])


def _size_words(size: tuple[int, int], file: ImageFile, as_stored: bool) -> str:
    words = (
        f"the annotation says {size[0]} x {size[1]} (height x width), the image is "
        f"{file.height} x {file.width}"
    )
    if as_stored:
        return words + " after its EXIF rotation: the boxes are those of the image before it"
    if abs(size[0] * file.width - size[1] * file.height) <= max(size):
        words += ": of the same form, perhaps resized after the boxes were drawn"
    return words


def _voc_object(item: voc.Written, height: int, width: int) -> Object:
    if item.problem:
        return Object(item.number, item.name, None, None, problem=("missing_tag", item.problem))
    xmin, ymin, xmax, ymax = item.corners
    written = np.array([ymin - 1, xmin - 1, ymax, xmax])
    if not np.all(np.isfinite(written)):
        written = None
    kind = "outside_box" if voc.has_area(item.corners) else "degenerate_box"
    if kind == "outside_box" and not height:  # where the image ends is unknown
        return Object(item.number, item.name, written, None, item.difficult)
    box, words = voc.to_box(item.corners, height, width)
    problem = (kind, words) if words else None
    return Object(item.number, item.name, written, box, item.difficult, problem)
