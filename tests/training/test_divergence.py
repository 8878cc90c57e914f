"""Runs whose losses or weights are no longer finite: nothing of it is saved, and they can go on."""

import os
import signal

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training import divergence
from keras_frcnn.training.run_folder import read_evaluations
from keras_frcnn.weights import checkpoint
from tests.training.checkpoint_state import state_of

ADVICE = (
    "Try a lower --learning_rate, more --warmup_steps or a lower --gradient_clip_norm above 0: the "
    "same command with another value "
)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_losses_that_are_not_finite_are_named_with_advice(value, tmp_path):
    losses = {"rpn_cls_loss": 1.0, "roi_box_loss": value, "loss": value}
    with pytest.raises(ValueError) as caught:
        divergence.check_losses(losses, 3, 4, tmp_path)
    assert str(caught.value) == (
        "Training stopped: roi_box_loss, loss are not finite between steps 3 and 4. "
        f"{ADVICE}starts again"
    )
    (tmp_path / "last.keras").touch()
    with pytest.raises(ValueError) as caught:
        divergence.check_losses(losses, 3, 4, str(tmp_path))
    assert str(caught.value).endswith(f"{ADVICE}continues from {tmp_path}/last.keras")
    divergence.check_losses(losses | {"loss": 1.0}, 3, 4, tmp_path)


@pytest.mark.parametrize("latest", ["step1.keras", "unshared.keras", "step3.keras"])
def test_a_later_phase_goes_on_from_the_result_of_the_one_before(latest, tmp_path):
    (tmp_path / "step1.keras").touch()
    (tmp_path / latest).touch()
    (tmp_path / "best.keras").touch()  # of a run whose other files were deleted
    with pytest.raises(ValueError, match=f"continues from {tmp_path}/{latest}$") as caught:
        divergence.check_losses({"loss": np.nan}, 4, 4, tmp_path)
    assert str(caught.value).startswith("Training stopped: loss is not finite at step 4. ")


@pytest.fixture
def spoiled_at(monkeypatch):
    """Returns a function that makes the gradient of one step NaN, while its loss stays finite."""
    original, train_step = FasterRCNN.compute_losses, FasterRCNN.train_step

    def arrange(step, number=None):
        def compute_losses(self, *args, **kwargs):
            values = original(self, *args, **kwargs)
            if int(self.step) == step - 1:
                # The value is 0, and its derivative 0 * infinity.
                values["rpn_box_loss"] += tf.sqrt(0.0 * tf.reduce_sum(self.trainable_weights[0]))
            return values

        def step_and_signal(self, data):
            if number and int(self.step) == step - 1:
                os.kill(os.getpid(), number)
            return train_step(self, data)

        monkeypatch.setattr(FasterRCNN, "compute_losses", compute_losses)
        monkeypatch.setattr(FasterRCNN, "train_step", step_and_signal)

    return arrange


@pytest.mark.parametrize("number", [None, signal.SIGINT])
def test_weights_that_are_not_finite_are_never_saved(
    number, config, train, tmp_path, spoiled_at, eager
):
    settings = config.replace(output_dir=str(tmp_path), eval_every=2, log_every=100)
    spoiled_at(4, number)
    with pytest.raises(ValueError) as caught:
        train(settings)
    message = str(caught.value)
    assert message.startswith(
        "Training stopped: the weights are not finite after step 4, so they are not saved. The "
        "first one is "
    )
    assert message.endswith(f"{ADVICE}continues from {tmp_path}/last.keras")
    for name in ("last.keras", "best.keras"):
        assert int(checkpoint.load(tmp_path / name).step) == 2
        assert all(np.isfinite(value).all() for value in state_of(tmp_path / name).values())
    assert [line["step"] for line in read_evaluations(tmp_path)] == [2]
    spoiled_at(0)
    output = train(settings.replace(learning_rate=1e-4, gradient_clip_norm=1.0, warmup_steps=3))
    assert "Resuming from step 2 of" in output
    assert int(checkpoint.load(tmp_path / "last.keras").step) == 6
    assert [line["step"] for line in read_evaluations(tmp_path)] == [2, 4, 6]
