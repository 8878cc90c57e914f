"""The time of a schedule, worked out by hand."""

import pytest

from keras_frcnn.config import Config
from keras_frcnn.tasks.times import training_seconds


def test_steps_and_proposals_of_every_phase():
    config = Config(scheme="unshared", alternating_steps=(80, 40, 1, 1), warmup_steps=0)
    phases = [{"step": 1.0, "proposals": 0.0}, {"step": 2.0, "proposals": 3.0}]
    # 80 steps, 40 steps, and the proposals of 10 images.
    assert training_seconds(config, {"images": 10, "phases": phases}) == 80 + 80 + 30
    # An eighth: 10 and 5 steps, and the proposals of the 5 images that they draw.
    assert training_seconds(config, {"images": 10, "phases": phases}, 1 / 8) == pytest.approx(35)
