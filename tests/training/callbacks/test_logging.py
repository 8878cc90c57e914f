"""What a run logs to the console and to TensorBoard."""

import numpy as np
import pytest

from keras_frcnn.training.schedules import make_schedule
from tests.training.events import read_events, scalars

LOSSES = [
    "rpn_cls_loss",
    "rpn_box_loss",
    "roi_cls_loss",
    "roi_box_loss",
    "weight_decay_loss",
    "loss",
]


@pytest.fixture(scope="module")
def train_events(unbroken):
    return read_events(unbroken.folder / "train")


def test_the_tags_of_training(train_events):
    tags = train_events.Tags()["tensors"]
    expected = [
        "1_overview/loss",
        *LOSSES,
        "rpn_foreground",
        "roi_foreground",
        "learning_rate",
        "images_per_second",
    ]
    assert sorted(tags) == sorted(expected)


def test_losses_are_means_since_the_last_log(train_events, unbroken):
    losses = unbroken.losses
    windows = {2: losses[0:2], 3: losses[2:3], 4: losses[3:4], 6: losses[4:6]}
    for tag in [*LOSSES, "rpn_foreground", "roi_foreground"]:
        expected = {step: np.mean([one[tag] for one in part]) for step, part in windows.items()}
        assert scalars(train_events, tag) == pytest.approx(expected, rel=1e-5)
    rates = scalars(train_events, "images_per_second")
    assert sorted(rates) == [2, 3, 4, 6]
    assert all(0.1 < rate < 10_000 for rate in rates.values())


def test_the_learning_rate_is_that_of_the_next_step(train_events, config):
    schedule = make_schedule(config)
    expected = {step: float(schedule(step)) for step in (2, 3, 4, 6)}
    assert scalars(train_events, "learning_rate") == pytest.approx(expected)


def test_the_line_of_a_log(unbroken):
    lines = [line for line in unbroken.output.splitlines() if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["2/6", "3/6", "4/6", "6/6"]
    assert f"loss {unbroken.losses[2]['loss']:.3f} " in lines[1]
    assert lines[-1].endswith(" 0 min left")


@pytest.mark.parametrize("log_every", [2, 100])
def test_a_loss_that_is_not_finite_ends_the_run(log_every, config, train, tmp_path, eager):
    settings = config.replace(output_dir=str(tmp_path), learning_rate=1e30, log_every=log_every)
    with pytest.raises(ValueError) as caught:
        train(settings)
    message = str(caught.value)
    assert message.startswith("Training stopped: ")
    assert " loss are not finite at step 2. The first is " in message
    assert message.endswith(
        "--gradient_clip_norm above 0: the same command with another value starts again"
    )
    assert not (tmp_path / "last.keras").exists()  # of no use to anyone
