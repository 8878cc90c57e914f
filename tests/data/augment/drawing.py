"""Many draws at once, and what is expected of them; shared by the tests of augmentation."""

import numpy as np
import tensorflow as tf

_KEYS = np.stack([np.arange(1000), np.arange(1000) * 7 + 3], axis=1)  # int64 [1000, 2]


def for_keys(function, count=1000):
    """Calls a function of a key, in a graph as the pipeline does; stacks its results."""
    stream = tf.data.Dataset.from_tensor_slices(_KEYS[:count]).map(function)
    results = list(stream.as_numpy_iterator())
    return tf.nest.map_structure(lambda *values: np.stack(values), *results)


def assert_uniform(values, low, high):
    """Asserts that 1000 values lie between two bounds, about as many in each tenth."""
    assert low - 1e-5 <= values.min() and values.max() <= high + 1e-5
    counts, _ = np.histogram(values, 10, (low, high))
    assert counts.min() > 60 and counts.max() < 145  # 100 +- 9.5 are expected
