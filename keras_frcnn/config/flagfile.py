"""Reads command lines and flagfiles: their syntax, and which value takes precedence.

A flagfile holds one ``--name=value`` per line, comment lines that start with ``#``, and
``--flagfile=other`` lines, in which the path is relative to the file that contains the line.
``--flagfile`` also takes the name of a flagfile of the package, such as ``voc07``.

Wherever the lines stand, the command line overrides flagfiles, and a flagfile overrides the files
that it includes. If a flagfile includes two files, or the command line names two, the later value
is used. Anything that could be misread silently, such as a flag with two values in one file or on
the command line, is an error that names the file and the line.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from keras_frcnn.config import package_flagfiles


class UsageError(ValueError):
    """Raised for a faulty command line or flagfile. Its message is written for the user."""


class Given(NamedTuple):
    """A flag as the user gave it.

    Attributes:
        name: Its present name.
        value: Its parsed value.
        written: "--flag=text" as the user wrote it, perhaps under a former name.
        where: "file:line: ", or "" for the command line.
    """

    name: str
    value: Any
    written: str
    where: str

    @property
    def text(self) -> str:
        """The value as the user wrote it."""
        return self.written.partition("=")[2]


class Reader:
    """Reads command lines and flagfiles with a given set of flags.

    Args:
        parsers: For every flag, the function that converts its text to its value. The message of
            its ValueError completes the sentence "--name must be".
        switches: The boolean flags, which may be written ``--name`` or ``--noname``.
        former: The present name for each former name of a flag. Former names are accepted
            silently. If a former name is now the name of another flag, that flag is tried first,
            and the renamed flag is used if the text is not a value of it.
    """

    def __init__(
        self,
        parsers: Mapping[str, Callable[[str], Any]],
        switches: Iterable[str] = (),
        former: Mapping[str, str] | None = None,
    ):
        self._parsers = parsers
        self._switches = frozenset(switches)
        self._former = former or {}

    def read_argv(self, argv: list[str]) -> dict[str, Given]:
        """Returns all flags that a command line and its flagfiles give.

        Raises:
            UsageError: If anything is wrong. It says what was expected and what was received.
        """
        included, own = {}, {}
        tokens = iter(argv)
        for token in tokens:
            flag, text = self._split(token, "")
            if text is None:
                text = next(tokens, "--")
                if text.startswith("--"):
                    raise UsageError(f"--{flag} needs a value: --{flag}=...")
            if flag == "flagfile":
                included |= self.read_flagfile(package_flagfiles.find(text))
            else:
                _add(own, self._given(flag, text, ""))
        return included | own

    def read_flagfile(
        self, path: Path, where: str = "", parents: tuple[Path, ...] = ()
    ) -> dict[str, Given]:
        """Returns all flags that a flagfile and the files it includes give.

        Args:
            path: The flagfile.
            where: The file and line that include it, for messages.
            parents: The chain of files that include it.

        Raises:
            UsageError: If anything is wrong. It names the file and the line.
        """
        chain = (*parents, path.resolve())
        if chain[-1] in parents:
            received = " -> ".join(map(str, chain))
            raise UsageError(f"{where}a flagfile must not include itself. Received: {received}")
        included, own = {}, {}
        for here, line in _lines(path, where):
            flag, text = self._split(line, here)
            if text is None:
                raise UsageError(f"{here}--{flag} needs a value: --{flag}=...")
            if flag == "flagfile":
                nested = package_flagfiles.find(text, path.parent)
                included |= self.read_flagfile(nested, here, chain)
                continue
            _add(own, self._given(flag, text, here))
        return included | own

    def _split(self, token: str, where: str) -> tuple[str, str | None]:
        """Splits ``--flag=text``. The text is None if there is no value."""
        if not re.match(r"--[^-=]", token):
            raise UsageError(f"{where}expected --name=value. Received: {token!r}")
        flag, equals, text = token[2:].partition("=")
        if flag == "flagfile" or self._name(flag) in self._parsers:
            if equals:
                return flag, text
            return flag, "true" if self._name(flag) in self._switches else None
        switch = flag.removeprefix("no")
        if not equals and self._name(switch) in self._switches:
            return switch, "false"
        hint = nearest(flag, [*self._parsers, "flagfile"], "--{}")
        raise UsageError(f"{where}unknown flag --{flag}.{hint}")

    def _name(self, flag: str) -> str:
        return flag if flag in self._parsers else self._former.get(flag, flag)

    def _given(self, flag: str, text: str, where: str) -> Given:
        expected = []
        for name in dict.fromkeys((flag, self._former.get(flag, flag))):
            if name in self._parsers:
                try:
                    return Given(name, self._parsers[name](text), f"--{flag}={text}", where)
                except ValueError as error:
                    expected.append(str(error))
        expected = " or ".join(expected)
        raise UsageError(f"{where}--{flag} must be {expected}. Received: {text!r}")


def _add(flags: dict[str, Given], given: Given) -> None:
    """Adds a flag to those of the same file or command line; refuses a second value."""
    first = flags.setdefault(given.name, given)
    if first is not given and first.value != given.value:
        raise UsageError(f"{given.where}{given.written} contradicts {first.where}{first.written}")


def nearest(word: str, known: Iterable[str], template: str) -> str:
    """Returns " Did you mean ...?" for a mistyped word, or "" if no known word is similar.

    ``template`` is a format string for the known word, such as "--{}".
    """
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {template.format(matches[0])}?" if matches else ""


def _lines(path: Path, where: str) -> Iterable[tuple[str, str]]:
    """Yields "file:line: " and the line, for every line that holds a flag."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        hint = nearest(path.stem, package_flagfiles.names(), "{}")
        raise UsageError(
            f"{where}cannot read the flagfile {str(path)!r}: there is no such file.{hint} The "
            f"package has these flagfiles: {package_flagfiles.summary()}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}cannot read the flagfile {str(path)!r}: {error}") from None
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line and not line.startswith("#"):
            check_line(line, f"{path}:{number}: ")
            yield f"{path}:{number}: ", line


def check_line(line: str, where: str) -> None:
    """Refuses a line that would be read differently from how it looks.

    Raises:
        UsageError: If the line is refused. It says what was expected and what was received.
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
