"""Which optimizer the settings and the device at hand give."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.training.fused_optimizers import FusedAdam, FusedSGD
from keras_frcnn.training.optimizers import averaged_weights, make_optimizer, swap_averages
from keras_frcnn.training.phase_model import backbone_weights
from tests import fakes


@pytest.fixture
def gpu(monkeypatch):
    """Pretends that TensorFlow sees a GPU."""
    devices = [SimpleNamespace(device_type=kind) for kind in ("CPU", "GPU")]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda: devices)


def assert_has_the_settings(sgd, adam):
    for optimizer in (sgd, adam):
        assert optimizer.global_clipnorm == 3.0
        assert optimizer.gradient_accumulation_steps == 4
        assert float(optimizer.learning_rate) == pytest.approx(0.03)
        assert optimizer.weight_decay is None  # Keras' own weight decay is another one
    assert (sgd.momentum, adam.beta_1) == (0.7, 0.7)


SETTINGS = fakes.SMALL.replace(
    momentum=0.7,
    gradient_clip_norm=3.0,
    accumulate_steps=4,
    learning_rate=0.3,
    warmup_steps=5,
    weight_decay=0.25,
    decay_biases=True,
)


def test_on_a_processor_it_is_the_fused_one():
    sgd, adam = (make_optimizer(SETTINGS.replace(optimizer=name)) for name in ("sgd", "adam"))
    assert (type(sgd), type(adam)) == (FusedSGD, FusedAdam)
    assert isinstance(sgd, keras.optimizers.SGD) and isinstance(adam, keras.optimizers.Adam)
    assert_has_the_settings(sgd, adam)
    for optimizer in (sgd, adam):
        assert (optimizer.l2, optimizer.decay_biases) == (0.25, True)


def test_on_any_other_device_it_is_keras_own_and_the_loss_has_the_decay(gpu):
    sgd, adam = (make_optimizer(SETTINGS.replace(optimizer=name)) for name in ("sgd", "adam"))
    assert (type(sgd), type(adam)) == (keras.optimizers.SGD, keras.optimizers.Adam)
    assert_has_the_settings(sgd, adam)
    for optimizer in (sgd, adam):
        assert not hasattr(optimizer, "l2")


def test_without_clipping_and_accumulation_the_optimizer_has_neither():
    plain = make_optimizer(SETTINGS.replace(gradient_clip_norm=0.0, accumulate_steps=1))
    assert (plain.global_clipnorm, plain.gradient_accumulation_steps) == (None, None)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_what_only_the_fused_ones_can_do_is_theirs_on_any_device(device, request):
    if device == "gpu":
        request.getfixturevalue("gpu")
    adamw = make_optimizer(SETTINGS.replace(optimizer="adamw"))
    assert type(adamw) is FusedAdam and adamw.beta_1 == 0.7
    assert (adamw.weight_decay, adamw.l2, adamw.decay_biases) == (0.25, 0, True)
    averaged = make_optimizer(SETTINGS.replace(ema_momentum=0.9))
    assert type(averaged) is FusedSGD and (averaged.averaging, averaged.l2) == (0.9, 0.25)
    slow = make_optimizer(SETTINGS.replace(backbone_lr_factor=0.5), [keras.Variable(0.0, name="a")])
    assert type(slow) is FusedSGD and slow.lr_factors == {"a": 0.5}


def test_the_loss_of_adamw_has_no_weight_decay():
    batch = fakes.inputs_of([fakes.image(64, 96)]), fakes.targets_of([[([5, 5, 30, 40], 0)]])
    adam, adamw = (
        float(fakes.detector(optimizer=o).compute_losses(*batch)["weight_decay_loss"])
        for o in ("adam", "adamw")
    )
    assert adam > 0 and adamw == 0


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_backbone_learns_at_a_rate_of_its_own(name):
    """Both networks' backbones move half as far in a step, and nothing else does."""
    batch = fakes.inputs_of([fakes.image(64, 96)]), fakes.targets_of([[([5, 5, 30, 40], 0)]])

    def moved(factor):
        settings = {"scheme": "unshared", "optimizer": name, "weight_decay": 0.1}
        model = fakes.detector(backbone_lr_factor=factor, gradient_clip_norm=0.0, **settings)
        model.compile(make_optimizer(model.config, backbone_weights(model)))
        before = [w.numpy() for w in model.trainable_weights]
        model.train_step(batch)
        after = [w.numpy() for w in model.trainable_weights]
        return model, [b - a for a, b in zip(before, after, strict=True)]

    model, whole = moved(1.0)
    _, half = moved(0.5)
    backbones = {id(w) for w in backbone_weights(model)}
    assert len(backbones) == 8
    for weight, one, other in zip(model.trainable_weights, whole, half, strict=True):
        factor = 0.5 if id(weight) in backbones else 1.0
        np.testing.assert_allclose(other, factor * one, rtol=1e-3, atol=1e-7, err_msg=weight.path)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_weights_and_averages_change_places_to_the_bit(precision):
    model = fakes.detector(precision=precision, ema_momentum=0.9)
    model.compile(make_optimizer(model.config))
    model.optimizer.build(model.trainable_variables)
    averages = getattr(model.optimizer, "inner_optimizer", model.optimizer).averages
    weights = [w.numpy() for w in model.trainable_weights]
    for average in averages:
        average.assign(average + 0.1234567)
    others = [average.numpy() for average in averages]

    def assert_has(weights, others):
        for values, variables in ((weights, model.trainable_weights), (others, averages)):
            for value, variable in zip(values, variables, strict=True):
                np.testing.assert_array_equal(value, variable)

    with pytest.raises(KeyError), averaged_weights(model):
        assert_has(others, weights)
        raise KeyError
    assert_has(weights, others)
    swap_averages(model)
    assert_has(others, weights)


def test_a_model_without_averages_is_left_alone():
    model = fakes.detector()
    model.compile(make_optimizer(model.config))
    before = [w.numpy() for w in model.weights]
    with averaged_weights(model):
        for value, weight in zip(before, model.weights, strict=True):
            np.testing.assert_array_equal(value, weight)


def test_under_float16_the_loss_is_scaled_and_has_the_decay():
    half = make_optimizer(SETTINGS.replace(precision="mixed_float16"))
    assert isinstance(half, keras.optimizers.LossScaleOptimizer)
    assert half.inner_optimizer.momentum == 0.7
    assert half.inner_optimizer.l2 == 0 and not hasattr(half, "l2")


@pytest.mark.parametrize("decay_biases", [False, True])
def test_both_take_the_same_steps_of_a_detector(request, decay_biases):
    batch = fakes.inputs_of([fakes.image(64, 96)]), fakes.targets_of([[([5, 5, 30, 40], 0)]])

    def weights_after_two_steps():
        settings = {"weight_decay": 0.1, "gradient_clip_norm": 0.0, "decay_biases": decay_biases}
        settings["bias_lr_factor"] = 1.0  # it multiplies the decay only if that is in the loss
        model = fakes.detector(**settings)
        model.compile(make_optimizer(fakes.SMALL.replace(**settings)))
        before = [w.numpy() for w in model.trainable_weights]
        for _ in range(2):
            model.train_step(batch)
        return before, [w.numpy() for w in model.trainable_weights]

    before, fused = weights_after_two_steps()
    request.getfixturevalue("gpu")
    _, keras_own = weights_after_two_steps()
    for start, one, other in zip(before, fused, keras_own, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(one - start).max())
        assert np.any(one != start)
