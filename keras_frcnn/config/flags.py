"""Config's settings as absl flags, and back: the command line's half of ``config.py``.

What a command takes and how it is read is in ``cli/command.py``; what a flagfile may hold, and
which word wins, in ``flagfile.py``.
"""

import dataclasses
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from absl import flags as absl_flags

from keras_frcnn.config import Config, element_type, type_name
from keras_frcnn.config.flagfile import UsageError, check_line

GROUPS = {
    "run": "The run",
    "data": "Data",
    "augmentation": "Augmentation, of training images",
    "model": "Model",
    "rpn": "Region proposal network",
    "roi": "Sampled regions",
    "loss": "Losses",
    "training": "Training",
    "watching": "Watching a run",
    "detections": "Detections",
}


@dataclasses.dataclass(frozen=True)
class Option:
    """One flag: a setting of ``Config``, or a command's own.

    Args:
        name: The flag without its dashes.
        type: str, int, float, bool or ``tuple[one of these, ...]``.
        default: Value without the flag.
        help: What ``--help`` says.
        group: Key of ``GROUPS`` for a setting; empty for a command's own.
        choices: The allowed values of a str; empty: any.
        required: Whether the command refuses to start without it.
    """

    name: str
    type: Any
    default: Any
    help: str
    group: str = ""
    choices: tuple[str, ...] = ()
    required: bool = False

    @property
    def form(self) -> str:
        """What a value looks like, in words."""
        if not element_type(self.type):
            return f"one of {', '.join(self.choices)}" if self.choices else type_name(self.type)
        each = f"a list, each one of {', '.join(self.choices)}," if self.choices else ""
        return f"{each or type_name(self.type) + ','} separated by commas"

    @property
    def summary(self) -> str:
        """Its form and what holds when it is left out, in words."""
        default = "required" if self.required else f"default {_text(self.default) or 'empty'}"
        return f"{self.form}; {default}"

    @property
    def parser(self) -> absl_flags.ArgumentParser:
        """Turns its text into its value."""
        element = element_type(self.type)
        one = (
            absl_flags.EnumParser(self.choices) if self.choices else _SCALARS[element or self.type]
        )
        return one if element is None else _TupleParser(one)

    def parse(self, text: str) -> Any:
        """Returns the value that a text means.

        Raises:
            ValueError: with the words for what was expected.
        """
        try:
            return self.parser.parse(text)
        except (ValueError, TypeError, OverflowError):
            raise ValueError(self.form) from None


class _TupleParser(absl_flags.ArgumentParser):
    """Parses a list separated by commas; an empty text is the empty list."""

    def __init__(self, element: absl_flags.ArgumentParser):
        self._element = element

    def parse(self, argument: str | tuple) -> tuple:
        if isinstance(argument, tuple):  # absl parses defaults too
            return argument
        parts = [part.strip() for part in argument.split(",")] if argument.strip() else []
        if not all(parts):
            raise ValueError("an element is empty")
        return tuple(self._element.parse(part) for part in parts)


_SCALARS = {
    str: absl_flags.ArgumentParser(),
    int: absl_flags.IntegerParser(),
    float: absl_flags.FloatParser(),
    bool: absl_flags.BooleanParser(),
}

SETTINGS = {
    field.name: Option(field.name, field.type, field.default, **field.metadata)
    for field in dataclasses.fields(Config)
}


def settings_of(group: str) -> list[Option]:
    """Returns the settings of one of ``GROUPS``, in order."""
    return [option for option in SETTINGS.values() if option.group == group]


def define(flag_values: absl_flags.FlagValues, options: Iterable[Option]) -> None:
    """Defines one absl flag for every option."""
    for option in options:
        if option.type is bool:
            absl_flags.DEFINE_bool(option.name, option.default, option.help, flag_values)
        else:
            args = (option.parser, option.name, option.default, option.help, flag_values)
            absl_flags.DEFINE(*args)


def to_config(
    flag_values: absl_flags.FlagValues, base: Config | None = None, names: Iterable[str] = SETTINGS
) -> Config:
    """Lays the flags that were given over a config.

    Args:
        flag_values: Flags made by ``define``.
        base: Where the other settings come from; None: the defaults.
        names: The flags that are settings.

    Raises:
        UsageError: naming every flag that is out of range or contradicts another, one a line.
    """
    given = {n: flag_values[n].value for n in names if not flag_values[n].using_default_value}
    try:
        return (base or Config()).replace(**given).validate()
    except ValueError as error:
        raise UsageError(_name_flags(str(error))) from None


def write_flagfile(config: Config, path: str | Path) -> None:
    """Writes every setting, commented, so that ``--flagfile`` reads the identical config.

    Raises:
        ValueError: naming a setting that a flagfile cannot hold, such as a folder whose name ends
            in a space.
    """
    lines = ["# Every setting of one run. Use them again: keras-frcnn train --flagfile=<this file>"]
    for group, title in GROUPS.items():
        lines += ["", f"# --- {title} ---"]
        for option in settings_of(group):
            lines += textwrap.wrap(
                f"{option.help} ({option.summary})", 98, initial_indent="# ", subsequent_indent="# "
            )
            lines.append(_line(option, getattr(config, option.name)))
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _line(option: Option, value: Any) -> str:
    """Writes one setting; refuses a value that would not read back."""
    line = f"--{option.name}={_text(value)}"
    try:
        check_line(line, "")
        fits = line.strip().splitlines() == [line] and option.parse(_text(value)) == value
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{option.name} must fit on a line of a flagfile. Received: {value!r}")
    return line


def _text(value: Any) -> str:
    """Writes a value as a flag's text, from which it reads back to the last bit."""
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _name_flags(problems: str) -> str:
    """Puts dashes before the settings named in a config's list of problems."""
    names = "|".join(SETTINGS)
    lines = problems.removeprefix("Invalid settings:\n").splitlines()
    # "steps" is a flag in "must divide steps (100)" and a word in "after the last of 100 steps".
    flag = re.compile(rf"^({names})\b|\b({names})(?= \(|=)|\b(?=\w*_)({names})\b")
    return "\n".join(flag.sub(r"--\g<0>", line.removeprefix("  - ")) for line in lines)
