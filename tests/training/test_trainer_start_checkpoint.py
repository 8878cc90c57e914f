"""Runs that start from another run's checkpoint: from step 0, once, and the same when resumed."""

import io
import os

import numpy as np
import pytest

from keras_frcnn.console import Console
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training.phase_model import build_phase_model
from keras_frcnn.training.run_folder import read_evaluations
from keras_frcnn.training.schemes import phases
from keras_frcnn.weights import checkpoint
from tests import fakes

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def start(unbroken):
    """A checkpoint of another run, at its step 6, with the state of its optimizer."""
    return str(unbroken.folder / "last.keras")


@pytest.fixture
def settings(config, start, tmp_path):
    return config.replace(
        start_checkpoint=start,
        frozen_blocks=1,
        eval_every=2,
        steps=4,
        output_dir=str(tmp_path / "run"),
    )


def weights_of(path):
    return {w.path: w.numpy() for w in checkpoint.load(path).weights if "faster" not in w.path}


def test_a_built_model_has_their_weights_and_a_fresh_optimizer(settings, start):
    output = io.StringIO()
    console = Console(file=output, width=500)
    model = build_phase_model(phases(settings)[0], fakes.CLASS_NAMES, console)
    for weight in model.weights:
        if weight.path != model.step.path:
            np.testing.assert_array_equal(weight, weights_of(start)[weight.path])
    assert int(model.step) == int(model.optimizer.iterations) == 0
    assert not any(np.any(v) for v in model.optimizer.variables[2:])
    said = output.getvalue()
    assert f"start from {start}\n  copied: backbone, rpn, fc1; outputs of background, " in said
    assert f"weights of {start}; frozen: block1\n" in said


def test_a_run_goes_from_step_0_and_leaves_what_is_frozen(settings, start, train):
    train(settings)
    last = os.path.join(settings.output_dir, "last.keras")
    model = checkpoint.load(last)
    assert int(model.step) == 4
    assert model.config.start_checkpoint == start
    steps = [line["step"] for line in read_evaluations(settings.output_dir)]
    assert steps == [2, 4]
    before, after = weights_of(start), weights_of(last)
    moved = {path for path in before if np.any(before[path] != after[path])}
    assert moved == {path for path in before if "block1" not in path}


@pytest.mark.parametrize(
    ("scheme", "names"),
    [
        ("joint", ["last"]),
        ("non_approximate", ["last"]),
        ("alternating", ["step1", "unshared", "step3", "last"]),
        ("unshared", ["step1", "last"]),
    ],
)
def test_every_step_of_every_scheme_begins_with_it(settings, start, train, scheme, names):
    # A rate too small to move anything: what is there at the end is what was there at the start.
    said = train(
        settings.replace(
            scheme=scheme,
            roi_pooling="align",
            learning_rate=1e-30,
            steps=6,
            eval_split=("-",),
        )
    )
    assert said.count(f"start from {start}".replace("\n", "")) == 1
    theirs = weights_of(start)
    for name in names:
        for path, value in weights_of(f"{settings.output_dir}/{name}.keras").items():
            expected = theirs[path.replace("rpn_backbone/", "")]
            np.testing.assert_allclose(
                value, expected, rtol=0, atol=1e-20, err_msg=f"{name}: {path}"
            )


def test_a_resumed_run_does_without_the_checkpoint_that_it_started_from(
    settings, start, train, tmp_path, monkeypatch
):
    train(settings)
    taken = tmp_path / "taken.keras"
    os.link(start, taken)
    broken = settings.replace(start_checkpoint=str(taken), output_dir=str(tmp_path / "broken"))
    step = FasterRCNN.compute_gradients

    def die(self, data):
        if int(self.step) == 3:
            raise KeyboardInterrupt
        return step(self, data)

    monkeypatch.setattr(FasterRCNN, "compute_gradients", die)
    with pytest.raises(KeyboardInterrupt):
        train(broken)
    monkeypatch.setattr(FasterRCNN, "compute_gradients", step)
    taken.unlink()
    said = train(broken).replace("\n", "")
    assert "Resuming from step 2 of" in said
    assert "start from" not in said
    one, other = (
        weights_of(os.path.join(run.output_dir, "last.keras")) for run in (settings, broken)
    )
    for path, value in one.items():
        np.testing.assert_array_equal(other[path], value, err_msg=path)


def test_a_run_whose_start_is_missing_does_not_begin(settings, train, tmp_path):
    missing = str(tmp_path / "missing.keras")
    with pytest.raises(ValueError, match=f"There is no checkpoint {missing}"):
        train(settings.replace(start_checkpoint=missing))
    assert not os.path.exists(os.path.join(settings.output_dir, "last.keras"))
