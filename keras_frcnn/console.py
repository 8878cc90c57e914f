"""Progress bars and safe text for the console."""

from collections.abc import Iterable
from typing import Any


def with_progress(items: Iterable[Any], title: str, total: int) -> Iterable[Any]:
    """Adds a progress bar, which is shown on a terminal while the items are iterated over.

    Args:
        items: the items.
        title: the text beside the bar, such as "Reading annotations".
        total: the number of items.

    Returns:
        An iterable of the same items.
    """
    from rich import console, progress  # slow to import

    terminal = console.Console(stderr=True)
    return progress.track(items, title, total, console=terminal, disable=not terminal.is_terminal)


def plain(text: str) -> str:
    """Escapes control characters, so that the text is safe to print and to write."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
