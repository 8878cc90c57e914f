"""Learning rates: where they rise, drop and end, to the step."""

import json

import keras
import pytest
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.training.schedules import LinearWarmup, make_schedule


def rates(config, *steps):
    schedule = make_schedule(config.validate())
    return [float(schedule(step)) for step in steps]


def test_the_rate_rises_linearly_from_a_tenth():
    config = Config(learning_rate=0.02, warmup_steps=10, steps=100, lr_boundaries=(50,))
    expected = [0.002, 0.0038, 0.011, 0.0182, 0.02, 0.02]
    assert rates(config, 0, 1, 5, 9, 10, 11) == pytest.approx(expected, rel=1e-6)


def test_without_warmup_the_rate_is_whole_from_the_first_step():
    config = Config(learning_rate=0.02, warmup_steps=0, steps=100, lr_boundaries=(50,))
    assert rates(config, 0, 1) == pytest.approx([0.02, 0.02])


def test_a_boundary_is_the_first_step_at_the_lower_rate():
    config = Config(
        learning_rate=0.5, warmup_steps=0, steps=100, lr_boundaries=(10, 20), lr_decay_factor=0.2
    )
    expected = [0.5, 0.1, 0.1, 0.1, 0.02, 0.02]
    assert rates(config, 9, 10, 11, 19, 20, 99) == pytest.approx(expected, rel=1e-6)


def test_without_boundaries_the_rate_stays():
    config = Config(learning_rate=0.5, warmup_steps=0, steps=100, lr_boundaries=())
    assert rates(config, 0, 50, 99, 100, 200) == pytest.approx([0.5] * 5)


def test_warmup_scales_what_it_follows():
    config = Config(learning_rate=1.0, warmup_steps=20, steps=100, lr_boundaries=(10,))
    assert rates(config, 9, 10) == pytest.approx([0.1 + 0.9 * 9 / 20, 0.1 * 0.55], rel=1e-6)


def test_cosine_falls_to_zero_at_the_last_step():
    config = Config(learning_rate=0.2, lr_schedule="cosine", warmup_steps=0, steps=100)
    received = rates(config, 0, 25, 50, 100, 150)
    assert received == pytest.approx([0.2, 0.1 * (1 + 0.5**0.5), 0.1, 0, 0], abs=1e-7)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [  # of 1.0 at steps 0, 25, 50, 100 and 150, down to 0.2
        ("cosine", [1.0, 0.6 + 0.4 * 0.5**0.5, 0.6, 0.2, 0.2]),
        ("linear", [1.0, 0.8, 0.6, 0.2, 0.2]),
        ("polynomial", [1.0, 0.2 + 0.8 * 0.75**3, 0.2 + 0.8 * 0.5**3, 0.2, 0.2]),
    ],
)
def test_schedules_fall_to_a_part_of_the_rate(kind, expected):
    settings = {"lr_schedule": kind, "lr_end_factor": 0.2, "lr_power": 3.0}
    config = Config(learning_rate=0.5, warmup_steps=0, steps=100, **settings)
    received = rates(config, 0, 25, 50, 100, 150)
    assert received == pytest.approx([0.5 * value for value in expected], rel=1e-6)


@pytest.mark.parametrize("kind", ["piecewise", "cosine", "linear", "polynomial"])
def test_a_schedule_comes_back_from_its_words(kind):
    config = Config(lr_schedule=kind, learning_rate=0.3, warmup_steps=7, steps=90000)
    schedule = make_schedule(config)
    words = json.dumps(keras.saving.serialize_keras_object(schedule))
    second = keras.saving.deserialize_keras_object(json.loads(words))
    assert isinstance(second, LinearWarmup)
    for step in (0, 3, 7, 49999, 50000, 90000):
        assert float(second(step)) == float(schedule(step))


def test_a_graph_of_an_unknown_step_gives_the_same():
    schedule = make_schedule(Config(warmup_steps=10))
    graph = tf.function(lambda step: schedule(step))
    for step in (0, 5, 10, 49999, 50000):
        received = graph(tf.constant(step, tf.int64))
        assert received.dtype == tf.float32
        assert float(received) == pytest.approx(float(schedule(step)), rel=1e-6)


def test_a_warm_up_longer_than_the_run_is_shortened():
    config = Config(learning_rate=0.02, warmup_steps=500, steps=100, lr_boundaries=())
    assert rates(config, 0, 5, 10, 99) == pytest.approx([0.002, 0.011, 0.02, 0.02])
