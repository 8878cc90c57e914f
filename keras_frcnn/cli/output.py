"""Output that several commands share: notes on the data, names of files, and commands to run."""

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_frcnn.config.flagfile import nearest
from keras_frcnn.console import Console, plain

_SCRIPTS = ("train", "evaluate", "detect", "export")


def print_notes(dataset: Any, console: Console) -> None:
    """Prints the remarks of a dataset and what was skipped in it.

    Args:
        dataset: A ``data.Dataset``.
        console: Where to print.
    """
    for line in [*dataset.remarks, *(f"skipped: {line}" for line in dataset.skipped)]:
        console.print(plain(line))


def chosen_rows(records: Sequence[Any], image_ids: Sequence[str]) -> list[int]:
    """Returns the rows of the images that ``--image_ids`` names, each once.

    Raises:
        ValueError: naming an id that no image has.
    """
    rows = {str(record.image_id): row for row, record in enumerate(records)}
    for image_id in image_ids:
        if image_id not in rows:
            raise ValueError(
                f"--image_ids must be among the {len(rows)} images of the split. Received: "
                f"{image_id}.{nearest(image_id, rows, '{}')}"
            )
    return [rows[image_id] for image_id in dict.fromkeys(image_ids)]


def command_line(name: str, *flags: str) -> str:
    """Returns a command for the user to run, in the form in which this process was started.

    Args:
        name: the name of the command.
        flags: its flags, which are quoted for the shell.
    """
    python, script = sys.orig_argv[0], Path(sys.argv[0])
    if script.name == "main.py":
        start = [python, "-m", "keras_frcnn.cli.main", name]
    elif script.suffix == ".py" and {script.stem, name} <= set(_SCRIPTS):
        start = [python, str(script.with_name(f"{name}.py"))]
    else:
        start = ["keras-frcnn", name]
    return shlex.join([*start, *flags])


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
