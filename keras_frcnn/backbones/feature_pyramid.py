"""The feature pyramid (Lin et al. 2017), which gives maps of all resolutions the same meaning."""

import keras
import tensorflow as tf

from keras_frcnn.config.network import PYRAMID_STRIDES
from keras_frcnn.layers.frozen_normalization import FrozenNormalization

# What a ``Backbone`` whose network ``with_pyramid`` made is told about it. Regions are not pooled
# from the coarsest level, which is for anchors alone.
BACKBONE_ARGUMENTS = {"strides": PYRAMID_STRIDES, "rpn_channels": 256, "num_roi_levels": 4}


@keras.saving.register_keras_serializable("keras_frcnn")
class TopDown(keras.layers.Layer):
    """Enlarges a coarse map to twice its size and adds it to the next finer one.

    Cell (row, column) of the finer map reads cell (row // 2, column // 2) of the coarse one. A last
    row or column that the coarse map lacks, because it was rounded down, reads the one before.

    Gradient: flows to both maps. Randomness: none.

    Call arguments:
        coarse: [B, h, w, C].
        fine: [B, H, W, C]; H is 2h - 1, 2h or 2h + 1, and W likewise.
        coarse_shape: [B, 2] int32, true rows and columns of each coarse map. None: all of them.

    Returns:
        [B, H, W, C].

    Reference: Lin et al. 2017 (Feature Pyramid Networks), section 3.
    """

    def call(self, coarse, fine, coarse_shape=None):
        if coarse_shape is None:
            coarse_shape = tf.shape(coarse)[tf.newaxis, 1:3]
        for axis in (1, 2):
            coarse = _repeat_last(coarse, coarse_shape[:, axis - 1], axis)
            coarse = tf.repeat(coarse, 2, axis=axis)
        rows, columns = tf.unstack(tf.shape(fine)[1:3])
        return fine + coarse[:, :rows, :columns]

    def compute_output_shape(self, coarse_shape, fine_shape):
        return fine_shape

    def get_config(self):
        return {**super().get_config()}  # Keras' own would refuse a policy given as an object


def _repeat_last(x, lengths, axis):
    """Appends a row (or column) to maps [B, h, w, C], and repeats the last one of the first
    ``lengths`` [B] of each map after it.
    """
    before, after = [[0, 0]] * 4, [[0, 0]] * 4
    before[axis], after[axis] = [1, 0], [0, 1]
    shape = [-1, 1, 1, 1]
    shape[axis] = tf.shape(x)[axis] + 1
    is_next = tf.reshape(tf.range(shape[axis]) == lengths[:, tf.newaxis], shape)
    return tf.where(is_next, tf.pad(x, before), tf.pad(x, after))


def with_pyramid(
    network: keras.Model,
    channels: int = 256,
    norm: bool = False,
    dtype=None,
    enlarge: bool = True,
) -> keras.Model:
    """Puts a feature pyramid on a network.

    1. Lateral 1x1 convolutions bring the network's maps to one number of channels.
    2. On the top-down path, each map is enlarged and added to the next finer one.
    3. A 3x3 convolution of each sum gives the levels P2, P3, ...
    4. Every second cell of the last of them makes one more, coarser level.

    New kernels are uniform with variance 1 / inputs, as in Detectron. There are no activations.

    Args:
        network: a Functional model that gives maps C2, C3, ..., each with twice the stride of the
            one before.
        channels: the number of channels of all levels.
        norm: whether each convolution is followed by batch normalisation, which is frozen.
        dtype: a Keras dtype policy or its name, of the new layers. None: the global policy.
        enlarge: False for maps of one stride, which are added as they are. Default True.

    Returns:
        A Functional model that gives one level more than the network gives maps, finest first.
    """
    policy = keras.dtype_policies.get(dtype)

    def convolve(x, size, name):
        x = keras.layers.Conv2D(
            channels,
            size,
            padding="same",
            kernel_initializer="lecun_uniform",
            dtype=policy,
            name=name,
        )(x)
        return FrozenNormalization(epsilon=1e-5, dtype=policy, name=f"{name}_bn")(x) if norm else x

    levels, merged = [], None
    for number, x in reversed([*enumerate(network.outputs, start=2)]):
        lateral = convolve(x, 1, f"fpn_lateral{number}")
        if merged is None:
            merged = lateral
        elif enlarge:
            merged = TopDown(dtype=policy, name=f"fpn_sum{number}")(merged, lateral)
        else:
            add = keras.layers.Add(dtype=policy, name=f"fpn_sum{number}")
            merged = add([merged, lateral])
        levels.insert(0, convolve(merged, 3, f"fpn_output{number}"))
    levels.append(keras.layers.MaxPooling2D(1, 2, dtype=policy, name="fpn_subsample")(levels[-1]))
    return keras.Model(network.input, levels, name=f"{network.name}_fpn")
