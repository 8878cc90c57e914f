"""Runs tasks one after the other, each in its own process. A run can be stopped and continued."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_frcnn import files, signals
from keras_frcnn.tasks.task import DONE, Task, unfinished


class Runner:
    """Runs tasks.

    Args:
        say: takes a line for the user.
        on_change: called whenever a task has ended.
        time_left: returns words on how long some tasks take, such as " (2 h left)"; or "".

    Attributes:
        stopped: the number of the signal that stopped it; 0: none.
        has_failed: whether a command ended without making its result.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        on_change: Callable[[], None] = lambda: None,
        time_left: Callable[[Sequence[Task]], str] = lambda tasks: "",
    ):
        self.stopped, self.has_failed = 0, False
        self._say, self._on_change, self._time_left = say, on_change, time_left
        self._failures: dict[Path, str] = {}
        self._process: subprocess.Popen | None = None

    def run(self, tasks: Iterable[Task]) -> None:
        """Runs all tasks that are not done and can run, and the tasks that they need.

        A failure is reported, and kept for ``obstacle``; the other tasks still run.
        """
        todo = unfinished(task for task in tasks if not self.obstacle(task))
        with signals.handled(self._stop):
            for number, task in enumerate(todo, start=1):
                if not self.stopped and not self.obstacle(task):
                    left = self._time_left(todo[number - 1 :])
                    self._say(f"[{number}/{len(todo)}] {task.title}{left}")
                    self._run(task)

    def obstacle(self, task: Task) -> str:
        """Says why a task that is not done cannot run; empty if it is done or can run."""
        if task.is_done:
            return ""
        before = next(filter(None, map(self.obstacle, task.needs)), "")
        return before or task.obstacle or self._failures.get(task.result, "")

    def _run(self, task: Task) -> None:
        try:
            line = task.command_line
        except ValueError as error:
            self._failures[task.result] = str(error)
            self._say(str(error))
            return
        task.result.parent.mkdir(parents=True, exist_ok=True)
        code = self._call(line)
        if self.stopped:
            return
        if code == 0 and task.result.name == DONE:
            document = {"command": line[line.index(task.module) + 1 :]}
            files.write_text(task.result, json.dumps(document, indent=1))
        if not task.is_done:
            self.has_failed = True
            self._failures[task.result] = f"failed: {task.title} (exit code {code})"
            self._say(self._failures[task.result])
        self._on_change()

    def _call(self, line: list[str]) -> int:
        """Runs a process until it ends, and passes a signal that stops this process on to it.

        The process has its own session, so that it receives Ctrl-C only once, from ``_stop``.
        """
        self._process = subprocess.Popen([*_ends_with_parent(), *line], start_new_session=True)
        if self.stopped:
            self._process.send_signal(self.stopped)
        return self._process.wait()

    def _stop(self, number: int, frame: object) -> None:
        del frame
        self.stopped = number
        if self._process is not None:
            self._process.send_signal(number)


def _ends_with_parent() -> list[str]:
    """Returns a prefix for commands that stops them even if this process is killed.

    It needs Linux. Elsewhere, a command whose parent is killed runs to its end.
    """
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", "TERM"] if program else []


def claim(file: Path, fixed: Mapping[str, Any]) -> None:
    """Writes down what must stay the same for all calls with one output folder.

    Args:
        file: a file in the output folder, which is made if it is missing.
        fixed: values that JSON can hold, by their names for people. Names may be added later.

    Raises:
        ValueError: if the file has another value of a name; it names the differences.
    """
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    changed = [
        f"{name} was {before[name]} and is now {value}"
        for name, value in fixed.items()
        if before.get(name, value) != value
    ]
    if changed:
        raise ValueError(
            f"{file.parent} holds rows with other settings. Use another --output_dir, or the "
            "earlier settings:\n" + "\n".join(changed)
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(file, json.dumps({**before, **fixed}, indent=1))


def check_seeds(seeds: Sequence[int]) -> None:
    """Checks the seeds of repeated runs.

    Raises:
        ValueError: if there are none, one occurs twice, or one is negative.
    """
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(
            "--seeds must be distinct integers of at least 0. "
            f"Received: {','.join(map(str, seeds)) or 'none'}"
        )
