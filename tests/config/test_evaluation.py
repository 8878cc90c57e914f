"""Settings of evaluation: what they refuse."""

import pytest

from keras_frcnn.config import EvaluationConfig


@pytest.mark.parametrize("name", ["eval_every", "num_images", "eval_loss_images"])
def test_settings_that_may_be_zero_but_not_below(name, problems):
    message = f"{name} must be an integer of at least 0. Received: -1"
    assert problems(EvaluationConfig, **{name: -1}) == [message]
    EvaluationConfig(**{name: 0}).validate()


def test_sizes_are_positive(problems):
    assert problems(EvaluationConfig, test_shorter_sides=(-1, 600)) == [
        "test_shorter_sides must be a list of positive integers. Received: (-1, 600)"
    ]
