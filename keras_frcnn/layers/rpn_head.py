"""The RPN head: objectness and box deltas of every anchor."""

import keras
import tensorflow as tf

from keras_frcnn.ops.padding import clear_padding


@keras.saving.register_keras_serializable("keras_frcnn")
class RPNHead(keras.layers.Layer):
    """Scores every anchor as object or background and regresses it.

    1. A 3x3 convolution with ReLU keeps the size of the map. With ``num_convolutions`` above 1,
       more of them follow. They read zeros outside an image's own part of the map.
    2. Two sibling 1x1 convolutions give two objectness logits and four deltas for each anchor.

    The siblings compute in float32 under every policy, since the 8 bits of bfloat16 would turn
    different scores into ties. Gradient: flows to the weights and the features. Randomness: none in
    a call. New weights are N(0, 0.01) and new biases 0.

    Args:
        num_anchors: the number of anchors per cell, A.
        channels: the width of the 3x3 convolution: 512 for VGG16, 256 for ZF.
        num_convolutions: the number of 3x3 convolutions. Default 1.

    Call arguments:
        features: [B, h, w, C], zero in the padding of the batch.
        feature_shape: [B, 2] int32, true rows and columns of each map. None: all of them.

    Returns:
        ``(objectness_logits [B, h * w * A, 2], deltas [B, h * w * A, 4])`` float32, in the order of
        ``AnchorGenerator``. Logit 1 is that of an object. Deltas are (ty, tx, th, tw).

    Differences from the paper: none with one convolution.

    Reference: Ren et al. 2015, section 3.1.
    """

    def __init__(self, num_anchors, channels, num_convolutions=1, **kwargs):
        super().__init__(**kwargs)
        self.num_anchors = num_anchors
        self.channels = channels
        self.num_convolutions = num_convolutions
        self.conv, *self.further_convs = (
            self._conv(channels, 3, self.dtype_policy, activation="relu", name=name)
            for name in ["conv", *(f"conv{i}" for i in range(2, num_convolutions + 1))]
        )
        self.objectness = self._conv(2 * num_anchors, 1, "float32", name="objectness")
        self.deltas = self._conv(4 * num_anchors, 1, "float32", name="deltas")

    @staticmethod
    def _conv(filters, size, dtype, **kwargs):
        initializer = keras.initializers.RandomNormal(stddev=0.01)
        return keras.layers.Conv2D(
            filters, size, padding="same", kernel_initializer=initializer, dtype=dtype, **kwargs
        )

    def build(self, features_shape):
        self.conv.build(features_shape)
        hidden_shape = (*features_shape[:-1], self.channels)
        for layer in (*self.further_convs, self.objectness, self.deltas):
            layer.build(hidden_shape)
        self.built = True

    def call(self, features, feature_shape=None):
        shape = tf.shape(features)
        hidden = self.conv(features)
        for layer in self.further_convs:
            if feature_shape is not None:
                is_padded = tf.reduce_any(feature_shape < shape[1:3])
                hidden = clear_padding(hidden, feature_shape, is_padded)
            hidden = layer(hidden)
        num_rows = shape[0], tf.reduce_prod(shape[1:3]) * self.num_anchors
        logits = tf.reshape(self.objectness(hidden), [*num_rows, 2])
        return logits, tf.reshape(self.deltas(hidden), [*num_rows, 4])

    def get_config(self):
        return {
            **super().get_config(),
            "num_anchors": self.num_anchors,
            "channels": self.channels,
            "num_convolutions": self.num_convolutions,
        }
