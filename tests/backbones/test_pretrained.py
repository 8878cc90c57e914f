"""Pretrained weights: which layers get them, and what is said when they do not."""

import keras
import numpy as np
import pytest

from keras_frcnn import backbones
from keras_frcnn.backbones import Backbone, PretrainedWeights
from keras_frcnn.data.images.preprocessing import CAFFE, Preprocessing
from tests import fakes

layers = keras.layers
SOURCE = PretrainedWeights("VGG16", "https://example.org/vgg16.h5", (("fc1", (12, 4)),))


def small_application(calls):
    """A stand-in for keras.applications.VGG16."""

    def make(include_top=True, weights="imagenet"):
        calls.append((include_top, weights))
        network = keras.Sequential(
            [
                keras.Input((16, 16, 3)),
                layers.Conv2D(8, 3, name="block1_conv1"),
                layers.Conv2D(5, 3, name="block2_conv1"),
                layers.Conv2D(4, 3, name="block5_conv1"),
            ]
        )
        if include_top:
            network.add(layers.Dense(12, name="flatten"))
            network.add(layers.Dense(4, name="fc1"))
        fakes.randomize(network, seed=9)
        return network

    return make


@pytest.fixture
def calls(monkeypatch):
    calls = []
    monkeypatch.setattr(keras.applications, "VGG16", small_application(calls))
    return calls


def backbone_of(head=False, preprocessing=CAFFE, pretrained=SOURCE):
    images, pooled = keras.Input((None, None, 3)), keras.Input((None, None, 5))
    x = layers.Conv2D(8, 3, padding="same", name="block1_conv1")(images)
    x = layers.Conv2D(6, 3, padding="same", name="block2_conv1")(x)  # another width
    stage = keras.Model(pooled, layers.Conv2D(4, 3, padding="same", name="block5_conv1")(pooled))
    return Backbone(
        keras.Model(images, x, name="own"),
        1,
        preprocessing,
        head_network=stage if head else None,
        pretrained=pretrained,
    )


def dense(width, units):
    layer = layers.Dense(units, name="fc1")
    layer.build((None, width))
    return layer


def assert_equal(layer, original):
    for one, other in zip(layer.weights, original.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_layers_of_the_same_name_and_shape_get_the_weights(calls):
    backbone = backbone_of()
    before = backbone.network.get_layer("block2_conv1").get_weights()
    assert backbones.load_pretrained(backbone, "imagenet") == ["block1_conv1"]
    assert calls == [(False, "imagenet")]
    original = keras.applications.VGG16(False)
    assert_equal(backbone.network.get_layer("block1_conv1"), original.get_layer("block1_conv1"))
    for one, other in zip(backbone.network.get_layer("block2_conv1").weights, before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("width", "units", "fits"), [(12, 4, True), (12, 5, False), (9, 4, False)])
def test_the_large_download_is_made_only_if_the_head_can_use_it(calls, width, units, fits):
    fc1 = dense(width, units)
    loaded = backbones.load_pretrained(backbone_of(), "imagenet", [fc1])
    assert calls == [(fits, "imagenet")]
    assert loaded == ["block1_conv1", *(["fc1"] if fits else [])]
    if fits:
        assert_equal(fc1, keras.applications.VGG16().get_layer("fc1"))


@pytest.mark.parametrize("include_top", [True, False])
def test_a_file_is_read_with_and_without_the_top(calls, tmp_path, include_top):
    original = keras.applications.VGG16(include_top, None)
    original.save_weights(tmp_path / "a.weights.h5")
    fc1 = dense(12, 4)
    loaded = backbones.load_pretrained(backbone_of(), str(tmp_path / "a.weights.h5"), [fc1])
    assert loaded == ["block1_conv1", *(["fc1"] if include_top else [])]


def test_heads_start_from_the_weights_whether_made_before_or_after(calls):
    backbone = backbone_of(head=True)
    before = backbone.make_head()
    loaded = backbones.load_pretrained(backbone, "imagenet", before.layers)
    assert loaded == ["block1_conv1", "block5_conv1"]
    expected = keras.applications.VGG16(False).get_layer("block5_conv1")
    for head in (before, backbone.make_head()):
        assert_equal(head.get_layer("block5_conv1"), expected)


def refusal(source, **changes):
    backbone = backbone_of(**changes)
    before = backbone.get_weights()
    with pytest.raises(ValueError) as caught:
        backbones.load_pretrained(backbone, source)
    for one, other in zip(backbone.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    return str(caught.value)


def test_a_missing_file_is_named(calls, tmp_path):
    path = str(tmp_path / "missing.h5")
    assert refusal(path).endswith(f"'imagenet', 'none' or a weights file. Received: {path}")
    assert refusal(str(tmp_path)).endswith(f"Received: {tmp_path}")


def test_a_file_of_something_else_is_named(calls, tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"no HDF5 at all")
    start = f"{path} holds no weights of keras.applications.VGG16: "
    assert refusal(str(path)).startswith(start)


def test_without_a_network_it_is_said_what_to_do(monkeypatch):
    def fail(*args, **kwargs):
        raise Exception("URL fetch failure on https://example.org: no network")

    monkeypatch.setattr(keras.applications, "VGG16", fail)
    message = refusal("imagenet")
    assert message.startswith("ImageNet weights could not be downloaded: URL fetch failure")
    assert "\n      https://example.org/vgg16.h5\n" in message
    assert "--backbone_weights=/path/to/that/file" in message
    assert message.endswith("--backbone_weights=none --pixel_std=58")
    scaled = Preprocessing("rgb", (127.5,) * 3, (127.5,) * 3)
    assert refusal("imagenet", preprocessing=scaled).endswith("--backbone_weights=none")


def test_a_network_that_keras_has_no_weights_for_is_named():
    assert refusal("imagenet", pretrained=None) == (
        "keras.applications has no pretrained weights for the backbone 'own', so its weights must "
        "be None. Received: 'imagenet'"
    )


def test_a_file_with_weights_that_are_not_finite_is_named(calls, tmp_path):
    original = keras.applications.VGG16(False, None)
    original.layers[0].bias.assign([np.nan] * 8)
    path = str(tmp_path / "bad.weights.h5")
    original.save_weights(path)
    with pytest.raises(ValueError, match=f"{path} has weights .* one is .*block1_conv1/bias"):
        backbones.load_pretrained(backbone_of(), path)
