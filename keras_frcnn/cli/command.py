"""What a command takes from its command line, and how that is read.

COMMAND = Command(
    "detect", __doc__, options=(Option("checkpoint", str, "", "A model.", required=True),)
)

def main(argv: list[str] | None = None) -> int:
    config, options = parse(COMMAND, argv)
"""

import contextlib
import dataclasses
import inspect
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from types import SimpleNamespace

from absl import flags as absl_flags

from keras_frcnn.config import Config
from keras_frcnn.config.flagfile import Reader, UsageError
from keras_frcnn.config.flags import GROUPS, SETTINGS, Option, define, settings_of, to_config

_USAGE = "Usage: keras-frcnn {name} [--flagfile=FILE] [--name=value ...]"
_GENERAL = """General:
  --flagfile=FILE
      Take flags from a file, one --name=value a line. The command line wins over it.
  --help
      Print this and stop."""


@dataclasses.dataclass(frozen=True)
class Command:
    """What a command takes.

    Args:
        name: Its name on the command line.
        doc: Text above the flags in ``--help``: its module's docstring, with examples.
        options: Its own flags. One may take over the name of a setting not in ``settings``.
        settings: Names of the settings that it uses. Others are refused on the command line but
            passed over in a flagfile, so that one flagfile serves every command.
    """

    name: str
    doc: str
    options: tuple[Option, ...] = ()
    settings: tuple[str, ...] = tuple(SETTINGS)

    @property
    def flags(self) -> dict[str, Option]:
        """The flags that it takes, by name."""
        return {o.name: o for o in (*self.options, *(SETTINGS[name] for name in self.settings))}


def parse(
    command: Command,
    argv: list[str] | None = None,
    base: Callable[[SimpleNamespace], Config] = lambda options: Config(),
) -> tuple[Config, SimpleNamespace]:
    """Reads a command line.

    Prints the help and exits with 0 if asked to. Says on stderr what is wrong and exits with 2 if
    something is.

    Args:
        command: What may be given.
        argv: The arguments after the command's name; None: those of the process.
        base: Gives, from the command's own options, the config that the flags are laid over: for
            example that of ``options.checkpoint``. Its ValueErrors are shown as the user's.

    Returns:
        The validated config, and the command's own options as attributes.
    """
    argv = sys.argv[1:] if argv is None else argv
    # What TensorFlow's C++ side logs of missing GPUs; its errors come as Python's exceptions too.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not {"-h", "--help", "--helpshort", "--helpfull"}.isdisjoint(argv):
        print(help_text(command))
        raise SystemExit(0)
    with user_errors(command):
        flag_values = _read(command, argv)
        options = SimpleNamespace(**{o.name: flag_values[o.name].value for o in command.options})
        return to_config(flag_values, base(options), command.settings), options


def given_settings(command: Command, argv: list[str] | None = None) -> dict[str, str]:
    """Returns the settings that a command line gives, flagfiles included, as they are written.

    Args:
        command: What may be given.
        argv: As for ``parse``, which has accepted it.
    """
    given = _reader(command).read_argv(sys.argv[1:] if argv is None else argv)
    return {name: one.text for name, one in given.items() if name in command.settings}


@contextlib.contextmanager
def user_errors(command: Command) -> Iterator[None]:
    """Says on stderr, without a traceback, what the user must mend, and exits with 2.

    The package raises ValueError for what is wrong with flags, data and files; any other error is
    a defect of ours and keeps its traceback.
    """
    try:
        yield
    except ValueError as error:
        for line in str(error).splitlines():
            print(f"keras-frcnn {command.name}: {line}", file=sys.stderr)
        raise SystemExit(2) from None


def checkpoint_settings(options: SimpleNamespace) -> Config:
    """A ``base`` for ``parse``: the settings of the checkpoint that ``--checkpoint`` names.

    A loaded model is never compiled by XLA, so images need no padding to few shapes.
    """
    print("Loading TensorFlow ...", flush=True)
    from keras_frcnn.weights.checkpoint import read_settings

    config, _ = read_settings(options.checkpoint)
    return config.replace(jit_compile=False)


def help_text(command: Command) -> str:
    """Returns what ``--help`` prints."""
    sections = {f"Flags of {command.name}": command.options}
    for group, title in GROUPS.items():
        sections[title] = [
            option for option in settings_of(group) if option.name in command.settings
        ]
    width, indent = min(shutil.get_terminal_size().columns, 100), " " * 6
    lines = [_USAGE.format(name=command.name), "", inspect.cleandoc(command.doc), "", _GENERAL]
    for title, options in sections.items():
        lines += ["", f"{title}:"] if options else []
        for option in options:
            lines.append(f"  --{option.name}  ({option.summary})")
            lines += textwrap.wrap(
                option.help, width, initial_indent=indent, subsequent_indent=indent
            )
    return "\n".join(lines)


def _reader(command: Command) -> Reader:
    known = SETTINGS | command.flags
    switches = [name for name, option in known.items() if option.type is bool]
    return Reader({name: option.parse for name, option in known.items()}, switches)


def _read(command: Command, argv: list[str]) -> absl_flags.FlagValues:
    flag_values = absl_flags.FlagValues()
    define(flag_values, command.flags.values())
    for name, given in _reader(command).read_argv(argv).items():
        if name in flag_values:
            setattr(flag_values, name, given.value)
        elif not given.where:
            raise UsageError(f"--{name} is not used by this command")
    flag_values.mark_as_parsed()
    for option in command.options:
        if option.required and flag_values[option.name].value == option.default:
            raise UsageError(f"--{option.name} is missing: {option.help}")
    return flag_values
