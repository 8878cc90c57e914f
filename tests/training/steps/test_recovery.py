"""Runs that meet steps that are not finite: they stop, skip them or roll back, and can go on."""

import os
import signal

import numpy as np
import pytest

from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training.run_folder import read_evaluations, read_lines
from keras_frcnn.weights import checkpoint
from tests.training.checkpoint_state import assert_same_state, state_of

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def settings(config, tmp_path):
    return config.replace(output_dir=str(tmp_path / "run"), eval_every=2, log_every=1)


@pytest.fixture
def spoiled_at(monkeypatch):
    """Returns a function that makes the loss of some steps NaN."""
    original = FasterRCNN.compute_losses

    def arrange(*steps):
        def compute_losses(self, *args, training=True):
            values = original(self, *args, training=training)
            if training and int(self.step) + 1 in steps:
                values["loss"] *= np.nan
            return values

        monkeypatch.setattr(FasterRCNN, "compute_losses", compute_losses)

    return arrange


def nan_steps(settings):
    return [one["step"] for one in read_lines(settings.output_dir, "nan.jsonl")]


@pytest.mark.parametrize("changes", [{}, {"on_nan": "rollback", "max_nan_steps": 0}])
def test_a_run_stops_and_goes_on_from_its_last_checkpoint(changes, settings, train, spoiled_at):
    run = settings.output_dir
    spoiled_at(4)
    with pytest.raises(ValueError) as caught:
        train(settings.replace(**changes))
    first, *_, last = str(caught.value).splitlines()
    assert first.startswith("Training stopped: loss is not finite at step 4. The first is loss (1 ")
    assert last.endswith(f"--continue_with= its name, continues from {run}/last.keras")
    for name in ("last.keras", "best.keras"):
        assert int(checkpoint.load(f"{run}/{name}").step) == 2
        assert all(np.isfinite(value).all() for value in state_of(f"{run}/{name}").values())
    assert nan_steps(settings) == [4]
    spoiled_at()
    assert "Resuming from step 2 of" in train(settings.replace(learning_rate=1e-4))
    assert int(checkpoint.load(f"{run}/last.keras").step) == 6
    assert [line["step"] for line in read_evaluations(run)] == [2, 4, 6]
    assert nan_steps(settings) == []


def test_a_rollback_without_a_checkpoint_stops_the_run(settings, train, spoiled_at):
    spoiled_at(1)
    with pytest.raises(ValueError, match="There is no checkpoint to roll back to"):
        train(settings.replace(on_nan="rollback"))


def test_skipped_steps_and_steps_that_were_rolled_back_leave_no_trace(
    settings, train, spoiled_at, tmp_path
):
    """Rolling back from step 4 to step 2 drops the updates of steps 3 and 4."""
    skipping = settings.replace(on_nan="skip")
    spoiled_at(3, 4)
    output = train(skipping)
    assert output.count("the step is skipped") == 2
    assert nan_steps(skipping) == [3, 4]
    logged = [line["step"] for line in read_lines(skipping.output_dir, "metrics.jsonl")]
    assert logged == [1, 2, 5, 6]
    spoiled_at(4)
    back = settings.replace(on_nan="rollback", output_dir=str(tmp_path / "back"))
    assert f"rolled back to step 2 of {back.output_dir}/last.keras" in train(back).replace("\n", "")
    assert_same_state(f"{skipping.output_dir}/last.keras", f"{back.output_dir}/last.keras")
    assert nan_steps(back) == [4]


def test_a_run_that_skips_too_often_stops(settings, train, spoiled_at):
    spoiled_at(2, 3, 5)
    with pytest.raises(ValueError, match="There were 3 such steps, more than --max_nan_steps"):
        train(settings.replace(on_nan="skip", max_nan_steps=2))
    assert nan_steps(settings) == [2, 3, 5]


def test_a_run_that_skips_is_resumed_exactly(settings, train, spoiled_at, tmp_path, monkeypatch):
    settings = settings.replace(on_nan="skip", accumulate_steps=2)
    spoiled_at(3)
    train(settings)
    broken, apply_gradients = settings.replace(output_dir=str(tmp_path / "two")), None
    apply_gradients = FasterRCNN.apply_gradients

    def stop_at_four(self, *args, **options):
        result = apply_gradients(self, *args, **options)
        if int(self.step) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(FasterRCNN, "apply_gradients", stop_at_four)
        with pytest.raises(SystemExit):
            train(broken)
    train(broken)
    assert_same_state(f"{settings.output_dir}/last.keras", f"{broken.output_dir}/last.keras")
    assert nan_steps(broken) == nan_steps(settings) == [3]


def test_weights_that_overflow_are_never_saved(settings, train, monkeypatch):
    apply_gradients = FasterRCNN.apply_gradients

    def overflow(self, *args, **options):
        result = apply_gradients(self, *args, **options)
        if int(self.step) == 4:
            self.trainable_weights[1].assign(self.trainable_weights[1] + np.inf)
        return result

    monkeypatch.setattr(FasterRCNN, "apply_gradients", overflow)
    with pytest.raises(ValueError) as caught:
        train(settings)
    assert str(caught.value).startswith(
        "Training stopped: the weights are not finite after step 4, so they are not saved. The "
        "first one is block1_conv1/bias. Try a lower --learning_rate"
    )
    assert checkpoint.read_step(f"{settings.output_dir}/last.keras") == 2
