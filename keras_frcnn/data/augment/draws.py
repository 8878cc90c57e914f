"""Keys and random numbers of an image, which depend only on the seed, the epoch and the row."""

import tensorflow as tf

SIZE, JITTER, CROP, WINDOW, COLORS, MODEL = range(6)
"""The purposes of random numbers. The numbers of one purpose are independent of all others."""


def image_key(seed: int, epoch: int | tf.Tensor, row: tf.Tensor) -> tf.Tensor:
    """Returns the key that decides all random numbers of an image.

    Args:
        seed: the run's seed.
        epoch: int64 scalar.
        row: int64 scalar, the image's row in the dataset.

    Returns:
        int64 [2].
    """
    epoch = tf.cast(epoch, tf.int64)
    return tf.random.fold_in(tf.stack([tf.constant(seed, tf.int64), epoch]), row)


def model_key(key: tf.Tensor) -> tf.Tensor:
    """Derives the key for the model's draws (anchors, regions, dropout) from an image's key.

    Args:
        key: int64 [2], the result of ``image_key``.

    Returns:
        int32 [2], 64 random bits: a seed for ``tf.random.stateless_*``, on every device.
    """
    purpose_key = tf.random.fold_in(key, tf.constant(MODEL, tf.int64))
    return tf.random.stateless_uniform([2], purpose_key, None, None, tf.int32)


def uniform(key: tf.Tensor, purpose: int, shape: list[int]) -> tf.Tensor:
    """Draws uniform random numbers for one purpose.

    Args:
        key: int64 [2], the result of ``image_key``.
        purpose: one of the constants of this module.
        shape: the shape of the result.

    Returns:
        float32 in [0, 1). The same arguments always give the same numbers.
    """
    purpose_key = tf.random.fold_in(key, tf.constant(purpose, tf.int64))
    return tf.random.stateless_uniform(shape, purpose_key)
