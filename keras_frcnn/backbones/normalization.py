"""The local response normalisation of ZF."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("keras_frcnn")
class WithinChannelNormalization(keras.layers.Layer):
    """Divides by a local mean square: ``x / (1 + 5e-5 mean of x^2 over 3 x 3 cells) ^ 0.75``.

    This is Caffe's LRN layer with WITHIN_CHANNEL and the constants of the released ZF network.
    Cells outside the map count as zeros.
    """

    alpha, size, reads_border = 5e-5, 3, True

    def call(self, x):
        border = self.size // 2
        squares = tf.pad(tf.square(x), [[0, 0], [border, border], [border, border], [0, 0]])
        scale = tf.math.rsqrt(1.0 + self.alpha * tf.nn.avg_pool2d(squares, self.size, 1, "VALID"))
        return x * scale * tf.sqrt(scale)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config()}  # Keras' own would refuse a policy given as an object
