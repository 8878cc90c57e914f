"""Checkpoints of version 0.1: a real one, and the layouts of its other detectors."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np
import pytest

from keras_frcnn.models.build import build_detector
from keras_frcnn.training.optimizers import make_optimizer
from keras_frcnn.weights import checkpoint, format_1
from tests import fakes
from tests.weights import small_resnet

DATA = Path(__file__).parent / "data"
CHECKPOINT = DATA / "version_0_1.keras"

# Where version 0.1 kept the weights of each layer, in the order in which its optimizer held them.
RPN = {
    "rpn_head/conv": "layers/rpn_head/conv",
    "rpn_head/objectness": "layers/rpn_head/objectness",
    "rpn_head/deltas": "layers/rpn_head/deltas",
}
OUTPUTS = {"box_head/classes": "box_head/classes", "box_head/boxes": "box_head/boxes"}
VGG16 = {
    "block1_conv1": "backbone/stack/conv2d",
    "block2_conv1": "backbone/stack/conv2d_1",
    **RPN,
    "box_head/fc1": "box_head/hidden/dense",
    **OUTPUTS,
}
UNSHARED = {
    **VGG16,
    "rpn_backbone/block1_conv1": "layers/backbone_1/stack/conv2d",
    "rpn_backbone/block2_conv1": "layers/backbone_1/stack/conv2d_1",
}


def block(name, folder, has_convolution_in_shortcut):
    """The layers of a residual block: three of its main branch, and one of the shortcut or none."""
    main, shortcut = f"{folder}/branches/container", f"{folder}/branches/container_1"
    layers = {
        f"{name}_1_conv": f"{main}/conv2d",
        f"{name}_1_bn": f"{main}/frozen_normalization",
        f"{name}_2_conv": f"{main}/conv2d_1",
        f"{name}_2_bn": f"{main}/frozen_normalization_1",
        f"{name}_3_conv": f"{main}/conv2d_2",
        f"{name}_3_bn": f"{main}/frozen_normalization_2",
    }
    if has_convolution_in_shortcut:
        layers[f"{name}_0_conv"] = f"{shortcut}/conv2d"
        layers[f"{name}_0_bn"] = f"{shortcut}/frozen_normalization"
    return layers


RESNET = {
    "conv1_conv": "backbone/stack/conv2d",
    "conv1_bn": "backbone/stack/frozen_normalization",
    **block("conv2_block1", "backbone/stack/residual", True),
    **block("conv2_block2", "backbone/stack/residual_1", False),
    **RPN,
    **block("conv5_block1", "box_head/stage/branches/container/residual", True),
    **OUTPUTS,
}


@pytest.fixture(autouse=True, scope="module")
def small_backbones():
    with fakes.small_backbone(), small_resnet.as_resnet50():
        yield


@pytest.fixture(scope="module")
def loaded():
    return checkpoint.load(CHECKPOINT)


@pytest.fixture(scope="module")
def expected():
    """Two images, and what version 0.1 found on them and on two inputs of noise."""
    with np.load(DATA / "version_0_1_detections.npz") as file:
        return dict(file)


def by_layer(model):
    """The weights of a model's layers by the layers' names: "conv1_conv", "box_head/fc1"."""
    layers = {}
    for weight in model.weights:
        if weight is not model.step:
            layers.setdefault(weight.path.rpartition("/")[0], []).append(weight)
    return layers


def compiled(**changes):
    """A detector of random weights with an optimizer whose state is all zero."""
    model = build_detector(fakes.SMALL.replace(**changes), fakes.CLASS_NAMES)
    fakes.randomize(model)
    model.compile(make_optimizer(model.config))
    model.optimizer.build(model.trainable_variables)
    return model


def edited(path, edit, source=CHECKPOINT):
    """Copies a checkpoint with its weights changed by ``edit(h5_file)``."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = io.BytesIO(old.read(name))
            if name == "model.weights.h5":
                with h5py.File(content, "a") as file:
                    edit(file)
            new.writestr(name, content.getvalue())
    return path


def write(path, model, places, step, optimizer):
    """Writes random weights for a model in the layout of version 0.1.

    Args:
        path: a new ``.keras`` file.
        model: gives the shapes.
        places: the place of each layer in the file.
        step: the model's step.
        optimizer: the content of groups: lists of arrays, by the group's name.

    Returns:
        The written arrays of each layer.
    """
    rng, content, arrays = np.random.default_rng(3), io.BytesIO(), {}
    with h5py.File(content, "w") as file:
        for name, weights in by_layer(model).items():
            arrays[name] = [rng.normal(size=w.shape).astype("float32") for w in weights]
            _write_group(file, places[name], arrays[name])
        _write_group(file, "", [np.int64(step)])
        for group, values in optimizer.items():
            _write_group(file, group, values)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", content.getvalue())
    return arrays


def _write_group(file, name, values):
    group = file.create_group(f"{name}/vars")
    for number, value in enumerate(values):
        group[str(number)] = value


