"""Settings of training: what they refuse."""

import math

import pytest

from keras_frcnn.config import TrainingConfig


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("batch_size", "a positive integer"),
        ("steps", "a positive integer"),
        ("learning_rate", "a positive number"),
        ("lr_decay_factor", "a positive number"),
        ("accumulate_steps", "a positive integer"),
        ("log_every", "a positive integer"),
    ],
)
def test_positive_settings(name, form, problems):
    assert problems(TrainingConfig, **{name: 0}) == [f"{name} must be {form}. Received: 0"]


@pytest.mark.parametrize(
    ("name", "noun"), [("warmup_steps", "an integer"), ("gradient_clip_norm", "a number")]
)
def test_settings_that_may_be_zero_but_not_below(name, noun, problems):
    message = f"{name} must be {noun} of at least 0. Received: -1"
    assert problems(TrainingConfig, **{name: -1}) == [message]
    TrainingConfig(**{name: 0}).validate()


@pytest.mark.parametrize("value", [1.0, -0.1])
def test_momentum_is_below_one(value, problems):
    message = f"momentum must be a number of at least 0 and below 1. Received: {value}"
    assert problems(TrainingConfig, momentum=value) == [message]
    TrainingConfig(momentum=0.0).validate()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": "10"}, "steps must be a positive integer. Received: '10'"),
        ({"steps": 10.0}, "steps must be a positive integer. Received: 10.0"),
        ({"steps": True}, "steps must be a positive integer. Received: True"),
        ({"learning_rate": "fast"}, "learning_rate must be a positive number. Received: 'fast'"),
        ({"learning_rate": False}, "learning_rate must be a positive number. Received: False"),
        ({"learning_rate": math.inf}, "learning_rate must be a positive number. Received: inf"),
        ({"learning_rate": math.nan}, "learning_rate must be a positive number. Received: nan"),
        ({"jit_compile": "auto"}, "jit_compile must be true or false. Received: 'auto'"),
        ({"output_dir": None}, "output_dir must be a string. Received: None"),
        (
            {"jit_compile": True, "deterministic": True},
            "jit_compile cannot be combined with deterministic: Keras does not use XLA when "
            "kernels must be deterministic",
        ),
        *(
            (
                {"checkpoint_every": value},
                "checkpoint_every must be a number of steps, such as 500, or of minutes, such as "
                f"30min. Received: {value!r}",
            )
            for value in ("often", "0", "-5", "5 hours", "1.5", "min")
        ),
        *(
            (
                {"lr_boundaries": value},
                "lr_boundaries must be a list of positive integers, in strictly ascending order. "
                f"Received: {value!r}",
            )
            for value in ((60000, 50000), (50000, 50000), (0, 50000))
        ),
        *(
            (
                {"profile_steps": value},
                "profile_steps must be two integers, in strictly ascending order, or empty. "
                f"Received: {value!r}",
            )
            for value in ((5,), (20, 10), (10, 10))
        ),
        *(
            ({name: value}, f"{name} must be four positive integers, or empty. Received: {value!r}")
            for name, value in (
                ("alternating_steps", (9000, 9000)),
                ("alternating_lr_boundaries", (9, 0, 9, 9)),
                ("alternating_batch_sizes", (1, 2, 1)),
            )
        ),
    ],
)
def test_other_problems(changes, message, problems):
    assert problems(TrainingConfig, **changes) == [message]


@pytest.mark.parametrize(
    "changes",
    [
        {"lr_boundaries": ()},
        {"lr_boundaries": (90000,)},  # a shortened run never reaches it
        {"profile_steps": (10, 20)},
        {"jit_compile": True},
    ],
)
def test_the_last_value_before_a_problem_is_allowed(changes):
    TrainingConfig(**changes).validate()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, 0.0)),
        ("500", (500, 0.0)),
        ("30min", (0, 30.0)),
        ("1.5 minutes", (0, 1.5)),
        ("2m", (0, 2.0)),
    ],
)
def test_checkpoints_are_written_every_so_many_steps_or_minutes(text, expected):
    assert TrainingConfig(checkpoint_every=text).validate().checkpoint_interval == expected


@pytest.mark.parametrize(
    ("warmup_steps", "steps", "expected"),
    [(500, 501, 500), (500, 500, 50), (500, 100, 10), (500, 9, 0), (0, 1, 0)],
)
def test_a_warm_up_that_would_not_end_becomes_a_tenth_of_the_steps(warmup_steps, steps, expected):
    config = TrainingConfig(warmup_steps=warmup_steps, steps=steps)
    assert config.validate().resolved_warmup_steps == expected
