"""The Fast R-CNN head: step 6 of the way."""

import math

import keras
import tensorflow as tf

from keras_frcnn.ops import matching


@keras.saving.register_keras_serializable("keras_frcnn")
class BoxHead(keras.layers.Layer):
    """Classifies pooled regions and regresses their boxes, one set of deltas for each class.

    1. Flatten each region (rows, columns, channels: the order of Keras' VGG16 ``fc1``).
    2. Dense layers with ReLU, each followed by dropout in training.
    3. Two sibling dense layers: class logits and per-class deltas, in float32 under every policy.

    With ``stage``, a ResNet's last convolutions and the mean of their cells take the place of 1
    and 2.

    Gradient flows to the weights and the pooled features. Dropout is random by ``seed`` alone. New
    weights are N(0, 0.01) for the classes and N(0, 0.001) for the boxes (released code), He for the
    hidden layers; biases 0.

    Args:
        num_classes: C, without background.
        units: widths of the hidden layers. Default (4096, 4096).
        dropout: share of hidden units dropped in training. Default 0.5.
        stage: a layer from [N, p, p, channels] to [N, q, q, D], in place of the hidden layers and
            their dropout. Default None.

    Call arguments:
        pooled: [B, R, p, p, channels].
        seed: [2] int32 for dropout; None (inference): no dropout.

    Returns:
        ``(class_logits [B, R, C + 1], box_deltas [B, R, C + 1, 4])`` float32; class 0 is
        background, whose deltas are not used. Deltas are (ty, tx, th, tw) in units of
        ``box_delta_std``.

    Differences from the paper: none; ``stage`` is not in it.

    Reference: Girshick 2015 (Fast R-CNN), sections 2.1 and 2.3; ``stage``: He et al. 2016 (Deep
    Residual Learning), appendix A.
    """

    def __init__(self, num_classes, units=(4096, 4096), dropout=0.5, stage=None, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.units = tuple(units) if stage is None else ()
        self.stage = stage
        self.dropout = dropout
        self.hidden = [
            keras.layers.Dense(
                width,
                "relu",
                kernel_initializer="he_normal",
                dtype=self.dtype_policy,
                name=f"fc{i + 1}",
            )
            for i, width in enumerate(self.units)
        ]
        self.classes = self._output(num_classes + 1, 0.01, "classes")
        self.boxes = self._output(4 * (num_classes + 1), 0.001, "boxes")

    @staticmethod
    def _output(units, stddev, name):
        initializer = keras.initializers.RandomNormal(stddev=stddev)
        return keras.layers.Dense(units, kernel_initializer=initializer, dtype="float32", name=name)

    def build(self, pooled_shape):
        self.pooled_shape = tuple(pooled_shape[2:])
        width = math.prod(self.pooled_shape)
        if self.stage is not None:
            self.stage.build((None, *self.pooled_shape))
            width = self.stage.compute_output_shape((None, *self.pooled_shape))[-1]
        for layer in self.hidden:
            layer.build((None, width))
            width = layer.units
        self.classes.build((None, width))
        self.boxes.build((None, width))
        self.built = True

    def call(self, pooled, seed=None):
        batch_size, num_rois = tf.unstack(tf.shape(pooled)[:2])
        if self.stage is None:
            x = tf.reshape(pooled, [-1, math.prod(self.pooled_shape)])
        else:
            x = self.stage(tf.reshape(pooled, [-1, *self.pooled_shape]))
            x = tf.reduce_mean(tf.cast(x, tf.float32), axis=[1, 2])
        for i, layer in enumerate(self.hidden):
            x = layer(x)
            if seed is not None and self.dropout:
                x = _drop(x, self.dropout, seed + [0, i])
        class_logits = tf.reshape(self.classes(x), [batch_size, num_rois, self.num_classes + 1])
        box_deltas = tf.reshape(self.boxes(x), [batch_size, num_rois, self.num_classes + 1, 4])
        return class_logits, box_deltas

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "units": self.units,
            "dropout": self.dropout,
            "stage": self.stage and keras.saving.serialize_keras_object(self.stage),
        }

    @classmethod
    def from_config(cls, config):
        stage = config["stage"] and keras.saving.deserialize_keras_object(config["stage"])
        return cls(**{**config, "stage": stage})


def _drop(x, share, seed):
    """Zeros a share of ``x`` and scales the rest up to the same mean."""
    bits = matching.random_bits(tf.shape(x), seed)
    kept = bits >= round(share * 2**matching.RANDOM_BITS)
    return tf.where(kept, x / (1.0 - share), tf.zeros([], x.dtype))
