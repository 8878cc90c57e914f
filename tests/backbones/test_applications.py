"""Rebuilding networks of keras.applications: what changes and what stays."""

import keras
import numpy as np

from keras_frcnn.backbones import applications
from keras_frcnn.layers.frozen_normalization import FrozenNormalization

layers = keras.layers


def network():
    images = keras.Input((None, None, 3))
    x = layers.Conv2D(64, 3, strides=2, name="a_conv")(images)
    x = layers.BatchNormalization(epsilon=0.01, name="a_bn")(x)
    x = layers.DepthwiseConv2D(5, name="b_depthwise")(x) + 3.0
    return keras.Model(images, layers.Activation("hard_silu", name="b_act")(x), name="some")


def test_layers_keep_their_names_and_settings_but_for_format_initialisers_and_norms():
    original = network()
    rebuilt = applications.rebuild(original, "mixed_bfloat16")
    assert rebuilt.name == "some"
    assert [op.name for op in rebuilt.operations[1:]] == [op.name for op in original.operations[1:]]
    assert {layer.compute_dtype for layer in rebuilt.layers[1:]} == {"bfloat16"}
    assert {weight.dtype for weight in rebuilt.weights} == {"float32"}
    norm = rebuilt.get_layer("a_bn")
    assert isinstance(norm, FrozenNormalization) and norm.epsilon == 0.01
    assert rebuilt.get_layer("a_conv").strides == (2, 2)
    assert not {id(one) for one in rebuilt.layers} & {id(one) for one in original.layers}
    for name, inputs in (("a_conv", 27), ("b_depthwise", 25)):
        kernel = rebuilt.get_layer(name).get_weights()[0]
        tolerance = 5 * np.sqrt(2 / kernel.size)
        np.testing.assert_allclose(kernel.var(), 2 / inputs, rtol=tolerance)  # He normal


def test_settings_and_calls_can_be_changed():
    def change(settings):
        return {**settings, **({"strides": (1, 1)} if "strides" in settings else {})}

    def call(layer, *args, **kwargs):
        if layer.name == "b_act":
            args = (layers.ReLU(name="new")(*args),)
        return layer(*args, **kwargs)

    rebuilt = applications.rebuild(network(), "float32", change, call)
    assert rebuilt.get_layer("a_conv").strides == (1, 1)
    assert [layer.name for layer in rebuilt.layers[-2:]] == ["new", "b_act"]


def test_groups_of_layers_by_the_start_of_their_names():
    groups = applications.groups_by_prefix(network(), ["a_", "b_", "c_"])
    assert groups == (("a_conv", "a_bn"), ("b_depthwise", "b_act"), ())
