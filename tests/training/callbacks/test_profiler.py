"""Which steps are profiled."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from keras_frcnn.training.callbacks.profiler import Profiler
from tests import fakes


@pytest.fixture
def calls(monkeypatch):
    """Replaces TensorFlow's profiler; collects the calls."""
    calls = []
    profiler = tf.profiler.experimental
    monkeypatch.setattr(profiler, "start", lambda folder: calls.append(("start", folder)))
    monkeypatch.setattr(profiler, "stop", lambda: calls.append(("stop",)))
    return calls


def fit(profiler, first_step, last_step, calls):
    """Takes the steps of one ``fit`` as Keras does; the calls of a step stand before its number."""
    profiler.set_model(SimpleNamespace(step=tf.constant(first_step)))
    profiler.on_train_begin()
    for step in range(first_step + 1, last_step + 1):
        profiler.on_train_batch_begin(0)
        calls.append(step)
        profiler.on_train_batch_end(0)
    profiler.on_train_end()


def profiler_of(tmp_path):
    return Profiler(fakes.SMALL.replace(output_dir=str(tmp_path), profile_steps=(1, 3)))


def test_profiling_covers_the_steps_asked_for(tmp_path, calls):
    fit(profiler_of(tmp_path), 0, 4, calls)
    assert calls == [1, ("start", str(tmp_path / "train")), 2, 3, ("stop",), 4]


def test_a_run_that_ends_before_the_last_of_them_ends_the_profile(tmp_path, calls):
    fit(profiler_of(tmp_path), 0, 2, calls)
    assert calls == [1, ("start", str(tmp_path / "train")), 2, ("stop",)]


def test_a_run_that_is_resumed_after_the_first_of_them_is_not_profiled(tmp_path, calls):
    fit(profiler_of(tmp_path), 2, 4, calls)
    assert calls == [3, 4]


def test_the_models_step_is_read_once_a_fit(tmp_path, calls):
    reads = []

    class Step:
        def numpy(self):
            reads.append(True)
            return 0

    profiler = profiler_of(tmp_path)
    profiler.set_model(SimpleNamespace(step=Step()))
    profiler.on_train_begin()
    for _ in range(4):
        profiler.on_train_batch_begin(0)
        profiler.on_train_batch_end(0)
    assert calls == [("start", str(tmp_path / "train")), ("stop",)]
    assert len(reads) == 1


def test_a_run_is_profiled_if_the_settings_say_so(config, train, tmp_path, calls, eager):
    train(
        config.replace(output_dir=str(tmp_path), profile_steps=(0, 1), steps=1, eval_split=("-",))
    )
    assert calls == [("start", str(tmp_path / "train")), ("stop",)]
