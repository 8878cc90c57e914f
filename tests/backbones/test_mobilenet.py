"""MobileNetV3-Large: equal to keras.applications', padding without effect; what is frozen."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn import backbones
from tests import fakes
from tests.backbones import padding


@pytest.fixture(scope="module")
def original():
    """The network of keras.applications, its weights and statistics at random."""
    keras.utils.set_random_seed(0)
    network = keras.applications.MobileNetV3Large(
        input_shape=(None, None, 3), include_top=False, include_preprocessing=False, weights=None
    )
    padding.randomize(network)
    return network


@pytest.fixture(scope="module")
def mobilenet(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    original.save_weights(path)
    return backbones.MobileNetV3Large(weights=str(path), dtype="float32")


@pytest.fixture(scope="module")
def fresh():
    keras.utils.set_random_seed(0)
    return backbones.MobileNetV3Large(frozen_blocks=2, dtype="mixed_bfloat16")


def test_features_are_those_of_keras_on_images_of_even_size(original, mobilenet):
    last = original.get_layer("expanded_conv_11_add").output
    image = fakes.image(64, 98)[np.newaxis]
    expected = keras.Model(original.input, last)(image)
    (level,) = mobilenet(image, tf.constant([[64, 98]]))
    scale = np.abs(expected).max()
    assert level.features.shape == (1, 4, 6, 112)
    np.testing.assert_allclose(level.features, expected, rtol=1e-4, atol=1e-5 * scale)


def test_padding_changes_nothing(mobilenet):
    for odd in (1, 6, 11):
        images = padding.images_of([(32 + odd, 63 - odd), (31 - odd, 16 + odd), (64, 80)])
        padding.assert_padding_changes_nothing(mobilenet, images, padding.round_down)


def test_squeeze_and_excitation_sees_the_true_area_only(mobilenet):
    """Doubling the padding changes nothing, though it would halve a mean over the whole map."""
    image = fakes.image(32, 48)
    means = []
    for height in (32, 64, 128):
        batch = np.zeros((1, height, 48, 3), "float32")
        batch[0, :32] = image
        (level,) = mobilenet(batch, tf.constant([[32, 48]]))
        means.append(level.features.numpy()[0, :2, :3])
    np.testing.assert_allclose(means[1], means[0], atol=1e-5 * np.abs(means[0]).max())
    np.testing.assert_allclose(means[2], means[0], atol=1e-5 * np.abs(means[0]).max())


def test_it_has_the_blocks_with_stride_16(fresh):
    assert (fresh.strides, fresh.channels, fresh.rpn_channels) == ((16,), (112,), 256)
    assert fresh.leaf_layers()[-1].name == "expanded_conv_11_add"
    assert fresh.make_head() is None
    assert fresh.preprocessing == backbones.preprocessing_of("mobilenet_v3_large")
    assert fresh.preprocessing.color_order == "rgb"
    assert fresh.preprocessing.mean == fresh.preprocessing.scale == (127.5,) * 3


def test_layers_of_one_resolution_are_frozen_together(fresh):
    assert fresh.frozen == ["group 1", "group 2", "batch normalisation"]
    trained = {weight.path.partition("/")[0] for weight in fresh.trainable_weights}
    assert "expanded_conv_3_expand" in trained
    assert not trained & {"conv", "expanded_conv_project", "expanded_conv_2_project"}
    assert not [name for name in trained if name.endswith("_bn")]
    names = [name for names in fresh.freeze_groups for name in names]
    assert names == [layer.name for layer in fresh.leaf_layers() if layer.weights]
    assert [names[0] for names in fresh.freeze_groups] == [
        "conv",
        "expanded_conv_1_expand",
        "expanded_conv_3_expand",
        "expanded_conv_6_expand",
    ]


def test_random_weights_keep_activations_within_bounds_under_every_policy(fresh):
    (level,) = fresh(fakes.image(96, 96)[np.newaxis], tf.constant([[96, 96]]))
    assert level.features.dtype == tf.bfloat16
    assert {weight.dtype for weight in fresh.weights} == {"float32"}
    assert {layer.compute_dtype for layer in fresh.leaf_layers()} == {"bfloat16"}
    assert 0.1 < np.std(tf.cast(level.features, tf.float32)) < 20


def test_it_comes_back_from_its_settings(mobilenet):
    again = backbones.Backbone.from_config(mobilenet.get_config())
    again.set_weights(mobilenet.get_weights())
    image, size = fakes.image(40, 33)[np.newaxis], tf.constant([[40, 33]])
    (expected,), (received,) = mobilenet(image, size), again(image, size)
    np.testing.assert_array_equal(received.features, expected.features)
    assert again.preprocessing == mobilenet.preprocessing


def test_a_pyramid_stands_on_the_last_maps_of_four_strides(original, tmp_path):
    path = str(tmp_path / "mobilenet.weights.h5")
    original.save_weights(path)
    backbone = backbones.MobileNetV3LargeFPN(weights=path, frozen_blocks=5, dtype="float32")
    assert (backbone.strides, backbone.channels) == ((4, 8, 16, 32, 64), (256,) * 5)
    trained = {weight.path.partition("/")[0] for weight in backbone.trainable_weights}
    assert trained == {f"fpn_{part}{n}" for part in ("lateral", "output") for n in range(2, 6)}
    laterals = [backbone.network.get_layer(f"fpn_lateral{n}").kernel.shape[2] for n in range(2, 6)]
    assert laterals == [24, 40, 112, 960]
    image = fakes.image(64, 98)[np.newaxis]
    last = keras.Model(backbone.network.input, backbone.network.get_layer("fpn_lateral5").input)(
        image
    )
    expected = original(image)
    np.testing.assert_allclose(last, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    images = padding.images_of([(33, 62), (30, 17), (64, 80)])
    padding.assert_padding_changes_nothing(backbone, images, padding.round_down_but_p6)


def test_symmetric_padding_is_torchvisions():
    backbone = backbones.make("mobilenet_v3_large_fpn32", symmetric_padding=True, norm_epsilon=1e-5)
    layers = {layer.name: layer for layer in backbone.leaf_layers()}
    pads = {name: layer.padding for name, layer in layers.items() if name.endswith("_pad")}
    assert pads == {
        "conv_pad": ((1, 1), (1, 1)),
        "expanded_conv_1_depthwise_pad": ((1, 1), (1, 1)),
        "expanded_conv_3_depthwise_pad": ((2, 2), (2, 2)),
        "expanded_conv_6_depthwise_pad": ((1, 1), (1, 1)),
        "expanded_conv_12_depthwise_pad": ((2, 2), (2, 2)),
    }
    assert layers["conv_bn"].epsilon == 1e-5
    shapes = [level.numpy().tolist() for level in backbone.level_shapes([[64, 96]])]
    assert shapes == [[[2, 3]], [[2, 3]], [[1, 2]]]
    assert (backbone.strides, backbone.num_roi_levels) == ((32, 32, 64), 1)
