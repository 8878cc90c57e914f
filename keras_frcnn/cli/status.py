"""Says where a run stands: its steps, speed, losses, mean AP and checkpoints, and who runs it.

Examples:
  keras-frcnn status runs/mine
  keras-frcnn status --run=runs/mine

This reads the files in the run folder and does not disturb the run.
"""

import os
import sys
import time
from pathlib import Path

from keras_frcnn.cli import train
from keras_frcnn.cli.command import Command, parse, user_errors
from keras_frcnn.config import Config
from keras_frcnn.config.setting import Option
from keras_frcnn.console import say
from keras_frcnn.training import run_folder, run_lock
from keras_frcnn.weights import checkpoint

RUN = Option("run", str, "", "The run folder. --run= may be left out.", required=True)
COMMAND = Command("status", __doc__, options=(RUN,), settings=())


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; None for those of the process.

    Returns:
        The exit code.
    """
    _, options = parse(COMMAND, with_run(argv))
    with user_errors(COMMAND):
        for line in _lines(Path(options.run)):
            say(line)
    return 0


def with_run(argv: list[str] | None) -> list[str]:
    """Puts ``--run=`` before a word that is no flag. None stands for the process's own flags."""
    argv = sys.argv[1:] if argv is None else argv
    return [word if word.startswith("-") else f"--run={word}" for word in argv]


def settings_of(folder: str | os.PathLike) -> Config:
    """Returns the settings of a run, whose folder may have moved.

    Raises:
        ValueError: If the folder is not that of a run.
    """
    path = Path(folder) / run_folder.CONFIG
    if not path.is_file():
        raise ValueError(f"--run must be the folder of a run, with {path.name}. Received: {folder}")
    config, _ = parse(train.COMMAND, [f"--flagfile={path}", "--output_dir="])
    return config.replace(output_dir=str(folder))


def _lines(folder):
    total = settings_of(folder).total_steps
    metrics = run_folder.read_lines(folder, run_folder.METRICS)
    step = metrics[-1]["step"] if metrics else 0
    runner = run_lock.runner(folder)
    if runner:
        yield f"{folder}: running on {runner}"
    else:
        state, last = "finished" if step >= total else "not running", run_lock.last_runner(folder)
        yield f"{folder}: {state}" + (f"; the last run was on {last}" if last else "")
    yield f"step {step} of {total} ({step / total:.1%})"
    if metrics:
        yield from _progress(metrics[-1], bool(runner))
    yield from _mean_ap(run_folder.read_evaluations(folder))
    for path in run_folder.checkpoints(folder):
        written = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(path.stat().st_mtime))
        yield f"{path}: step {checkpoint.read_step(path)}, written {written}"


def _progress(now, is_running):
    """Describes the last line of ``metrics.jsonl``."""
    phase = f"{now['phase']}, " if "phase" in now else ""
    yield (
        f"{phase}epoch {now['epoch']:.2f}, learning rate {now['learning_rate']:.3g}, "
        f"{now['images_per_second']:.2f} images/s"
    )
    losses = (f"{name} {value:.3f}" for name, value in now.items() if name.endswith("loss"))
    yield f"losses: {', '.join(losses)}"
    if is_running:
        minutes = round(now["minutes_left"])
        yield f"time left: about {minutes // 60} h {minutes % 60:02d} min"


def _mean_ap(evaluations):
    """Describes the last and the best evaluation by their first figure."""
    if not evaluations:
        return
    last = evaluations[-1]
    name = next(name for name in last if name not in ("step", "phase"))
    best = max(
        (one for one in evaluations if name in one), key=lambda one: (one[name] or 0.0, one["step"])
    )
    texts = [f"{_figure(one[name])} at step {one['step']}" for one in (last, best)]
    yield f"{name}: {texts[0]}; the best is {texts[1]}"


def _figure(value):
    return "undefined" if value is None else f"{value:.3f}"