def in_old_order(model, places):
    """The trainable weights of a model as version 0.1 ordered them."""
    trained = {id(weight) for weight in model.trainable_weights}
    layers = by_layer(model)
    return [w for name in places for w in layers[name] if id(w) in trained]


def numbered(weights, first=1):
    """An array for each weight, filled with its number."""
    return [np.full(w.shape, number, "float32") for number, w in enumerate(weights, start=first)]


def assert_slots(slots, model, weights, first=1):
    """Checks that an optimizer holds for each trainable weight what ``numbered`` made for it."""
    expected = {id(w): v for w, v in zip(weights, numbered(weights, first), strict=True)}
    for slot, weight in zip(slots, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(slot, expected[id(weight)], err_msg=weight.path)


# --- a checkpoint that version 0.1 wrote ---------------------------------------------------------


def test_settings_and_classes_come_back():
    config, class_names = checkpoint.read_settings(CHECKPOINT)
    assert config == fakes.SMALL.replace(eval_loss_images=100)  # a newer setting has its default
    assert class_names == fakes.CLASS_NAMES


def test_every_weight_comes_back(loaded):
    layers = by_layer(loaded)
    assert sorted(layers) == sorted(VGG16)
    with zipfile.ZipFile(CHECKPOINT) as archive, archive.open("model.weights.h5") as content:
        file = h5py.File(content)
        for name, place in VGG16.items():
            assert len(file[f"{place}/vars"]) == len(layers[name]) == 2
            for number, weight in enumerate(layers[name]):
                np.testing.assert_array_equal(weight, file[f"{place}/vars/{number}"])


def assert_same_boxes(boxes, expected, image_shapes):
    """Checks that boxes differ by rounding only: by 5e-6 of their image's longer side at most.

    A box is a product of its anchor's size and the exponential of sums of many terms, so its error
    grows with the image. Half a rounding step in every weight moves these boxes by up to 1.5e-6 of
    the longer side (in 30 draws), and another CPU, which adds in another order, by up to 1e-6.
    """
    sides = np.max(image_shapes, axis=1)[:, np.newaxis, np.newaxis]
    np.testing.assert_allclose(boxes / sides, expected / sides, rtol=0, atol=5e-6)


def test_images_have_the_same_detections(loaded, expected):
    images = [expected["image_0"], expected["image_1"]]
    answer = loaded.detect(images)
    assert answer["num_detections"].min() > 5
    for name in ("labels", "num_detections"):
        np.testing.assert_array_equal(answer[name], expected[f"detect_{name}"])
    shapes = [image.shape[:2] for image in images]
    assert_same_boxes(answer["boxes"], expected["detect_boxes"], shapes)
    np.testing.assert_allclose(answer["scores"], expected["detect_scores"], rtol=0, atol=1e-6)


def test_a_batch_has_the_same_detections_and_proposals(loaded, expected):
    images = [fakes.image(64, 96), fakes.image(50, 37)]
    inputs = fakes.inputs_of(images, seed=None)
    answer = loaded(inputs)
    assert {f"call_{name}" for name in answer} == {n for n in expected if n.startswith("call_")}
    for name, value in answer.items():
        value, other = value.numpy(), expected[f"call_{name}"]
        if name in ("boxes", "proposals"):
            assert_same_boxes(value, other, inputs["image_shape"])
        else:
            np.testing.assert_allclose(value, other, rtol=0, atol=1e-6, err_msg=name)


def test_the_step_and_the_optimizers_state_come_back(tmp_path):
    def train(file):
        file["vars/0"][...] = 7
        file["optimizer/vars/0"][...] = 5
        for number in range(1, 17):
            file[f"optimizer/vars/{number}"][...] = number

    model = compiled()
    checkpoint.load_weights(model, edited(tmp_path / "trained.keras", train))
    assert int(model.step) == 7
    assert int(model.optimizer.iterations) == 5
    assert_slots(model.optimizer.momentums, model, in_old_order(model, VGG16))


def test_saved_again_it_is_a_checkpoint_of_this_version(loaded, tmp_path):
    path = tmp_path / "again.keras"
    checkpoint.save(loaded, path)
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("config.json"))["config"]["format"] == 2
    for one, other in zip(checkpoint.load(path).weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(one, other)


# --- its other detectors -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "places"),
    [
        ({}, VGG16),
        ({"scheme": "unshared"}, UNSHARED),
        ({"backbone": "resnet50"}, RESNET),
        ({"backbone": "resnet50", "start_checkpoint": "a.keras", "frozen_blocks": 1}, RESNET),
    ],
    ids=["vgg16", "unshared", "resnet", "frozen"],
)
def test_every_layer_has_its_own_weights_and_momentum(changes, places, tmp_path):
    model, path = compiled(**changes), tmp_path / "a.keras"
    weights = in_old_order(model, places)
    slots = numbered(weights)
    arrays = write(path, model, places, 9, {"optimizer": [np.int64(4), *slots]})
    format_1.load(model, path)
    assert sorted(arrays) == sorted(places)
    for name, own in by_layer(model).items():
        for weight, value in zip(own, arrays[name], strict=True):
            np.testing.assert_array_equal(weight, value, err_msg=weight.path)
    assert int(model.step) == 9
    assert int(model.optimizer.iterations) == 4
    assert_slots(model.optimizer.momentums, model, weights)


