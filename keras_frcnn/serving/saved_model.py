"""Runs an exported SavedModel in this process."""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_frcnn.models.detections import ImageDetections
from keras_frcnn.serving.client import to_detections


class SavedModel:
    """An exported detector.

    A SavedModel is a program of TensorFlow, which may read and write files: load only those of
    people whom you trust.

    Args:
        folder: the numbered folder with ``saved_model.pb`` in it.

    Attributes:
        class_names: the class names.

    Raises:
        ValueError: If the folder holds no SavedModel, or not one of this package.
    """

    def __init__(self, folder: str | os.PathLike):
        if not Path(folder, "saved_model.pb").is_file():
            raise ValueError(
                f"a SavedModel must be a folder with a file saved_model.pb. Received: {folder}"
            )
        self._loaded = tf.saved_model.load(str(folder))  # its signatures need it
        signatures = self._loaded.signatures
        if not {"serving_default", "describe"} <= signatures.keys():
            raise ValueError(
                f"{folder}: a SavedModel needs the signatures serving_default and describe, as "
                f"keras-frcnn export writes them. Received: {', '.join(signatures) or 'none'}"
            )
        self._detect = signatures["serving_default"]
        names = signatures["describe"]()["class_names"].numpy()
        self.class_names = tuple(name.decode() for name in names)

    def detect(self, image: np.ndarray) -> ImageDetections:
        """Detects objects on an image, uint8 [H, W, 3], RGB."""
        outputs = self._detect(input_tensor=tf.constant(image[np.newaxis]))
        answer = {name: value.numpy()[0] for name, value in outputs.items()}
        return to_detections(answer, image, self.class_names)
