"""When checkpoints are written, and which ones are kept."""

import json
import os
import zipfile
from types import SimpleNamespace

import pytest
import tensorflow as tf

from keras_frcnn.training import run_folder
from keras_frcnn.training.callbacks import checkpoints
from keras_frcnn.training.callbacks.checkpoints import Checkpoints
from keras_frcnn.training.callbacks.stop import Stop
from keras_frcnn.weights import checkpoint
from tests import fakes


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, which passes only in steps and in the writing of checkpoints."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def train(clock, monkeypatch, tmp_path):
    """Returns a function that takes steps of 20 seconds and returns when checkpoints are saved."""

    def save(model, path):
        with zipfile.ZipFile(path.with_suffix(".part"), "w") as archive:
            archive.comment = json.dumps({"step": int(model.step)}).encode()
        os.replace(path.with_suffix(".part"), path)
        saved.append(int(model.step))
        clock.now += 7

    saved, step = [], tf.Variable(0)
    model = SimpleNamespace(step=step, stop_training=False, optimizer=None, trainable_weights=[])
    monkeypatch.setattr(checkpoint, "save", save)
    monkeypatch.setattr(checkpoints.divergence, "check_weights", lambda model, folder: None)

    def train(last_step, interval=100, deadline=float("inf"), **changes):
        settings = fakes.SMALL.replace(output_dir=str(tmp_path), **changes).validate()
        stop = Stop(deadline=deadline)
        callback = Checkpoints(settings, stop)
        for one in (stop, callback):
            one.set_model(model)
        while step < last_step and not model.stop_training:
            stop.on_train_batch_begin(0)
            step.assign_add(1)
            clock.now += 20
            stop.on_train_batch_end(0)
            callback.on_train_batch_end(0)
            if step % interval == 0 or step == last_step or model.stop_training:
                callback.on_epoch_end(0)
        return saved

    return train


def test_checkpoints_are_written_at_the_end_of_intervals(train):
    assert train(7, interval=3) == [3, 6, 7]


def test_checkpoints_are_also_written_every_so_many_steps_since_the_last_one(train):
    assert train(11, interval=6, checkpoint_every="4") == [4, 6, 10, 11]
    assert train(18, interval=6, checkpoint_every="6") == [4, 6, 10, 11, 12, 18]


def test_checkpoints_are_also_written_every_so_many_minutes(train):
    assert train(14, checkpoint_every="1.5min") == [5, 10, 14]


def test_the_latest_checkpoints_are_kept(train, tmp_path):
    def kept():
        return sorted(os.listdir(tmp_path / "earlier"))

    train(5, interval=1, keep=3)
    assert kept() == ["step_3.keras", "step_4.keras"]
    assert checkpoint.read_step(tmp_path / "last.keras") == 5
    (tmp_path / "earlier" / "step_9.keras").write_bytes(b"of steps that are taken anew")
    train(6, interval=1, keep=2)
    assert kept() == ["step_5.keras"]
    train(7, interval=1, keep=1)
    assert kept() == []
    assert checkpoint.read_step(tmp_path / "last.keras") == 7


def test_a_run_ends_in_time_for_its_checkpoint(train, clock):
    """A step takes 20 seconds, and a checkpoint 7: that of step 7 would be there after 154."""
    assert train(100, interval=4, deadline=1000 + 150) == [4, 6]
    assert clock.now == 1000 + 6 * 20 + 2 * 7


def test_a_checkpoint_of_an_earlier_version_is_not_kept(train, tmp_path):
    with zipfile.ZipFile(tmp_path / "last.keras", "w"):
        pass
    train(1)
    assert not (tmp_path / "earlier").exists() or not os.listdir(tmp_path / "earlier")


def test_checkpoints_are_found_newest_first(train, tmp_path):
    train(6, interval=2, keep=3)
    os.link(tmp_path / "earlier" / "step_4.keras", tmp_path / "best.keras")
    (tmp_path / "earlier" / "step_1.keras").write_bytes(b"damaged")

    def found(*steps):
        return [
            str(path.relative_to(tmp_path)) for path in run_folder.checkpoints(tmp_path, *steps)
        ]

    everything = ["last.keras", "earlier/step_4.keras", "best.keras", "earlier/step_2.keras"]
    assert found() == everything
    assert found(2) == everything[:3]
    assert found(0, 4) == everything[1:]
    assert found(2, 3) == []
