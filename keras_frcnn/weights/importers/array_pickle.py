"""Reads pickles of NumPy arrays by name without running anything.

A pickle is a program that calls functions by name. Only the names with which arrays are written
are known here. Each stands for a class or function of this module that checks what it is given.
"""

import collections
import io
import math
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

_DTYPES = {f"{kind}{size}" for kind in "fiu" for size in (1, 2, 4, 8)} - {"f1"}
_MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}


class _Type:
    """Stands for ``numpy.dtype``."""

    def __init__(self, code, *_):
        if code not in _DTYPES:
            raise pickle.UnpicklingError(f"it holds an array of type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state):
        if state[1] not in ("<", "|"):
            raise pickle.UnpicklingError("it holds an array in another byte order")


class _Array:
    """Stands for an array: ``value`` is the array once its content has come."""

    value: np.ndarray | None = None

    def __init__(self, *_):
        """Ignores the type, shape and letter of the empty array that NumPy would make."""

    def __setstate__(self, state):
        _, shape, kind, by_columns, content = state
        content = _bytes(content) if isinstance(content, str) else content
        if not isinstance(kind, _Type) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("it holds an array of objects")
        if math.prod(shape) * kind.dtype.itemsize != len(content) or min(shape, default=0) < 0:
            raise pickle.UnpicklingError(f"it holds an array of shape {shape} with another content")
        array = np.frombuffer(content, kind.dtype)
        self.value = array.reshape(shape, order="F" if by_columns else "C")


class _Scalar:
    """Stands for a number of NumPy, such as the iteration, which is not read."""

    def __init__(self, *_):
        """Ignores the number."""


def _bytes(text="", encoding="latin1"):
    """Stands for the functions with which protocol 2 makes bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it has bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def _type_alone(*_):
    raise pickle.UnpicklingError("it makes an array in an unknown way")


_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): _bytes,
    ("__builtin__", "bytes"): _bytes,
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _type_alone,
    **{
        (f"numpy.{core}.multiarray", name): kind
        for core in ("core", "_core")
        for name, kind in (("_reconstruct", _Array), ("scalar", _Scalar))
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no array")
        return _NAMES[module, name]

    def persistent_load(self, pid):
        raise pickle.UnpicklingError("it refers to other files")


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the arrays in a pickle.

    Args:
        path: the file. It holds a dict of arrays by name, or a dict whose "model" is such a dict.

    Raises:
        ValueError: naming the file, if it is damaged or holds anything but arrays.
    """
    content = Path(path).read_bytes()
    try:
        for code, argument, _ in pickletools.genops(content):
            # Python would make a table as large as the number says.
            if code.name in _MEMO and int(argument) > len(content):
                raise pickle.UnpicklingError("it asks for more memory than the file has bytes")
        # Python 2 wrote bytes as text.
        values = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ValueError(f"{path} is not a pickle of arrays alone: {error}") from error
    if isinstance(values, dict) and isinstance(values.get("model"), dict):
        values = values["model"]
    if not isinstance(values, dict) or not values:
        raise ValueError(f"{path} must hold a dict of arrays by name")
    for name, value in values.items():
        if not isinstance(name, str) or not isinstance(value, _Array) or value.value is None:
            raise ValueError(f"{path} must hold nothing but arrays. Received: {name!r}")
    return {name: value.value for name, value in values.items()}
