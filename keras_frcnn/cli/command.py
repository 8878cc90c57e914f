"""Reads the command line of a command: its own flags, and the settings that it uses.

COMMAND = Command(
    "detect", __doc__, options=(Option("checkpoint", str, "", "A model.", required=True),)
)

def main(argv: list[str] | None = None) -> int:
    config, options = parse(COMMAND, argv)
"""

import contextlib
import dataclasses
import functools
import inspect
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

from absl import flags as absl_flags

from keras_frcnn import files, signals
from keras_frcnn.cli.startup import quiet_tensorflow
from keras_frcnn.config import Config, package_flagfiles
from keras_frcnn.config import flags as config_flags
from keras_frcnn.config.flagfile import Reader, UsageError
from keras_frcnn.config.flags import GROUPS, SETTINGS
from keras_frcnn.config.setting import Option
from keras_frcnn.console import say
from keras_frcnn.weights import shipped

_WORDS = ("none", "imagenet", "rpn", "dense")  # values that may stand instead of a file's name
_USAGE = "Usage: keras-frcnn {name} [--flagfile=FILE] [--name=value ...]"
_GENERAL = """General:
  --flagfile=FILE
      Read flags from a file with one --name=value per line. The command line overrides the file.
      Paths in flags and flagfiles may begin with ~, the home folder.
      FILE may also be the name of a flagfile of the package:
{configs}
  --help
      Print this help and stop."""


CHECKPOINT_FILE = Option(
    "output_file",
    str,
    "",
    "The .keras file to write.",
    required=True,
    output="file",
    suffixes=(".keras",),
)


@dataclasses.dataclass(frozen=True)
class Command:
    """The flags that a command takes.

    Args:
        name: The name of the command on the command line.
        doc: The text above the flags in ``--help``: the docstring of the command's module.
        options: The command's own flags. They may have the names of settings that are not in
            ``settings``.
        writes: What the command writes into its ``--output_dir``: the names of files, and those of
            folders with a "/" at the end.
        settings: The names of the settings that the command uses. Other settings are refused on
            the command line but ignored in a flagfile, so that one flagfile serves every command.
    """

    name: str
    doc: str
    options: tuple[Option, ...] = ()
    writes: tuple[str, ...] = ()
    settings: tuple[str, ...] = tuple(SETTINGS)

    @property
    def flags(self) -> dict[str, Option]:
        """All flags of the command, by name."""
        return {o.name: o for o in (*self.options, *(SETTINGS[name] for name in self.settings))}


def parse(
    command: Command,
    argv: list[str] | None = None,
    base: Callable[[SimpleNamespace], Config] = lambda options: Config(),
) -> tuple[Config, SimpleNamespace]:
    """Reads a command line.

    If the user asks for help, this prints it and exits with code 0. If something is wrong, this
    prints the error to stderr and exits with code 2.

    Args:
        command: The flags that the command takes.
        argv: The arguments after the command's name; by default those of the process.
        base: Returns the config that supplies the settings for which no flag is given, such as the
            config of ``options.checkpoint``. Its ValueErrors are shown to the user.

    Returns:
        The validated config, and the command's own options as attributes.
    """
    argv = sys.argv[1:] if argv is None else argv
    quiet_tensorflow()
    for stream in (sys.stdout, sys.stderr):  # the terminal's encoding may lack characters of names
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    with user_errors(command):
        if not {"-h", "--help", "--helpshort", "--helpfull"}.isdisjoint(argv):
            say(help_text(command))
            raise SystemExit(0)
        flag_values = _read(command, argv)
        for option in command.flags.values():
            if option.output:
                contents = command.writes if option.name == "output_dir" else ()
                value = flag_values[option.name].value
                check_output(option.name, value, option.output, contents)
        options = SimpleNamespace(**{o.name: flag_values[o.name].value for o in command.options})
        return config_flags.to_config(flag_values, base(options), command.settings), options


def given_settings(
    command: Command, argv: list[str] | None = None, with_flagfiles: bool = True
) -> dict[str, str]:
    """Returns the text of every setting that a command line and its flagfiles give.

    Args:
        command: The flags that the command takes.
        argv: The arguments that ``parse`` has accepted.
        with_flagfiles: whether the settings that only flagfiles give are among them.
    """
    given = _reader(command).read_argv(sys.argv[1:] if argv is None else argv)
    return {
        name: one.text
        for name, one in given.items()
        if name in command.settings and (with_flagfiles or not one.where)
    }


@contextlib.contextmanager
def user_errors(command: Command, output: str = "") -> Iterator[None]:
    """Ends a command without a traceback if the cause does not lie in the package.

    1. The package raises ValueErrors for faulty flags, data and files. They are printed to stderr,
       and the exit code is 2. The same is done with errors of any library about the place of a
       file, such as a full disk.
    2. Ctrl-C, SIGTERM and SIGHUP raise an exception, so that the command can tidy up. The exit code
       is 128 + the signal's number.
    3. If the reader of the output has gone, as in ``| head``, the exit code is that of SIGPIPE.

    Any other error is a bug in the package and keeps its traceback.

    Args:
        command: the command.
        output: the folder or file that it writes, for errors that do not name the place.
    """
    try:
        with signals.handled(_interrupt):
            yield
            if sys.stdout is not None:  # as after >&-
                sys.stdout.flush()
    except KeyboardInterrupt as error:
        number = error.args[0] if error.args else signal.SIGINT
        _complain(command, "stopped")
        raise SystemExit(128 + number) from None
    except BrokenPipeError:
        _can_print()
        raise SystemExit(128 + signal.SIGPIPE) from None
    except Exception as error:
        place = output if _can_print() else "standard output"
        message = str(error) if isinstance(error, ValueError) else files.fault(error, place)
        if not message:
            raise
        _complain(command, message)
        raise SystemExit(2) from None


