"""Detects objects on the images that a user hands over: files, arrays and images of Pillow."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_frcnn.data.images.files import to_image
from keras_frcnn.models.detections import (
    NAMES,
    DetectionBatch,
    ImageDetections,
    check_threshold,
)
from keras_frcnn.ops.finite import check_finite

_SINGLE = str, bytes, os.PathLike, Image.Image  # the images that Python could iterate over


class Detect:
    """Does what ``FasterRCNN.detect`` says, for one model. The graph is traced once.

    Args:
        model: the ``FasterRCNN``.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        specs = tf.TensorSpec([None, None, None, 3], tf.uint8), tf.TensorSpec([], tf.float32)
        self._run = tf.function(model.detect_batch, input_signature=specs)
        self._checked_step = None

    def __call__(
        self, images: Any, score_threshold: float | None = None
    ) -> ImageDetections | DetectionBatch:
        images, is_single = _list_images(images)
        if score_threshold is None:
            score_threshold = self._model.roi_head.detection_decoder.score_threshold
        check_threshold(score_threshold)
        self._check_weights()
        threshold = tf.constant(score_threshold, tf.float32)
        answers = [self._run(array[tf.newaxis], threshold) for array in _read(images)]
        padded = {name: tf.concat([a[name] for a in answers], axis=0).numpy() for name in NAMES}
        found = DetectionBatch(padded, self._model.class_names, images)
        return found[0] if is_single else found

    def _check_weights(self):
        """Refuses weights that are not finite, which may give false detections, or just none.

        They are looked at once, and again after further training.
        """
        step = int(self._model.step.numpy())
        if step != self._checked_step:
            check_finite(self._model.weights)
            self._checked_step = step


def _list_images(images: Any) -> tuple[list[Any], bool]:
    """Returns the images as a list, and whether they were given as a single one."""
    if hasattr(images, "shape"):  # of arrays; those with one axis hold file names or images
        is_single = len(images.shape) not in (1, 4)
    else:
        is_single = isinstance(images, _SINGLE) or not isinstance(images, Iterable)
    images = [images] if is_single else list(images)
    if not images:
        raise ValueError("detect needs at least one image. Received: none")
    return images, is_single


def _read(images: list[Any]) -> Iterator[np.ndarray]:
    """Yields the images as uint8 arrays [H, W, 3], each read when it is asked for."""
    for number, image in enumerate(images):
        try:
            yield to_image(image)
        except ValueError as error:
            if len(images) == 1 or isinstance(image, str | os.PathLike):
                raise
            raise ValueError(f"images[{number}]: {error}") from error
