"""Output that several commands share."""

import io

from keras_frcnn.cli.output import distinct, print_notes
from keras_frcnn.console import Console
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.problems import Problem, ProblemKind, Remedy


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
