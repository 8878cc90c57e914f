"""Checkpoints: what they give back, and that a damaged or foreign one is named and does nothing."""

import base64
import json
import marshal
import re
import zipfile

import h5py
import keras
import numpy as np
import pytest

from keras_frcnn.config import Config
from keras_frcnn.config.model import ModelConfig
from keras_frcnn.models.faster_rcnn import FORMAT, FasterRCNN
from keras_frcnn.models.roi_head import RoIHead
from keras_frcnn.models.rpn import RegionProposalNetwork
from keras_frcnn.weights import checkpoint
from tests import fakes

OURS = '{"registered_name": "keras_frcnn>FasterRCNN", "config": %s}'


@pytest.fixture(autouse=True, scope="module")
def small_backbone():
    with fakes.small_backbone():
        yield


@pytest.fixture(scope="module")
def model():
    model = fakes.detector()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    model.optimizer.build(model.trainable_variables)
    for number, variable in enumerate(model.optimizer.variables[2:]):
        variable.assign(np.full(variable.shape, number + 1))
    model.step.assign(7)
    return model


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "a.keras"
    model.save(path)
    return path


@pytest.fixture
def rewritten(saved, tmp_path):
    """Returns a function that copies a checkpoint with another config.json."""

    def rewrite(change=None, text=None, compression=zipfile.ZIP_STORED, source=saved):
        path = tmp_path / "changed.keras"
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", compression) as new:
            for name in old.namelist():
                content = old.read(name)
                if name == "config.json":
                    values = json.loads(content)
                    if change:
                        change(values)
                    content = json.dumps(values) if text is None else text
                new.writestr(name, content)
        return path

    return rewrite


def refusal(function, *args):
    with pytest.raises(ValueError) as caught:
        function(*args)
    return str(caught.value)


# --- what comes back ----------------------------------------------------------------------------


def test_settings_and_classes_come_back_without_the_weights(saved, model):
    assert checkpoint.read_settings(saved) == (model.config, fakes.CLASS_NAMES)
    assert checkpoint.read_settings(str(saved))[0].scales == (16.0, 32.0, 64.0)


def test_a_loaded_model_detects_the_same(saved, model):
    loaded = checkpoint.load(saved)
    assert (loaded.config, loaded.class_names) == (model.config, model.class_names)
    inputs = fakes.inputs_of([fakes.image(64, 96), fakes.image(50, 37)])
    for name, value in model(inputs).items():
        np.testing.assert_array_equal(loaded(inputs)[name], value, err_msg=name)


def test_settings_may_be_others_than_the_checkpoints(saved, model):
    other = model.config.replace(
        max_detections=3, test_post_nms_top_k=7, precision="mixed_bfloat16"
    )
    loaded = checkpoint.load(saved, other)
    answer = loaded(fakes.inputs_of([fakes.image(64, 96)]))
    assert answer["boxes"].shape == (1, 3, 4)
    assert answer["proposals"].shape == (1, 7, 4)
    assert loaded.backbone.compute_dtype == "bfloat16"


def test_weights_kept_as_bfloat16_answer_as_in_mixed_bfloat16(saved, model):
    mixed, narrow = (
        checkpoint.load(saved, model.config.replace(precision=precision))
        for precision in ("mixed_bfloat16", "bfloat16")
    )
    assert {weight.dtype for weight in narrow.backbone.weights} == {"bfloat16"}
    assert {layer.kernel.dtype for layer in narrow.roi_head.box_head.hidden} == {"bfloat16"}
    assert narrow.roi_head.box_head.classes.kernel.dtype == "float32"
    assert narrow.rpn.head.deltas.kernel.dtype == "float32"
    inputs = fakes.inputs_of([fakes.image(64, 96), fakes.image(50, 37)])
    expected = mixed(inputs)
    for name, value in narrow(inputs).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    assert np.any(expected["num_detections"])


