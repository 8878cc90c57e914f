"""Random changes of contrast, brightness, saturation and hue."""

import colorsys
import math

import numpy as np
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.data.augment import draws

# YIQ has one axis of brightness and two axes of colour around grey. Unlike in HSV, all changes are
# linear, so one small matrix takes a tenth of the time of tf.image's adjust_hue and
# adjust_saturation. Rotating the hue also keeps the brightness.
_TO_YIQ = np.array([colorsys.rgb_to_yiq(*unit) for unit in np.eye(3)])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


def change_colors(image: tf.Tensor, key: tf.Tensor, config: Config) -> tf.Tensor:
    """Changes contrast, brightness, saturation and hue at random, in this order.

    Args:
        image: float32 [H, W, 3], RGB from 0 to 255.
        key: the image's key, from ``image_key``.
        config: settings ``brightness``, ``contrast``, ``saturation``, ``hue`` and
            ``grey_probability``.

    Returns:
        An image with the same dtype, shape and range; the image itself if all changes are off.
    """
    ranges = (config.contrast, config.brightness, config.saturation, config.hue)
    if not any((*ranges, config.grey_probability)):
        return image
    *drawn, grey = tf.unstack(draws.uniform(key, draws.COLORS, [5]))
    contrast, brightness, saturation, hue = (
        largest * (2 * number - 1) for largest, number in zip(ranges, drawn, strict=True)
    )
    if config.contrast:
        image = tf.image.adjust_contrast(image, 1 + contrast)
    saturation = tf.where(grey < config.grey_probability, 0.0, 1 + saturation)
    matrix = color_matrix(1 + brightness, saturation, hue)
    colors = tf.reshape(image, [-1, 3]) @ matrix
    return tf.reshape(tf.clip_by_value(colors, 0.0, 255.0), tf.shape(image))


def color_matrix(brightness: tf.Tensor, saturation: tf.Tensor, hue: tf.Tensor) -> tf.Tensor:
    """Returns the matrix M for which ``rgb @ M`` is the changed colour of a row vector (R, G, B).

    Args:
        brightness: factor of all three channels; 1 changes nothing.
        saturation: factor of the distance to the grey of the same brightness; 1 changes nothing, 0
            gives grey.
        hue: the rotation, as a fraction of the colour circle; 0 changes nothing.

    Returns:
        float32 [3, 3]; exactly the identity matrix for (1, 1, 0).
    """
    brightness, saturation, hue = (tf.cast(v, tf.float64) for v in (brightness, saturation, hue))
    cos = saturation * tf.cos(2 * math.pi * hue)
    sin = saturation * tf.sin(2 * math.pi * hue)
    zero = tf.zeros_like(cos)
    # Written as a difference from the identity, so that "no change" is exact to the last bit.
    change = tf.stack([[zero, zero, zero], [zero, cos - 1, sin], [zero, -sin, cos - 1]])
    return tf.cast(brightness * (np.eye(3) + _TO_YIQ @ change @ _FROM_YIQ), tf.float32)
