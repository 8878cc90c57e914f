"""Starting from pretrained weights: which layers they reach, and what is said when they do not."""

import itertools
import types

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.models.build import build_detector
from keras_frcnn.weights.imagenet import load_imagenet
from tests import fakes

CONVOLUTIONS = [
    f"block{block}_conv{n}"
    for block, count in enumerate([2, 2, 3, 3, 3], start=1)
    for n in range(1, count + 1)
]


def write_legacy_weights(model, path):
    """Writes a weights file in the form that keras.applications downloads."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}_{letter}_1:0" for letter in "Wb"[: len(layer.weights)]]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights, strict=True):
                group.create_dataset(name, data=weight.numpy())


def small_vgg16(calls):
    """A stand-in for keras.applications.VGG16 with the stand-in's layers, and fc1 and fc2."""

    def make(include_top=True, weights="imagenet"):
        calls.append({"include_top": include_top, "weights": weights})
        layers = [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(8, 3, name="block1_conv1"),
            keras.layers.Conv2D(16, 3, name="block2_conv1"),
            keras.layers.Conv2D(4, 3, name="block3_conv1"),
        ]
        if include_top:
            layers += [
                keras.layers.GlobalMaxPooling2D(name="pool"),
                keras.layers.Dense(144, name="flatten"),
                keras.layers.Dense(4, name="fc1"),
                keras.layers.Dense(6, name="fc2"),
                keras.layers.Dense(10, name="predictions"),
            ]
        model = keras.Sequential(layers)
        fakes.randomize(model, seed=9)
        return model

    return make


@pytest.fixture
def calls(monkeypatch):
    calls = []
    monkeypatch.setattr(keras.applications, "VGG16", small_vgg16(calls))
    return calls


def layer_of(model, name):
    layers = [*model.backbone.leaf_layers(), *model.roi_head.box_head.hidden]
    (layer,) = [layer for layer in layers if layer.name == name]
    return layer


def assert_loaded(model, before, donor, names):
    """Checks that these layers have the donor's weights and all others what they had before."""
    expected = {}
    for name in names:
        for weight, value in zip(
            layer_of(model, name).weights, donor.get_layer(name).weights, strict=True
        ):
            expected[weight.path] = value.numpy()
    for weight in model.weights:
        np.testing.assert_array_equal(weight, expected.get(weight.path, before[weight.path]))


def started(weights, **changes):
    model = fakes.detector(backbone_weights=weights, **changes)
    before = {w.path: w.numpy() for w in model.weights}
    return model, before, load_imagenet(model, model.config)


def test_none_leaves_everything_as_it_is(calls):
    model, before, loaded = started("none")
    assert loaded == calls == []
    assert_loaded(model, before, None, [])


def test_imagenet_starts_the_convolutions(calls):
    model, before, loaded = started("imagenet")
    assert loaded == ["block1_conv1", "block2_conv1"]
    assert calls == [{"include_top": False, "weights": "imagenet"}]  # 58 MB, not 528
    assert_loaded(model, before, keras.applications.VGG16(False, None), loaded)


def test_both_networks_of_an_unshared_model_start_from_them(calls):
    model, _, loaded = started("imagenet", scheme="unshared")
    assert loaded == ["block1_conv1", "block2_conv1"]
    donor = keras.applications.VGG16(False, None)
    for backbone in (model.backbone, model.rpn_backbone):
        layers = [layer for layer in backbone.leaf_layers() if layer.weights]
        for name, layer in zip(loaded, layers, strict=True):
            for one, other in zip(layer.weights, donor.get_layer(name).weights, strict=True):
                np.testing.assert_array_equal(one, other)


def kernel(*shape):
    """A stand-in for the kernel of a dense layer, of which only the shape matters."""
    return types.SimpleNamespace(shape=shape)


@pytest.mark.parametrize(
    ("pool_size", "units", "include_top"),
    [
        (7, (4096, 4096), True),
        (3, (4096, 4096), False),
        (7, (4096,), False),
        (7, (512, 512), False),
    ],
)
def test_the_large_download_is_made_only_if_the_head_can_use_it(
    pool_size, units, include_top, calls
):
    widths = [pool_size**2 * 512, *units]
    hidden = [
        types.SimpleNamespace(name=f"fc{i}", kernel=kernel(*shape), weights=[])
        for i, shape in enumerate(itertools.pairwise(widths), start=1)
    ]
    head = types.SimpleNamespace(stage=None, hidden=hidden)
    model = types.SimpleNamespace(
        backbone=fakes.small_vgg16(),
        rpn_backbone=None,
        roi_head=types.SimpleNamespace(box_head=head),
    )
    load_imagenet(model, fakes.SMALL.replace(backbone_weights="imagenet"))
    assert calls == [{"include_top": include_top, "weights": "imagenet"}]


