"""Data sets: from the files of annotated images to the batches of training.

``load`` reads the records that settings ask for. Adding a format takes one module in ``readers``
with a function ``read(source) -> Reading``, and one line in ``config.DATASETS``.
"""

import dataclasses
import importlib
from types import ModuleType

from keras_frcnn.config import DATASETS, Config
from keras_frcnn.data import class_names as classes
from keras_frcnn.data import joining
from keras_frcnn.data.dataset import Dataset, check
from keras_frcnn.data.problems import invalid


def load(
    config: Config,
    splits: tuple[str, ...],
    class_names: tuple[str, ...] | None = None,
    *,
    strict: bool = True,
    images: bool = True,
    annotated: bool = True,
) -> Dataset:
    """Reads the records of some splits of all data sets and joins them.

    Args:
        config: settings; the data group is used.
        splits: entries of the form of ``config.train_split``.
        class_names: classes to read, in the order of their labels; evaluation passes those of the
            training. By default those of ``config.classes_file`` or of the first data set. The
            names in the data are matched to them by ``classes.match``.
        strict: whether, in a lone data set, an object of a class that matches none is a problem.
            In joined data it is left out in any case.
        images: whether to look at the images. If not, only ``truth`` is read, from data of COCO's
            form, and the data set has no records.
        annotated: whether to read the objects. If not, the images need no annotations in VOC's and
            COCO's form.

    Returns:
        The data set, every record of it checked.

    Raises:
        ValueError: naming the file, split or flag that is wrong.
    """
    sources = [dataclasses.replace(s, annotated=annotated) for s in config.sources(splits)]
    strict = strict and len(config.dataset) == 1
    parts = []
    for source in sources:
        reader = reader_of(source.dataset)
        read = reader.read if images else reader_of("coco").read_truth
        part = read(source).settle(source)
        for record in part.records:
            check(record, part.class_names)
        class_names = classes.choose(class_names, config.classes_file, part.class_names)
        if annotated and not class_names:
            expected = f"objects in {', '.join(source.splits)}, or class names by --classes_file"
            raise invalid(expected, "none", source)
        parts.append(joining.relabel(part, source, class_names, strict))
    return joining.join(parts, sources)


def reader_of(dataset: str) -> ModuleType:
    """Returns the module that reads a format.

    It has ``read(source)`` and, if the splits of a folder can be listed,
    ``available_splits(data_dir)``.

    Raises:
        ValueError: if there is no such format.
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
    """As ``load``, for those who need the pixels too.

    Under ``config.check_images`` every image is decoded once, so that a broken one is found now
    and not hours later.
    """
    dataset = load(config, splits, class_names, strict=strict, annotated=annotated)
    if not config.check_images:
        return dataset
    from keras_frcnn.data.images import decoding  # TensorFlow takes seconds to load

    return decoding.leave_out_broken(dataset, config)
