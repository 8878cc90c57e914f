"""Reads the data sets of a run and prints a summary of them."""

import numpy as np
from rich.console import Console

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.data.dataset import Dataset


def load_data(config: Config, console: Console) -> tuple[Dataset, Dataset | None]:
    """Reads the training and the evaluation split.

    Returns:
        Both data sets; the second one is None if the run is not evaluated.

    Raises:
        ValueError: If a file, a split or a setting is wrong. The error names it.
    """
    train_data = data.load_images(config, config.train_split)
    _print_contents("train", train_data, console)
    if not config.is_evaluated:
        console.print("evaluate: nothing, because of --eval_split=-")
        return train_data, None
    eval_data = data.load_images(config, config.eval_split, train_data.class_names)
    _print_contents("evaluate", eval_data, console)
    return train_data, eval_data


def _print_contents(title, dataset, console):
    no_labels = np.zeros(0, np.int32)
    labels = np.concatenate([no_labels, *(record.labels for record in dataset.records)])
    counts = np.bincount(labels, minlength=len(dataset.class_names))
    objects = ", ".join(
        f"{name} {count}" for name, count in zip(dataset.class_names, counts, strict=True)
    )
    console.print(f"{title}: {len(dataset.records)} images; {objects}", highlight=False)
    for line in dataset.remarks:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    for line in dataset.skipped:
        console.print(f"  skipped: {line}", highlight=False, markup=False, soft_wrap=True)
