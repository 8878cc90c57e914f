"""From raw images to the network's inputs, where no pipeline does it: in use and when served."""

import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_frcnn import backbones
from keras_frcnn.config import Config
from keras_frcnn.data.images import transforms
from keras_frcnn.data.images.files import to_image


def make_inputs(images: tf.Tensor, config: Config) -> dict[str, tf.Tensor]:
    """Resizes and normalises images of one size.

    Args:
        images: [B, H, W, 3] uint8, RGB.
        config: settings of the data group.

    Returns:
        Inputs for a call of the model, with ``original_shape``.

    Raises:
        ValueError: if the model was trained on proposals of a file, which new images lack.
    """
    if config.needs_proposals_file:
        raise ValueError(
            "this detector has no RPN that has learned: it was trained with train_proposals="
            f"{config.train_proposals}. It can be evaluated on proposals of a file, but neither "
            "detect on other images nor be exported"
        )
    preprocessing = backbones.preprocessing_of(config.backbone, config.pixel_std)
    resized = transforms.resize(images, config.shorter_side, config.longer_side)
    batch_size = tf.shape(images)[0]
    return {
        "images": transforms.normalize(resized, preprocessing),
        "image_shape": tf.broadcast_to(tf.shape(resized)[1:3], [batch_size, 2]),
        "original_shape": tf.broadcast_to(tf.shape(images)[1:3], [batch_size, 2]),
    }


def read_images(images) -> Iterator[np.ndarray]:
    """Checks what ``detect`` was given, and reads one image after the other.

    Args:
        images: list of file names and/or uint8 RGB arrays [H, W, 3], or one array [B, H, W, 3].

    Returns:
        uint8 arrays [H, W, 3], each read when it is asked for.

    Raises:
        ValueError: naming a file that cannot be read or an array of another form.
    """
    if isinstance(images, (str, os.PathLike)) or getattr(images, "ndim", 4) != 4:
        raise ValueError(
            "detect needs a list of images or an array [B, H, W, 3]; put a single image "
            f"into a list. Received: {getattr(images, 'shape', images)}"
        )
    if not len(images):
        raise ValueError("detect needs at least one image. Received: none")
    return map(to_image, images)
