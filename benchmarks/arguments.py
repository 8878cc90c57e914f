"""Readers of command line arguments, which say what they expect."""

import argparse
from collections.abc import Callable


def list_of(kind: Callable) -> Callable:
    """A reader of values between commas, each of them read by ``kind``."""
    return lambda text: [kind(word) for word in text.split(",")]


def one_of(*known: str) -> Callable:
    """A reader of one of the known words."""

    def read(word):
        if word not in known:
            raise argparse.ArgumentTypeError(f"expected {', '.join(known)}. Received: {word!r}")
        return word

    return read


def count(word: str) -> int:
    """Reads a positive whole number."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive whole number. Received: {word!r}")
    return int(word)


def size(word: str) -> tuple[int, int]:
    """Reads a height and a width in pixels, each at least one cell of the features."""
    height, _, width = word.partition("x")
    if not (height.isdecimal() and width.isdecimal()) or min(int(height), int(width)) < 16:
        raise argparse.ArgumentTypeError(
            f"expected HEIGHTxWIDTH in pixels, such as 600x800. Received: {word!r}"
        )
    return int(height), int(width)
