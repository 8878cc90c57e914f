"""Runs tasks one after the other, each in its own process. A run can be stopped and continued."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from keras_frcnn import files, signals
from keras_frcnn.paper.plan import DONE, Task, unfinished
from keras_frcnn.paper.settings import Settings

SETTINGS_FILE = "paper.json"


class Runner:
    """Runs tasks.

    Args:
        say: takes a line for the user.
        on_change: called whenever a task has ended.

    Attributes:
        stopped: the number of the signal that stopped it; 0: none.
        has_failed: whether a command ended without making its result.
    """

    def __init__(self, say: Callable[[str], None], on_change: Callable[[], None] = lambda: None):
        self.stopped, self.has_failed = 0, False
        self._say, self._on_change = say, on_change
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
                    self._say(f"[{number}/{len(todo)}] {task.title}")
                    self._run(task)

    def obstacle(self, task: Task) -> str:
        """Says why a task that is not done cannot run; empty if it is done or can run."""
        if task.is_done:
            return ""
        before = next(filter(None, map(self.obstacle, task.needs)), "")
        return before or task.obstacle or self._failures.get(task.result, "")

    def _run(self, task: Task) -> None:
        try:
            line = command_line(task)
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


def command_line(task: Task) -> list[str]:
    """Returns the command line of a task.

    Raises:
        ValueError: saying why not all its flags are known.
    """
    # A flag may be given once. The schedule of a budget replaces what the user gave for it.
    flags = {flag.partition("=")[0]: flag for flag in (*task.flags, *task.deferred_flags())}
    return [sys.executable, "-m", task.module, task.command, *flags.values()]


def claim(settings: Settings) -> None:
    """Writes the settings that all rows of an output folder share into it.

    Raises:
        ValueError: if the folder has rows with other settings; it names the differences.
    """
    file = settings.output_dir / SETTINGS_FILE
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        changed = [
            f"{name} was {before.get(name)} and is now {value}"
            for name, value in settings.fixed.items()
            if before.get(name) != value
        ]
        if changed:
            raise ValueError(
                f"{settings.output_dir} holds rows with other settings. Use another --output_dir, "
                "or the earlier settings:\n" + "\n".join(changed)
            )
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    files.write_text(file, json.dumps(settings.fixed, indent=1))