def test_the_optimizers_state_comes_back_too(saved, model):
    second = fakes.detector()
    second.compile(keras.optimizers.SGD(0.5, momentum=0.9))
    second.optimizer.build(second.trainable_variables)
    checkpoint.load_weights(second, saved)
    assert int(second.step) == 7
    pairs = zip(second.optimizer.variables[2:], model.optimizer.variables[2:], strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)
        assert np.abs(one).max() > 0
    assert float(second.optimizer.learning_rate) == pytest.approx(0.1)  # a rate is state to Keras


def test_a_checkpoint_is_written_whole_in_kerass_own_form(saved, model, tmp_path):
    path = tmp_path / "b.keras"
    path.write_text("an older one")
    (tmp_path / "b.writing").mkdir()
    (tmp_path / "b.writing" / "parts").write_text("of a run that was killed")
    checkpoint.save(model, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.keras"]
    with zipfile.ZipFile(path) as ours, zipfile.ZipFile(saved) as keras_own:
        assert set(keras_own.namelist()) <= set(ours.namelist())
        assert json.loads(ours.read("config.json")) == json.loads(keras_own.read("config.json"))
    loaded = keras.saving.load_model(path)
    for one, other in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    second = fakes.detector()
    second.compile(keras.optimizers.SGD(0.5, momentum=0.9))
    second.optimizer.build(second.trainable_variables)
    checkpoint.load_weights(second, path)
    assert float(second.optimizer.learning_rate) == pytest.approx(0.1)


def test_settings_saved_before_there_could_be_several_datasets_are_read(rewritten):
    def age(values):
        settings = values["config"]["config"]
        assert settings["dataset"] == ["voc"]
        settings |= {"dataset": "coco", "data_dir": "/old/coco"}

    config, _ = checkpoint.read_settings(rewritten(age))
    assert (config.dataset, config.data_dir) == (("coco",), ("/old/coco",))
    config, _ = checkpoint.read_settings(
        rewritten(lambda v: v["config"]["config"].update(data_dir=""))
    )
    assert config.data_dir == ()


def test_a_training_setting_that_no_longer_exists_changes_nothing(rewritten, model):
    def rename(values):
        settings = values["config"]["config"]
        settings["former_learning_rate"] = settings.pop("learning_rate")
        settings["optimizer"] = "an optimizer of another version"

    path = rewritten(rename)
    config, _ = checkpoint.read_settings(path)
    defaults = Config()
    assert config == model.config.replace(
        learning_rate=defaults.learning_rate, optimizer=defaults.optimizer
    )
    for one, other in zip(checkpoint.load(path).weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_models_settings_alone_are_enough(rewritten, model):
    def strip(values):
        settings = values["config"]["config"]
        for name in settings.keys() - ModelConfig.options().keys():
            del settings[name]

    path = rewritten(strip)
    config, _ = checkpoint.read_settings(path)
    for name in ModelConfig.options():
        assert getattr(config, name) == getattr(model.config, name), name
    assert config.start_checkpoint == str(path)  # its weights are what a detector starts from
    assert checkpoint.load(path).class_names == fakes.CLASS_NAMES


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("function", [checkpoint.read_settings, checkpoint.load])
def test_a_missing_file_is_named(function, tmp_path):
    path = tmp_path / "missing.keras"
    assert refusal(function, path) == f"There is no checkpoint {path}"
    assert refusal(function, tmp_path) == f"There is no checkpoint {tmp_path}"


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 and no more"])
def test_a_file_that_is_no_archive_is_named(content, tmp_path):
    path = tmp_path / "a.keras"
    path.write_bytes(content)
    message = refusal(checkpoint.load, path)
    assert message.startswith(f"{path} is not a checkpoint of keras_frcnn: ")


@pytest.mark.parametrize("share", [0.2, 0.9, 0.999])
def test_a_cut_file_is_named(share, saved, tmp_path):
    path = tmp_path / "cut.keras"
    content = saved.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert str(path) in refusal(checkpoint.load, path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_archive_is_named(compression, rewritten, tmp_path):
    path = rewritten(compression=compression)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("config.json").header_offset + 30 + len("config.json")
    content[start + 10 : start + 30] = b"\xff" * 20
    path.write_bytes(content)
    message = refusal(checkpoint.read_settings, path)
    assert message.startswith(f"{path} is not a checkpoint of keras_frcnn: ")


def test_an_archive_of_something_else_is_named(tmp_path):
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")
    assert "config.json" in refusal(checkpoint.load, path)


def test_a_model_of_another_class_is_named(tmp_path):
    path = tmp_path / "other.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    message = refusal(checkpoint.load, path)
    assert message.startswith(f"{path} is not a checkpoint of keras_frcnn: it holds a ")


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "null",
        '"text"',
        "{",
        "\xff",
        "[" * 100_000,
        '{"registered_name": "keras_frcnn>FasterRCNN"}',
        OURS % "[]",
        OURS % '{"config": {}}',
        OURS % '{"config": [], "class_names": []}',
        OURS % '{"config": {}, "class_names": 3}',
        OURS % '{"config": {}, "class_names": [3]}',
        OURS % '{"config": {}, "class_names": "ab"}',
    ],
)
def test_settings_of_another_form_are_refused(text, rewritten):
    path = rewritten(text=text)
    message = refusal(checkpoint.load, path)
    assert message.startswith(f"{path} is not a checkpoint of keras_frcnn: ")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pool_size", 0, "pool_size must be a positive integer"),
        ("pool_size", "7", "pool_size must be a positive integer"),
        ("backbone", "resnet", "backbone must be one of vgg16"),
        ("scales", [[1]], "scales must be one or more positive numbers"),
    ],
)
def test_settings_of_a_checkpoint_are_checked_like_a_users(name, value, message, rewritten):
    def change(values):
        values["config"]["config"][name] = value

    path = rewritten(change)
    received = refusal(checkpoint.load, path)
    assert message in received
    assert str(path) in received


