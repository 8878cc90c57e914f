"""Rules of layers: which are refused and how sizes change."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.backbones.layer_rules import Rule, rule_of

layers = keras.layers


class OwnLayer(layers.Layer):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.Conv2D(4, 3, strides=2, padding="same", name="a"), "ZeroPadding2D layer before it"),
        (layers.DepthwiseConv2D(3, strides=2, padding="same", name="a"), "padding='valid'"),
        (layers.Conv2D(4, (1, 3), strides=(1, 2), padding="same", name="a"), "padding='valid'"),
        (layers.MaxPooling2D(2, padding="same", name="a"), "padding='valid'"),
        (layers.MaxPooling2D(3, strides=1, padding="same", name="a"), "ignores cells outside"),
        (layers.AveragePooling2D(3, 1, padding="same", name="a"), "ignores cells outside"),
        (layers.Conv2D(4, 3, data_format="channels_first", name="a"), "'channels_first'"),
        (layers.ZeroPadding2D(1, data_format="channels_first", name="a"), "'channels_first'"),
        (layers.GlobalAveragePooling2D(name="a"), "keepdims=True"),
        (layers.GlobalMaxPooling2D(keepdims=True, name="a"), "no rule is known"),
        (layers.GroupNormalization(name="a"), "no rule is known"),
        (layers.BatchNormalization(axis=1, name="a"), "its axis is 1"),
        (layers.LayerNormalization(axis=(1, 2), name="a"), r"its axis is \[1, 2\]"),
        (layers.Concatenate(axis=1, name="a"), "its axis is 1"),
        (layers.Flatten(name="a"), "no rule is known"),
        (layers.Resizing(8, 8, name="a"), "no rule is known"),
        (layers.Conv2DTranspose(4, 3, name="a"), "no rule is known"),
        (OwnLayer(name="a"), "class attribute reads_border"),
    ],
)
def test_layers_whose_result_depends_on_padding_are_refused_by_name(layer, message):
    with pytest.raises(ValueError, match=message) as caught:
        rule_of(layer, {})
    start = f"The layer 'a' ({type(layer).__name__}) cannot be used in a backbone, "
    assert str(caught.value).startswith(start)


def test_a_layer_in_training_mode_is_refused():
    layer = layers.BatchNormalization(name="a")
    assert rule_of(layer, {"training": None}).arguments == {"training": False}
    with pytest.raises(ValueError, match="'a' .* calls it with training=True"):
        rule_of(layer, {"training": True})


@pytest.mark.parametrize("reads_border", [True, False])
def test_a_layer_of_ones_own_says_whether_it_reads_neighbours(reads_border):
    layer = OwnLayer()
    layer.reads_border = reads_border
    assert rule_of(layer, {}) == Rule(reads_border=reads_border)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.ReLU(), [1, 2, 3, 4, 9]),
        (layers.Conv2D(4, 5, padding="same"), [1, 2, 3, 4, 9]),
        (layers.Conv2D(4, 3), [1, 1, 1, 2, 7]),
        (layers.Conv2D(4, 3, dilation_rate=2), [1, 1, 1, 1, 5]),
        (layers.Conv2D(4, 1, strides=2, padding="same"), [1, 1, 2, 2, 5]),
        (layers.Conv2D(4, 1, strides=2), [1, 1, 2, 2, 5]),
        (layers.MaxPooling2D(2), [1, 1, 1, 2, 4]),
        (layers.MaxPooling2D(3, strides=2), [1, 1, 1, 1, 4]),
        (layers.ZeroPadding2D(((1, 2), (1, 2))), [4, 5, 6, 7, 12]),
    ],
)
def test_true_sizes(layer, expected):
    sizes = np.array([1, 2, 3, 4, 9], np.int32)[:, np.newaxis].repeat(2, axis=1)
    rule = rule_of(layer, {})
    for kind in (np.asarray, tf.constant):
        received = rule.size(kind(sizes))
        assert received.dtype == np.int32
        np.testing.assert_array_equal(received, np.transpose([expected, expected]))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv2D(4, 3, padding="same"), True),
        (layers.Conv2D(4, 1, padding="same"), False),
        (layers.Conv2D(4, 3), False),
        (layers.MaxPooling2D(2), False),
        (layers.ZeroPadding2D(1), True),
        (layers.GlobalAveragePooling2D(keepdims=True), True),
        (layers.Dense(4), False),
        (layers.Add(), False),
    ],
)
def test_which_layers_need_the_padding_cleared(layer, expected):
    assert rule_of(layer, {}).reads_border is expected
