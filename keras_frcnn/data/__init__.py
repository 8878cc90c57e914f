"""Readers of annotated images, and the way from files to batches."""

import dataclasses

from keras_frcnn.config import Config
from keras_frcnn.data import class_names as classes
from keras_frcnn.data import joining
from keras_frcnn.data.dataset import Dataset, check
from keras_frcnn.data.readers import coco, tfds, tfrecord, voc

READERS = {
    "voc": voc.read,
    "coco": coco.read,
    "tfrecord": tfrecord.read,
    "tfds": tfds.read,
}


def load(
    config: Config,
    splits: tuple[str, ...],
    class_names: tuple[str, ...] | None = None,
    *,
    strict: bool = True,
    images: bool = True,
    annotated: bool = True,
) -> Dataset:
    """Reads the records of some splits of all datasets and joins them.

    Args:
        config: settings; the data group is used.
        splits: entries of the form of ``config.train_split``.
        class_names: classes to read, in the order of their labels; evaluation passes those of the
            training. By default those of ``config.classes_file`` or of the first dataset. The names
            in the data are matched to them by ``classes.match``.
        strict: whether, in a lone dataset, objects of a class that matches none are bad records. In
            joined data they are just left out.
        images: whether to look at the images. Without, only ``truth`` is read, from data of
            COCO's form, and the dataset has no records.
        annotated: whether to read the objects, in VOC's and COCO's form. Without, the images need
            no annotations.

    Returns:
        The dataset, every record of it checked.

    Raises:
        ValueError: naming the file, split or flag that is wrong.
    """
    sources = [dataclasses.replace(s, annotated=annotated) for s in config.sources(splits)]
    strict = strict and len(config.dataset) == 1
    parts = []
    for source in sources:
        if source.dataset not in READERS:
            raise ValueError(
                f"dataset must be one of {', '.join(READERS)}. Received: {source.dataset!r}"
            )
        read = READERS[source.dataset] if images else coco.read_truth
        part = read(source, source.splits)
        for record in part.records:
            check(record, part.class_names)
        class_names = classes.choose(class_names, config.classes_file, part.class_names)
        if annotated and not class_names:
            raise ValueError(
                f"{source.place}: expected objects in {', '.join(source.splits)}, or class names "
                "by --classes_file. Received: none"
            )
        parts.append(joining.relabel(part, source, class_names, strict))
    return joining.join(parts, sources)


def load_images(
    config: Config,
    splits: tuple[str, ...],
    class_names: tuple[str, ...] | None = None,
    strict: bool = True,
    annotated: bool = True,
) -> Dataset:
    """As ``load``, for those who need the pixels too: under ``config.check_images`` every image
    is decoded once, so that a broken one is found now and not hours later.
    """
    dataset = load(config, splits, class_names, strict=strict, annotated=annotated)
    if not config.check_images:
        return dataset
    from keras_frcnn.data.images import decoding  # TensorFlow takes seconds to load

    return decoding.leave_out_broken(dataset, config)
