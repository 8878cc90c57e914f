"""Shortens a training schedule to a budget of minutes, with everything in it in proportion."""

from collections.abc import Mapping
from typing import Any

from keras_frcnn.config import Config
from keras_frcnn.tasks.times import training_seconds

_MIN_STEPS = 2  # in each phase; a run with fewer shows nothing


def shorten(config: Config, minutes: float, measured: Mapping[str, Any]) -> Config:
    """Shortens a schedule until its steps, and the proposals it computes, fit the budget.

    The learning-rate drops and the warm-up keep their share of the schedule. The time for start-up,
    reading data and evaluations is not counted.

    Args:
        config: the full schedule.
        minutes: the budget.
        measured: the times that ``train --dry_run_file`` wrote.

    Returns:
        The shortened settings, or ``config`` itself if the full schedule fits.

    Raises:
        ValueError: if the budget is too small to train at all. The message says how much is needed.
    """
    low, high = min(1.0, _MIN_STEPS / min(config.phase_steps)), 1.0
    needed = _minutes(config, low, measured)
    if needed > minutes:
        raise ValueError(
            f"needs at least {needed:.1f} minutes for {_MIN_STEPS} steps in each phase"
        )
    if _minutes(config, high, measured) <= minutes:
        return config
    # Bisection, because time is not linear in the share: while images are still new to a phase,
    # each step also costs the time of their proposals.
    for _ in range(60):
        middle = (low + high) / 2
        fits = _minutes(config, middle, measured) <= minutes
        low, high = (middle, high) if fits else (low, middle)
    return _shortened(config, low)


def schedule_flags(full: Config, config: Config) -> tuple[str, ...]:
    """Returns the flags that turn the full schedule into a shortened one; none if they are equal.

    A shortened run evaluates and writes its checkpoint only once, at its end.
    """
    if config == full:
        return ()
    lists = ("lr_boundaries", "alternating_steps", "alternating_lr_boundaries")
    changed = [f"--{name}={','.join(map(str, getattr(config, name)))}" for name in lists]
    return (
        f"--steps={config.steps}",
        f"--warmup_steps={config.warmup_steps}",
        *changed,
        "--eval_every=0",
    )


def _minutes(config, share, measured):
    return training_seconds(config, measured, share) / 60


def _shortened(config, share):
    def short(steps):
        return max(1, round(steps * share))

    changed = config.replace(
        steps=short(config.steps),
        lr_boundaries=tuple(sorted({short(step) for step in config.lr_boundaries})),
        alternating_steps=tuple(map(short, config.alternating_steps)),
        alternating_lr_boundaries=tuple(map(short, config.alternating_lr_boundaries)),
        eval_every=0,
    )
    warmup = min(int(config.warmup_steps * share), min(changed.phase_steps) - 1)
    return changed.replace(warmup_steps=warmup).validate()
