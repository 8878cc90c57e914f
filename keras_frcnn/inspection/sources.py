"""Reading any data set for ``check-data``.

From VOC's layout come the annotations as written. Other sources give what their reader keeps, and a
line for what it leaves out. A folder of nothing but pictures will do too.
"""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.data import records, voc_layout
from keras_frcnn.inspection import picture_files, samples, voc_source
from keras_frcnn.inspection.picture_files import PictureFile
from keras_frcnn.inspection.samples import Object, Sample, Source

_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")


def read(config: Config) -> Source:
    """Reads the pictures and annotations of ``train_split`` and ``eval_split``.

    Args:
        config: settings; the data group is used, but for ``on_bad_record``.

    Returns:
        All pictures, each decoded once.

    Raises:
        ValueError: if the folder or a split is missing or unreadable as a whole.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, which name no file
        if config.dataset != "voc":
            return _read_records(config)
        return _read_pictures(config) if _holds_only_pictures(config) else voc_source.read(config)


def _read_records(config: Config) -> Source:
    config = config.replace(on_bad_record="skip")
    root = Path(config.data_dir).resolve()
    jobs, left_out, class_names = [], [], None
    for subset, splits in samples.wanted_splits(config).items():
        if splits:
            dataset = data.load(config, splits, class_names)
            class_names = dataset.class_names
            jobs += [(record, subset) for record in dataset.records]
            left_out += [(subset, line) for line in dataset.skipped]
    found = samples.in_threads(lambda job: _record_sample(*job, class_names, root), jobs)
    return Source(class_names, found, left_out, [], "records")


def _record_sample(
    record: records.Record, subset: str, class_names: tuple[str, ...], root: Path
) -> Sample:
    path = Path(record.path)
    columns = zip(record.boxes, record.labels, record.difficult, strict=True)
    objects = [
        Object(number, class_names[label], box.astype(np.float64), box, bool(difficult))
        for number, (box, label, difficult) in enumerate(columns, start=1)
    ]
    name, size = str(record.image_id), (record.height, record.width)
    if not samples.is_inside(path, [root, path.parent.resolve()]):
        problems = [("outside_path", samples.LINK_WORDS)]
        return Sample(name, subset, None, None, PictureFile(), *size, False, objects, problems)
    return Sample(name, subset, path, None, picture_files.read(path), *size, objects=objects)


def _holds_only_pictures(config: Config) -> bool:
    root = Path(config.data_dir)
    if not config.data_dir or not root.is_dir():
        return False
    try:
        voc_layout.available_splits(config.data_dir)
    except ValueError:
        return any(True for _ in _find_pictures(root))
    return False


def _find_pictures(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):  # links to folders are not followed
        folders.sort()
        paths = (Path(folder, name) for name in sorted(names))
        yield from (path for path in paths if path.suffix.lower() in _SUFFIXES and path.is_file())


def _read_pictures(config: Config) -> Source:
    root = Path(config.data_dir).resolve()
    found = samples.in_threads(lambda path: _picture_sample(path, root), list(_find_pictures(root)))
    remark = f"{config.data_dir} has no ImageSets/Main: the pictures in it are checked, no boxes"
    return Source((), found, [], [remark], "pictures")


def _picture_sample(path: Path, root: Path) -> Sample:
    name = str(path.relative_to(root))
    if not samples.is_inside(path, [root]):
        problems = [("outside_path", samples.LINK_WORDS)]
        return Sample(name, "train", None, None, PictureFile(), 0, 0, problems=problems)
    file = picture_files.read(path)
    return Sample(name, "train", path, None, file, file.height, file.width)
