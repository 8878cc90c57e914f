"""A command with the file that shows it is done, and the order in which tasks run."""

import dataclasses
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

DONE = "done.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One command and what it makes.

    Attributes:
        title: a description for people.
        command: the command's name in ``module``.
        flags: its flags, without ``deferred_flags``.
        result: the file that exists once the task is done. The runner writes a ``done.json``; any
            other file is written by the command itself, completely or not at all.
        needs: the tasks that must be done first.
        obstacle: why it cannot run even when all other tasks are done; empty if it can.
        deferred_flags: returns the flags that are known only when ``needs`` are done. It raises a
            ValueError that says why it cannot.
        module: the Python module that has the command.
    """

    title: str
    command: str
    flags: tuple[str, ...]
    result: Path
    needs: tuple["Task", ...] = ()
    obstacle: str = ""
    deferred_flags: Callable[[], tuple[str, ...]] = tuple
    module: str = "keras_frcnn.cli.main"

    @property
    def is_done(self) -> bool:
        """Whether the result is there."""
        return self.result.is_file()

    @property
    def checkpoint(self) -> Path:
        """The checkpoint of a training task.

        It is the last one: the best one would have been chosen on the test images.
        """
        return self.result.with_name("last.keras")

    @property
    def command_line(self) -> list[str]:
        """The command line that starts the task.

        Raises:
            ValueError: saying why not all its flags are known.
        """
        # A flag may be given once. The schedule of a budget replaces what the user gave for it.
        flags = {flag.partition("=")[0]: flag for flag in (*self.flags, *self.deferred_flags())}
        return [sys.executable, "-m", self.module, self.command, *flags.values()]


def unfinished(tasks: Iterable[Task]) -> list[Task]:
    """Returns the tasks that are not done and the ones they need, each once, in running order."""
    found: dict[Path, Task] = {}

    def visit(task):
        if not task.is_done:
            for need in task.needs:
                visit(need)
            found.setdefault(task.result, task)

    for task in tasks:
        visit(task)
    return list(found.values())
