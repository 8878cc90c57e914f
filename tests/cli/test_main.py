"""``keras-frcnn <command>``: it is found, answers at once, and declares its flags soundly."""

import importlib
import subprocess
import sys

import pytest

import keras_frcnn
from keras_frcnn.cli import main as cli
from keras_frcnn.config.flags import SETTINGS


@pytest.mark.parametrize("argv", [[], ["help"], ["--help"], ["-h"]])
def test_keras_frcnn_lists_its_commands(argv, capsys):
    assert cli.main(argv) == 0
    out = capsys.readouterr().out
    for name, (_, summary) in cli.COMMANDS.items():
        assert f"  {name:<16} {summary}" in out.splitlines()


def test_the_version_is_printed(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"{keras_frcnn.__version__}\n"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("trian", " Did you mean train?"),
        ("make_shapes", " Did you mean make-shapes?"),
        ("xyzzy", ""),
    ],
)
def test_an_unknown_command_is_refused(name, hint, capsys):
    assert cli.main([name]) == 2
    assert capsys.readouterr().err == (
        f"keras-frcnn: unknown command '{name}'.{hint} Commands: {', '.join(cli.COMMANDS)}\n"
    )


def test_a_command_gets_its_flags_and_gives_its_exit_code(monkeypatch):
    received = []
    module = type(sys)("fake_command")
    module.main = lambda argv: received.append(argv) or 7
    monkeypatch.setitem(sys.modules, "fake_command", module)
    monkeypatch.setitem(cli.COMMANDS, "fake", ("fake_command", "A fake."))
    assert cli.main(["fake", "--seed=3"]) == 7
    assert received == [["--seed=3"]]


@pytest.mark.parametrize(
    "argv", [["--help"], ["trian"], *([name, "--help"] for name in cli.COMMANDS)]
)
def test_help_and_mistakes_answer_without_tensorflow(argv):
    program = (
        "import sys\n"
        "from keras_frcnn.cli.main import main\n"
        f"try: main({argv!r})\n"
        "except SystemExit: pass\n"
        "print('loaded:', sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_declares_its_flags_soundly(name):
    command = importlib.import_module(cli.COMMANDS[name][0]).COMMAND
    own = [option.name for option in command.options]
    assert command.name == name
    assert len(set(own)) == len(own)
    assert set(command.settings) <= set(SETTINGS)
    assert not set(own) & {*command.settings, "flagfile", "help"}
    flags = " --" if own else ""
    assert f"keras-frcnn {name}{flags}" in command.doc  # an example
    for option in command.options:
        assert option.help, option.name
