"""A step of a run equals Keras' own, and a step that fails changes nothing and says why."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.training.optimizers import make_optimizer
from keras_frcnn.training.steps.step import NotFinite, TrainingStep
from tests import fakes


def make_batches(count=1):
    """Batches of two images of unlike sizes, as a data set."""
    keys = [fakes.inputs_of([fakes.image(64, 96, n), fakes.image(48, 80, n)]) for n in range(count)]
    inputs = {name: tf.stack([one[name] for one in keys]) for name in keys[0]}
    inputs["index"] = tf.tile([[0, 1]], [count, 1])
    objects = [[([5, 5, 30, 40], 0)], [([10, 8, 40, 60], 2)]]
    targets = {k: tf.stack([v] * count) for k, v in fakes.targets_of(objects).items()}
    return tf.data.Dataset.from_tensor_slices((inputs, targets))


def make_model(**changes):
    keras.utils.set_random_seed(0)
    model = fakes.detector(**changes)
    model.compile(make_optimizer(model.config))
    model.optimizer.build(model.trainable_variables)
    return model


def state_of(model):
    return [np.array(v) for v in (*model.weights, *model.optimizer.variables)]


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "mixed_bfloat16", "gradient_clip_norm": 0.5},
        {"accumulate_steps": 2, "optimizer": "adam", "head_dropout": 0.5},
    ],
    ids=str,
)
def test_steps_are_those_of_fit_to_the_bit(changes):
    batches = make_batches(4)
    fitted, stepped = make_model(**changes), make_model(**changes)
    fitted.fit(batches, verbose=0, shuffle=False)
    step = TrainingStep(stepped, stepped.config, batches.element_spec)
    for batch in batches:
        logs = step(batch)
    assert int(stepped.step) == 4
    assert_same(state_of(fitted), state_of(stepped))
    assert {name: float(value) for name, value in logs.items()} == {
        name: float(value) for name, value in fitted.get_metrics_result().items()
    }


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_step_that_is_not_finite_changes_nothing(value, eager):
    batches = make_batches()
    model = make_model(gradient_clip_norm=0.0)
    step = TrainingStep(model, model.config, batches.element_spec)
    ((inputs, targets),) = batches
    images = inputs["images"].numpy()
    images[1, 3, 4, 0] = value
    before = state_of(model)
    with pytest.raises(NotFinite) as caught:
        step(({**inputs, "images": tf.constant(images)}, targets))
    assert not np.isfinite(caught.value.losses["loss"])
    assert_same(before, state_of(model))
    assert all(float(meter.count) == 0 for meter in model.metrics)
    step((inputs, targets))
    assert int(model.step) == 1


def test_a_gradient_that_is_not_finite_is_noticed(eager, monkeypatch):
    batches, model = make_batches(), make_model(weight_decay=0.0)
    compute_losses = model.compute_losses

    def spoiled(*args):
        values = compute_losses(*args)
        # The value is 0, and its derivative 0 * infinity.
        values["loss"] += tf.sqrt(0.0 * model.trainable_weights[2][0, 0, 0, 0])
        return values

    monkeypatch.setattr(model, "compute_losses", spoiled)
    before = state_of(model)
    with pytest.raises(NotFinite) as caught:
        TrainingStep(model, model.config, None)(next(iter(batches)))
    assert np.isfinite(caught.value.losses["loss"])
    bad = [not np.isfinite(gradient).all() for gradient in caught.value.gradients]
    assert [n for n, is_bad in enumerate(bad) if is_bad] == [2]
    assert_same(before, state_of(model))


def test_a_step_without_memory_says_for_what_and_what_to_lower(eager, monkeypatch):
    batches, model = make_batches(), make_model()

    def fail(data):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(model, "compute_gradients", fail)
    model.step.assign(41)
    with pytest.raises(ValueError) as caught:
        TrainingStep(model, model.config, None)(next(iter(batches)))
    message = str(caught.value)
    assert message.startswith(
        "The memory does not suffice for step 42, a batch of 2 images of 64 x 96, 48 x 80 pixels, "
        "padded to 64 x 96. Lower --batch_size (now 2; "
    )
    flags = set(re.findall(r"--(\w+)", message))
    assert flags <= set(type(model.config).options())
    assert "--shorter_side and --longer_side (now 64 and 96)" in message
