"""The fused updates are Keras' own, step after step, whatever surrounds them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.training.optimizers import FusedAdam, FusedSGD

SHAPES = ((3, 4), (4,), (2, 3, 1, 2))


def weights_after(optimizer, steps=5, graph=True):
    """Weights after a few steps of gradients that a seed decides."""
    rng = np.random.default_rng(3)
    variables = [keras.Variable(rng.normal(size=shape).astype("float32")) for shape in SHAPES]
    optimizer.build(variables)

    def step(*gradients):
        optimizer.apply(list(gradients), variables)

    step = tf.function(step) if graph else step
    for _ in range(steps):
        step(*(tf.constant(rng.normal(size=shape), tf.float32) for shape in SHAPES))
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize(
    ("fused", "keras_own", "settings"),
    [
        (FusedSGD, keras.optimizers.SGD, {"momentum": 0.9}),
        (FusedSGD, keras.optimizers.SGD, {}),
        (FusedSGD, keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
        (FusedSGD, keras.optimizers.SGD, {"momentum": 0.9, "global_clipnorm": 1.0}),
        (FusedSGD, keras.optimizers.SGD, {"momentum": 0.9, "gradient_accumulation_steps": 2}),
        (FusedAdam, keras.optimizers.Adam, {}),
        (FusedAdam, keras.optimizers.Adam, {"beta_1": 0.5, "beta_2": 0.99, "epsilon": 1e-3}),
        (FusedAdam, keras.optimizers.Adam, {"global_clipnorm": 1.0}),
    ],
)
@pytest.mark.parametrize("graph", [True, False])
def test_the_fused_update_is_keras_own(fused, keras_own, settings, graph):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    expected = weights_after(keras_own(schedule, **settings), graph=graph)
    received = weights_after(fused(schedule, **settings), graph=graph)
    moved = np.abs(expected[0] - weights_after(keras_own(0.0, **settings))[0])
    assert moved.min() > 1e-4
    for a, b in zip(expected, received, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


def test_the_momenta_are_kept_where_keras_keeps_them():
    variable = keras.Variable(np.ones(2, "float32"))
    optimizer = FusedSGD(0.5, momentum=0.9)
    optimizer.build([variable])
    optimizer.apply([tf.constant([1.0, 2.0])], [variable])
    np.testing.assert_allclose(optimizer.momentums[0].numpy(), [-0.5, -1.0])
    np.testing.assert_allclose(variable.numpy(), [0.5, 0.0])
    assert int(optimizer.iterations) == 1
