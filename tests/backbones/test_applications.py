"""Rebuilding networks of keras.applications: what changes and what stays."""

import keras
import numpy as np
import pytest

from keras_frcnn.backbones import applications
from keras_frcnn.data.images.preprocessing import CHOICES
from keras_frcnn.layers.frozen_normalization import FrozenNormalization
from tests.backbones import padding

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


# --- KerasHub -----------------------------------------------------------------------------------


class Converter:
    """As KerasHub's ``ImageConverter``, for torchvision's normalisation."""

    scale = [1 / 58.395, 1 / 57.12, 1 / 57.375]
    offset = [-123.675 / 58.395, -116.28 / 57.12, -103.53 / 57.375]


def hub_backbone():
    """Has the form of KerasHub's ResNet-vd, with a block of one convolution in each stage."""
    images = keras.Input((None, None, 3))
    x = layers.ZeroPadding2D(1)(images)
    x = layers.Conv2D(4, 3, strides=2, name="conv1")(x)
    x = layers.ZeroPadding2D(1)(layers.BatchNormalization(name="conv1_bn")(x))
    x, maps = layers.MaxPooling2D(3, 2, name="pool1")(x), {}
    for stage in range(2, 6):
        shortcut = x if stage == 2 else layers.AveragePooling2D(2, padding="same")(x)
        shortcut = layers.Conv2D(4 * stage, 1, name=f"stack{stage}_0")(shortcut)
        x = layers.ZeroPadding2D(1)(x)
        x = layers.Conv2D(4 * stage, 3, 1 if stage == 2 else 2, name=f"stack{stage}_1")(x)
        x = layers.ReLU(name=f"stack{stage}_out")(layers.Add()([x, shortcut]))
        maps[f"P{stage}"] = x
    model = keras.Model(images, x, name="resnet_vd")
    model.pyramid_outputs = maps
    return model


@pytest.mark.parametrize("pyramid", [False, True])
def test_a_backbone_of_kerashub_keeps_its_weights_and_is_padding_exact(pyramid):
    original = hub_backbone()
    original.get_layer("conv1_bn").moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    backbone = applications.from_keras_hub(original, Converter(), pyramid, frozen_blocks=2)
    assert backbone.strides == ((4, 8, 16, 32, 64) if pyramid else (16,))
    names = {layer.name: layer for layer in backbone.leaf_layers()}
    assert ("stack5_1" in names) == pyramid
    for layer in original.layers:
        if layer.weights and layer.name in names:
            for ours, theirs in zip(names[layer.name].weights, layer.weights, strict=True):
                np.testing.assert_array_equal(ours, theirs)
    first, second, *_ = backbone.freeze_groups
    assert {"conv1", "conv1_bn", "pool1"} <= set(first) and "stack2_1" in second
    assert not names["stack2_1"].trainable and names["stack3_1"].trainable
    padding.assert_padding_changes_nothing(backbone, padding.images_of([(70, 95), (64, 33)]))


def test_a_converters_scale_and_offset_become_mean_and_scale():
    preprocessing = applications.from_keras_hub(hub_backbone(), Converter()).preprocessing
    expected = CHOICES["torch"]
    assert preprocessing.color_order == expected.color_order
    np.testing.assert_allclose(preprocessing.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(preprocessing.scale, expected.scale, rtol=1e-12)


def test_what_has_no_such_maps_is_refused():
    original = hub_backbone()
    del original.pyramid_outputs["P2"]
    with pytest.raises(ValueError, match=r"resnet_vd has no maps P2, .* are P3, P4, P5"):
        applications.from_keras_hub(original, Converter())
    with pytest.raises(ValueError, match="its pyramid_outputs are missing"):
        applications.from_keras_hub(network(), Converter())


def test_a_real_resnet_of_kerashub_is_padding_exact():
    keras_hub = pytest.importorskip("keras_hub", reason="keras-hub is not installed")
    original = keras_hub.models.ResNetBackbone(
        **{"input_conv_filters": [4, 4, 8], "input_conv_kernel_sizes": [3, 3, 3]},
        **{"stackwise_num_filters": [64, 8, 8, 8], "stackwise_num_blocks": [1, 1, 1, 1]},
        **{"stackwise_num_strides": [1, 2, 2, 2], "block_type": "bottleneck_block_vd"},
    )
    converter = keras_hub.layers.ImageConverter(scale=1 / 255)
    backbone = applications.from_keras_hub(original, converter)
    assert [len(names) > 0 for names in backbone.freeze_groups] == [True] * 5
    padding.randomize(backbone)
    padding.assert_padding_changes_nothing(backbone, padding.images_of([(70, 95), (64, 33)]))
