"""Compact checkpoints: 16-bit weights, the model's settings, and nothing else."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from keras_frcnn.config import Config, ModelConfig
from keras_frcnn.weights import checkpoint, compact
from tests import fakes


@pytest.fixture(autouse=True, scope="module")
def small_backbone():
    with fakes.small_backbone():
        yield


@pytest.fixture(scope="module")
def model():
    model = fakes.detector(output_dir="/home/me/run", precision="float32", score_threshold=0.2)
    fakes.randomize(model)
    model.compile(keras.optimizers.Adam(0.1))
    model.optimizer.build(model.trainable_variables)
    model.step.assign(70001)  # 16 bits cannot hold it
    return model


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "last.keras"
    checkpoint.save(model, path)
    return path


def test_a_copy_has_the_weights_rounded_to_16_bits_and_the_step(model, saved, tmp_path):
    compact.write(saved, tmp_path / "small.keras")
    copy = checkpoint.load(tmp_path / "small.keras")
    assert copy.class_names == model.class_names
    for ours, theirs in zip(copy.weights, model.weights, strict=True):
        rounded = theirs.numpy()
        if rounded.dtype == np.float32:
            rounded = rounded.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(ours, rounded)
    assert int(copy.step) == 70001


def test_a_copy_holds_no_optimizer_and_no_setting_of_the_run(model, saved, tmp_path):
    path = tmp_path / "small.keras"
    compact.write(saved, path)
    expected = Config.from_dict(model.config.to_dict()).replace(precision="auto")
    assert checkpoint.read_settings(path)[0] == Config(
        **{name: getattr(expected, name) for name in ModelConfig.options()},
        start_checkpoint=str(path),
    )
    with zipfile.ZipFile(path) as archive:
        assert "/home/me" not in archive.read("config.json").decode()
        assert json.loads(archive.read("config.json"))["compile_config"] is None
        with archive.open("model.weights.h5") as weights, h5py.File(weights) as file:
            items = []
            file.visititems(lambda name, item: items.append((name, item)))
            stored = {name: item[()] for name, item in items if isinstance(item, h5py.Dataset)}
    assert not [name for name in stored if name.startswith("optimizer")]
    sizes = [2 if w.dtype == "float32" else w.numpy().itemsize for w in model.weights]
    numbers = [weight.numpy().size for weight in model.weights]
    assert sum(values.nbytes for values in stored.values()) == np.dot(sizes, numbers)


def test_a_copy_of_a_copy_is_the_same(saved, tmp_path):
    paths = [tmp_path / "a.keras", tmp_path / "b.keras"]
    compact.write(saved, paths[0])
    compact.write(paths[0], paths[1])
    first, second = (checkpoint.load(path) for path in paths)
    for ours, theirs in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_weight_that_16_bits_cannot_hold_is_named_and_nothing_is_written(tmp_path):
    model = fakes.detector()
    kernel = model.rpn.weights[0]
    kernel.assign(np.full(kernel.shape, 70000))
    checkpoint.save(model, tmp_path / "large.keras")
    with pytest.raises(ValueError, match=r"large\.keras has a weight that is .*too large.*: rpn/"):
        compact.write(tmp_path / "large.keras", tmp_path / "small.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["large.keras"]


def test_what_is_not_a_checkpoint_is_named(tmp_path):
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.keras is not a checkpoint of keras_frcnn"):
        compact.write(tmp_path / "text.keras", tmp_path / "small.keras")
