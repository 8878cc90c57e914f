"""Defines settings as command-line flags, parses their values, and writes them to flagfiles.

``cli/command.py`` defines which flags a command takes; ``flagfile.py`` reads command lines and
flagfiles.
"""

import os
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from absl import flags as absl_flags

from keras_frcnn import files
from keras_frcnn.config.concern import SettingsError
from keras_frcnn.config.experiment import Config
from keras_frcnn.config.flagfile import UsageError, check_line
from keras_frcnn.config.setting import Option, element_type

# The sections of --help and of a written flagfile, in the order in which users need them.
GROUPS = {
    "run": "The run",
    "data": "Data",
    "model": "Model",
    "training": "Training",
    "checkpoints": "Checkpoints and the end of a run",
    "watching": "Monitoring a run",
    "detections": "Detections",
    "augmentation": "Augmentation of training images",
    "rpn": "Region proposal network",
    "roi": "Sampled regions",
    "loss": "Losses",
}

_COMMENT = {"initial_indent": "# ", "subsequent_indent": "# ", "break_on_hyphens": False}

# Every setting by name, in the order of GROUPS. Within a group, common settings come first.
SETTINGS = {
    option.name: option
    for option in sorted(
        Config.options().values(), key=lambda o: (list(GROUPS).index(o.group), not o.common)
    )
}


def settings_of(*groups: str) -> tuple[str, ...]:
    """Returns the names of all settings in the given ``GROUPS``, in order."""
    return tuple(name for name, option in SETTINGS.items() if option.group in groups)


def requirement(option: Option) -> str:
    """Returns a description of the text that a flag accepts."""
    return option.requirement("separated by commas")


def summary(option: Option) -> str:
    """Returns a description of a flag's allowed values and its default."""
    expected = requirement(option)
    if option.required:
        return f"{expected}; required"
    source = f", from {option.source}" if option.source else ""
    text = f"{expected}; default {_text(option.default) or 'empty'}{source}"
    if option.pyramid is None:
        return text
    return f"{text}; {_text(option.pyramid)} with a feature pyramid"


def parse(option: Option, text: str) -> Any:
    """Converts a flag's text to its value.

    Raises:
        ValueError: If the text is not valid. The message describes what was expected.
    """
    try:
        return _parser(option).parse(text)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(requirement(option)) from None


class _TextParser(absl_flags.ArgumentParser):
    """Parses text. A home folder is inserted where a shell would do so in ``VARIABLE=~/a:~/b``.

    The shell itself does not, because the flag's name comes first. Image sets are joined with "+".
    """

    def parse(self, argument: str) -> str:
        return re.sub(r"(?<![^+:])~[^/+:]*", lambda found: os.path.expanduser(found[0]), argument)


class _TupleParser(absl_flags.ArgumentParser):
    """Parses a list separated by commas; an empty text gives an empty list."""

    def __init__(self, element: absl_flags.ArgumentParser):
        self._element = element

    def parse(self, argument: str | tuple) -> tuple:
        if isinstance(argument, tuple):  # absl parses defaults too
            return argument
        elements = [part.strip() for part in argument.split(",")] if argument.strip() else []
        if not all(elements):
            raise ValueError("an element is empty")
        return tuple(self._element.parse(element) for element in elements)


_SCALARS = {
    str: _TextParser(),
    int: absl_flags.IntegerParser(),
    float: absl_flags.FloatParser(),
    bool: absl_flags.BooleanParser(),
}


def _parser(option: Option) -> absl_flags.ArgumentParser:
    element = element_type(option.type)
    one = (
        absl_flags.EnumParser(option.choices)
        if option.choices
        else _SCALARS[element or option.type]
    )
    return one if element is None else _TupleParser(one)


def define(flag_values: absl_flags.FlagValues, options: Iterable[Option]) -> None:
    """Defines one absl flag for every option."""
    for option in options:
        if option.type is bool:
            absl_flags.DEFINE_bool(option.name, option.default, option.help, flag_values)
        else:
            args = (_parser(option), option.name, option.default, option.help, flag_values)
            absl_flags.DEFINE(*args)


def to_config(
    flag_values: absl_flags.FlagValues, base: Config | None = None, names: Iterable[str] = SETTINGS
) -> Config:
    """Returns a config with the values of the flags that were given.

    Args:
        flag_values: Flags made by ``define``.
        base: The config that supplies all other settings; None for the defaults.
        names: The names of the flags that are settings.

    Raises:
        UsageError: If flags are out of range or contradict each other. It names each problem on a
            line of its own.
    """
    given = {n: flag_values[n].value for n in names if not flag_values[n].using_default_value}
    base = base or Config()
    try:
        return base.with_backbone(given.get("backbone", base.backbone)).replace(**given).validate()
    except SettingsError as error:
        raise UsageError("\n".join(p.text(dashes="--") for p in error.problems)) from None


def write_flagfile(config: Config, path: str | os.PathLike, remarks: Sequence[str] = ()) -> None:
    """Writes every setting, with a comment, to a flagfile that reads back as the same config.

    Args:
        config: The settings.
        path: The file; an older one is replaced.
        remarks: Comment lines for the beginning of the file.

    Raises:
        ValueError: If a flagfile cannot hold a value, such as a folder whose name ends in a space.
            The error names the setting.
    """
    lines = ["# All settings of one run. To use them again: keras-frcnn train --flagfile=<file>"]
    lines += remarks
    for group, title in GROUPS.items():
        lines += ["", f"# --- {title} ---"]
        for name in settings_of(group):
            option = SETTINGS[name]
            comment = f"{option.help} ({summary(option)})"
            lines += textwrap.wrap(comment, 98, **_COMMENT)
            lines.append(_line(option, getattr(config, name)))
    files.write_text(path, "\n".join(lines) + "\n")


def _line(option: Option, value: Any) -> str:
    """Returns the line of one setting; refuses a value that would not be read back unchanged."""
    line = f"--{option.name}={_text(value)}"
    try:
        check_line(line, "")
        fits = line.strip().splitlines() == [line] and parse(option, _text(value)) == value
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{option.name} must be a value that a line of a flagfile can hold. Received: {value!r}"
        )
    return line


def _text(value: Any) -> str:
    """Returns a value as the text of a flag, which ``parse`` converts back without any loss."""
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
