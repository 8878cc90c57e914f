"""ZF (Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks")."""

import functools

import keras

from keras_frcnn.backbones import pretrained
from keras_frcnn.backbones.backbone import Backbone
from keras_frcnn.backbones.normalization import WithinChannelNormalization
from keras_frcnn.data.images.preprocessing import CAFFE

PREPROCESSING = CAFFE
STRIDES = (16,)


def ZF(weights=None, frozen_blocks=0, dtype=None, name="backbone") -> Backbone:
    """Makes the five convolutions of ZF as the released Faster R-CNN has them, stride 16.

    New kernels have He initialisation.

    Args:
        weights: None, since keras.applications has no weights for ZF.
        frozen_blocks: how many of the five convolutions are not trained, counted from the image.
        dtype: a Keras dtype policy or its name. None: the global policy.
        name: the name of the layer.

    Returns:
        A ``Backbone`` with one level of 256 channels.
    """
    backbone = Backbone(
        _network(keras.dtype_policies.get(dtype)),
        STRIDES,
        PREPROCESSING,
        freeze_groups=[[f"block{n}_conv"] for n in range(1, 6)],
        frozen_blocks=frozen_blocks,
        rpn_channels=256,
        name=name,
        dtype=dtype,
    )
    if weights is not None:
        pretrained.load_pretrained(backbone, weights)
    return backbone


def _network(policy):
    conv = functools.partial(
        keras.layers.Conv2D, activation="relu", kernel_initializer="he_normal", dtype=policy
    )
    pad = functools.partial(keras.layers.ZeroPadding2D, dtype=policy)
    pool = functools.partial(keras.layers.MaxPooling2D, 3, 2, dtype=policy)
    layers = [
        pad(3, name="block1_pad"),
        conv(96, 7, 2, name="block1_conv"),
        WithinChannelNormalization(name="block1_norm", dtype=policy),
        pad(1, name="block1_pool_pad"),
        pool(name="block1_pool"),
        pad(2, name="block2_pad"),
        conv(256, 5, 2, name="block2_conv"),
        WithinChannelNormalization(name="block2_norm", dtype=policy),
        pad(1, name="block2_pool_pad"),
        pool(name="block2_pool"),
        conv(384, 3, padding="same", name="block3_conv"),
        conv(384, 3, padding="same", name="block4_conv"),
        conv(256, 3, padding="same", name="block5_conv"),
    ]
    images = keras.Input((None, None, 3), dtype=policy.compute_dtype, name="images")
    x = images
    for layer in layers:
        x = layer(x)
    return keras.Model(images, x, name="zf")
