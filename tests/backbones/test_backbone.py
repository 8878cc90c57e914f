"""Backbones: features do not depend on padding; what is frozen, built and initialised how."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.backbones import backbone as backbones
from keras_frcnn.backbones import stacks
from tests import fakes

FLOAT32 = keras.DTypePolicy("float32")
CONVOLUTIONS = [2, 2, 3, 3, 3]  # of VGG16's blocks


@pytest.fixture(scope="module")
def vgg16():
    """The real one, with random biases: it is theirs that would leak out of the padding."""
    backbone = backbones.Backbone("vgg16", dtype=FLOAT32)
    randomize_biases(backbone)
    return backbone


@pytest.fixture(scope="module")
def small():
    with fakes.small_backbone():
        backbone = backbones.Backbone("vgg16", dtype=FLOAT32)
    randomize_biases(backbone)
    return backbone


@pytest.fixture(scope="module")
def zf():
    backbone = backbones.Backbone("zf", dtype=FLOAT32)
    randomize_biases(backbone)
    return backbone


def randomize_biases(backbone):
    rng = np.random.default_rng(1)
    for weight in backbone.weights:
        if weight.path.endswith("bias"):
            weight.assign(rng.normal(0, 0.3, weight.shape))


def features_of(backbone, images):
    """The features of each image in one batch, cut to its true size, and the whole maps."""
    inputs = fakes.inputs_of(images)
    maps, shapes = backbone(inputs["images"], inputs["image_shape"])
    cut = [one[:h, :w].numpy() for one, (h, w) in zip(maps, shapes.numpy(), strict=True)]
    return cut, maps.numpy()


def assert_padding_changes_nothing(backbone, images, size=lambda side: side // 16):
    together, maps = features_of(backbone, images)
    for i, image in enumerate(images):
        (alone,), _ = features_of(backbone, [image])
        assert alone.shape[:2] == (size(image.shape[0]), size(image.shape[1]))
        assert np.abs(alone).max() > 0.01
        np.testing.assert_allclose(together[i], alone, atol=1e-5 * np.abs(alone).max(), rtol=1e-5)
        h, w = alone.shape[:2]
        assert not maps[i, h:].any()
        assert not maps[i, :, w:].any()


def test_an_image_has_the_same_features_alone_and_beside_a_larger_one(small):
    for odd in range(16):  # every size modulo the stride
        sizes = [(32 + odd, 63 - odd), (31 - odd, 16 + odd), (64, 80)]
        images = [fakes.image(h, w, seed=i) for i, (h, w) in enumerate(sizes)]
        assert_padding_changes_nothing(small, images)


@pytest.mark.slow
def test_so_it_is_with_vgg16(vgg16):
    images = [fakes.image(h, w, seed=i) for i, (h, w) in enumerate([(47, 70), (64, 33)])]
    assert_padding_changes_nothing(vgg16, images)


def test_so_it_is_with_zf_whose_layers_pad_themselves(zf):
    for odd in range(16):
        sizes = [(32 + odd, 63 - odd), (31 - odd, 16 + odd), (64, 80)]
        images = [fakes.image(h, w, seed=i) for i, (h, w) in enumerate(sizes)]
        assert_padding_changes_nothing(zf, images, size=lambda side: -(-side // 16))


def test_without_clearing_the_padding_leaks_into_the_features(small, monkeypatch):
    images = [fakes.image(48, 64), fakes.image(96, 112, seed=1)]
    (alone,), _ = features_of(small, images[:1])
    monkeypatch.setattr(stacks, "clear_padding", lambda x, shape, is_padded: x)
    (leaked, _), _ = features_of(small, images)
    assert np.abs(leaked - alone).max() > 0.01 * np.abs(alone).max()


def test_the_size_of_a_map_is_rounded_down_and_at_least_one(small):
    shapes = tf.constant([[64, 64], [63, 48], [31, 47], [16, 15], [1, 33]])
    maps, feature_shape = small(tf.zeros([5, 64, 64, 3]), shapes)
    np.testing.assert_array_equal(feature_shape, [[4, 4], [3, 3], [1, 2], [1, 1], [1, 2]])
    assert maps.shape == (5, 4, 4, 16)
    assert feature_shape.dtype == tf.int32


def test_a_graph_of_unknown_sizes_gives_the_same(small):
    inputs = fakes.inputs_of([fakes.image(33, 50), fakes.image(50, 33, seed=1)])
    specs = [tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, 2], tf.int32)]
    graph = tf.function(small.call, input_signature=specs)
    expected, _ = small(inputs["images"], inputs["image_shape"])
    received, _ = graph(inputs["images"], inputs["image_shape"])
    np.testing.assert_allclose(received, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("frozen_blocks", [0, 2, 5])
def test_exactly_the_first_blocks_are_frozen(frozen_blocks):
    backbone = backbones.Backbone("vgg16", frozen_blocks, dtype=FLOAT32)
    trained = {layer.name for layer in backbone.stack if layer.trainable_weights}
    expected = {
        f"block{block}_conv{n}"
        for block, count in enumerate(CONVOLUTIONS, start=1)
        for n in range(1, count + 1)
        if block > frozen_blocks
    }
    assert trained == expected
    assert len(backbone.trainable_weights) == 2 * len(expected)
    assert len(backbone.weights) == 26


def test_a_backbone_that_does_not_train_at_all_is_frozen_block_by_block():
    backbone = backbones.Backbone("zf", dtype=FLOAT32)
    assert backbone.frozen == []
    backbone.trainable = False
    assert backbone.frozen == [f"block{n}" for n in range(1, 6)]


@pytest.mark.slow
def test_vgg16_ends_after_its_thirteenth_convolution(vgg16):
    kernels = [w.shape for w in vgg16.weights if w.path.endswith("kernel")]
    channels = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert kernels == [(3, 3, i, o) for i, o in zip([3, *channels], channels, strict=False)]
    assert vgg16.count_params() == 14_714_688
    assert vgg16.stack[-1].name == "block5_conv3"
    assert sum("pool" in layer.name for layer in vgg16.stack) == 4
    assert (vgg16.stride, vgg16.channels, vgg16.rpn_channels) == (16, 512, 512)


@pytest.mark.slow
def test_new_kernels_keep_the_variance_of_activations(vgg16):
    for weight in vgg16.weights:
        if weight.path.endswith("kernel"):
            values = weight.numpy()
            expected = 2 / np.prod(weight.shape[:3])  # He normal
            tolerance = 5 * np.sqrt(2 / values.size)
            np.testing.assert_allclose(values.var(), expected, rtol=tolerance)


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
    assert (zf.stride, zf.channels, zf.rpn_channels) == (16, 256, 256)
    frozen = backbones.Backbone("zf", 2, dtype=FLOAT32)
    trained = [layer.name for layer in frozen.stack if layer.trainable_weights]
    assert trained == ["block3_conv", "block4_conv", "block5_conv"]


def test_normalisation_within_a_channel():
    values = np.random.default_rng(0).normal(0, 100, (1, 4, 5, 2)).astype("float32")
    expected = np.zeros_like(values)
    for y in range(4):
        for x in range(5):
            window = values[0, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            mean = np.sum(window**2, axis=(0, 1)) / 9  # borders count zeros
            expected[0, y, x] = values[0, y, x] / (1 + 5e-5 * mean) ** 0.75
    received = backbones.WithinChannelNormalization()(values)
    np.testing.assert_allclose(received, expected, rtol=1e-5)
    assert np.abs(expected / values).min() < 0.8


def test_the_policy_reaches_the_convolutions_and_the_features():
    policy = keras.DTypePolicy("mixed_bfloat16")
    with fakes.small_backbone():
        backbone = backbones.Backbone("vgg16", dtype=policy)
    maps, _ = backbone(tf.ones([1, 32, 32, 3]), tf.constant([[32, 32]]))
    assert maps.dtype == tf.bfloat16
    assert {w.dtype for w in backbone.weights} == {"float32"}


@pytest.mark.parametrize("name", ["small", "zf"])
def test_the_sizes_of_maps_are_known_without_pixels(name, request):
    backbone = request.getfixturevalue(name)
    sizes = [*range(16, 36), 47, 63, 64, 65]
    shapes = tf.constant([[size, sizes[-i]] for i, size in enumerate(sizes)])
    _, expected = backbone(tf.zeros([len(sizes), 65, 65, 3]), shapes)
    np.testing.assert_array_equal(stacks.true_shape(backbone.stack, shapes), expected)


def test_the_sizes_of_vgg16s_maps_are_known_without_pixels(vgg16):
    shapes = tf.constant([[16, 31], [33, 47], [15, 1], [600, 1000], [375, 500]])
    found = stacks.true_shape(vgg16.stack, shapes)
    np.testing.assert_array_equal(found, [[1, 1], [2, 2], [1, 1], [37, 62], [23, 31]])
    _, expected = vgg16(tf.zeros([2, 33, 47, 3]), shapes[:2])
    np.testing.assert_array_equal(found[:2], expected)