@pytest.mark.parametrize("function", [checkpoint.read_settings, checkpoint.load])
def test_a_later_format_is_refused_whatever_else_it_changed(function, rewritten):
    def change(values):
        values["config"] = {"format": FORMAT + 1, "a form of its own": True}

    path = rewritten(change)
    assert refusal(function, path) == (
        f"{path} was written by a later version of keras_frcnn. Expected: a checkpoint of format 1 "
        f"to {FORMAT}. Received: format {FORMAT + 1}"
    )


@pytest.mark.parametrize("number", [0, -1, "2", 2.0, None, [2], True])
def test_a_format_that_is_no_positive_integer_is_refused(number, rewritten):
    path = rewritten(lambda values: values["config"].update(format=number))
    assert refusal(checkpoint.load, path) == (
        f"{path} is not a checkpoint of keras_frcnn: its format must be a positive integer. "
        f"Received: {number!r}"
    )


def test_weights_that_do_not_fit_the_settings_are_named(saved, rewritten, model):
    def change(values):
        values["config"]["config"]["head_units"] = [16]

    path = rewritten(change)
    assert refusal(checkpoint.load, path).startswith(f"The weights of {path} do not fit the model")
    other = model.config.replace(pool_size=5)
    message = refusal(checkpoint.load, saved, other)
    assert message.startswith(f"The weights of {saved} do not fit the model")


def test_an_archive_without_weights_is_named(saved, tmp_path):
    path = tmp_path / "light.keras"
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w") as new:
        for name in ("config.json", "metadata.json"):
            new.writestr(name, old.read(name))
    assert refusal(checkpoint.load, path).startswith(f"The weights of {path} do not fit the model")


