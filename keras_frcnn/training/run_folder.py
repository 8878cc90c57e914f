"""The names of the files in a run folder, its checkpoints, and what a run has measured.

Every run writes ``last.keras`` (the latest checkpoint), ``earlier`` (those before it, as ``keep``
says), ``config.cfg`` (its settings), ``metrics.jsonl`` (its losses) and ``train`` (TensorBoard's
events). A run that is evaluated also writes ``best.keras`` (the checkpoint with the highest mean
AP), ``evaluations.jsonl`` and ``eval`` (TensorBoard's events). Alternating training adds a
checkpoint for each of its steps and the proposals that the steps train on; see ``schemes.py``.
``run.lock`` and ``runner.json`` say who runs; see ``run_lock.py``.
"""

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_frcnn import files
from keras_frcnn.config.data import SPLIT_FILE, TRAIN_IMAGES_FILE
from keras_frcnn.weights import checkpoint

CONFIG = "config.cfg"
LAST_CHECKPOINT = "last.keras"
BEST_CHECKPOINT = "best.keras"
DAMAGED_CHECKPOINT = "last.damaged"
EARLIER_CHECKPOINTS = "earlier"
METRICS = "metrics.jsonl"
EVALUATIONS = "evaluations.jsonl"
NAN_STEPS = "nan.jsonl"
LOCK, RUNNER = "run.lock", "runner.json"
TRAIN_EVENTS = "train"
EVAL_EVENTS = "eval"

CONTENTS = (
    *(CONFIG, LAST_CHECKPOINT, BEST_CHECKPOINT, METRICS, EVALUATIONS, LOCK, RUNNER),
    *(f"{EARLIER_CHECKPOINTS}/", f"{TRAIN_EVENTS}/", f"{EVAL_EVENTS}/"),
)
"""What every run writes; the names of folders end in "/"."""

_BEFORE_THE_FIRST_STEP = {
    *(CONFIG, LOCK, RUNNER, SPLIT_FILE, TRAIN_IMAGES_FILE),
    *(TRAIN_EVENTS, EVAL_EVENTS),  # as yet without a measurement
}

CHANGEABLE = (
    "learning_rate",
    "lr_schedule",
    "lr_boundaries",
    "lr_decay_factor",
    "lr_end_factor",
    "lr_power",
    "alternating_lr_boundaries",
    "warmup_steps",
    "gradient_clip_norm",
)
"""The settings of training that may change when a run is resumed, if ``--continue_with`` names
them: each step uses them anew, and no state of the run depends on them."""

_SHOWN = 100  # characters of a damaged line


def checkpoints(
    folder: str | os.PathLike, first_step: int = 0, last_step: int | None = None
) -> list[Path]:
    """Finds the checkpoints from which a run can go on, newest first.

    Checkpoints of earlier versions, whose step is not written beside the weights, are left out.

    Args:
        folder: the run folder.
        first_step: only checkpoints after this step are returned.
        last_step: only checkpoints up to this step are returned; None for no limit.
    """
    folder = Path(folder)
    paths = [*(folder / EARLIER_CHECKPOINTS).glob("*.keras"), folder / BEST_CHECKPOINT]
    steps = {path: checkpoint.read_step(path) for path in (*paths, folder / LAST_CHECKPOINT)}
    found = [
        (step, path)
        for path, step in steps.items()
        if step is not None and first_step < step and (last_step is None or step <= last_step)
    ]
    return [path for _, path in sorted(found, reverse=True)]


def earlier_checkpoint(folder: str | os.PathLike, step: int) -> Path:
    """Returns the path of the checkpoint of a step, once ``last.keras`` is a later one."""
    return Path(folder) / EARLIER_CHECKPOINTS / f"step_{step}.keras"


@contextlib.contextmanager
def without_traces_if_refused(folder: str | os.PathLike) -> Iterator[None]:
    """Leaves a run folder as it was before if a run fails before its first step.

    Otherwise a folder with settings but without a checkpoint would look like a run.
    """
    folder = Path(folder)
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    before = set() if missing else {path.name for path in folder.iterdir()}
    try:
        yield
    except Exception:
        after = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        if after - before <= _BEFORE_THE_FIRST_STEP:
            with contextlib.suppress(OSError):
                for path in (folder / name for name in after - before):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                for place in missing:
                    place.rmdir()
        raise


def read_evaluations(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads all evaluations of a run, oldest first.

    Returns:
        One dict per evaluation: its ``step``, the name of its ``phase`` if the run has several
        phases, and the measured numbers by name, with None for undefined numbers.

    Raises:
        ValueError: See ``read_lines``.
    """
    return read_lines(folder, EVALUATIONS)


def read_lines(folder: str | os.PathLike, name: str) -> list[dict[str, Any]]:
    """Reads a file of one measurement a line, oldest first.

    A last line that was cut off when the run was killed is left out. A resumed run repeats it.

    Args:
        folder: the run folder.
        name: the file: ``METRICS``, ``EVALUATIONS`` or ``NAN_STEPS``.

    Returns:
        One dict per line, each with its ``step``; none if there is no such file.

    Raises:
        ValueError: If any other line is damaged. The error names the file and the line.
    """
    path = Path(folder) / name
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    values = [_parse(line) for line in lines]
    if values and values[-1] is None:
        del values[-1]
    if None in values:
        number = values.index(None) + 1
        raise ValueError(
            f"{path}: line {number} must be JSON with a step. Received: "
            f"{lines[number - 1][:_SHOWN]!r}. Delete the line to resume the run"
        )
    return values


def _parse(line: str) -> dict[str, Any] | None:
    """Returns what a line holds; None for a line that is damaged."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) and "step" in values else None


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
    _write(folder, EVALUATIONS, [*read_evaluations(folder), _measurement(step, phase, values)])


def append_metrics(
    folder: str | os.PathLike, step: int, phase: str, values: Mapping[str, float]
) -> None:
    """Appends what was logged at a step; the arguments are those of ``append_evaluation``."""
    append_line(folder, METRICS, _measurement(step, phase, values))


def append_line(folder: str | os.PathLike, name: str, values: Mapping[str, Any]) -> None:
    """Appends plain values to a file that ``read_lines`` reads, without writing it anew.

    Numbers that are not finite are written as strings, because JSON has none.
    """
    values = json.loads(json.dumps(values), parse_constant=str)
    with open(Path(folder) / name, "a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def drop_measurements_after(folder: str | os.PathLike, step: int) -> None:
    """Removes what was measured after a step, because a resumed run will repeat it."""
    for name in (METRICS, EVALUATIONS, NAN_STEPS):
        if (Path(folder) / name).exists():
            _write(folder, name, [one for one in read_lines(folder, name) if one["step"] <= step])


def _measurement(step, phase, values):
    return (
        {"step": step}
        | ({"phase": phase} if phase else {})
        | {name: None if math.isnan(value) else float(value) for name, value in values.items()}
    )


def _write(folder, name, lines):
    files.write_text(Path(folder) / name, "".join(json.dumps(line) + "\n" for line in lines))
