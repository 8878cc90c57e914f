"""Data sets: reading annotated images, and making batches from them.

``load`` reads the records that the settings name. Adding a format takes one module in ``readers``
with a function ``read(source) -> Reading``, and one line in ``config.DATASETS``.
"""

import contextlib
import dataclasses
import importlib
import pathlib
from collections.abc import Iterator
from types import ModuleType

from keras_frcnn.config import DATASETS, Config, DataSource
from keras_frcnn.data import class_names as classes
from keras_frcnn.data import joining, train_images
from keras_frcnn.data.dataset import Dataset, check
from keras_frcnn.data.problems import DataError, invalid

_SIGNS = {
    "voc": ("ImageSets/Main", "*/ImageSets/Main"),
    "yolo": ("data.yaml", "data.yml"),
    "tfrecord": ("*.tfrecord*",),
    "coco": ("*.json", "*/*.json"),
    "folder": ("*.xml", "*/*.xml"),
}
"""What a folder of each format holds, for messages about folders that cannot be read. The first one
that fits counts."""


def load(
    config: Config,
    splits: tuple[str, ...],
    class_names: tuple[str, ...] | None = None,
    *,
    strict: bool = True,
    images: bool = True,
    annotated: bool = True,
) -> Dataset:
    """Reads the given splits of all data sets and joins them.

    Args:
        config: the settings; those of the data group are used.
        splits: entries in the format of ``config.train_split``.
        class_names: the class names in the order of their labels; evaluation passes those of
            training. By default they come from ``config.classes_file`` or the first data set. The
            names in the data are matched to them by ``classes.match``.
        strict: whether objects of unmatched classes are problems if there is only one data set. In
            joined data they are always left out.
        images: whether to read the images. If not, only ``truth`` is read, which needs data in
            COCO's format, and the data set has no records.
        annotated: whether to read the objects. If not, data in VOC's and COCO's formats needs no
            annotations.

    Returns:
        The data set; all of its records are checked.

    Raises:
        ValueError: If a file, split or flag is wrong. The error names it.
    """
    sources = [dataclasses.replace(s, annotated=annotated) for s in config.sources(splits)]
    strict = strict and len(config.dataset) == 1
    are_given = class_names is not None
    datasets = []
    for source in sources:
        reader = reader_of(source.dataset)
        read = reader.read if images else reader_of("coco").read_truth
        with naming_format(source):
            reading = read(source)
        dataset = reading.settle(source)
        for record in dataset.records:
            check(record, dataset.class_names)
        class_names = classes.choose(class_names, config.classes_file, dataset.class_names)
        if annotated and not class_names:
            expected = f"objects in {', '.join(source.splits)}, or class names in --classes_file"
            first = f"; the first problem: {dataset.problems[0]}" if dataset.problems else ""
            raise invalid(expected, f"none{first}", source)
        datasets.append(joining.relabel(dataset, source, class_names, strict))
    dataset = joining.join(datasets, sources)
    if not are_given:
        dataset.remarks = [*dataset.remarks, *classes.look_alikes(dataset.class_names)]
    return dataset


def load_train(
    config: Config, class_names: tuple[str, ...] | None = None, *, strict: bool = True
) -> Dataset:
    """Reads the images that a run trains on: ``train_split``, or ``train_images`` drawn from it.

    The arguments are those of ``load``. The class names are those of the whole split.
    """
    return train_images.choose(load(config, config.train_split, class_names, strict=strict), config)


@contextlib.contextmanager
def naming_format(source: DataSource) -> Iterator[None]:
    """Adds to a ``DataError`` which other format the folder of a source looks like, if any."""
    try:
        yield
    except DataError as error:
        root = pathlib.Path(source.data_dir)
        likely = (name for name, signs in _SIGNS.items() if any(any(root.glob(s)) for s in signs))
        likely = next(likely, source.dataset)
        if source.dataset in (likely, "tfds"):
            raise
        words = f"{error}. The folder looks like --dataset={likely}"
        raise DataError(*error.problems, message=words) from error


def reader_of(dataset: str) -> ModuleType:
    """Returns the module that reads a format.

    The module has ``read(source)`` and, if the splits of a folder can be listed,
    ``available_splits(data_dir)``.

    Raises:
        ValueError: If there is no such format.
    """
    if dataset not in DATASETS:
        message = f"dataset must be one of {', '.join(DATASETS)}. Received: {dataset!r}"
        raise invalid(f"one of {', '.join(DATASETS)}", repr(dataset), message=message)
    return importlib.import_module(DATASETS[dataset])


def load_images(
    config: Config,
    splits: tuple[str, ...],
    class_names: tuple[str, ...] | None = None,
    strict: bool = True,
    annotated: bool = True,
) -> Dataset:
    """Does the same as ``load``, for callers that also need the pixels: see ``check_images``."""
    dataset = load(config, splits, class_names, strict=strict, annotated=annotated)
    return check_images(dataset, config)


def check_images(dataset: Dataset, config: Config) -> Dataset:
    """Decodes every image once, so that a broken image is found now and not hours later.

    Args:
        dataset: what ``load`` returned.
        config: the settings; nothing is done without ``config.check_images``.

    Returns:
        The data set without the broken images.

    Raises:
        ValueError: If images are broken and ``config.on_bad_record`` is "error".
    """
    if not config.check_images:
        return dataset
    from keras_frcnn.data.images import decoding  # TensorFlow takes seconds to load

    return decoding.leave_out_broken(dataset, config)
