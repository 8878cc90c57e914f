"""Schedules scaled to the time that there is: fewer steps, all else of them in proportion."""

from collections.abc import Mapping
from typing import Any

from keras_frcnn.config import Config

_LEAST_STEPS = 2  # of each phase; of fewer there is nothing to say


def scaled(config: Config, minutes: float, rehearsed: Mapping[str, Any]) -> Config:
    """Shortens a schedule so that its steps, and the proposals that it makes, take a given time.

    Drops of the rate and the warm-up stay at the same share of it. Reading data, starting and
    evaluations are not counted.

    Args:
        config: the full schedule.
        minutes: to train in.
        rehearsed: what ``train --dry_run_file`` wrote.

    Returns:
        The settings; as they were if the full schedule fits.

    Raises:
        ValueError: naming the time that would do, if it is too short to learn anything at all.
    """
    least, most = min(1.0, _LEAST_STEPS / min(config.phase_steps)), 1.0
    needed = _minutes(config, least, rehearsed)
    if needed > minutes:
        raise ValueError(f"needs {needed:.1f} minutes at least, for {_LEAST_STEPS} steps a phase")
    if _minutes(config, most, rehearsed) <= minutes:
        return config
    for _ in range(60):  # halved: in parts it rises more steeply, where images are still new
        middle = (least + most) / 2
        fits = _minutes(config, middle, rehearsed) <= minutes
        least, most = (middle, most) if fits else (least, middle)
    return _shortened(config, least)


def _minutes(config, share, rehearsed):
    """The time of a share of a schedule; each image that is drawn has its proposals made once."""
    phases = zip(config.phase_steps, config.phase_batch_sizes, rehearsed["phases"], strict=True)
    seconds = 0.0
    for number, batch_size, phase in phases:
        images = min(rehearsed["images"], share * number * batch_size)
        seconds += share * number * phase["step"] + images * phase["proposals"]
    return seconds / 60


def schedule_flags(full: Config, config: Config) -> tuple[str, ...]:
    """Returns the flags that make the full schedule a scaled one; none if it is the full one.

    A scaled run is evaluated, and its checkpoint written, once, at its end.
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
