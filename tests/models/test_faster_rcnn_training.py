"""One training step: the update it makes, what it leaves alone, what it depends on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.training.optimizers import make_optimizer
from tests import fakes

OBJECTS = [[([5, 5, 30, 40], 0), ([20, 41, 60, 90], 2)], [([3, 4, 34, 30], 3)]]


@pytest.fixture(scope="module")
def batch():
    return (
        fakes.inputs_of([fakes.image(64, 96), fakes.image(50, 37, seed=1)], seed=None),
        fakes.targets_of(OBJECTS),
    )


def trained(batch, steps=1, optimizer=None, **changes):
    """Takes steps from known weights; returns the model, and its trainable weights before."""
    model = fakes.detector(**changes)
    model.compile(optimizer or make_optimizer(model.config))
    model.optimizer.build(model.trainable_variables)
    before = values_of(model)
    for _ in range(steps):
        model.train_step(batch)
    return model, before


def values_of(model):
    return {w.path: w.numpy() for w in model.weights if w.path != model.step.path}


def difference(model, before):
    return {path: value - before[path] for path, value in values_of(model).items()}


def gradients_of(batch, step, **changes):
    model = fakes.detector(**changes)
    model.step.assign(step)  # by which images without keys draw
    with tf.GradientTape() as tape:
        loss = model.compute_losses(*batch)["loss"]
    gradients = tape.gradient(loss, model.trainable_weights)
    return {w.path: g.numpy() for w, g in zip(model.trainable_weights, gradients, strict=True)}


def norm(values):
    return np.sqrt(sum(np.sum(np.square(value, dtype=np.float64)) for value in values))


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_step_descends_the_gradient_and_biases_move_farther(batch, factor):
    settings = {"bias_lr_factor": factor, "gradient_clip_norm": 0.0, "seed": 5}
    model, before = trained(batch, **settings)
    gradients = gradients_of(batch, 0, **settings)
    changes = difference(model, before)
    assert sorted(changes) == sorted(gradients)
    for path, gradient in gradients.items():
        rate = 0.01 * (factor if path.endswith("bias") else 1)
        np.testing.assert_allclose(changes[path], -rate * gradient, rtol=1e-3, atol=1e-6)
        assert np.abs(changes[path]).max() > 1e-5


def test_momentum_carries_the_first_update_into_the_second(batch):
    model, before = trained(batch, gradient_clip_norm=0.0, momentum=0.8, learning_rate=1e-4)
    first = difference(model, before)
    middle = values_of(model)
    plain = fakes.detector(gradient_clip_norm=0.0, momentum=0.0, learning_rate=1e-4)
    for weight in plain.weights:
        if weight.path in middle:
            weight.assign(middle[weight.path])
    plain.step.assign(1)
    plain.compile(make_optimizer(plain.config))
    plain.train_step(batch)
    without = difference(plain, middle)
    model.train_step(batch)
    for path, change in difference(model, middle).items():
        np.testing.assert_allclose(change, 0.8 * first[path] + without[path], rtol=1e-3, atol=1e-7)


def test_a_large_gradient_is_scaled_down_as_a_whole(batch):
    free, before = trained(batch, gradient_clip_norm=0.0, weight_decay=0.0)
    clipped, _ = trained(batch, gradient_clip_norm=0.5, weight_decay=0.0)
    loose, _ = trained(batch, gradient_clip_norm=1e6, weight_decay=0.0)
    of_free, of_clipped = difference(free, before), difference(clipped, before)
    assert norm(of_free.values()) > 2 * 0.01 * 0.5
    assert norm(of_clipped.values()) == pytest.approx(0.01 * 0.5, rel=1e-3)
    scale = norm(of_clipped.values()) / norm(of_free.values())
    for path, change in of_free.items():
        np.testing.assert_allclose(of_clipped[path], scale * change, rtol=0.01, atol=1e-6)
        np.testing.assert_allclose(difference(loose, before)[path], change, rtol=1e-3, atol=1e-7)


def test_frozen_weights_do_not_change_by_one_bit(batch):
    model, before = trained(
        batch, steps=2, backbone_weights="imagenet", frozen_blocks=1, weight_decay=0.1
    )
    changed = {path for path, change in difference(model, before).items() if change.any()}
    assert changed == set(before) - {"block1_conv1/kernel", "block1_conv1/bias"}


def test_accumulated_steps_make_one_update_of_their_mean(batch):
    settings = {"accumulate_steps": 2, "gradient_clip_norm": 0.0}
    model, before = trained(batch, steps=1, **settings)
    assert not any(change.any() for change in difference(model, before).values())
    assert int(model.step) == 1
    model.train_step(batch)
    assert int(model.step) == 2
    first, second = (gradients_of(batch, step, gradient_clip_norm=0.0) for step in (0, 1))
    for path, change in difference(model, before).items():
        rate = 0.01 * (2 if path.endswith("bias") else 1)
        mean = (first[path] + second[path]) / 2
        np.testing.assert_allclose(change, -rate * mean, rtol=1e-3, atol=1e-6)


def test_a_float16_step_is_scaled_up_and_down_again(batch):
    model, before = trained(batch, precision="mixed_float16", gradient_clip_norm=0.0)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    while int(model.optimizer.iterations) == 0:  # until the scale is low enough
        assert int(model.step) < 15
        model.train_step(batch)
    assert float(model.optimizer.dynamic_scale) >= 16
    gradients = gradients_of(batch, int(model.step) - 1)
    changes = difference(model, before)
    for path in ("rpn_head/objectness/kernel", "rpn_head/conv/kernel", "rpn_head/deltas/kernel"):
        wanted = -0.01 * gradients[path]
        assert norm([changes[path] - wanted]) < 0.1 * norm([wanted]), path
    assert all(np.isfinite(value).all() for value in values_of(model).values())


def test_a_float16_step_that_overflows_is_left_out_but_counted(batch):
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), 1e38)
    model, before = trained(batch, optimizer=optimizer, precision="mixed_float16")
    assert not any(change.any() for change in difference(model, before).values())
    assert float(model.optimizer.dynamic_scale) == pytest.approx(0.5e38)
    assert int(model.optimizer.iterations) == 0
    assert int(model.step) == 1


def test_a_bfloat16_step_keeps_float32_weights(batch):
    model, before = trained(batch, precision="mixed_bfloat16")
    assert {value.dtype for value in values_of(model).values()} == {np.dtype("float32")}
    changes = difference(model, before)
    assert all(change.any() and np.isfinite(change).all() for change in changes.values())


def test_the_same_seed_is_the_same_run_and_another_is_another(batch):
    settings = {"head_dropout": 0.5, "rpn_num_samples": 8, "roi_num_samples": 8}
    one, other = (trained(batch, steps=3, seed=seed, **settings)[0] for seed in (1, 2))
    again, _ = trained(batch, steps=3, seed=1, **settings)
    for path, value in values_of(again).items():
        np.testing.assert_array_equal(value, values_of(one)[path])
        assert (value != values_of(other)[path]).any()


def test_every_step_draws_anew(batch):
    model = fakes.detector(rpn_num_samples=8, roi_num_samples=8)
    model.compile(keras.optimizers.SGD(0.0))
    values = []
    for _ in range(3):
        model.reset_metrics()
        logs = model.train_step(batch)
        values.append({name: float(value) for name, value in logs.items()})
    for name in ("rpn_cls_loss", "roi_cls_loss"):
        assert len({one[name] for one in values}) == 3
    assert len({one["weight_decay_loss"] for one in values}) == 1


def test_what_a_step_returns_is_the_mean_since_the_last_reset(batch):
    model = fakes.detector()
    model.compile(keras.optimizers.SGD(0.0))
    losses = []
    for step in range(3):
        model.step.assign(step)
        losses.append({n: float(v) for n, v in model.compute_losses(*batch).items()})
    model.step.assign(0)
    model.train_step(batch)
    logs = {name: float(value) for name, value in model.train_step(batch).items()}
    mean = {name: (losses[0][name] + losses[1][name]) / 2 for name in losses[0]}
    assert logs == pytest.approx(mean, rel=1e-5)
    assert [meter.name for meter in model.metrics] == list(logs)
    model.reset_metrics()
    logs = {name: float(value) for name, value in model.train_step(batch).items()}
    assert logs == pytest.approx(losses[2], rel=1e-5)


def test_a_test_step_changes_nothing_and_draws_the_same_every_time(batch):
    model = fakes.detector(head_dropout=0.5)
    model.compile("sgd")
    before, values = values_of(model), []
    for _ in range(2):
        model.reset_metrics()
        logs = model.test_step(batch)
        values.append({name: float(value) for name, value in logs.items()})
    assert values[0] == values[1]
    assert int(model.step) == 0
    assert not any(change.any() for change in difference(model, before).values())
    expected = model.compute_losses(*batch, training=False)
    assert values[0]["roi_cls_loss"] == pytest.approx(float(expected["roi_cls_loss"]))


def test_a_graph_takes_the_same_step_as_python(batch):
    eager, _ = trained(batch, steps=2)
    model = fakes.detector()
    model.compile(make_optimizer(model.config))
    model.optimizer.build(model.trainable_variables)
    specs = tuple(
        {
            n: tf.TensorSpec([None, *[None] * (t.ndim - 2), t.shape[-1]], t.dtype)
            for n, t in d.items()
        }
        for d in batch
    )
    step = tf.function(model.train_step, input_signature=[specs])
    for _ in range(2):
        step(batch)
    for path, value in values_of(model).items():
        np.testing.assert_allclose(value, values_of(eager)[path], rtol=1e-4, atol=1e-5)


def test_few_steps_on_one_batch_lower_every_loss(batch):
    model = fakes.detector(learning_rate=0.02, bias_lr_factor=1.0)
    model.compile(make_optimizer(model.config))
    model.optimizer.build(model.trainable_variables)
    step = tf.function(model.train_step)
    first = {name: float(value) for name, value in step(batch).items()}
    for _ in range(60):
        model.reset_metrics()
        last = {name: float(value) for name, value in step(batch).items()}
    for name in ("rpn_cls_loss", "rpn_box_loss", "roi_cls_loss", "roi_box_loss"):
        assert last[name] < 0.7 * first[name], name
