"""Output that several commands share."""

import io
import sys

import pytest

from keras_frcnn.cli.output import command_line, distinct, print_notes
from keras_frcnn.console import Console
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.problems import Problem, ProblemKind, Remedy


@pytest.mark.parametrize(
    ("argv", "name", "expected"),
    [
        (["python", "train.py"], "detect", "python detect.py"),
        ([".venv/bin/python", "a b/train.py"], "export", ".venv/bin/python 'a b/export.py'"),
        (["python", "train.py"], "check-data", "keras-frcnn check-data"),
        (["python", "/bin/keras-frcnn", "train"], "detect", "keras-frcnn detect"),
        (
            ["python3", "/site/keras_frcnn/cli/main.py", "train"],
            "detect",
            "python3 -m keras_frcnn.cli.main detect",
        ),
        (["python", "mine.py"], "detect", "keras-frcnn detect"),
    ],
)
def test_commands_to_run_have_the_form_of_the_users_own(argv, name, expected, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", argv)
    monkeypatch.setattr(sys, "argv", argv[1:])
    assert command_line(name) == expected
    assert command_line(name, "--a=runs/$1 b").endswith(f"{expected} '--a=runs/$1 b'")


def test_names_become_distinct_whatever_their_case():
    assert list(distinct(["a", "b", "A", "a", "a_2"])) == ["a", "b", "A_2", "a_3", "a_2_2"]


def test_notes_on_the_data_are_printed_as_they_are():
    text = io.StringIO()
    problem = Problem(
        kind=ProblemKind.DEGENERATE_BOX, file="[red]a.xml", message="1 box", remedy=Remedy.DROP
    )
    dataset = Dataset(("cat",), (), problems=[problem], remarks=("cat = CAT " * 20,))
    print_notes(dataset, Console(file=text, width=40, force_terminal=True))
    assert text.getvalue() == f"{'cat = CAT ' * 20}\nskipped: [red]a.xml: 1 box; object dropped\n"
