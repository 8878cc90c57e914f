"""Batch normalisation whose statistics are never trained."""

import keras
import numpy as np

from keras_frcnn.layers.frozen_normalization import FrozenNormalization


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
