"""Parsers of command line arguments, for argparse's ``type``."""

import argparse
from collections.abc import Callable


def list_of(parse: Callable) -> Callable:
    """Returns a parser of values separated by commas, each parsed by ``parse``."""
    return lambda text: [parse(word) for word in text.split(",")]


def one_of(*known: str) -> Callable:
    """Returns a parser that accepts only the known words."""

    def parse(word):
        if word not in known:
            raise argparse.ArgumentTypeError(f"expected {', '.join(known)}. Received: {word!r}")
        return word

    return parse


def count(word: str) -> int:
    """Parses a positive integer."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer. Received: {word!r}")
    return int(word)


def size(word: str) -> tuple[int, int]:
    """Parses a height and a width in pixels, each at least one cell of the feature map."""
    height, _, width = word.partition("x")
    if not (height.isdecimal() and width.isdecimal()) or min(int(height), int(width)) < 16:
        raise argparse.ArgumentTypeError(
            f"expected HEIGHTxWIDTH in pixels, such as 600x800. Received: {word!r}"
        )
    return int(height), int(width)
