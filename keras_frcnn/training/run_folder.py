"""The names of the files in a run folder, and the list of a run's evaluations.

Every run writes ``last.keras`` (the latest checkpoint), ``config.cfg`` (its settings) and ``train``
(TensorBoard's events). A run that is evaluated also writes ``best.keras`` (the checkpoint with the
highest mean AP), ``evaluations.jsonl`` and ``eval`` (TensorBoard's events). Alternating training
adds a checkpoint for each of its steps and the proposals that the steps train on; see
``schemes.py``.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_frcnn import files

CONFIG = "config.cfg"
LAST_CHECKPOINT = "last.keras"
BEST_CHECKPOINT = "best.keras"
EVALUATIONS = "evaluations.jsonl"
TRAIN_EVENTS = "train"
EVAL_EVENTS = "eval"

CONTENTS = (
    *(CONFIG, LAST_CHECKPOINT, BEST_CHECKPOINT, EVALUATIONS),
    *(f"{TRAIN_EVENTS}/", f"{EVAL_EVENTS}/"),
)
"""What every run writes; the names of folders end in "/"."""

CHANGEABLE = (
    "learning_rate",
    "lr_schedule",
    "lr_boundaries",
    "lr_decay_factor",
    "alternating_lr_boundaries",
    "warmup_steps",
    "gradient_clip_norm",
)
"""The settings of training that may change when a run is resumed: each step uses them anew, and no
state of the run depends on them."""

_SHOWN = 100  # characters of a damaged line


def read_evaluations(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads all evaluations of a run, oldest first.

    A last line that was cut off when the run was killed is left out. A resumed run repeats that
    evaluation.

    Returns:
        One dict per evaluation: its ``step``, the name of its ``phase`` if the run has several
        phases, and the measured numbers by name, with None for undefined numbers.

    Raises:
        ValueError: If any other line is damaged. The error names the file and the line.
    """
    path = Path(folder) / EVALUATIONS
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    evaluations = [_parse(line) for line in lines]
    if evaluations and evaluations[-1] is None:
        del evaluations[-1]
    if None in evaluations:
        number = evaluations.index(None) + 1
        raise ValueError(
            f"{path}: line {number} must be an evaluation in JSON with its step. Received: "
            f"{lines[number - 1][:_SHOWN]!r}. Delete the line to resume the run"
        )
    return evaluations


def _parse(line: str) -> dict[str, Any] | None:
    """Returns an evaluation; None for a line that is damaged."""
    try:
        evaluation = json.loads(line)
    except ValueError:
        return None
    return evaluation if isinstance(evaluation, dict) and "step" in evaluation else None


def append_evaluation(
    folder: str | os.PathLike, step: int, phase: str, values: Mapping[str, float]
) -> None:
    """Appends one evaluation.

    Args:
        folder: the run folder.
        step: number of steps that the run has taken.
        phase: name of the run's phase; empty if it has only one.
        values: the measured numbers by name; undefined numbers are NaN.
    """
    evaluation = {"step": step} | ({"phase": phase} if phase else {})
    evaluation |= {
        name: None if math.isnan(value) else float(value) for name, value in values.items()
    }
    _write(folder, [*read_evaluations(folder), evaluation])


def drop_evaluations_after(folder: str | os.PathLike, step: int) -> None:
    """Removes the evaluations after a step, because a resumed run will repeat them."""
    _write(folder, [one for one in read_evaluations(folder) if one["step"] <= step])


def _write(folder, evaluations):
    text = "".join(json.dumps(evaluation) + "\n" for evaluation in evaluations)
    files.write_text(Path(folder) / EVALUATIONS, text)
