"""Output on the console: every text is printed as it is, and no text can control the terminal.

Class names, paths and messages come from users and files. They may look like rich's markup
("[/]"), like an emoji code (":smile:") or like a command for the terminal. All output of the
package goes through ``say``, ``Console`` and ``with_progress``, which print such texts literally.
"""

import contextlib
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

import rich.console
from rich import progress
from rich.text import Text

COMPILING = "compiling the first step ..."
"""Printed before the first step of a model, which takes seconds or minutes without a sign."""

_JOINERS = "\u200c\u200d"  # format characters that some scripts and emojis need
_UNLIMITED = 100_000  # columns


class Console(rich.console.Console):
    """A rich console that prints every text as it is.

    Nothing in a text is read as markup or an emoji code, nothing is highlighted, and control
    characters except line breaks are escaped. Lines are not broken, so that paths stay whole; with
    ``soft_wrap=False``, sentences below a table are broken at the width of the terminal. Where the
    output is not a terminal, nothing is broken, and tables are as wide as their contents.

    Args:
        **kwargs: arguments of ``rich.console.Console``, such as ``file``, ``stderr`` and ``width``.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(markup=False, emoji=False, highlight=False, soft_wrap=True, **kwargs)
        if kwargs.get("width") is None and not self.is_terminal:
            self.width = _UNLIMITED

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich would end the program without a word, with exit code 1

    def print(self, *objects: Any, **kwargs: Any) -> None:
        with _naming_the_output(self.stderr):
            super().print(*objects, **kwargs)

    def render_str(self, text: str, **kwargs: Any) -> Text:
        return super().render_str(_plain_lines(text), **kwargs)


def say(text: str, error: bool = False) -> None:
    """Prints a text at once, with control characters except line breaks escaped.

    Args:
        text: the text.
        error: whether to print to standard error instead of standard output.
    """
    with _naming_the_output(error):
        print(_plain_lines(text), file=sys.stderr if error else sys.stdout, flush=True)


@contextlib.contextmanager
def _naming_the_output(is_error: bool) -> Iterator[None]:
    """Names standard output in an error about it, such as a full disk.

    Without a buffer (PYTHONUNBUFFERED), no later attempt would show where the error came from.
    """
    try:
        yield
    except OSError as error:
        error.filename = error.filename or f"standard {'error' if is_error else 'output'}"
        raise


def with_progress(items: Iterable[Any], title: str, total: int | None) -> Iterable[Any]:
    """Adds a progress bar, which is shown on a terminal while the items are iterated over.

    Args:
        items: the items.
        title: the text beside the bar, such as "Reading annotations".
        total: the number of items; None if it is not known.

    Yields:
        The same items.
    """
    console = Console(stderr=True)
    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TimeRemainingColumn(elapsed_when_finished=True),
    )
    with progress.Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield from bar.track(items, total, description=plain(title))


def plain(text: str) -> str:
    """Escapes control characters, so that the text is safe to print and to write."""
    return "".join(c if _is_harmless(c) else ascii(c)[1:-1] for c in text)


def _is_harmless(character: str) -> bool:
    is_space = unicodedata.category(character) == "Zs"  # only one of them is printable for Python
    return character.isprintable() or is_space or character in _JOINERS


def _plain_lines(text: str) -> str:
    return "\n".join(map(plain, text.split("\n")))
