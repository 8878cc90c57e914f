"""Pickles of arrays: read as NumPy reads them, and everything else refused before it runs."""

import collections
import os
import pickle
import re

import numpy as np
import pytest

from keras_frcnn.weights.importers import array_pickle

ARRAYS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "by columns": np.asfortranarray(np.arange(6.0).reshape(3, 2)),
    "empty": np.zeros((0, 4), np.float16),
    "number": np.array(3, np.int64),
}


def write(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("kind", [dict, collections.OrderedDict])
def test_arrays_are_read_as_numpy_reads_them(tmp_path, protocol, kind):
    around = {"model": kind(ARRAYS), "__author__": "someone", "iteration": np.int64(7)}
    for value in (kind(ARRAYS), around):
        found = array_pickle.read(write(tmp_path / "a.pkl", value, protocol))
        assert list(found) == list(ARRAYS)
        for name, array in ARRAYS.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)


class Runs:
    """Calls a function when it is read."""

    def __init__(self, function, *args):
        self.called = function, args

    def __reduce__(self):
        return self.called


@pytest.mark.parametrize(
    "value",
    [
        Runs(os.mkdir, "made"),
        {"w": Runs(os.mkdir, "made")},
        {"w": ARRAYS["a.weight"], "x": Runs(eval, "__import__('os').mkdir('made')")},
        {"w": np.array([Runs(os.mkdir, "made")], object)},
        {"w": Runs(np.load, "a.pkl")},
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_in_a_pickle_does_not_run(tmp_path, monkeypatch, value, protocol):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "a.pkl", value, protocol)
    with pytest.raises(ValueError, match=r"a\.pkl is not a pickle of arrays alone: ") as caught:
        array_pickle.read(path)
    assert "\n" not in str(caught.value)
    assert os.listdir() == ["a.pkl"]


def pickled_array(shape=(2, 3), code="f4", order="<", content=bytes(24)):
    """An array as NumPy writes it, with parts that need not fit."""
    kind = Runs(np.dtype, code, False, True)
    kind.called = (*kind.called, (3, order, None, None, None, -1, -1, 0))
    array = Runs(np.ndarray((0,)).__reduce__()[0], np.ndarray, (0,), b"b")
    array.called = (*array.called, (1, shape, kind, False, content))
    return array


def test_the_pickled_array_of_these_tests_is_one(tmp_path):
    path = write(tmp_path / "a.pkl", {"w": pickled_array()})
    np.testing.assert_array_equal(array_pickle.read(path)["w"], np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"shape": (10**6, 10**6)}, "of shape (1000000, 1000000) with another content"),
        ({"shape": (-2, -3)}, "of shape (-2, -3) with another content"),
        ({"content": bytes(23)}, "of shape (2, 3) with another content"),
        ({"code": "O8"}, "an array of type 'O8'"),
        ({"code": "V1000000000"}, "an array of type 'V1000000000'"),
        ({"order": ">"}, "an array in another byte order"),
        ({"content": [1.0] * 6}, "an array of objects"),
    ],
)
def test_an_array_whose_parts_do_not_fit_is_refused(tmp_path, parts, reason):
    path = write(tmp_path / "a.pkl", {"w": pickled_array(**parts)})
    with pytest.raises(ValueError, match=re.escape(reason)):
        array_pickle.read(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps(ARRAYS, 4)[:-40],
        b"\x80\x04N\x94r\xff\xff\xff\xff.",  # a table with four billion rows
        b"\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00.",  # a terabyte of content
        b"\x80\x04\x88Q.",  # refers to another file
    ],
)
def test_a_damaged_pickle_is_refused_without_memory(tmp_path, content):
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pkl is not a pickle of arrays alone"):
        array_pickle.read(path)


@pytest.mark.parametrize("value", [[], {}, {"model": {}}, 3, {"w": 3}, {3: ARRAYS["number"]}])
def test_other_values_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="must hold"):
        array_pickle.read(write(tmp_path / "a.pkl", value))
