"""Ends a run whose losses or weights are no longer finite, and says how it can go on.

Training cannot recover from either of them. Such weights are never saved, so a run can go on from
its last checkpoint, with other ``run_folder.CHANGEABLE`` settings.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path

import keras

from keras_frcnn.ops.finite import first_not_finite
from keras_frcnn.training import schemes

_ADVICE = (
    "Try a lower --learning_rate, more --warmup_steps or a lower --gradient_clip_norm above 0: the "
    "same command with another value"
)


def check_losses(
    losses: Mapping[str, float], first_step: int, last_step: int, folder: str | os.PathLike
) -> None:
    """Checks the mean losses of some steps.

    Args:
        losses: the losses by name, with ``loss`` for their sum.
        first_step, last_step: the steps.
        folder: the run folder.

    Raises:
        ValueError: if the sum is not finite. It names the losses that are not, and gives advice.
    """
    if not math.isfinite(losses["loss"]):
        names = [name for name, value in losses.items() if not math.isfinite(value)]
        subject = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
        steps = f"between steps {first_step} and {last_step}"
        if first_step == last_step:
            steps = f"at step {last_step}"
        raise ValueError(f"Training stopped: {subject} not finite {steps}. {_advice(folder)}")


def check_weights(model: keras.Model, folder: str | os.PathLike) -> None:
    """Checks the weights of a model and the state of its optimizer.

    Raises:
        ValueError: if a number is not finite. It names the first variable, and gives advice.
    """
    name = first_not_finite([*model.weights, *model.optimizer.variables])
    if name:
        raise ValueError(
            f"Training stopped: the weights are not finite after step {int(model.step)}, so they "
            f"are not saved. The first one is {name}. {_advice(folder)}"
        )


def _advice(folder):
    results = [Path(folder) / name for name in reversed(schemes.RESULTS)]
    latest = next((path for path in results if path.exists()), None)
    return f"{_ADVICE} {f'continues from {latest}' if latest else 'starts again'}"
