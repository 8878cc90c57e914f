"""Output that several commands share: notes on the data, and distinct names of files."""

from collections.abc import Iterable, Iterator
from typing import Any

from keras_frcnn.console import Console, plain


def print_notes(dataset: Any, console: Console) -> None:
    """Prints the remarks of a dataset and what was skipped in it.

    Args:
        dataset: A ``data.Dataset``.
        console: Where to print.
    """
    for line in [*dataset.remarks, *(f"skipped: {line}" for line in dataset.skipped)]:
        console.print(plain(line))


def distinct(names: Iterable[str]) -> Iterator[str]:
    """Yields the names, and appends a number to each name that has occurred before: "a", "a_2".

    Names that differ only in case count as equal, because some file systems ignore case.
    """
    taken: set[str] = set()
    for name in names:
        candidate, number = name, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate.casefold())
        yield candidate
