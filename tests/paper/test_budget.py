"""Schedules shortened to a budget, worked out by hand."""

import pytest

from keras_frcnn.config import Config
from keras_frcnn.paper import budget


def seconds(*phases, images=60):
    rows = [{"step": step, "proposals": proposals} for step, proposals in phases]
    return {"images": images, "phases": rows}


def test_a_joint_schedule():
    full = Config(steps=1000, lr_boundaries=(600, 900), warmup_steps=100, eval_every=300)
    # 1000 steps of 3 s are 50 minutes; 10 are a fifth.
    config = budget.shorten(full, 10, seconds((3.0, 0.0)))
    assert config == full.replace(
        steps=200, lr_boundaries=(120, 180), warmup_steps=20, eval_every=0
    )
    assert budget.schedule_flags(full, config) == (
        "--steps=200",
        "--warmup_steps=20",
        "--lr_boundaries=120,180",
        "--alternating_steps=",
        "--alternating_lr_boundaries=",
        "--eval_every=0",
    )


@pytest.mark.parametrize("minutes", [50, 51, 1e9])
def test_a_schedule_that_fits_is_unchanged(minutes):
    full = Config(steps=1000, lr_boundaries=(600,), warmup_steps=100)
    config = budget.shorten(full, minutes, seconds((3.0, 0.0)))
    assert config is full
    assert budget.schedule_flags(full, config) == ()


def test_alternating_steps_keep_their_proportions():
    full = Config(
        scheme="alternating",
        alternating_steps=(800, 400, 800, 400),
        alternating_lr_boundaries=(600, 300, 600, 300),
        warmup_steps=0,
    )
    # 800 + 800 + 400 + 400 s of steps, and 120 s of proposals: 100 steps draw all 60 images.
    phases = ((1.0, 0.0), (2.0, 1.0), (0.5, 0.0), (1.0, 1.0))
    config = budget.shorten(full, 12, seconds(*phases))
    assert config.alternating_steps == (200, 100, 200, 100)
    assert config.alternating_lr_boundaries == (150, 75, 150, 75)
    assert config.total_steps == 600
    assert full.steps == 70000 and config.steps == 17500  # unused beside the four


def test_proposals_are_computed_once_for_each_image_drawn():
    full = Config(
        scheme="alternating",
        alternating_steps=(800, 400, 800, 400),
        alternating_lr_boundaries=(),
        alternating_batch_sizes=(1, 2, 1, 2),
        warmup_steps=0,
    )
    # A hundredth: 8 + 4 + 8 + 4 steps, before 4 of them proposals of 2 new images a step.
    phases = ((1.0, 0.0), (1.0, 3.0), (1.0, 0.0), (1.0, 3.0))
    config = budget.shorten(full, 72 / 60 + 1e-9, seconds(*phases, images=5000))
    assert config.alternating_steps == (8, 4, 8, 4)
    # Where there are but 5 images, 30 s of proposals leave 42 s for 42 steps.
    config = budget.shorten(full, 72 / 60 + 1e-9, seconds(*phases, images=5))
    assert config.alternating_steps == (14, 7, 14, 7)


def test_unshared_training_has_two_phases():
    full = Config(scheme="unshared", alternating_steps=(80, 40, 80, 40), warmup_steps=30)
    # 160 s of steps for 40 s, and 20 s for the proposals of 10 images, one a step.
    config = budget.shorten(full, 1, seconds((1.0, 0.0), (2.0, 2.0), images=10))
    assert config.phase_steps == (20, 10)
    assert config.warmup_steps == 7
    assert config.validate()


def test_phases_without_steps_of_their_own_share_the_steps():
    full = Config(scheme="alternating", steps=600, lr_boundaries=(300,), warmup_steps=0)
    config = budget.shorten(full, 5, seconds(*[(1.0, 0.0)] * 4))
    assert config.steps == 300 and config.alternating_steps == ()
    assert config.phase_steps == (100, 50, 100, 50)
    assert config.phase_lr_boundaries == ((50,), (25,), (50,), (25,))


def test_drops_at_one_step_are_merged_and_the_warm_up_leaves_a_step():
    full = Config(steps=1000, lr_boundaries=(10, 20, 900), warmup_steps=999)
    config = budget.shorten(full, 1, seconds((30.0, 0.0)))  # 2 steps
    assert (config.steps, config.lr_boundaries, config.warmup_steps) == (2, (1, 2), 1)


@pytest.mark.parametrize(
    ("minutes", "phases", "needed"),
    [
        (1, [(31.0, 0.0)], "1.0"),  # 62 s
        (0.5, [(1.0, 0.0), (1.0, 150.0)], "5.1"),  # 300 s for proposals of 2 steps, 4 + 2 steps
    ],
)
def test_a_budget_that_is_too_small_is_refused(minutes, phases, needed):
    full = Config(
        scheme="unshared", alternating_steps=(200, 100, 1, 1), warmup_steps=0, batch_size=1
    )
    if len(phases) == 1:
        full = Config(steps=1000, warmup_steps=0)
    message = f"^needs at least {needed} minutes for 2 steps in each phase$"
    with pytest.raises(ValueError, match=message):
        budget.shorten(full, minutes, seconds(*phases))