@pytest.mark.parametrize("include_top", [True, False])
def test_a_file_starts_every_layer_that_it_fits(include_top, calls, tmp_path):
    donor = keras.applications.VGG16(include_top, None)
    write_legacy_weights(donor, tmp_path / "vgg16.h5")
    model, before, loaded = started(str(tmp_path / "vgg16.h5"), head_units=(4, 6))
    # fc1 of the detector reads 3 x 3 x 16 values, as the stand-in's does.
    head = ["fc1", "fc2"] if include_top else []
    assert loaded == ["block1_conv1", "block2_conv1", *head]
    assert_loaded(model, before, donor, loaded)


def test_layers_of_another_width_are_left_alone(calls, tmp_path):
    donor = keras.applications.VGG16(True, None)
    write_legacy_weights(donor, tmp_path / "vgg16.h5")
    model, before, loaded = started(str(tmp_path / "vgg16.h5"), head_units=(5, 6))
    assert loaded == ["block1_conv1", "block2_conv1"]
    assert_loaded(model, before, donor, loaded)


def refusal(source, **changes):
    model = fakes.detector(**changes)
    before = {w.path: w.numpy() for w in model.weights}
    with pytest.raises(ValueError) as caught:
        load_imagenet(model, model.config.replace(backbone_weights=source))
    assert_loaded(model, before, None, [])
    return str(caught.value)


def test_a_missing_file_is_named(calls, tmp_path):
    path = str(tmp_path / "missing.h5")
    assert refusal(path) == (
        f"--backbone_weights must be 'imagenet', 'none' or a weights file. Received: {path}"
    )
    assert refusal(str(tmp_path)).endswith(f"Received: {tmp_path}")


def test_a_file_of_something_else_is_named(calls, tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"no HDF5 at all")
    start = f"{path} holds no weights of keras.applications.VGG16: "
    assert refusal(str(path)).startswith(start)
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    write_legacy_weights(other, path)
    assert refusal(str(path)).startswith(start)
    path = tmp_path / "a.weights.h5"
    other.save_weights(path)
    assert str(path) in refusal(str(path))


def test_without_a_network_it_is_said_what_to_do(monkeypatch):
    def fail(*args, **kwargs):
        raise Exception("URL fetch failure on https://storage.googleapis.com/...: no network")

    monkeypatch.setattr(keras.applications, "VGG16", fail)
    message = refusal("imagenet", pixel_std=1.0)
    assert message.startswith("ImageNet weights could not be downloaded: URL fetch failure")
    assert "\n      https://storage.googleapis.com/tensorflow/keras-applications/vgg16/" in message
    assert "--backbone_weights=/path/to/that/file" in message
    assert message.endswith("--backbone_weights=none --pixel_std=58")
    assert refusal("imagenet", pixel_std=58.0).endswith("--backbone_weights=none")  # as it is then


@pytest.mark.slow
def test_vgg16s_own_file_without_its_head(tmp_path):
    donor = keras.applications.VGG16(include_top=False, weights=None)
    fakes.randomize(donor)
    path = tmp_path / "vgg16_notop.h5"
    write_legacy_weights(donor, path)
    config = Config(precision="float32", backbone_weights=str(path), head_units=(8,))
    model = build_detector(config, ("cat",))
    before = {w.path: w.numpy() for w in model.weights}
    loaded = load_imagenet(model, config)
    assert loaded == CONVOLUTIONS
    assert_loaded(model, before, donor, loaded)


@pytest.mark.slow
def test_vgg16s_own_file_starts_the_papers_head_too(tmp_path, monkeypatch):
    numbers = itertools.count(1)  # drawing 400 million random weights would take half a minute
    monkeypatch.setattr(
        keras.initializers.VarianceScaling,
        "__call__",
        lambda self, shape, dtype=None: tf.fill(shape, np.float32(next(numbers))),
    )
    donor = keras.applications.VGG16(include_top=True, weights=None)
    path = tmp_path / "vgg16.h5"
    write_legacy_weights(donor, path)
    config = Config(precision="float32", backbone_weights=str(path))
    model = build_detector(config, ("cat",))
    loaded = load_imagenet(model, config)
    path.unlink()  # half a gigabyte
    assert loaded == [*CONVOLUTIONS, "fc1", "fc2"]
    for name in loaded:
        pairs = zip(layer_of(model, name).weights, donor.get_layer(name).weights, strict=True)
        for weight, value in pairs:
            assert weight.shape == value.shape
            assert np.array_equal(weight, value)
