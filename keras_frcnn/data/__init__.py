"""Readers of annotated pictures, and the way from files to batches."""

from keras_frcnn.config import Config
from keras_frcnn.data import coco, voc
from keras_frcnn.data.records import Dataset, check

READERS = {"voc": voc.read, "coco": coco.read}


def load(
    config: Config, splits: tuple[str, ...], class_names: tuple[str, ...] | None = None
) -> Dataset:
    """Reads the records of some splits with the reader that ``config.dataset`` names.

    Args:
        config: settings; the data group is used.
        splits: names of the splits, joined in this order.
        class_names: classes to read, in the order of their labels; evaluation passes those of the
            training. By default the reader finds them.

    Returns:
        The dataset, every record of it checked.

    Raises:
        ValueError: naming the file, split or flag that is wrong.
    """
    if config.dataset not in READERS:
        raise ValueError(
            f"dataset must be one of {', '.join(READERS)}. Received: {config.dataset!r}"
        )
    dataset = READERS[config.dataset](config, splits, class_names)
    for record in dataset.records:
        check(record, dataset.class_names)
    return dataset


def load_pictures(
    config: Config, splits: tuple[str, ...], class_names: tuple[str, ...] | None = None
) -> Dataset:
    """As ``load``, for those who need the pixels too: under ``config.check_pictures`` every picture
    is decoded once, so that a broken one is found now and not hours later.
    """
    dataset = load(config, splits, class_names)
    if not config.check_pictures:
        return dataset
    from keras_frcnn.data import decoding  # TensorFlow takes seconds to load

    return decoding.leave_out_broken(dataset, config)
