"""Problems: the sentence that each one prints as, and what becomes of them."""

import pytest

from keras_frcnn.data.problems import (
    DataError,
    Problem,
    ProblemKind,
    Remedy,
    first_lines,
    invalid,
    settle,
    unknown_split,
)


def problem(**fields):
    return Problem(**{"kind": ProblemKind.DEGENERATE_BOX, "remedy": Remedy.DROP} | fields)


def test_a_problem_prints_as_one_sentence_of_its_fields():
    whole = problem(file="a.xml", object="object 2", class_name="cat", message="box has no area")
    assert str(whole) == "a.xml: object 2 (cat): box has no area"
    assert whole.skipped_line == "a.xml: object 2 (cat): box has no area; object dropped"
    made = problem(file="a.txt", expected="a number", received="'x'", remedy=Remedy.NONE)
    assert str(made) == made.skipped_line == "a.txt: expected a number. Received: 'x'"
    assert str(made.replace(object="line 3")) == "a.txt: line 3: expected a number. Received: 'x'"


def test_an_error_carries_its_problem():
    error = invalid("an existing folder", "none", "data")
    assert isinstance(error, ValueError)
    assert str(error) == "data: expected an existing folder. Received: none"
    (carried,) = error.problems
    assert (carried.kind, carried.file) == ("invalid_source", "data")
    assert (carried.expected, carried.received) == ("an existing folder", "none")


def test_a_split_that_does_not_exist_is_named_with_those_that_do():
    error = unknown_split("x", ["a", "b"], "voc")
    assert str(error) == "voc: expected one of the splits a, b. Received: 'x'"
    error = unknown_split("x", list("abcdefghijklmn"), "voc", "a pattern")
    assert "splits a, b, c, d, e, f, g, h, i, j, k, l, ..., or a pattern. Received" in str(error)
    assert "expected one of the splits (there are none). Received" in str(unknown_split("x", [], 1))


def test_many_lines_are_cut():
    assert (first_lines([]), first_lines(["a", "b"])) == ("", "a\nb")
    assert first_lines(range(1012)).splitlines()[8:] == ["8", "9", "... and 1,002 more"]


def test_settle_shows_ten_problems_and_counts_all():
    problems = [problem(message=f"file {number}") for number in range(12)]
    with pytest.raises(DataError) as error:
        settle(problems, "error")
    text = str(error.value)
    assert "12 problem(s)" in text and "file 9" in text and "file 10" not in text
    assert "2 more" in text and "--on_bad_record=skip" in text
    assert error.value.problems == tuple(problems)


def test_settle_returns_the_problems_or_nothing():
    one = problem(file="a", message="broken", remedy=Remedy.LEAVE_OUT)
    assert settle([one], "skip") == [one] and one.skipped_line == "a: broken; image left out"
    assert settle([], "error") == []
