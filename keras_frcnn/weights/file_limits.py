"""Limits for checkpoints from strangers: a small file cannot ask for a large detector."""

import contextlib
import inspect
import math
import os
from collections.abc import Iterator

import tensorflow as tf

# Numbers that may be made for each byte of the file. A number is stored in 2 bytes or more, and
# some layers are made twice, because backbones are cut from whole networks.
_NUMBERS_PER_BYTE = 2
_SPARE = 2**20


@contextlib.contextmanager
def limited_by(path: str | os.PathLike) -> Iterator[None]:
    """Refuses to make more numbers in Keras variables than a checkpoint can hold weights.

    The size of each variable is known before its memory is taken.

    Args:
        path: the checkpoint.

    Raises:
        ValueError: In the ``with`` block, naming the variable that is too much and the file.
    """
    limit = _NUMBERS_PER_BYTE * os.path.getsize(path) + _SPARE
    total = 0

    def make(next_creator, **kwargs):
        nonlocal total
        shape = _shape_of(kwargs["initial_value"])
        total += math.prod(shape)
        if total > limit:
            raise ValueError(
                f"the settings of {path} describe a detector with more weights than the file can "
                f"hold: it has {os.path.getsize(path)} bytes. Received: the shape "
                f"{' x '.join(map(str, shape))} of {kwargs['name']}"
            )
        return next_creator(**kwargs)

    with tf.variable_creator_scope(make):
        yield


def _shape_of(initial_value) -> tuple[int, ...]:
    """Returns the shape of a variable from its value, or from a function that makes it.

    Keras passes a function of the variable, which it is called with no arguments later.
    """
    if callable(initial_value):
        initial_value = inspect.getclosurevars(initial_value).nonlocals["self"]
    return tuple(initial_value.shape)
