"""The Fast R-CNN head: classes and boxes of pooled RoIs."""

import math

import keras
import tensorflow as tf

from keras_frcnn.layers.frozen_normalization import FrozenNormalization
from keras_frcnn.ops import sampling


@keras.saving.register_keras_serializable("keras_frcnn")
class BoxHead(keras.layers.Layer):
    """Classifies pooled RoIs and regresses their boxes, with one set of deltas for each class.

    1. Apply the 3x3 ``convolutions``, each with batch normalisation, which is frozen, and ReLU.
       Flatten each RoI by rows, columns and channels, the order of Keras' VGG16 ``fc1``.
    2. Apply dense layers with ReLU, each followed by dropout in training.
    3. Apply two sibling dense layers, which give class logits and per-class deltas in float32 under
       every policy.

    With ``class_agnostic_boxes``, all classes share one set of deltas.

    With ``stage``, a ResNet's last convolutions and the mean over their cells replace steps 1 and
    2.

    Gradient: flows to the weights and the pooled features. Randomness: dropout depends on the
    image's seed alone. New weights are N(0, 0.01) for the classes and N(0, 0.001) for the boxes, as
    in the released code, and He normal for the hidden layers. New biases are 0.

    Args:
        num_classes: C, without background.
        units: widths of the hidden layers. Default (4096, 4096).
        dropout: the share of hidden units that training drops. Default 0.5.
        stage: a layer or model from [N, p, p, channels] to [N, q, q, D], which replaces the hidden
            layers and their dropout. Default None.
        convolutions: widths of the convolutions of step 1. Default (): none.
        class_agnostic_boxes: whether the classes share their deltas. Default False.

    Call arguments:
        pooled: [B, R, p, p, channels].
        seed: int [B, 2], one seed per image; or [2], from which each row gets its own. None, as in
            inference: no dropout.

    Returns:
        ``(class_logits [B, R, C + 1], box_deltas [B, R, C + 1, 4])`` float32; class 0 is
        background, whose deltas are not used. Deltas are (ty, tx, th, tw) in units of
        ``box_delta_std``.

    Differences from the paper: none, except that ``stage``, ``convolutions`` and
    ``class_agnostic_boxes`` are new.

    Reference: Girshick 2015 (Fast R-CNN), sections 2.1 and 2.3; ``stage``: He et al. 2016 (Deep
    Residual Learning), appendix A.
    """

    def __init__(
        self,
        num_classes,
        units=(4096, 4096),
        dropout=0.5,
        stage=None,
        convolutions=(),
        class_agnostic_boxes=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.units = tuple(units) if stage is None else ()
        self.convolutions = tuple(convolutions) if stage is None else ()
        self.stage = stage
        self.dropout = dropout
        self.class_agnostic_boxes = class_agnostic_boxes
        self.convs, self.norms = [], []
        for i, width in enumerate(self.convolutions, start=1):
            options = {"kernel_initializer": "he_normal", "dtype": self.dtype_policy}
            conv = keras.layers.Conv2D(width, 3, padding="same", name=f"conv{i}", **options)
            self.convs.append(conv)
            norm = FrozenNormalization(epsilon=1e-5, dtype=self.dtype_policy, name=f"conv{i}_bn")
            self.norms.append(norm)
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
        num_boxes = 1 if class_agnostic_boxes else num_classes + 1
        self.boxes = self._output(4 * num_boxes, 0.001, "boxes")

    @staticmethod
    def _output(units, stddev, name):
        initializer = keras.initializers.RandomNormal(stddev=stddev)
        return keras.layers.Dense(units, kernel_initializer=initializer, dtype="float32", name=name)

    def build(self, pooled_shape):
        self.pooled_shape = shape = tuple(pooled_shape[2:])
        for conv, norm in zip(self.convs, self.norms, strict=True):
            conv.build((None, *shape))
            shape = (*shape[:2], conv.filters)
            norm.build((None, *shape))
        width = math.prod(shape)
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
        x = tf.reshape(pooled, [-1, *self.pooled_shape])
        if self.stage is None:
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x = tf.nn.relu(norm(conv(x)))
            x = tf.reshape(x, [-1, math.prod(x.shape[1:])])
        else:
            x = tf.reduce_mean(tf.cast(self.stage(x), tf.float32), axis=[1, 2])
        for i, layer in enumerate(self.hidden):
            x = layer(x)
            if seed is not None and self.dropout:
                keys = sampling.image_keys(seed, batch_size)
                x = _drop(x, self.dropout, keys, (num_rois, layer.units), i)
        class_logits = tf.reshape(self.classes(x), [batch_size, num_rois, self.num_classes + 1])
        box_deltas = tf.reshape(self.boxes(x), [batch_size, num_rois, self.boxes.units // 4, 4])
        if self.class_agnostic_boxes:
            box_deltas = tf.repeat(box_deltas, self.num_classes + 1, axis=2)
        return class_logits, box_deltas

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "units": self.units,
            "dropout": self.dropout,
            "stage": self.stage and keras.saving.serialize_keras_object(self.stage),
            "convolutions": self.convolutions,
            "class_agnostic_boxes": self.class_agnostic_boxes,
        }

    @classmethod
    def from_config(cls, config):
        stage = config["stage"] and keras.saving.deserialize_keras_object(config["stage"])
        return cls(**{**config, "stage": stage})


def _drop(x, share, keys, shape, layer_index):
    """Zeros a share of ``x`` [B * R, units] and scales the rest up to the same mean."""
    purpose = sampling.Purpose.DROPOUT + layer_index
    bits = sampling.random_bits_of_shape(keys, shape, purpose)
    kept = tf.reshape(bits, tf.shape(x)) >= round(share * 2**sampling.RANDOM_BITS)
    return tf.where(kept, x / (1.0 - share), tf.zeros([], x.dtype))