def test_the_two_states_of_adam_come_back(tmp_path):
    model, path = compiled(backbone="resnet50", optimizer="adam"), tmp_path / "a.keras"
    weights = in_old_order(model, RESNET)
    pairs = zip(numbered(weights), numbered(weights, first=101), strict=True)
    slots = [slot for pair in pairs for slot in pair]
    write(path, model, RESNET, 9, {"optimizer": [np.int64(4), *slots]})
    format_1.load(model, path)
    assert_slots(model.optimizer._momentums, model, weights)
    assert_slots(model.optimizer._velocities, model, weights, first=101)


def test_the_scale_of_a_float16_loss_comes_back(tmp_path):
    model, path = compiled(precision="mixed_float16"), tmp_path / "a.keras"
    weights = in_old_order(model, VGG16)
    # Keras stores the state of the inner optimizer twice: with that of the outer one, and apart.
    inner = [np.int64(4), *numbered(weights)]
    outer = [np.int64(0), np.float32(0), np.int64(11), np.float32(256), *inner]
    write(path, model, VGG16, 9, {"optimizer": outer, "optimizer/inner_optimizer": inner})
    format_1.load(model, path)
    assert int(model.optimizer.step_counter) == 11
    assert float(model.optimizer.dynamic_scale) == 256
    assert int(model.optimizer.inner_optimizer.iterations) == 4
    assert_slots(model.optimizer.inner_optimizer.momentums, model, weights)


def test_a_file_without_an_optimizer_leaves_the_models_own_as_it_is(tmp_path):
    model, path = compiled(), tmp_path / "a.keras"
    arrays = write(path, model, VGG16, 9, {})
    model.optimizer.momentums[0].assign_add(np.full((3, 3, 3, 8), 2.0))
    format_1.load(model, path)
    assert int(model.step) == 9
    np.testing.assert_array_equal(model.rpn.head.conv.kernel, arrays["rpn_head/conv"][0])
    assert np.all(model.optimizer.momentums[0].numpy() == 2)


def test_weights_that_were_kept_as_bfloat16_come_back(tmp_path):
    def narrow(file):
        group = file["backbone/stack/conv2d/vars"]
        kernel = group["0"][()].astype(ml_dtypes.bfloat16)
        del group["0"]
        group.create_dataset("0", data=kernel).attrs["dtype"] = "bfloat16"  # as Keras writes it

    path = edited(tmp_path / "narrow.keras", narrow)
    model, whole = checkpoint.load(path), checkpoint.load(CHECKPOINT)
    kernels = [one.backbone.leaf_layers()[0].kernel.numpy() for one in (model, whole)]
    np.testing.assert_array_equal(
        kernels[0], kernels[1].astype(ml_dtypes.bfloat16).astype("float32")
    )


# --- what is refused -----------------------------------------------------------------------------


def lose(file):
    del file["layers/rpn_head/objectness/vars/1"]


def lose_a_layer(file):
    del file["box_head/hidden"]


def lose_the_step(file):
    del file["vars"]


def narrow_the_head(file):
    del file["box_head/classes/vars/0"]
    file["box_head/classes/vars/0"] = np.zeros((32, 4), "float32")


def add(file):
    file["backbone/stack/conv2d/vars/2"] = np.zeros(8, "float32")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose, "layers/rpn_head/objectness/vars must hold 2 arrays. Received: 1"),
        (narrow_the_head, "box_head/classes/vars/0 must have the shape (32, 5). Received: (32, 4)"),
        (add, "backbone/stack/conv2d/vars must hold 2 arrays. Received: 3"),
        (lose_a_layer, "it has no group box_head/hidden/dense/vars"),
        (lose_the_step, "it has no group vars"),
    ],
)
def test_weights_that_do_not_fit_are_named_with_their_file(damage, message, tmp_path):
    path = edited(tmp_path / "damaged.keras", damage)
    with pytest.raises(ValueError) as caught:
        checkpoint.load(path)
    assert str(caught.value).startswith(f"The weights of {path} do not fit the model: ")
    assert message in str(caught.value)


def test_damaged_copies_are_named(tmp_path):
    whole, path = CHECKPOINT.read_bytes(), tmp_path / "damaged.keras"
    start = whole.index(b"\x89HDF")
    for content in (
        whole[: len(whole) // 2],
        whole[:start] + bytes(2000) + whole[start + 2000 :],
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError) as caught:
            checkpoint.load(path)
        assert str(path) in str(caught.value)
    shutil.copy(CHECKPOINT, path)
    assert checkpoint.load(path).class_names == fakes.CLASS_NAMES