def test_weights_of_which_some_are_missing_are_named(saved, tmp_path):
    weights, path = tmp_path / "model.weights.h5", tmp_path / "part.keras"
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w") as new:
        old.extract("model.weights.h5", tmp_path)
        with h5py.File(weights, "a") as file:
            del file["rpn/head/objectness/vars/1"]
        for name in ("config.json", "metadata.json"):
            new.writestr(name, old.read(name))
        new.write(weights, "model.weights.h5")
    assert refusal(checkpoint.load, path).startswith(f"The weights of {path} do not fit the model")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_that_are_not_finite_are_named(value, precision, tmp_path):
    model, path = fakes.detector(), tmp_path / "a.keras"
    for bias in (model.rpn.head.objectness.bias, model.roi_head.box_head.classes.bias):
        bias.assign(np.full(bias.shape, value))
    checkpoint.save(model, path)
    assert refusal(checkpoint.load, path, model.config.replace(precision=precision)) == (
        f"The checkpoint {path} has weights that are not finite, because its training failed. "
        "The first one is rpn_head/objectness/bias. Use an earlier checkpoint"
    )


def test_an_optimizers_state_that_is_not_finite_is_named(tmp_path):
    model, second = fakes.detector(), fakes.detector()
    for one in (model, second):
        one.compile(keras.optimizers.SGD(0.1, momentum=0.9))
        one.optimizer.build(one.trainable_variables)
    variable = model.optimizer.variables[5]
    variable.assign(np.full(variable.shape, np.nan))
    checkpoint.save(model, tmp_path / "a.keras")
    message = refusal(checkpoint.load_weights, second, tmp_path / "a.keras")
    assert f"The first one is {second.optimizer.variables[5].path}. Use an earlier" in message
    checkpoint.load(tmp_path / "a.keras")  # whose model has no optimizer


