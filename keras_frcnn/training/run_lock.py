"""Keeps two runs out of one folder, and says who runs there."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from keras_frcnn import files
from keras_frcnn.console import say
from keras_frcnn.training import run_folder

_PATIENCE = 1.0  # seconds, because ``runner`` takes the lock for a moment to look at it


@contextlib.contextmanager
def held(folder: str | os.PathLike) -> Iterator[None]:
    """Holds a run folder inside a ``with`` block; it is free again however the process ends.

    Raises:
        ValueError: If another run holds it. The error says which one.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = filelock.FileLock(folder / run_folder.LOCK).acquire(timeout=_PATIENCE)
    except filelock.Timeout:
        check(folder)
        raise ValueError(f"{folder} was in use a moment ago. Run the same command again") from None
    except OSError as error:
        if files.fault(error):
            raise
        say(f"A second run in {folder} would not be noticed, because it has no locks: {error}")
        lock = contextlib.nullcontext()
    with lock:
        runner = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
        files.write_text(folder / run_folder.RUNNER, json.dumps(runner))
        yield


def check(folder: str | os.PathLike) -> None:
    """Checks that no run holds a folder.

    Raises:
        ValueError: If one does. The error says which one.
    """
    name = runner(folder)
    if name:
        raise ValueError(
            f"{folder} is in use by another run: {name}. Stop it, or use another --output_dir"
        )


def runner(folder: str | os.PathLike) -> str:
    """Returns the host, process and start of the run that holds a folder; "" if none does."""
    path = Path(folder) / run_folder.LOCK
    if not path.exists():
        return ""
    try:
        with filelock.FileLock(path).acquire(timeout=0):
            return ""
    except filelock.Timeout:
        return last_runner(folder) or "its name is not known"
    except OSError:  # a folder that can only be read, or one without locks
        return ""


def last_runner(folder: str | os.PathLike) -> str:
    """Returns the host, process and start of the latest run in a folder; "" if not known."""
    try:
        text = (Path(folder) / run_folder.RUNNER).read_text(encoding="utf-8")
        values = json.loads(text)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(values["since"]))
        return f"host {values['host']}, process {values['pid']}, since {since}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
