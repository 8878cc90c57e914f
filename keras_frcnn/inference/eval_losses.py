"""Measures the losses on the evaluation split, which show whether a run overfits."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_frcnn.config import AugmentationConfig, Config
from keras_frcnn.data import pipeline
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.images.decoding import naming_images
from keras_frcnn.models.faster_rcnn import LOSSES
from keras_frcnn.models.replicas import Rounds


class EvalLosses:
    """Measures the losses on a fixed part of the evaluation split.

    The images are spread evenly over the split. They are not changed at random, and their anchors
    and regions are sampled with the same random numbers each time, so losses differ only because
    the weights do.

    Args:
        model: a ``FasterRCNN``.
        dataset: the evaluation split.
        config: the run's settings; ``eval_loss_images`` is the largest number of images.
    """

    def __init__(self, model, dataset: Dataset, config: Config):
        self.rows = evenly_spread(len(dataset.records), config.eval_loss_images)
        unchanged = {f.name: f.default for f in dataclasses.fields(AugmentationConfig)}
        settings = config.replace(**unchanged | {"flip": "none"})
        if settings.train_proposals not in ("rpn", "dense"):  # a file has only training images
            settings = settings.replace(train_proposals=settings.test_proposals)

        def step(data):
            values = model.compute_losses(*data, training=False)
            return {name: values[name][tf.newaxis] for name in LOSSES if name in values}

        self._rounds = Rounds(model, step)
        rows = self._rounds.replicas.own_rows(self.rows)
        self._batches = pipeline.training_examples(
            dataset, settings, model.backbone.preprocessing, rows, pipeline.EVAL_EPOCH
        )

    def of_images(self) -> Iterator[dict[str, float]]:
        """Yields the losses of each image, by the names that training gives them."""
        batches, spec, left = iter(self._batches), self._batches.element_spec, len(self.rows)
        replicas = self._rounds.replicas
        with naming_images():
            while left > 0:
                answers = self._rounds(spec, [next(batches) for _ in replicas.numbers])
                for place in range(min(replicas.count, left)):
                    yield {name: float(values[place]) for name, values in answers.items()}
                left -= replicas.count


def evenly_spread(number: int, most: int) -> np.ndarray:
    """Returns at most so many of the rows of a data set, always the same, spread evenly over it."""
    return np.linspace(0, number - 1, min(number, most)).astype(int)