def test_other_classes_are_refused_by_name(saved):
    second = fakes.detector(("cat", "dog", "cow", "pig"))
    before = [w.numpy() for w in second.weights]
    message = refusal(checkpoint.load_weights, second, saved)
    assert message == (
        f"The checkpoint {saved} has other classes than the model. "
        "Expected: cat, dog, cow, pig. Received: circle, square, star, triangle"
    )
    for weight, value in zip(second.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    # Also where only their order differs: labels would be mixed up.
    mixed = fakes.detector(("square", "circle", "star", "triangle"))
    assert "other classes" in refusal(checkpoint.load_weights, mixed, saved)


def test_nothing_in_a_checkpoint_is_executed(rewritten, monkeypatch, tmp_path):
    touched = tmp_path / "touched"
    call = f"__import__('pathlib').Path({str(touched)!r}).touch()"
    evil = {
        "class_name": "Lambda",
        "module": "keras.layers",
        "registered_name": None,
        "config": {"function": {"class_name": "__lambda__", "config": {"code": call}}},
    }

    def forbid(*args, **kwargs):
        raise AssertionError("a checkpoint was deserialised")

    monkeypatch.setattr(keras.saving, "deserialize_keras_object", forbid)
    monkeypatch.setattr(FasterRCNN, "from_config", forbid)

    def replace_all(values):
        values.clear()
        values.update(evil)

    path = rewritten(replace_all)
    assert re.search("it holds a None", refusal(checkpoint.load, path))

    def beside(values):
        values["module"] = "os"
        values["class_name"] = "system"
        values["build_config"] = evil
        values["compile_config"] = {"optimizer": evil}

    loaded = checkpoint.load(rewritten(beside))  # what is not ours is not even read
    assert isinstance(loaded, FasterRCNN)
    assert not loaded.compiled

    def as_setting(values):
        values["config"]["config"]["backbone"] = evil

    assert "backbone must be one of" in refusal(checkpoint.load, rewritten(as_setting))
    assert not touched.exists()


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """The checkpoint of a detector that was not made from settings."""
    model = FasterRCNN(
        fakes.small_vgg16(),
        RegionProposalNetwork(scales=(16, 32, 64)),
        RoIHead(len(fakes.CLASS_NAMES), pool_size=3, units=(32,)),
        fakes.CLASS_NAMES,
    )
    path = tmp_path_factory.mktemp("composed") / "a.keras"
    checkpoint.save(model, path)
    return path


def test_stages_of_ones_own_load_the_weights_of_the_plain_ones(composed):
    class OwnRPN(RegionProposalNetwork):
        pass

    class OwnHead(RoIHead):
        pass

    keras.utils.set_random_seed(1)
    model = FasterRCNN(
        fakes.small_vgg16(),
        OwnRPN(scales=(16, 32, 64)),
        OwnHead(len(fakes.CLASS_NAMES), pool_size=3, units=(32,)),
        fakes.CLASS_NAMES,
    )
    checkpoint.load_weights(model, composed)
    for one, other in zip(model.weights, checkpoint.load(composed).weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_of_a_composed_detector_that_are_not_finite_are_named(composed, tmp_path):
    model = checkpoint.load(composed)
    bias = model.rpn.head.objectness.bias
    bias.assign(np.full(bias.shape, np.nan))
    checkpoint.save(model, tmp_path / "a.keras")
    message = refusal(checkpoint.load, tmp_path / "a.keras")
    assert message.startswith(f"The checkpoint {tmp_path}/a.keras has weights that are not finite")


@pytest.mark.parametrize("place", [("backbone",), ("backbone", "config", "network"), ("rpn",)])
def test_nothing_in_the_checkpoint_of_a_composed_detector_is_executed(
    place, composed, rewritten, tmp_path
):
    assert checkpoint.load(rewritten(source=composed)).class_names == fakes.CLASS_NAMES
    touched = tmp_path / "touched"
    code = compile(f"open({str(touched)!r}, 'w')", "a checkpoint", "eval")
    evil = [
        lambda_of(marshal.dumps(code)),
        {"class_name": "system", "module": "os", "registered_name": None, "config": {}},
        {"class_name": "Popen", "module": "subprocess", "registered_name": None, "config": {}},
    ]
    for part in evil:

        def replace(values, part=part):
            parent = values["config"]["parts"]
            for key in place[:-1]:
                parent = parent[key]
            parent[place[-1]] = part

        path = rewritten(replace, source=composed)
        assert refusal(checkpoint.load, path).startswith(f"{path} cannot be loaded: ")
        assert not touched.exists()


def lambda_of(code):
    """A serialised layer of Python code, as Keras writes it."""
    function = {"class_name": "__lambda__", "config": {"code": base64.b64encode(code).decode()}}
    return {
        "class_name": "Lambda",
        "module": "keras.layers",
        "registered_name": None,
        "config": {"name": "evil", "function": function},
    }


# --- whole or damaged ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "a.keras"
    checkpoint.save(model, path)
    return path


def test_a_checkpoint_is_whole_and_tells_its_step(written, saved):
    assert checkpoint.damage(written) == checkpoint.damage(saved) == ""
    assert checkpoint.read_step(written) == 7
    assert checkpoint.read_step(saved) is None  # as of an earlier version


@pytest.mark.parametrize("place", [0.001, 0.5, 0.9])
def test_one_wrong_bit_is_damage(place, written, tmp_path):
    content = bytearray(written.read_bytes())
    content[int(place * len(content))] ^= 1
    path = tmp_path / "a.keras"
    path.write_bytes(content)
    assert checkpoint.damage(path) != ""


def test_parts_of_a_file_are_damage(written, tmp_path):
    path, content = tmp_path / "a.keras", written.read_bytes()
    assert checkpoint.damage(path) == "it is missing"
    for length in (0, 100, len(content) // 2, len(content) - 30):
        path.write_bytes(content[:length])
        assert checkpoint.damage(path) == "File is not a zip file"
        assert checkpoint.read_step(path) is None
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    assert checkpoint.damage(path) == "it lacks model.weights.h5"


def test_a_file_that_does_not_reach_the_disk_replaces_nothing(model, tmp_path, monkeypatch):
    def fail(number):
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.keras"
    path.write_text("old")
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(model, path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
