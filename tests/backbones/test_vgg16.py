"""VGG16: its layers, initialisation, sizes and frozen blocks."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn import backbones
from tests.backbones import padding

CONVOLUTIONS = [2, 2, 3, 3, 3]  # of each block
NAMES = [f"block{b + 1}_conv{n + 1}" for b, count in enumerate(CONVOLUTIONS) for n in range(count)]


@pytest.mark.slow
def test_padding_changes_nothing(vgg16):
    images = padding.images_of([(47, 70), (64, 33)])
    padding.assert_padding_changes_nothing(vgg16, images, padding.round_down)


@pytest.mark.slow
@pytest.mark.parametrize("frozen_blocks", [0, 2, 5])
def test_exactly_the_first_blocks_are_frozen(frozen_blocks):
    backbone = backbones.VGG16(frozen_blocks=frozen_blocks)
    trained = {layer.name for layer in backbone.network.layers if layer.trainable_weights}
    expected = {name for name in NAMES if int(name[5]) > frozen_blocks}
    assert trained == expected
    assert len(backbone.trainable_weights) == 2 * len(expected)
    assert len(backbone.weights) == 26
    assert backbone.frozen == [f"block{n}" for n in range(1, frozen_blocks + 1)]


@pytest.mark.slow
def test_vgg16_ends_after_its_thirteenth_convolution(vgg16):
    kernels = [w.shape for w in vgg16.weights if w.path.endswith("kernel")]
    channels = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert kernels == [(3, 3, i, o) for i, o in zip([3, *channels], channels, strict=False)]
    assert vgg16.count_params() == 14_714_688
    assert [layer.name for layer in vgg16.leaf_layers() if layer.weights] == NAMES
    assert vgg16.leaf_layers()[-1].name == "block5_conv3"
    assert sum("pool" in layer.name for layer in vgg16.leaf_layers()) == 4
    assert (vgg16.strides, vgg16.channels, vgg16.rpn_channels) == ((16,), (512,), 512)
    assert vgg16.make_head() is None


@pytest.mark.slow
def test_new_kernels_keep_the_variance_of_activations(vgg16):
    for weight in vgg16.weights:
        if weight.path.endswith("kernel"):
            values = weight.numpy()
            expected = 2 / np.prod(weight.shape[:3])  # He normal
            tolerance = 5 * np.sqrt(2 / values.size)
            np.testing.assert_allclose(values.var(), expected, rtol=tolerance)


@pytest.mark.slow
def test_the_sizes_of_maps_are_known_without_pixels(vgg16):
    shapes = tf.constant([[16, 31], [33, 47], [15, 1], [600, 1000], [375, 500]])
    (found,) = vgg16.level_shapes(shapes)
    np.testing.assert_array_equal(found, [[1, 1], [2, 2], [1, 1], [37, 62], [23, 31]])
    (level,) = vgg16(tf.zeros([2, 33, 47, 3]), shapes[:2])
    np.testing.assert_array_equal(found[:2], level.shape)


@pytest.mark.slow
def test_a_pyramid_stands_on_the_last_three_blocks_and_the_last_pooling():
    backbone = backbones.VGG16FPN(frozen_blocks=2, dtype="float32")
    assert (backbone.strides, backbone.channels) == ((4, 8, 16, 32, 64), (256,) * 5)
    assert backbone.frozen == ["block1", "block2"]
    laterals = [backbone.network.get_layer(f"fpn_lateral{n}").kernel.shape[2] for n in range(2, 6)]
    assert laterals == [256, 512, 512, 512]
    padding.randomize(backbone)
    images = padding.images_of([(47, 70), (64, 33)])
    padding.assert_padding_changes_nothing(backbone, images, padding.round_down_but_p6)
