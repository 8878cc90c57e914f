"""Reading any data set for ``check-data``.

From VOC's layout come the annotations as written. Other sources give what their reader keeps, and a
line for what it leaves out. A folder of nothing but images will do too. Joined data get one set
of classes, as in training.
"""

import collections
import dataclasses
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_frcnn import data
from keras_frcnn.config import Config, DataSource
from keras_frcnn.data import class_names as classes
from keras_frcnn.data import dataset as records
from keras_frcnn.data import joining
from keras_frcnn.data.images import integrity
from keras_frcnn.data.images.integrity import ImageFile
from keras_frcnn.data.readers import voc_layout
from keras_frcnn.inspection.check_data import samples, voc_source
from keras_frcnn.inspection.check_data.samples import Object, Sample, Source

_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")


def read(config: Config) -> Source:
    """Reads the images and annotations of ``train_split`` and ``eval_split``.

    Args:
        config: settings; the data group is used, but for ``on_bad_record``.

    Returns:
        All images, each decoded by Pillow and, if that finds nothing, as in training.

    Raises:
        ValueError: if the folder or a split is missing or unreadable as a whole.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, which name no file
        if layout(config) == "images":
            return _read_images(config.sources(config.train_split)[0].data_dir)
        wanted, remarks = _wanted(config)
        parts = [_read_part(source, subset) for source, subset in wanted]
    class_names = classes.choose(None, config.classes_file, parts[0].class_names)
    unmatched: list[tuple[str, str, str]] = []
    for (source, subset), part in zip(wanted, parts, strict=True):
        lost = _rename(part, class_names, is_joined=len(config.dataset) > 1)
        for name, count in sorted(lost.items()):
            words = f"{source.place}: {count:,} object{'s' if count > 1 else ''} left out"
            unmatched.append((subset, name, words))
    _tell_apart([source for source, _ in wanted], parts)
    return Source(
        class_names,
        _decode([sample for part in parts for sample in part.samples]),
        [line for part in parts for line in part.left_out],
        remarks,
        unmatched,
    )


def _decode(found: list[Sample]) -> list[Sample]:
    """Decodes as training does what Pillow has read: TensorFlow refuses some damage that Pillow
    passes over.

    Args:
        found: the images.

    Returns:
        The same; those that training would refuse are broken.
    """
    from keras_frcnn.data.images import decoding  # TensorFlow takes seconds to load

    read_well = [sample for sample in found if sample.file.suffix]
    problems = decoding.problems([_to_record(sample) for sample in read_well])
    words = dict(zip(read_well, problems, strict=True))
    return [_broken(s, words[s]) if words.get(s) else s for s in found]


def _to_record(sample: Sample) -> records.Record:
    file = sample.file
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool)
    return records.Record(
        sample.image_id,
        str(sample.path),
        file.height,
        file.width,
        *nothing,
        orientation=file.orientation,
        span=sample.span,
    )


def _broken(sample: Sample, words: str) -> Sample:
    file = dataclasses.replace(sample.file, problem=("broken_image", words))
    return dataclasses.replace(sample, file=file)


def layout(config: Config) -> str:
    """Says what the data are: "voc", "images" (nothing but), or "records" of any other kind."""
    if config.dataset != ("voc",):
        return "records"
    return "images" if _holds_only_images(config.sources(config.train_split)[0]) else "voc"


def _wanted(config: Config) -> tuple[list[tuple[DataSource, str]], list[str]]:
    """Returns what to read, each with its subset, and remarks; nothing comes twice."""
    train = config.sources(config.train_split)
    evaluation = config.sources(config.eval_split) if config.is_evaluated else ()
    remarks = []
    if config.dataset == ("voc",) and config.eval_split == Config().eval_split:
        missing = {*config.eval_split} - {*voc_layout.available_splits(train[0].data_dir)}
        if missing:
            words = "only the training images are checked"
            remarks.append(f"no image set {', '.join(missing)}: {words}")
            evaluation = ()
    seen = {(source.place, frozenset(source.splits)) for source in train}
    fresh = [s for s in evaluation if (s.place, frozenset(s.splits)) not in seen]
    return [*((source, "train") for source in train), *((s, "eval") for s in fresh)], remarks


def _read_part(source: DataSource, subset: str) -> Source:
    if source.dataset == "voc":
        return voc_source.read(source, subset)
    source = dataclasses.replace(source, on_bad_record="skip")
    dataset = data.READERS[source.dataset](source, source.splits)
    root = Path(source.data_dir).resolve()
    found = samples.in_threads(
        lambda record: _record_sample(record, subset, dataset.class_names, root), dataset.records
    )
    return Source(dataset.class_names, found, [(subset, line) for line in dataset.skipped])


def _rename(
    part: Source, class_names: tuple[str, ...], is_joined: bool
) -> collections.Counter[str]:
    """Gives objects the names of the classes that theirs match.

    Args:
        part: its samples are changed.
        class_names: the classes.
        is_joined: whether objects that match none are left out, as in training. But those with a
            problem stay: a reader stops at them all the same.

    Returns:
        The number of objects left out, by class.
    """
    lost: collections.Counter[str] = collections.Counter()
    names = {item.name for sample in part.samples for item in sample.objects or () if item.name}
    names = sorted(names)
    found = classes.candidates(names, class_names)
    name_of = {
        name: class_names[labels[0]] if len(labels) == 1 else None
        for name, labels in zip(names, found, strict=True)
    }
    for place, sample in enumerate(part.samples):
        objects = []
        for item in sample.objects or ():
            name = name_of.get(item.name, item.name)
            if name is None and is_joined and not item.problem:
                lost[item.name] += 1
            elif name in (None, item.name):
                objects.append(item)
            else:
                objects.append(dataclasses.replace(item, name=name))
        if sample.objects is not None:
            part.samples[place] = dataclasses.replace(sample, objects=objects)
    return lost


def _tell_apart(sources: list[DataSource], parts: list[Source]) -> None:
    """Makes image ids of different data unlike, as ``joining.join`` does."""
    grouped: dict[tuple[str, str], list[Source]] = {}
    for source, part in zip(sources, parts, strict=True):
        grouped.setdefault((source.dataset, source.data_dir), []).append(part)
    ids = [[s.image_id for part in group for s in part.samples] for group in grouped.values()]
    forms = [form for form, _ in grouped]
    for group, of_group in zip(grouped.values(), joining.distinct(ids, forms), strict=True):
        names = iter(of_group)
        for part in group:
            part.samples[:] = [
                dataclasses.replace(sample, image_id=next(names)) for sample in part.samples
            ]


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
        return Sample(name, subset, None, None, ImageFile(), *size, False, objects, problems)
    file = integrity.read(path, record.span)
    return Sample(name, subset, path, None, file, *size, objects=objects, span=record.span)


def _holds_only_images(source: DataSource) -> bool:
    root = Path(source.data_dir)
    if not source.data_dir or not root.is_dir():
        return False
    try:
        voc_layout.available_splits(source.data_dir)
    except ValueError:
        return any(True for _ in _find_images(root))
    return False


def _find_images(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):  # links to folders are not followed
        folders.sort()
        paths = (Path(folder, name) for name in sorted(names))
        yield from (path for path in paths if path.suffix.lower() in _SUFFIXES and path.is_file())


def _read_images(data_dir: str) -> Source:
    root = Path(data_dir).resolve()
    paths = list(_find_images(root))
    found = _decode(samples.in_threads(lambda path: _image_sample(path, root), paths))
    remark = f"{data_dir} has no ImageSets/Main: the images in it are checked, no boxes"
    return Source((), found, remarks=[remark])


def _image_sample(path: Path, root: Path) -> Sample:
    name = str(path.relative_to(root))
    if not samples.is_inside(path, [root]):
        problems = [("outside_path", samples.LINK_WORDS)]
        return Sample(name, "train", None, None, ImageFile(), 0, 0, problems=problems)
    file = integrity.read(path)
    return Sample(name, "train", path, None, file, file.height, file.width)
