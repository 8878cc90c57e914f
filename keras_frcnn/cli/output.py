"""Output that several commands share: notes on the data that were read, and names of files."""

from collections.abc import Iterable, Iterator
from typing import Any


def print_notes(dataset: Any, console: Any) -> None:
    """Prints what there is to say about a dataset that was read, and what was skipped in it.

    Args:
        dataset: A ``data.Dataset``.
        console: A ``rich.console.Console``.
    """
    for line in [*dataset.remarks, *(f"skipped: {line}" for line in dataset.skipped)]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def distinct(names: Iterable[str]) -> Iterator[str]:
    """Yields the names, with a number after each that has come before: "a", "a_2", "a_3".

    Names that differ only in case count as equal, since on some disks "A" and "a" are one file.
    """
    taken: set[str] = set()
    for name in names:
        candidate, number = name, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate.casefold())
        yield candidate
