"""Clearing the padding of maps."""

import numpy as np
import tensorflow as tf

from keras_frcnn.ops.padding import clear_padding


def test_a_batch_without_padding_is_not_cleared():
    x = tf.ones([2, 3, 4, 1])
    shape = tf.constant([[3, 4], [1, 2]])
    np.testing.assert_array_equal(clear_padding(x, shape, tf.constant(False)), x)
    cleared = clear_padding(x, shape, tf.constant(True)).numpy()
    assert cleared[0].all() and cleared[1].sum() == 2 and cleared[1, 0, :2].all()
