"""Settings of augmentation: what they refuse."""

import pytest

from keras_frcnn.config import AugmentationConfig


@pytest.mark.parametrize(
    "name",
    [
        "crop_probability",
        "crop_min_visible",
        "brightness",
        "contrast",
        "saturation",
        "grey_probability",
    ],
)
@pytest.mark.parametrize("value", [-0.01, 1.01])
def test_fractions(name, value, problems):
    message = f"{name} must be a number between 0 and 1. Received: {value}"
    assert problems(AugmentationConfig, **{name: value}) == [message]
    AugmentationConfig(**{name: 0.0}).validate()
    AugmentationConfig(**{name: 1.0}).validate()


@pytest.mark.parametrize("value", [(), (1.0,), (0.5, 0.9, 1.0), (0.9, 0.5), (0.09, 1.0)])
@pytest.mark.parametrize(
    ("name", "highest", "too_high"),
    [("scale_jitter", 10, (0.5, 10.01)), ("crop_sides", 1, (0.5, 1.01))],
)
def test_ranges(name, highest, too_high, value, problems):
    message = f"{name} must be two numbers between 0.1 and {highest}, in ascending order."
    for wrong in (value, too_high):
        assert problems(AugmentationConfig, **{name: wrong}) == [f"{message} Received: {wrong!r}"]
    AugmentationConfig(**{name: (0.1, float(highest))}).validate()
    AugmentationConfig(**{name: (0.5, 0.5)}).validate()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hue": 0.51}, "hue must be a number between 0 and 0.5. Received: 0.51"),
        ({"hue": -0.01}, "hue must be a number between 0 and 0.5. Received: -0.01"),
        (
            {"train_shorter_sides": (400, 0)},
            "train_shorter_sides must be a list of positive integers. Received: (400, 0)",
        ),
        ({"flip": "on"}, "flip must be one of none, horizontal, vertical, both. Received: 'on'"),
    ],
)
def test_other_problems(changes, message, problems):
    assert problems(AugmentationConfig, **changes) == [message]
