"""A stand-in for ResNet-50: one level of stride 16, and a fifth stage as head network."""

import contextlib
from unittest import mock

import keras

from keras_frcnn import backbones
from keras_frcnn.data.images.preprocessing import CAFFE
from keras_frcnn.layers.frozen_normalization import FrozenNormalization

PREPROCESSING = CAFFE
STRIDES = (16,)


def small_resnet(weights=None, frozen_blocks=0, dtype=None, name="backbone") -> backbones.Backbone:
    """Makes a stem and a stage of two blocks, the second without a convolution in its shortcut.

    The layers are named as in keras.applications' ResNets.
    """
    policy = keras.dtype_policies.get(dtype)
    images = keras.Input((None, None, 3), dtype=policy.compute_dtype)
    x = _conv_bn(images, 5, 3, "conv1", policy)
    x = keras.layers.MaxPooling2D(16, name="pool1_pool", dtype=policy)(x)
    x = _block(x, 6, "conv2_block1", policy, has_convolution_in_shortcut=True)
    x = _block(x, 6, "conv2_block2", policy, has_convolution_in_shortcut=False)
    regions = keras.Input((None, None, 6), dtype=policy.compute_dtype)
    stage5 = _block(regions, 7, "conv5_block1", policy, has_convolution_in_shortcut=True)
    return backbones.Backbone(
        keras.Model(images, x, name="small_resnet"),
        STRIDES,
        PREPROCESSING,
        freeze_groups=[["conv1_conv"], ["conv2_block1_1_conv", "conv2_block2_1_conv"]],
        frozen_blocks=frozen_blocks,
        rpn_channels=8,
        head_network=keras.Model(regions, stage5, name="small_resnet_stage5"),
        name=name,
        dtype=dtype,
    )


def _block(x, width, name, policy, *, has_convolution_in_shortcut):
    shortcut = _conv_bn(x, width, 1, f"{name}_0", policy) if has_convolution_in_shortcut else x
    for number, (channels, size) in enumerate([(3, 1), (4, 3), (width, 1)], start=1):
        x = _conv_bn(x, channels, size, f"{name}_{number}", policy)
        if number < 3:
            x = keras.layers.Activation("relu", name=f"{name}_{number}_relu", dtype=policy)(x)
    x = keras.layers.Add(name=f"{name}_add", dtype=policy)([shortcut, x])
    return keras.layers.Activation("relu", name=f"{name}_out", dtype=policy)(x)


def _conv_bn(x, channels, size, name, policy):
    convolution = keras.layers.Conv2D(
        channels, size, padding="same", name=f"{name}_conv", dtype=policy
    )
    return FrozenNormalization(name=f"{name}_bn", dtype=policy)(convolution(x))


@contextlib.contextmanager
def as_resnet50():
    """While it lasts, ``backbone="resnet50"`` means the small one."""
    path = "tests.weights.small_resnet:small_resnet"
    with mock.patch.dict(backbones.BACKBONES, resnet50=path):
        yield
