"""Reads the data sets of a run, checks that it can learn from them and prints a summary."""

import math

import numpy as np

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.console import Console, plain
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.epoch_order import aspects_of
from keras_frcnn.inspection import suitability
from keras_frcnn.training import schemes

RunData = tuple[Dataset, Dataset | None]
"""The training split, and the evaluation split; None if the run is not evaluated."""


def read_data(config: Config) -> RunData:
    """Reads the annotations and the headers of the images, which does not need TensorFlow.

    Raises:
        ValueError: If a file, a split or a setting is wrong. The error names it.
    """
    train_data = data.load_train(config)
    if not config.is_evaluated:
        return train_data, None
    return train_data, data.load(config, config.eval_split, train_data.class_names)


def with_steps(config: Config, train_data: Dataset) -> Config:
    """Returns the settings with the ``steps`` that follow from ``epochs``, if these are given.

    Raises:
        ValueError: If there are no images to train on.
    """
    if not config.epochs:
        return config
    num_images = len(aspects_of(train_data.records, config))
    return config.replace(steps=math.ceil(config.epochs * num_images / config.batch_size))


def load_data(config: Config, console: Console, run_data: RunData | None = None) -> RunData:
    """Reads the data, decodes its images once if the settings ask for it, and prints a summary.

    Args:
        config: the settings.
        console: the console to print to.
        run_data: what ``read_data`` returned; by default the data is read now.

    Returns:
        The data without broken images.

    Raises:
        ValueError: If a file, a split, an image or a setting is wrong, or if there is nothing to
            learn from or to evaluate on. The error names it.
    """
    train_data, eval_data = run_data or read_data(config)
    train_data = data.check_images(train_data, config)
    _print_contents("train", train_data, config, console)
    _print_epochs(train_data, config, console)
    if eval_data is None:
        console.print("evaluate: nothing, because of --eval_split=-")
        return train_data, None
    eval_data = data.check_images(eval_data, config)
    _print_contents("evaluate", eval_data, config, console)
    shared = suitability.shared_images(train_data.records, eval_data.records, config)
    if shared:
        console.print(f"  {plain(shared)}")
    return train_data, eval_data


def _print_contents(title, dataset, config, console):
    no_labels = np.zeros(0, np.int32)
    labels = np.concatenate([no_labels, *(record.labels for record in dataset.records)])
    counts = np.bincount(labels, minlength=len(dataset.class_names))
    objects = ", ".join(
        f"{plain(name)} {count}" for name, count in zip(dataset.class_names, counts, strict=True)
    )
    console.print(f"{title}: {len(dataset.records)} images; {objects}")
    lines = [*dataset.remarks, *suitability.cut_off(dataset.records, config)]
    for line in [*lines, *(f"skipped: {line}" for line in dataset.skipped)]:
        console.print(f"  {plain(line)}")
    is_training = title == "train"
    fault = suitability.nothing_to_learn(dataset.records, dataset.problems, config, is_training)
    if fault:
        raise ValueError(fault)


def _print_epochs(dataset, config, console):
    num_images = len(aspects_of(dataset.records, config))
    for phase in schemes.phases(config):
        steps, batch_size = phase.config.steps, phase.config.batch_size
        epochs = steps * batch_size / num_images
        name = f"{phase.name}: " if phase.name else ""
        console.print(
            f"  {name}{steps} steps of {batch_size} image{'s' if batch_size > 1 else ''}: "
            f"{epochs:.{1 if epochs >= 1 else 2}f} epochs of {num_images} images"
        )
