"""Changes of colour, against Python's colorsys one pixel at a time."""

import colorsys

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.data.augment import color, draws
from tests.data.augment.drawing import assert_uniform, for_keys

PIXELS = np.random.default_rng(0).uniform(0, 255, (6, 7, 3)).astype(np.float32)
COLORS = Config(brightness=0.3, contrast=0.4, saturation=0.5, hue=0.2)


def _reference(image, contrast, brightness, saturation, hue):
    """The same by Python's colorsys, one pixel at a time, in 0..1."""
    image = image.astype(np.float64) / 255
    mean = image.mean(axis=(0, 1))
    changed = np.zeros_like(image)
    for pixel in np.ndindex(image.shape[:2]):
        rgb = brightness * (mean + contrast * (image[pixel] - mean))
        y, i, q = colorsys.rgb_to_yiq(*rgb)
        turned = saturation * complex(i, q) * np.exp(2j * np.pi * hue)
        changed[pixel] = colorsys.yiq_to_rgb(y, turned.real, turned.imag)  # clips
    return 255 * changed


def _change(monkeypatch, numbers, config=COLORS, image=PIXELS):
    """Changes an image by given numbers for contrast, brightness, saturation, hue and grey."""
    monkeypatch.setattr(draws, "uniform", lambda *_: tf.constant(numbers, tf.float32))
    changed = color.change_colors(tf.constant(image), None, config)
    assert changed.dtype == tf.float32 and changed.shape == image.shape
    return changed.numpy()


@pytest.mark.parametrize("seed", range(8))
def test_colors_change_as_by_colorsys(monkeypatch, seed):
    numbers = np.random.default_rng(seed).uniform(0, 1, 5)
    spans = (2 * numbers[:4] - 1) * [0.4, 0.3, 0.5, 0.2]
    expected = _reference(PIXELS, *(1 + spans[:3]), spans[3])
    assert expected.min() == 0 or expected.max() == 255  # some are clipped
    np.testing.assert_allclose(_change(monkeypatch, numbers), expected, atol=0.01)


@pytest.mark.parametrize(
    ("changes", "numbers", "expected"),
    [
        ({"brightness": 0.3}, [0, 1, 0, 0, 0.5], (1, 1.3, 1, 0)),
        ({"contrast": 0.4}, [0, 1, 1, 1, 0.5], (0.6, 1, 1, 0)),
        ({"saturation": 0.5}, [0, 0, 0, 0, 0.5], (1, 1, 0.5, 0)),
        ({"hue": 0.25}, [0, 0, 0, 1, 0.5], (1, 1, 1, 0.25)),
        ({"grey_probability": 0.6}, [0, 0, 0, 0, 0.5], (1, 1, 0, 0)),
        ({"grey_probability": 0.4, "hue": 0.1}, [0, 0, 0, 0, 0.5], (1, 1, 1, -0.1)),
    ],
)
def test_each_change_of_color_by_itself(monkeypatch, changes, numbers, expected):
    changed = _change(monkeypatch, numbers, Config(**changes))
    np.testing.assert_allclose(changed, _reference(PIXELS, *expected), atol=0.01)


def test_no_change_is_none_to_the_last_bit(monkeypatch):
    changed = _change(monkeypatch, [0.5] * 5, COLORS.replace(contrast=0.0))
    np.testing.assert_array_equal(changed, PIXELS)
    assert color.change_colors(PIXELS, None, Config()) is PIXELS


def test_grey_has_the_brightness_of_the_colors(monkeypatch):
    image = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 100, 50]]], np.float32)
    config = COLORS.replace(brightness=0.0, contrast=0.0, grey_probability=1.0)
    changed = _change(monkeypatch, [0.1, 0.2, 0.3, 0.4, 0.99], config, image)
    expected = image @ np.array([0.30, 0.59, 0.11])
    np.testing.assert_allclose(changed, np.repeat(expected[..., None], 3, axis=2), atol=0.01)


def _drawn_colors(image, **changes):
    image = tf.constant(image, tf.float32)
    return for_keys(lambda key: color.change_colors(image, key, Config(**changes)))


def test_factors_are_uniform_in_what_was_asked_for():
    greys = np.array([[[60] * 3, [100] * 3]])
    changed = _drawn_colors(greys, brightness=0.3)
    assert_uniform(changed[:, 0, 1, 0] / 100, 0.7, 1.3)
    changed = _drawn_colors(greys, contrast=0.4)
    assert_uniform((changed[:, 0, 1, 0] - changed[:, 0, 0, 0]) / 40, 0.6, 1.4)
    np.testing.assert_allclose(changed.mean(axis=(1, 2, 3)), 80, rtol=1e-5)
    pale = np.array([[[110, 100, 100]]])
    changed = _drawn_colors(pale, saturation=0.5)
    assert_uniform((changed[..., 0] - changed[..., 1]).ravel() / 10, 0.5, 1.5)
    changed = _drawn_colors(pale, hue=0.1)
    yiq = np.array([colorsys.rgb_to_yiq(*rgb) for rgb in changed[:, 0, 0].astype(float)])
    _, i, q = colorsys.rgb_to_yiq(110, 100, 100)
    turns = np.angle((yiq[:, 1] + 1j * yiq[:, 2]) / complex(i, q)) / (2 * np.pi)
    assert_uniform(turns, -0.1, 0.1)
    changed = _drawn_colors(pale, grey_probability=0.3)
    is_grey = np.abs(changed[:, 0, 0, 0] - changed[:, 0, 0, 1]) < 1e-3
    assert abs(is_grey.mean() - 0.3) < 0.05
