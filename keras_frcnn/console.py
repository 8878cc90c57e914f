"""What every room uses to talk to the person at the console: progress bars and safe text."""

from collections.abc import Iterable
from typing import Any


def with_progress(items: Iterable[Any], words: str, total: int) -> Iterable[Any]:
    """Passes items on while a progress bar on the terminal counts them.

    Args:
        items: the items to work through.
        words: what is being done, for example "Reading annotations".
        total: the number of items.

    Returns:
        The items.
    """
    from rich import console, progress  # imported only when somebody watches

    terminal = console.Console(stderr=True)
    return progress.track(items, words, total, console=terminal, disable=not terminal.is_terminal)


def plain(text: str) -> str:
    """Returns text that is safe to print and to write: control characters become escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
