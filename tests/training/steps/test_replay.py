"""One step of a run, taken again from the checkpoint before it, to the bit."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_frcnn.console import Console
from keras_frcnn.training.steps.replay import replay
from keras_frcnn.weights import checkpoint

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def run(unbroken, config, tmp_path):
    """The settings of a copy of the run of 6 steps, without its last checkpoint."""
    shutil.copytree(unbroken.folder, tmp_path / "run")
    for name in ("last.keras", "best.keras"):
        (tmp_path / "run" / name).unlink()
    return config.replace(output_dir=str(tmp_path / "run"))


def again(run, number, *args):
    output = io.StringIO()
    model = replay(run, number, Console(file=output, width=200), *args)
    return model, output.getvalue()


def files_of(run):
    folder = run.output_dir
    return {str(p): p.stat().st_mtime_ns for p in Path(folder).rglob("*")}


@pytest.mark.parametrize(("number", "start"), [(3, 0), (6, 3)])
def test_a_step_is_taken_again_to_the_bit(number, start, run, unbroken, tmp_path):
    before = files_of(run)
    model, output = again(run, number, str(tmp_path / "tensors.npz"))
    place = f"{run.output_dir}/earlier/step_3.keras" if start else "the beginning"
    assert f"From step {start} of {place}\n" in output
    assert files_of(run) == before
    expected = unbroken.losses[number - 1]
    tensors = np.load(tmp_path / "tensors.npz")
    for name, value in expected.items():
        assert tensors[f"loss {name}"] == np.float32(value)
    assert f"all numbers of step {number} are finite" in output
    assert f", loss {expected['loss']:.4g}\n" in output
    for weight in model.trainable_weights:
        assert tensors[f"gradient {weight.path}"].shape == weight.shape
    if number == 6:
        last = checkpoint.load(unbroken.folder / "last.keras")
        for one, other in zip(model.weights, last.weights, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_step_that_the_run_does_not_have_is_refused(run):
    with pytest.raises(ValueError, match="--step must be one of the 6 steps .* Received: 7"):
        replay(run, 7, Console(file=io.StringIO()))
