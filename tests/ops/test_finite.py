"""Variables that are not finite: the first one is named."""

import keras
import numpy as np
import pytest

from keras_frcnn.ops.finite import first_not_finite


def variable(name, values, dtype="float32"):
    return keras.Variable(np.array(values), dtype=dtype, name=name)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_is_named(dtype, value):
    sound = variable("sound", [[0, -3e4], [1e-4, 3e4]], dtype)
    first, second = (variable(name, [[1], [value]], dtype) for name in ("first", "second"))
    assert first_not_finite([sound, first, second]) == "first"
    assert first_not_finite([second, sound]) == "second"
    assert first_not_finite([sound, sound]) == ""


def test_large_numbers_are_finite_even_if_their_sum_is_not():
    assert first_not_finite([variable("large", [3e38, 3e38, -3e38])]) == ""


def test_whole_numbers_and_nothing_are_finite():
    assert first_not_finite([]) == ""
    assert (
        first_not_finite([variable("step", 3, "int64"), variable("seed", [1, 2], "uint32")]) == ""
    )
    assert first_not_finite([variable("empty", np.zeros((0, 3)))]) == ""
