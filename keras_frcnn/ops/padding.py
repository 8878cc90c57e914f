"""The padding of maps in batches of images of different sizes."""

import tensorflow as tf


def clear_padding(x: tf.Tensor, shape: tf.Tensor, is_padded: tf.Tensor) -> tf.Tensor:
    """Sets the cells outside each map's true ``shape`` [B, 2] to zero if the batch has padding."""

    def clear():
        rows = tf.range(tf.shape(x)[1]) < shape[:, :1]
        columns = tf.range(tf.shape(x)[2]) < shape[:, 1:]
        true = rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]
        return x * tf.cast(true, x.dtype)[..., tf.newaxis]

    return tf.cond(is_padded, clear, lambda: x)
