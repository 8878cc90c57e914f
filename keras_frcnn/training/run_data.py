"""Reads the data sets of a run and prints a summary of them."""

import numpy as np

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.console import Console, plain
from keras_frcnn.data.dataset import Dataset

RunData = tuple[Dataset, Dataset | None]
"""The training split, and the evaluation split; None if the run is not evaluated."""


def read_data(config: Config) -> RunData:
    """Reads the annotations and the headers of the images, which does not need TensorFlow.

    Raises:
        ValueError: If a file, a split or a setting is wrong. The error names it.
    """
    train_data = data.load(config, config.train_split)
    if not config.is_evaluated:
        return train_data, None
    return train_data, data.load(config, config.eval_split, train_data.class_names)


def load_data(config: Config, console: Console, run_data: RunData | None = None) -> RunData:
    """Reads the data, decodes its images once if the settings ask for it, and prints a summary.

    Args:
        config: the settings.
        console: the console to print to.
        run_data: what ``read_data`` returned; by default the data is read now.

    Returns:
        The data without broken images.

    Raises:
        ValueError: If a file, a split, an image or a setting is wrong. The error names it.
    """
    train_data, eval_data = run_data or read_data(config)
    train_data = data.check_images(train_data, config)
    _print_contents("train", train_data, console)
    if eval_data is None:
        console.print("evaluate: nothing, because of --eval_split=-")
        return train_data, None
    eval_data = data.check_images(eval_data, config)
    _print_contents("evaluate", eval_data, console)
    return train_data, eval_data


def _print_contents(title, dataset, console):
    no_labels = np.zeros(0, np.int32)
    labels = np.concatenate([no_labels, *(record.labels for record in dataset.records)])
    counts = np.bincount(labels, minlength=len(dataset.class_names))
    objects = ", ".join(
        f"{plain(name)} {count}" for name, count in zip(dataset.class_names, counts, strict=True)
    )
    console.print(f"{title}: {len(dataset.records)} images; {objects}")
    for line in dataset.remarks:
        console.print(f"  {plain(line)}")
    for line in dataset.skipped:
        console.print(f"  skipped: {plain(line)}")
