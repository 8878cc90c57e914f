"""Declaring a setting: which values its limits allow, and what it must be in words."""

import pytest

from keras_frcnn.config.setting import (
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    Limits,
    Option,
    element_type,
)

PAIR = Limits(at_least=0.1, at_most=10, lengths=(2,), order="ascending")


ANY = Limits()


def option(type, choices=(), limits=ANY):
    return Option("name", type, None, "Help.", choices=choices, limits=limits)


@pytest.mark.parametrize(
    ("type", "limits", "allowed", "refused"),
    [
        (int, Limits(), [-1, 0, 10**30], [True, 1.0, "1", None, (1,)]),
        (float, Limits(), [-1, 0.5], [True, float("inf"), float("nan"), "1", None]),
        (str, Limits(), ["", "a"], [None, 1, ("a",)]),
        (str, Limits(nonempty=True), ["a"], [""]),
        (bool, Limits(), [True, False], [0, 1, "true", None]),
        (int, POSITIVE, [1], [0, -1]),
        (float, NOT_NEGATIVE, [0, 0.0, 1e9], [-1e-9]),
        (float, FRACTION, [0, 0.5, 1], [-0.01, 1.01]),
        (float, Limits(at_least=0, below=1), [0, 0.99], [-0.1, 1]),
        (float, Limits(above=0, at_most=1), [0.1, 1], [0, 1.1]),
        (tuple[int, ...], Limits(), [(), (1, -1)], [[1], (1, 1.0), (True,), 1]),
        (tuple[int, ...], Limits(above=0, nonempty=True), [(1,)], [(), (0,), (1, 0)]),
        (tuple[int, ...], Limits(above=0, lengths=(0, 4)), [(), (1,) * 4], [(1,), (1, 1, 1, 0)]),
        (tuple[float, ...], PAIR, [(0.1, 10), (1, 1)], [(), (1,), (2, 1), (0.09, 1), (1, 10.1)]),
        (tuple[int, ...], Limits(order="strictly ascending"), [(), (3, 4)], [(3, 3), (4, 3)]),
    ],
)
def test_values_that_are_allowed(type, limits, allowed, refused):
    declared = option(type, limits=limits)
    assert [value for value in allowed if not declared.allows(value)] == []
    assert [value for value in refused if declared.allows(value)] == []


def test_choices_are_of_the_type():
    one, several = option(str, ("a", "b")), option(tuple[str, ...], ("a", "b"))
    assert one.has_type("a") and not one.has_type("c")
    assert several.has_type(("a", "b")) and not several.has_type(("a", "c"))
    assert option(int, limits=POSITIVE).has_type(0)  # only its limits refuse it


@pytest.mark.parametrize(
    ("type", "choices", "limits", "words"),
    [
        (int, (), Limits(), "an integer"),
        (str, (), Limits(), "a string"),
        (str, (), Limits(nonempty=True), "a non-empty string"),
        (str, ("a", "b"), Limits(), "one of a, b"),
        (bool, (), Limits(), "true or false"),
        (float, (), POSITIVE, "a positive number"),
        (int, (), NOT_NEGATIVE, "an integer of at least 0"),
        (float, (), FRACTION, "a number between 0 and 1"),
        (float, (), Limits(above=0, at_most=1), "a number above 0 and at most 1"),
        (tuple[str, ...], (), Limits(), "a list of strings; by commas"),
        (tuple[str, ...], ("a", "b"), Limits(nonempty=True), "one or more of a, b, ; by commas"),
        (tuple[int, ...], (), POSITIVE, "a list of positive integers; by commas"),
        (
            tuple[float, ...],
            (),
            PAIR,
            "two numbers between 0.1 and 10, in ascending order, ; by commas",
        ),
        (
            tuple[int, ...],
            (),
            Limits(above=0, lengths=(0, 4)),
            "four positive integers; by commas, or empty",
        ),
    ],
)
def test_forms_in_words(type, choices, limits, words):
    declared = option(type, choices, limits)
    assert declared.requirement("by commas") == words.replace(", ;", ",").replace("; by", " by")
    assert declared.requirement() == words.replace(", ; by commas", "").replace("; by commas", "")


def test_the_type_of_a_lists_elements():
    assert element_type(tuple[int, ...]) is int
    assert element_type(int) is None
