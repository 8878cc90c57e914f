"""The local response normalisation of ZF: values."""

import numpy as np

from keras_frcnn.backbones.normalization import WithinChannelNormalization


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
