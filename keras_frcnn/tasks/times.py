"""How long training runs take, from the times that a dry run has measured."""

from collections.abc import Mapping
from typing import Any

from keras_frcnn.config import Config


def training_seconds(config: Config, measured: Mapping[str, Any], share: float = 1.0) -> float:
    """Returns the time of a schedule; an image's proposals are computed only once in each phase.

    Start-up, reading data and evaluations are not counted.

    Args:
        config: the schedule.
        measured: the times that ``train --dry_run_file`` wrote.
        share: the part of the schedule.
    """
    phases = zip(config.phase_steps, config.phase_batch_sizes, measured["phases"], strict=True)
    seconds = 0.0
    for steps, batch_size, phase in phases:
        images = min(measured["images"], share * steps * batch_size)
        seconds += share * steps * phase["step"] + images * phase["proposals"]
    return seconds
