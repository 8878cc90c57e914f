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


def read_evaluations(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads all evaluations of a run, oldest first.

    Returns:
        One dict per evaluation: its ``step``, the name of its ``phase`` if the run has several
        phases, and the measured numbers by name, with None for undefined numbers.
    """
    path = Path(folder) / EVALUATIONS
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


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