def _can_print() -> bool:
    """Returns whether the output can be written. If not, what is left of it is dropped."""
    try:
        if sys.stdout is not None:  # as after >&-
            sys.stdout.flush()
    except OSError:
        with open(os.devnull, "w") as nowhere:  # Python itself flushes the output once more
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return False
    return True


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt(number)


def _complain(command: Command, text: str) -> None:
    for line in text.splitlines():
        say(f"keras-frcnn {command.name}: {line}", error=True)


def checkpoint_settings(options: SimpleNamespace) -> Config:
    """Returns the settings of the ``--checkpoint``, for the argument ``base`` of ``parse``.

    ``jit_compile`` is turned off: a loaded model is never compiled by XLA, so its images need not
    be padded to a few shapes. So is ``distribution``: other devices than those of the run may do.
    """
    from keras_frcnn.weights.checkpoint import read_settings

    config, _ = read_settings(options.checkpoint)
    config = config.replace(jit_compile=False, distribution="none")
    return _find_data(config, Path(options.checkpoint).absolute().parent)


def check_files(config: Config, *names: str) -> None:
    """Checks that the files named by settings exist, so that a run does not fail hours later.

    Args:
        config: the settings.
        names: settings whose value is a file, one of a few words such as "rpn", or empty.

    Raises:
        ValueError: If a file is missing. The error names the flag.
    """
    for name in names:
        value = getattr(config, name)
        is_word = shipped.is_name(value) if name == "start_checkpoint" else value in _WORDS
        if value and not is_word and not os.path.isfile(value):
            raise ValueError(f"--{name} must be an existing file. Received: {value!r}")


def _find_data(config: Config, folder: Path) -> Config:
    """Returns the settings of a run with paths of its data that are valid in the present folder.

    Relative paths belong to the folder in which the run was started. That folder follows from the
    place of the run and its ``output_dir``, unless the run was moved.
    """
    own = Path(config.output_dir)
    start = Path(*folder.parts[: len(folder.parts) - len(own.parts)])

    def find(path: str) -> str:
        is_lost = path and not os.path.exists(path) and path not in ("rpn", "dense")
        return str(start / path) if is_lost and (start / path).exists() else path

    if start / own != folder:
        return config
    return config.replace(
        data_dir=tuple(map(find, config.data_dir)),
        classes_file=find(config.classes_file),
        test_proposals=find(config.test_proposals),
    )


def check_output(name: str, path: str, kind: str = "folder", contents: Iterable[str] = ()) -> None:
    """Checks that an output can be written, before the work that leads to it.

    Args:
        name: the flag that names the output.
        path: the output; if empty, nothing is checked.
        kind: "folder" or "file". A folder may be missing.
        contents: what will be written into a folder, as in ``Command.writes``.

    Raises:
        ValueError: If the output cannot be written. The error names the flag and the place.
    """
    if not path:
        return
    places = {path: kind == "folder"} | {os.path.join(path, c): c.endswith("/") for c in contents}
    reason = next(filter(None, map(files.unwritable, places, places.values())), "")
    if reason:
        raise ValueError(
            f"--{name} must be a {kind} that can be written to. Received: {path} ({reason})"
        )


def help_text(command: Command) -> str:
    """Returns what ``--help`` prints."""
    sections = {f"Flags of {command.name}": command.options}
    for group, title in GROUPS.items():
        names = [n for n in config_flags.settings_of(group) if n in command.settings]
        sections[title] = [SETTINGS[name] for name in names]
    width, indent = min(shutil.get_terminal_size().columns, 100), " " * 6

    def wrapped(text: str) -> list[str]:
        lines = textwrap.wrap(text, width - len(indent), break_on_hyphens=False)
        return [indent + line for line in lines]

    configs = "\n".join(wrapped(package_flagfiles.summary()))
    general = _GENERAL.format(configs=configs)
    lines = [_USAGE.format(name=command.name), "", inspect.cleandoc(command.doc), "", general]
    for title, options in sections.items():
        lines += ["", f"{title}:"] if options else []
        for option in options:
            lines.append(f"  --{option.name}  ({config_flags.summary(option)})")
            lines += wrapped(option.help)
    return "\n".join(lines)


def _reader(command: Command) -> Reader:
    known = SETTINGS | command.flags
    return Reader(
        {name: functools.partial(config_flags.parse, option) for name, option in known.items()},
        switches=[name for name, option in known.items() if option.type is bool],
        former={former: name for name, option in known.items() for former in option.former},
    )


def _read(command: Command, argv: list[str]) -> absl_flags.FlagValues:
    flag_values = absl_flags.FlagValues()
    config_flags.define(flag_values, command.flags.values())
    for name, given in _reader(command).read_argv(argv).items():
        if name in flag_values:
            setattr(flag_values, name, given.value)
        elif not given.where:
            raise UsageError(f"--{name} is not used by this command")
    flag_values.mark_as_parsed()
    problems = []
    for option in command.options:  # settings are checked together, by the config
        value = flag_values[option.name].value
        if option.required and value == option.default:
            problems.append(f"--{option.name} is missing: {option.help}")
        elif not option.allows(value):
            problems.append(
                f"--{option.name} must be {config_flags.requirement(option)}. Received: {value!r}"
            )
    if problems:
        raise UsageError("\n".join(problems))
    return flag_values
