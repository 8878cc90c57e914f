"""Keys: what is drawn for an image depends on the seed, the epoch and the image alone."""

import numpy as np
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.data.augment import change_colors, draws, geometry
from tests.data.augment.drawing import for_keys


def test_keys_differ_by_seed_epoch_and_row():
    places = [(seed, epoch, row) for seed in (0, 1) for epoch in range(3) for row in range(50)]
    keys = {
        tuple(
            draws.image_key(seed, tf.constant(epoch, tf.int64), tf.constant(row, tf.int64)).numpy()
        )
        for seed, epoch, row in places
    }
    assert len(keys) == len(places)


def test_what_is_drawn_of_one_kind_tells_nothing_of_another():
    """Mirrored images are cropped, sized and coloured like all others."""
    config = Config(
        crop_sides=(0.4, 0.9),
        flip="both",
        crop_probability=0.5,
        scale_jitter=(0.5, 1.0),
        brightness=1.0,
    )
    shape, nothing = tf.constant([3000, 9000]), np.zeros((0, 4), np.float32)
    grey = tf.constant([[[100.0] * 3]])

    def draw(key):
        window = geometry.draw_window(key, config, shape, nothing, np.zeros(0, bool))
        side, _ = geometry.draw_sides(key, config.replace(shorter_side=4000, longer_side=4000))
        color = change_colors(grey, key, config)[0, 0, 0]
        horizontal, vertical = geometry.draw_flips(key, config.flip)
        numbers = (horizontal, vertical, window[0] > 0, window[0], window[2], side, color)
        return tf.stack([tf.cast(number, tf.float32) for number in numbers])

    correlations = np.corrcoef(for_keys(draw).T)
    correlations[2:5, 2:5] = 0  # start and end of one window
    assert np.abs(correlations[~np.eye(7, dtype=bool)]).max() < 0.12


def test_keys_of_the_model_are_random_bits_of_their_own():
    """Two int32 for each image; they tell nothing of the flips, nor of one another."""

    def draw(key):
        return draws.model_key(key), tf.stack(geometry.draw_flips(key, "both"))

    keys, flips = for_keys(draw)
    assert keys.dtype == np.int32 and len(np.unique(keys, axis=0)) == len(keys)
    bits = np.unpackbits(keys.astype("<i4").view(np.uint8), axis=1)
    assert bits.shape[1] == 64
    np.testing.assert_allclose(bits.mean(axis=0), 0.5, atol=0.07)
    correlations = np.corrcoef(np.concatenate([bits, flips], axis=1).T)
    assert np.abs(correlations[~np.eye(66, dtype=bool)]).max() < 0.15


def test_keys_stay_what_they_are():
    """A resumed run goes on with the same draws."""
    key = draws.image_key(7, 2, tf.constant(3, tf.int64))
    assert key.dtype == tf.int64 and key[1] == 3
    assert draws.model_key(key).numpy().tolist() == [212921072, 1537017160]
