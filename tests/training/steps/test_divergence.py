"""What the report of a step that is not finite names: the images, and the first bad tensor."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.training.steps import divergence
from keras_frcnn.training.steps.step import NotFinite
from tests.training.steps.test_step import make_batches, make_model

pytestmark = pytest.mark.usefixtures("eager")

RECORDS = [SimpleNamespace(name=f"/data/{stem}.jpg") for stem in "ab"]


@pytest.fixture
def model():
    return make_model()


@pytest.fixture
def data():
    (data,) = make_batches()
    return data


def report(model, data):
    losses, gradients = model.compute_gradients(data)
    return divergence.report(model, NotFinite(data, losses, gradients), RECORDS)


def spoiled(tensor, place, value=np.nan):
    values = tensor.numpy()
    values[place] = value
    return tf.constant(values)


def test_the_tensors_of_a_sound_step_are_finite_and_in_order(model, data):
    tensors = list(divergence.tensors_of(model, data))
    assert all(np.isfinite(tf.cast(tensor, tf.float32)).all() for _, tensor in tensors)
    names = [name for name, _ in tensors]
    assert names[:4] == ["image 0", "boxes of 0", "image 1", "boxes of 1"]
    layers = ("block1_conv1", "block2_conv1", "rpn_head", "box_head")
    places = [names.index(f"output of {layer}") for layer in layers]
    assert places == sorted(places)
    assert places[0] > names.index(f"weight {model.trainable_weights[-1].path}")


def test_a_sound_step_is_said_to_be_sound(model, data):
    found = report(model, data)
    assert (found["not_finite"], found["first"]) == ([], "")
    assert divergence.text_of(found).startswith("all numbers of step 1 are finite\n  rpn_cls_loss ")


def test_an_image_that_is_not_finite_is_named_with_its_objects(model, data):
    inputs, targets = data
    found = report(model, ({**inputs, "images": spoiled(inputs["images"], (1, 2, 3, 0))}, targets))
    assert found["step"] == 1 and "loss" in found["not_finite"]
    assert found["first"] == f"image /data/b.jpg (1 of {64 * 96 * 3} numbers)"
    assert found["images"] == [
        {"file": "/data/a.jpg", "size": [64, 96], "boxes": [[5, 5, 30, 40]], "labels": ["circle"]},
        {"file": "/data/b.jpg", "size": [48, 80], "boxes": [[10, 8, 40, 60]], "labels": ["star"]},
    ]
    json.dumps(found)
    first, losses, *images = divergence.text_of(found).splitlines()
    assert first.endswith(f"not finite at step 1. The first is {found['first']}")
    assert "loss nan" in losses
    assert images[1] == "  /data/b.jpg (48 x 80): star 10.0, 8.0, 40.0, 60.0"


def test_a_box_that_is_not_finite_is_named(model, data):
    inputs, targets = data
    found = report(model, (inputs, {**targets, "boxes": spoiled(targets["boxes"], (0, 0, 2))}))
    assert found["first"] == "boxes of /data/a.jpg (1 of 4 numbers)"


def test_a_weight_that_is_not_finite_is_named(model, data):
    weight = next(w for w in model.weights if w.path.endswith("conv/kernel"))
    weight.assign(spoiled(weight.value, (0, 0, 1, 1), np.inf))
    assert report(model, data)["first"].startswith(f"weight {weight.path} (1 of ")


def test_the_first_layer_that_overflows_is_named(model, data):
    for weight in model.weights:
        if weight.path.endswith(("block1_conv1/kernel", "block2_conv1/kernel")):
            weight.assign(weight * 1e25)
    first = report(model, data)["first"]
    assert first.startswith("output of ") and "block2_conv1 (" in first


def test_a_gradient_that_is_not_finite_is_named(model, data):
    losses, gradients = model.compute_gradients(data)
    gradients[2] = spoiled(gradients[2], (0, 0, 0, 0))
    gradients[0] *= np.nan
    found = divergence.report(model, NotFinite(data, losses, gradients), RECORDS)
    assert found["not_finite"] == []
    path = model.trainable_weights[2].path
    assert found["first"] == f"the gradient of {path} (1 of {tf.size(gradients[2])} numbers)"
    assert divergence.text_of(found).startswith("the gradients are not finite at step 1. The first")
    gradients[2], gradients[0] = gradients[1], gradients[1] * 0 + 1e30
    found = divergence.report(model, NotFinite(data, losses, gradients), RECORDS)
    assert found["first"] == "the norm of the gradients, which is too large for float32"


@pytest.mark.parametrize("latest", ["step1.keras", "unshared.keras", "step3.keras", "last.keras"])
def test_advice_says_where_the_run_goes_on(latest, tmp_path):
    assert divergence.advice(tmp_path).endswith("the same command with another value starts again")
    (tmp_path / "step1.keras").touch()
    (tmp_path / latest).touch()
    (tmp_path / "best.keras").touch()  # of a run whose other files were deleted
    assert divergence.advice(tmp_path).endswith(
        f" with another value, and --continue_with= its name, continues from {tmp_path}/{latest}"
    )
