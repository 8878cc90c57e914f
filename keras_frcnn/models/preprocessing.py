"""Prepares images for the network and moves boxes back, where no data pipeline does it."""

import tensorflow as tf

from keras_frcnn.data.images import transforms
from keras_frcnn.data.images.preprocessing import Preprocessing
from keras_frcnn.ops import boxes as box_ops
from keras_frcnn.ops import sampling


def make_inputs(
    images: tf.Tensor,
    preprocessing: Preprocessing,
    shorter_side: int,
    longer_side: int,
    rounding: str = "nearest",
    method: str = "bilinear",
) -> dict[str, tf.Tensor]:
    """Resizes and normalises images of one size.

    Args:
        images: [B, H, W, 3] uint8, RGB.
        preprocessing: how the backbone's pixels are normalised.
        shorter_side, longer_side, rounding, method: see ``transforms.resize``.

    Returns:
        Inputs for a call of the model, with ``original_shape``.
    """
    resized = transforms.resize(images, shorter_side, longer_side, rounding, method)
    batch_size = tf.shape(images)[0]
    return {
        "images": transforms.normalize(resized, preprocessing),
        "image_shape": tf.broadcast_to(tf.shape(resized)[1:3], [batch_size, 2]),
        "original_shape": tf.broadcast_to(tf.shape(images)[1:3], [batch_size, 2]),
    }


def image_keys(inputs: dict[str, tf.Tensor], step: int | tf.Tensor, seed: int) -> tf.Tensor:
    """Returns the keys int32 [B, 2] of the images' draws: those that came with them, or else keys
    made from the step, the seed and the rows of the images.
    """
    if "key" in inputs:
        return tf.cast(inputs["key"], tf.int32)
    pair = tf.stack([tf.cast(step, tf.int32), tf.constant(seed, tf.int32)])
    return sampling.image_keys(pair, tf.shape(inputs["images"])[0])


def resize_scale(inputs: dict[str, tf.Tensor]) -> tf.Tensor | None:
    """Returns the resized sizes over the original ones [B, 2], or None if these are not known."""
    if "original_shape" not in inputs:
        return None
    resized, original = (
        tf.cast(inputs[name], tf.float32) for name in ("image_shape", "original_shape")
    )
    return resized / original


def to_original(boxes: tf.Tensor, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
    """Moves boxes [B, N, 4] from the network's input to the images before resizing, if their sizes
    are known.
    """
    if "original_shape" not in inputs:
        return boxes
    return box_ops.rescale(boxes, inputs["image_shape"], inputs["original_shape"])
