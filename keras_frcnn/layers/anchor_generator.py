"""Anchors: boxes of all scales and ratios at every cell of a feature map."""

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable("keras_frcnn")
class AnchorGenerator(keras.layers.Layer):
    """Lays anchors of all scales and ratios over every cell of a feature map.

    1. An anchor of scale s and ratio r = height / width has height s sqrt(r) and width s / sqrt(r),
       so that its area is s^2 whatever the ratio.
       With ``rounding``, its corners around its centre are then rounded to whole pixels.
    2. The anchors of cell (row, column) are centred at ((row + offset) stride, (column + offset)
       stride).

    Coordinates: yxyx pixels of the network's input, float32 under every policy. Anchors may cross
    the border. Their number follows from the real shape of the feature map, however the backbone
    rounds it. Gradient: none. Randomness: none.

    Args:
        scales: square roots of the anchors' areas, in pixels. Default (128, 256, 512).
        ratios: heights over widths. Default (0.5, 1, 2).
        stride: pixels from one cell to the next. Default 16.
        offset: the place of the first centre, in cells. Default 0.5.
        rounding: see step 1. Default False.

    Call arguments:
        features: [B, h, w, C]; only the shape is read.
        strides: [B, 2], which replace the stride, one along each axis of each image. Default None.

    Returns:
        [h * w * A, 4] float32, or [B, h * w * A, 4] with ``strides``, ordered by row, column and
        anchor; the anchors of a cell by ratio, then scale.

    Raises:
        ValueError: if a scale, a ratio or the stride is not positive.

    Differences from the paper: none. The released code rounds anchors to whole pixels and centres
    the first one at 7.5. Here they are exact and the first one is centred at 8.

    Reference: Ren et al. 2015, section 3.1.1.
    """

    def __init__(
        self,
        scales=(128.0, 256.0, 512.0),
        ratios=(0.5, 1.0, 2.0),
        stride=16,
        offset=0.5,
        rounding=False,
        **kwargs,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.scales = tuple(float(scale) for scale in scales)
        self.ratios = tuple(float(ratio) for ratio in ratios)
        self.stride = stride
        self.offset = offset
        self.rounding = rounding
        for name, values in (
            ("scales", self.scales),
            ("ratios", self.ratios),
            ("stride", (stride,)),
        ):
            if not values or not all(value > 0 for value in values):
                raise ValueError(f"AnchorGenerator needs positive {name}. Received: {values}")

    @property
    def num_anchors(self):
        """The number of anchors per cell, A."""
        return len(self.scales) * len(self.ratios)

    def call(self, features, strides=None):
        ratios = np.repeat(self.ratios, len(self.scales))
        scales = np.tile(self.scales, len(self.ratios))
        sides = np.stack([scales * np.sqrt(ratios), scales / np.sqrt(ratios)], axis=1)
        around_origin = np.concatenate([-sides / 2, sides / 2], axis=1)
        if self.rounding:
            around_origin = np.round(around_origin)

        h, w = tf.unstack(tf.shape(features)[1:3])
        y, x = tf.range(h, dtype=tf.float32), tf.range(w, dtype=tf.float32)
        cells = tf.stack(tf.meshgrid(y, x, indexing="ij"), axis=-1) + self.offset
        if strides is None:
            strides, leading = self.stride, []
        else:
            leading = [tf.shape(strides)[0]]
            strides = tf.cast(strides, tf.float32)[:, tf.newaxis, tf.newaxis]
        centres = cells * strides
        centres = tf.concat([centres, centres], axis=-1)
        anchors = centres[..., tf.newaxis, :] + around_origin.astype("float32")
        return tf.reshape(anchors, [*leading, h * w * self.num_anchors, 4])

    def get_config(self):
        return {
            **super().get_config(),
            "scales": self.scales,
            "ratios": self.ratios,
            "stride": self.stride,
            "offset": self.offset,
            "rounding": self.rounding,
        }
