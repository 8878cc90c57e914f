"""The form of a command line and of a flagfile.

A flagfile holds one ``--name=value`` a line, comment lines that start with ``#``, and
``--flagfile=other`` lines, relative to the file they stand in. The nearer word wins, whatever the
order: the command line over a flagfile, a flagfile's own lines over those of files that it
includes. Of two files included in one place, and of two words on the command line, the later wins.
Whatever would be misread in silence is an error that names file and line.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple


class UsageError(ValueError):
    """A command line or flagfile that cannot be meant; its text is made for the user."""


class Given(NamedTuple):
    """A flag's value, as it was written, and where: "file:line: ", or "" for the command line."""

    value: Any
    text: str
    where: str


class Reader:
    """Reads command lines and flagfiles of known flags.

    Args:
        parsers: For every flag, the function that turns its text into its value; the text of its
            ValueError ends the sentence "--name must be".
        switches: The flags that are true or false: they may be written ``--name`` or ``--noname``.
    """

    def __init__(self, parsers: dict[str, Callable[[str], Any]], switches: Iterable[str] = ()):
        self._parsers = parsers
        self._switches = frozenset(switches)

    def read_argv(self, argv: list[str]) -> dict[str, Given]:
        """Returns what a command line gives, flagfiles included.

        Raises:
            UsageError: saying what was expected and what was received.
        """
        included, own = {}, {}
        tokens = iter(argv)
        for token in tokens:
            name, text = self._split(token, "")
            if text is None:
                text = next(tokens, "--")
                if text.startswith("--"):
                    raise UsageError(f"--{name} needs a value: --{name}=...")
            if name == "flagfile":
                included |= self.read_flagfile(Path(text))
            else:
                own[name] = self._given(name, text, "")
        return included | own

    def read_flagfile(
        self, path: Path, where: str = "", parents: tuple[Path, ...] = ()
    ) -> dict[str, Given]:
        """Returns what a flagfile and the files that it includes give.

        Args:
            path: The file.
            where: File and line that include it.
            parents: The files on the way to it.

        Raises:
            UsageError: naming file and line.
        """
        path = path.expanduser()
        chain = (*parents, path.resolve())
        if chain[-1] in parents:
            way = " -> ".join(map(str, chain))
            raise UsageError(f"{where}a flagfile must not include itself. Received: {way}")
        included, own = {}, {}
        for place, line in _lines(path, where):
            name, text = self._split(line, place)
            if text is None:
                raise UsageError(f"{place}--{name} needs a value: --{name}=...")
            if name == "flagfile":
                nested = path.parent / Path(text).expanduser()
                included |= self.read_flagfile(nested, place, chain)
                continue
            given = self._given(name, text, place)
            first = own.setdefault(name, given)
            if first.value != given.value:
                raise UsageError(
                    f"{place}--{name}={text} contradicts {first.where}--{name}={first.text}"
                )
        return included | own

    def _split(self, token: str, where: str) -> tuple[str, str | None]:
        """Splits ``--name=value``; the text is None where no value is written."""
        if not re.match(r"--[^-=]", token):
            raise UsageError(f"{where}expected --name=value. Received: {token!r}")
        name, equals, text = token[2:].partition("=")
        if name not in self._parsers and name != "flagfile":
            switch = name.removeprefix("no")
            if not equals and switch in self._switches:
                return switch, "false"
            hint = nearest(name, [*self._parsers, "flagfile"], "--{}")
            raise UsageError(f"{where}unknown flag --{name}.{hint}")
        if not equals and name in self._switches:
            return name, "true"
        return name, text if equals else None

    def _given(self, name: str, text: str, where: str) -> Given:
        try:
            return Given(self._parsers[name](text), text, where)
        except ValueError as error:
            raise UsageError(f"{where}--{name} must be {error}. Received: {text!r}") from None


def nearest(word: str, known: Iterable[str], form: str) -> str:
    """Returns " Did you mean ...?" for a mistyped word, "" where no known word is near."""
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {form.format(matches[0])}?" if matches else ""


def _lines(path: Path, where: str) -> Iterable[tuple[str, str]]:
    """Yields the place and text of every flag line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}cannot read the flagfile {str(path)!r}: {error}") from None
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line and not line.startswith("#"):
            check_line(line, f"{path}:{number}: ")
            yield f"{path}:{number}: ", line


def check_line(line: str, where: str) -> None:
    """Refuses a flag line whose meaning is not what it looks like.

    Raises:
        UsageError: saying what was expected and what was received.
    """
    name, _, text = line.partition("=")
    if re.search(r"\s", name):
        raise UsageError(
            f"{where}expected --name=value without a space before =. Received: {line!r}"
        )
    if re.search(r"\s#", text):
        raise UsageError(f"{where}a comment needs a line of its own. Received: {line!r}")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        raise UsageError(f"{where}quotes would become part of the value. Received: {line!r}")
