"""Makes parts, one process after the other; stops and goes on where it was."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from keras_frcnn.paper import parts
from keras_frcnn.paper.parts import Part
from keras_frcnn.paper.settings import Settings

SETTINGS_FILE = "paper.json"


class Runner:
    """Makes parts.

    Attributes:
        stopped: number of the signal that ended it; 0: none.
        has_failed: whether a command ended without what it should have made.

    Args:
        say: takes a line for the user.
        changed: called whenever a part is done.
    """

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None] = lambda: None):
        self.stopped, self.has_failed = 0, False
        self._say, self._changed = say, changed
        self._problems: dict[Path, str] = {}
        self._process: subprocess.Popen | None = None

    def make(self, wanted: list[Part]) -> None:
        """Makes all parts that can be made and are not yet, and what they need.

        What fails is said and kept for ``problem``; the others go on.
        """
        todo = parts.unfinished(part for part in wanted if not self.problem(part))
        with _on_signals(self._stop):
            for number, part in enumerate(todo, start=1):
                if not self.stopped and not self.problem(part):
                    self._say(f"[{number}/{len(todo)}] {part.title}")
                    self._make(part)

    def problem(self, part: Part) -> str:
        """Says why a part is not there and cannot be; empty: it is or may be made."""
        if part.is_done:
            return ""
        before = next(filter(None, map(self.problem, part.needs)), "")
        return before or part.missing or self._problems.get(part.result, "")

    def _make(self, part: Part) -> None:
        try:
            line = command_line(part)
        except ValueError as error:
            self._problems[part.result] = str(error)
            self._say(str(error))
            return
        part.result.parent.mkdir(parents=True, exist_ok=True)
        code = self._call(line)
        if self.stopped:
            return
        if code == 0 and part.result.name == parts.DONE:
            part.result.write_text(json.dumps({"command": line[3:]}, indent=1), encoding="utf-8")
        if not part.is_done:
            self.has_failed = True
            self._problems[part.result] = f"failed: {part.title} (exit code {code})"
            self._say(self._problems[part.result])
        self._changed()

    def _call(self, line: list[str]) -> int:
        """Runs a process to its end; what stops this one is passed on to it.

        Its session is its own, so that it hears of Ctrl-C once, from ``_stop``.
        """
        self._process = subprocess.Popen(line, start_new_session=True)
        if self.stopped:
            self._process.send_signal(self.stopped)
        return self._process.wait()

    def _stop(self, number: int, frame: object) -> None:
        del frame
        self.stopped = number
        if self._process is not None:
            self._process.send_signal(number)


@contextlib.contextmanager
def _on_signals(handler: Callable) -> Iterator[None]:
    before = {n: signal.signal(n, handler) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def command_line(part: Part) -> list[str]:
    """Returns the command line that makes a part.

    Raises:
        ValueError: saying what is missing.
    """
    flags = [*part.flags, *part.late_flags()]
    return [sys.executable, "-m", part.module, part.command, *flags]


def claim(settings: Settings) -> None:
    """Writes what all rows of an output folder share into it.

    Raises:
        ValueError: naming what differs if the folder has rows of other settings.
    """
    file = settings.output_dir / SETTINGS_FILE
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        changed = [
            f"{name} was {before.get(name)}, is {value}"
            for name, value in settings.shared.items()
            if before.get(name) != value
        ]
        if changed:
            raise ValueError(
                f"{settings.output_dir} holds rows with other settings. Use another --output_dir, "
                "or those of before:\n" + "\n".join(changed)
            )
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(settings.shared, indent=1), encoding="utf-8")
