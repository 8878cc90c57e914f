"""Backbone: what any network becomes by it, from its levels to its settings."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn import backbones
from keras_frcnn.backbones import padding_exact
from keras_frcnn.data.images.preprocessing import CAFFE, Preprocessing
from tests import fakes
from tests.backbones import padding

layers = keras.layers


def two_levels():
    """A network with maps of stride 4 and 8, whose layers are random but for their names."""
    images = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(images)
    fine = layers.AveragePooling2D(4, name="pool")(x)
    x = layers.ZeroPadding2D(1, name="pad")(fine)
    x = layers.Conv2D(6, 3, strides=2, name="second")(x)
    coarse = layers.BatchNormalization(name="norm")(x)
    return keras.Model(images, [fine, coarse])


@pytest.fixture(scope="module")
def toy():
    keras.utils.set_random_seed(0)
    groups = [["first"], ["second", "norm"]]
    backbone = backbones.Backbone(two_levels(), (4, 8), CAFFE, groups, frozen_blocks=1)
    padding.randomize(backbone)
    return backbone


def test_an_image_has_the_same_features_alone_and_beside_a_larger_one(small):
    for odd in range(16):  # every size modulo the stride
        images = padding.images_of([(32 + odd, 63 - odd), (31 - odd, 16 + odd), (64, 80)])
        padding.assert_padding_changes_nothing(small, images, padding.round_down)


def test_without_clearing_the_padding_leaks_into_the_features(small, monkeypatch):
    images = [fakes.image(48, 64), fakes.image(96, 112, seed=1)]
    _, [(alone,)] = padding.features_of(small, images[:1])
    monkeypatch.setattr(padding_exact, "clear_padding", lambda x, shape, is_padded: x)
    _, [(leaked, _)] = padding.features_of(small, images)
    assert np.abs(leaked - alone).max() > 0.01 * np.abs(alone).max()


def test_the_size_of_a_map_is_rounded_down_and_at_least_one(small):
    shapes = tf.constant([[64, 64], [63, 48], [31, 47], [16, 15], [1, 33]])
    (level,) = small(tf.zeros([5, 64, 64, 3]), shapes)
    np.testing.assert_array_equal(level.shape, [[4, 4], [3, 3], [1, 2], [1, 1], [1, 2]])
    assert level.features.shape == (5, 4, 4, 16)
    assert level.shape.dtype == tf.int32
    assert level.stride == 16


def test_images_smaller_than_a_cell_have_one(small):
    images = padding.images_of([(5, 40), (40, 15), (7, 3)])
    padding.assert_padding_changes_nothing(small, images, padding.round_down)


def test_a_graph_of_unknown_sizes_gives_the_same(small):
    inputs = fakes.inputs_of([fakes.image(33, 50), fakes.image(50, 33, seed=1)])
    specs = [tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, 2], tf.int32)]
    graph = tf.function(small.call, input_signature=specs)
    (expected,) = small(inputs["images"], inputs["image_shape"])
    (received,) = graph(inputs["images"], inputs["image_shape"])
    np.testing.assert_allclose(received.features, expected.features, atol=1e-5)


def test_the_policy_reaches_the_convolutions_and_the_features():
    backbone = fakes.small_vgg16(dtype=keras.DTypePolicy("mixed_bfloat16"))
    (level,) = backbone(tf.ones([1, 32, 32, 3]), tf.constant([[32, 32]]))
    assert level.features.dtype == tf.bfloat16
    assert {w.dtype for w in backbone.weights} == {"float32"}


def test_the_sizes_of_maps_are_known_without_pixels(small):
    sizes = [*range(16, 36), 47, 63, 64, 65]
    shapes = tf.constant([[size, sizes[-i]] for i, size in enumerate(sizes)])
    (level,) = small(tf.zeros([len(sizes), 65, 65, 3]), shapes)
    np.testing.assert_array_equal(small.level_shapes(shapes)[0], level.shape)


def test_a_network_of_several_maps_gives_several_levels(toy):
    assert (toy.strides, toy.channels) == ((4, 8), (4, 6))
    image = fakes.image(24, 40)
    levels = toy(image[np.newaxis], tf.constant([[24, 40]]))
    assert [level.stride for level in levels] == [4, 8]
    for level, expected in zip(levels, toy.network(image[np.newaxis]), strict=True):
        np.testing.assert_allclose(level.features, expected, atol=1e-5)
    for odd in range(8):
        images = padding.images_of([(20 + odd, 33 - odd), (15 - odd, 9 + odd), (40, 48)])
        padding.assert_padding_changes_nothing(toy, images)
    np.testing.assert_array_equal(toy.level_shapes([[23, 30]]), [[[5, 7]], [[3, 4]]])


def test_zeros_up_to_a_multiple_belong_to_the_image(toy):
    divided = backbones.Backbone.from_config({**toy.get_config(), "size_divisor": 32})
    divided.set_weights(toy.get_weights())
    images = padding.images_of([(33, 50), (64, 20), (32, 32)])
    padding.assert_padding_changes_nothing(divided, images)
    for image in images:
        enlarged = np.zeros((*(-(-side // 32) * 32 for side in image.shape[:2]), 3), "float32")
        enlarged[: image.shape[0], : image.shape[1]] = image
        found = divided(image[np.newaxis], tf.constant([image.shape[:2]]))
        expected = toy(enlarged[np.newaxis], tf.constant([enlarged.shape[:2]]))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.shape, other.shape)
            np.testing.assert_allclose(one.features, other.features, atol=1e-5)
        cells = divided.level_shapes([image.shape[:2]])
        np.testing.assert_array_equal(cells, [level.shape for level in expected])


def test_groups_of_layers_are_frozen_together(toy):
    assert toy.freeze_groups == (("first",), ("second", "norm"))
    assert toy.frozen == ["group 1"]  # "second" and "norm" share no first word
    trained = [weight.path for weight in toy.trainable_weights]
    assert trained == ["second/kernel", "second/bias", "norm/gamma", "norm/beta"]
    both = backbones.Backbone(two_levels(), (4, 8), CAFFE, toy.freeze_groups, frozen_blocks=2)
    assert both.trainable_weights == []
    assert both.frozen == ["group 1", "group 2"]


def test_features_do_not_depend_on_the_training_mode(toy):
    image, size = fakes.image(24, 40)[np.newaxis], tf.constant([[24, 40]])
    statistics = [weight.numpy() for weight in toy.non_trainable_weights]
    for one, other in zip(toy(image, size), toy(image, size, training=True), strict=True):
        np.testing.assert_array_equal(one.features, other.features)
    for weight, before in zip(toy.non_trainable_weights, statistics, strict=True):
        np.testing.assert_array_equal(weight, before)


def test_gradient_flows_to_the_weights_and_images(toy):
    image = tf.constant(fakes.image(24, 40)[np.newaxis])
    with tf.GradientTape() as tape:
        tape.watch(image)
        levels = toy(image, tf.constant([[20, 33]]))
        loss = tf.add_n([tf.reduce_sum(level.features) for level in levels])
    gradients = tape.gradient(loss, [image, *(w.value for w in toy.trainable_weights)])
    assert all(np.any(gradient) for gradient in gradients)
    # The outermost cells read the zeros next to the image, and nothing reads those beyond.
    assert not np.any(gradients[0][:, 21:]) and not np.any(gradients[0][:, :, 34:])


def test_a_backbone_comes_back_from_its_settings(toy):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(toy)))
    again = keras.saving.deserialize_keras_object(config, safe_mode=True)
    again.set_weights(toy.get_weights())
    for name in ("strides", "channels", "freeze_groups", "frozen", "rpn_channels", "name"):
        assert getattr(again, name) == getattr(toy, name)
    assert again.preprocessing == CAFFE
    image, size = fakes.image(24, 41)[np.newaxis], tf.constant([[20, 41]])
    for one, other in zip(again(image, size), toy(image, size), strict=True):
        np.testing.assert_array_equal(one.features, other.features)


def test_a_head_network_is_copied_and_does_not_count_as_the_backbones():
    pooled = keras.Input((None, None, 6))
    head_network = keras.Model(pooled, layers.Conv2D(5, 3, padding="same", name="last")(pooled))
    backbone = backbones.Backbone(two_levels(), (4, 8), CAFFE, head_network=head_network)
    assert not [weight for weight in backbone.weights if weight.path.startswith("last")]
    one, other = backbone.make_head(), backbone.make_head()
    assert one is not other
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 6)).astype("float32")
    assert one(x).shape == (2, 3, 3, 5)
    assert np.any(one(x) != other(x))  # each has random weights of its own
    backbone.set_head_weights(one.get_weights())
    np.testing.assert_array_equal(backbone.make_head()(x), one(x))
    again = backbones.Backbone.from_config(backbone.get_config())
    assert [w.path for w in again.make_head().weights] == ["last/kernel", "last/bias"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": 4}, r"one stride for each of the network's 2 maps. Received: \(4,\)"),
        ({"strides": (4, 16)}, r"Received: \(4, 16\), but 1024 more pixels give 128 more cells"),
        ({"freeze_groups": [["third"]]}, r"freeze_groups must name layers .*\['third'\]"),
        ({"frozen_blocks": 1}, "frozen_blocks must be between 0 and 0"),
    ],
)
def test_what_does_not_fit_the_network_is_refused(changes, message):
    arguments = {"strides": (4, 8), "preprocessing": CAFFE, **changes}
    with pytest.raises(ValueError, match=message):
        backbones.Backbone(two_levels(), **arguments)


def test_a_network_of_vectors_is_refused():
    images = keras.Input((None, None, 3))
    for keepdims, message in ((True, "one vector for each image"), (False, "set keepdims=True")):
        network = keras.Model(images, layers.GlobalAveragePooling2D(keepdims=keepdims)(images))
        with pytest.raises(ValueError, match=message):
            backbones.Backbone(network, 16, CAFFE)


@pytest.mark.parametrize("name", backbones.BACKBONES)
def test_every_backbone_states_its_pixels_and_strides_without_being_built(name):
    expected = (4, 8, 16, 32, 64) if name.endswith("_fpn") else (16,)
    expected = (32, 32, 64) if name.endswith("_fpn32") else expected
    assert backbones.strides_of(name) == expected
    whole, halved = backbones.preprocessing_of(name), backbones.preprocessing_of(name, 2.0)
    assert isinstance(whole, Preprocessing)
    assert halved.scale == tuple(2 * scale for scale in whole.scale)


def test_a_backbone_is_made_by_its_name():
    with fakes.small_backbone():
        backbone = backbones.make("vgg16", frozen_blocks=1, name="other")
    assert (backbone.name, backbone.channels, backbone.frozen) == ("other", (16,), ["block1"])
