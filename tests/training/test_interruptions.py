"""Runs that are killed while they write a checkpoint, and checkpoints that are damaged later."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from keras_frcnn.training import run_folder
from keras_frcnn.training.run_folder import read_evaluations
from keras_frcnn.weights import checkpoint
from tests.training import mortal
from tests.training.checkpoint_state import assert_same_state

pytestmark = pytest.mark.usefixtures("eager")


def test_a_run_killed_while_it_writes_checkpoints_equals_one_in_one_go(config, unbroken, tmp_path):
    settings = config.replace(output_dir=str(tmp_path), checkpoint_every="1", keep=3)
    ended = subprocess.run(
        [sys.executable, "-m", mortal.__name__, json.dumps(settings.to_dict())],
        capture_output=True,
        text=True,
    )
    expected = [-signal.SIGKILL] * len(mortal.DEATHS) + [0]
    assert list(map(int, ended.stdout.split())) == expected, ended.stderr
    assert_same_state(unbroken.folder / "last.keras", tmp_path / "last.keras")
    assert read_evaluations(tmp_path) == read_evaluations(unbroken.folder)
    earlier = [path.name for path in run_folder.checkpoints(tmp_path) if path.parent != tmp_path]
    assert earlier == ["step_5.keras", "step_4.keras"]
    assert sorted(os.listdir(tmp_path / "earlier")) == sorted(earlier)
    assert not list(tmp_path.glob("*.writing"))


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path):
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def empty(path):
    os.truncate(path, 0)


@pytest.fixture
def stopped(unbroken, tmp_path):
    """A run folder in which the newest checkpoint, of step 6, was written by ``keep=2``."""
    folder = tmp_path / "run"
    shutil.copytree(unbroken.folder, folder, copy_function=shutil.copy)
    return folder


@pytest.mark.parametrize("spoil", [cut, flip_a_bit, empty, os.unlink])
def test_a_damaged_newest_checkpoint_is_replaced_by_the_one_before(
    spoil, stopped, unbroken, config, train
):
    last, before = stopped / "last.keras", stopped / "earlier" / "step_3.keras"
    spoil(last)
    (stopped / "best.keras").unlink()
    output = train(config.replace(output_dir=str(stopped))).replace("\n", " ")
    assert f"{last} cannot be used: " in output and f". {before} takes its place" in output
    assert (stopped / "last.damaged").exists() == (spoil != os.unlink)
    assert_same_state(unbroken.folder / "last.keras", last)
    assert read_evaluations(stopped) == read_evaluations(unbroken.folder)


def test_the_best_checkpoint_serves_where_there_is_no_other(stopped, unbroken, config, train):
    best = checkpoint.read_step(stopped / "best.keras")
    flip_a_bit(stopped / "earlier" / "step_3.keras")
    cut(stopped / "last.keras")
    output = train(config.replace(output_dir=str(stopped))).replace("\n", " ")
    assert f". {stopped}/best.keras takes its place" in output
    assert f"Resuming from step {best} of {stopped}/last.keras" in output
    assert_same_state(unbroken.folder / "last.keras", stopped / "last.keras")


def test_without_an_earlier_checkpoint_a_damaged_one_ends_the_run(stopped, config, train):
    shutil.rmtree(stopped / "earlier")
    (stopped / "best.keras").unlink()
    flip_a_bit(stopped / "last.keras")
    with pytest.raises(ValueError) as caught:
        train(config.replace(output_dir=str(stopped)))
    assert str(caught.value) == (
        f"{stopped}/last.keras is not a checkpoint of keras_frcnn, or it is damaged: the checksum "
        "of model.weights.h5 in it is wrong. There is no earlier one. Delete it, and the same "
        "command starts again"
    )
    assert (stopped / "last.keras").exists()
