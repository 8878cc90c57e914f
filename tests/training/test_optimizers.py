"""Which optimizer the settings and the device at hand give."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.training.fused_optimizers import FusedAdam, FusedSGD
from keras_frcnn.training.optimizers import make_optimizer
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
