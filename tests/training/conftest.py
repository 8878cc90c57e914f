"""Small data, small settings and quick runs for the tests of training."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from keras_frcnn.console import Console
from keras_frcnn.data.writers import shapes
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training import trainer
from tests import fakes


@pytest.fixture(autouse=True, scope="module")
def small_backbone():
    with fakes.small_backbone():
        yield


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    return shapes.make(
        tmp_path_factory.mktemp("shapes"), 5, 2, 1, shorter_side=(64, 72), longer_side=(80, 96)
    )


@pytest.fixture(scope="session")
def config(data_dir):
    """Settings of a run on the small data; without its ``output_dir``.

    Images are neither checked nor drawn, which takes a second a run; ``unbroken`` does both.
    """
    return fakes.SMALL.replace(
        data_dir=str(data_dir),
        train_split=("train",),
        eval_split=("val",),
        head_dropout=0.5,
        check_images=False,
        num_images=0,
        eval_loss_images=100,
    )


@pytest.fixture(scope="session")
def alternating(config):
    """Settings of a run in four short steps; without its ``output_dir``."""
    return config.replace(
        scheme="alternating",
        alternating_steps=(3, 2, 2, 3),
        alternating_batch_sizes=(1, 2, 2, 1),
        weight_decay=0.1,
        eval_every=2,
        log_every=1,
    )


@pytest.fixture
def eager(monkeypatch):
    """Runs of a few steps without the seconds that tracing the graph takes."""
    fakes.run_eagerly(monkeypatch)


@pytest.fixture(scope="session")
def train():
    """Returns a function that trains and returns what was printed."""

    def train(config):
        output = io.StringIO()
        trainer.train(config, Console(file=output, width=120))
        return output.getvalue()

    return train


@pytest.fixture(scope="session")
def unbroken(config, train, tmp_path_factory):
    """A run of 6 steps in one go: its folder, what it printed, the losses of each step."""
    losses, compute_losses = [], FasterRCNN.compute_losses

    def note(self, *args, training=True):
        values = compute_losses(self, *args, training=training)
        if training:
            losses.append({name: float(value) for name, value in values.items()})
        return values

    with pytest.MonkeyPatch.context() as patch, fakes.small_backbone():
        fakes.run_eagerly(patch)
        patch.setattr(FasterRCNN, "compute_losses", note)
        folder = tmp_path_factory.mktemp("unbroken")
        settings = config.replace(output_dir=str(folder), check_images=True, num_images=2)
        output = train(settings)
    return SimpleNamespace(folder=Path(folder), output=output, losses=losses)
