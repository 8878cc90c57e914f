"""Normalisation layers: ZF's local response, and statistics that are never trained."""

import keras
import numpy as np

from keras_frcnn.backbones.normalization import FrozenNormalization, WithinChannelNormalization


def test_normalisation_within_a_channel():
    values = np.random.default_rng(0).normal(0, 100, (1, 4, 5, 2)).astype("float32")
    expected = np.zeros_like(values)
    for y in range(4):
        for x in range(5):
            window = values[0, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            mean = np.sum(window**2, axis=(0, 1)) / 9  # borders count zeros
            expected[0, y, x] = values[0, y, x] / (1 + 5e-5 * mean) ** 0.75
    received = WithinChannelNormalization()(values)
    np.testing.assert_allclose(received, expected, rtol=1e-5)
    assert np.abs(expected / values).min() < 0.8


def test_frozen_normalisation_uses_its_statistics_and_never_trains_them():
    layer = FrozenNormalization(epsilon=0.0)
    layer.build((None, 2, 2, 1))
    layer.set_weights([np.array([v], "float32") for v in (3.0, 1.0, 5.0, 4.0)])
    x = np.full((1, 2, 2, 1), 9.0, "float32")
    np.testing.assert_allclose(layer(x, training=True), 3 * (x - 5) / 2 + 1)
    assert [float(w.numpy()[0]) for w in layer.weights] == [3.0, 1.0, 5.0, 4.0]
    layer.trainable = True  # whatever is asked of it
    assert not layer.trainable and layer.trainable_weights == []
    network = keras.Sequential([keras.Input((2, 2, 1)), layer])
    network.trainable = True
    assert network.trainable_weights == []
