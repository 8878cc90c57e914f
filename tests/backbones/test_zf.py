"""ZF: its layers, sizes and frozen blocks."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn import backbones
from tests import fakes
from tests.backbones import padding


def test_padding_changes_nothing_though_its_layers_pad_themselves(zf):
    for odd in range(16):
        images = padding.images_of([(32 + odd, 63 - odd), (31 - odd, 16 + odd), (64, 80)])
        padding.assert_padding_changes_nothing(zf, images, padding.round_up)


def test_zf_has_the_released_five_convolutions(zf):
    kernels = [w.shape for w in zf.weights if w.path.endswith("kernel")]
    assert kernels == [
        (7, 7, 3, 96),
        (5, 5, 96, 256),
        (3, 3, 256, 384),
        (3, 3, 384, 384),
        (3, 3, 384, 256),
    ]
    assert zf.count_params() == 3_726_464
    assert (zf.strides, zf.channels, zf.rpn_channels) == ((16,), (256,), 256)
    frozen = backbones.ZF(frozen_blocks=2)
    trained = [layer.name for layer in frozen.network.layers if layer.trainable_weights]
    assert trained == ["block3_conv", "block4_conv", "block5_conv"]


def test_a_backbone_that_does_not_train_at_all_is_frozen_block_by_block():
    backbone = backbones.ZF()
    assert backbone.frozen == []
    backbone.trainable = False
    assert backbone.frozen == [f"block{n}" for n in range(1, 6)]


def test_the_sizes_of_maps_are_known_without_pixels(zf):
    sizes = [*range(16, 36), 47, 63, 64, 65]
    shapes = tf.constant([[size, sizes[-i]] for i, size in enumerate(sizes)])
    (level,) = zf(tf.zeros([len(sizes), 65, 65, 3]), shapes)
    np.testing.assert_array_equal(zf.level_shapes(shapes)[0], level.shape)


def test_it_comes_back_from_its_settings(zf):
    again = backbones.Backbone.from_config(zf.get_config())
    again.set_weights(zf.get_weights())
    image, size = fakes.image(40, 33)[np.newaxis], tf.constant([[40, 33]])
    np.testing.assert_array_equal(again(image, size)[0].features, zf(image, size)[0].features)


def test_there_are_no_pretrained_weights():
    with pytest.raises(ValueError, match="no pretrained weights for the backbone 'zf'"):
        backbones.ZF(weights="imagenet")
