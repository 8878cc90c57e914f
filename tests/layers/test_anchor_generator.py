"""Anchors by pencil, against the reference, and where they move."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.layers import AnchorGenerator
from tests import reference
from tests.base import run_layer_test


def features(h, w, dtype=tf.float32):
    return tf.zeros([1, h, w, 3], dtype)


def test_by_hand():
    anchors = AnchorGenerator(scales=(8, 16), ratios=(0.25, 1, 4), stride=10)(features(1, 2))
    around_origin = [
        [-2, -8, 2, 8],  # ratio 1/4 is flat: height 4, width 16, area 64
        [-4, -16, 4, 16],
        [-4, -4, 4, 4],
        [-8, -8, 8, 8],
        [-8, -2, 8, 2],
        [-16, -4, 16, 4],
    ]
    first, second = [5, 5, 5, 5], [5, 15, 5, 15]
    np.testing.assert_array_equal(anchors, np.add(around_origin * 2, [first] * 6 + [second] * 6))


def test_the_paper_s_nine():
    layer = AnchorGenerator()
    assert layer.num_anchors == 9
    anchors = layer(features(1, 1)).numpy()
    sides = anchors[:, 2:] - anchors[:, :2]
    np.testing.assert_allclose(np.prod(sides, axis=1), [128**2, 256**2, 512**2] * 3, rtol=1e-5)
    ratios = [0.5] * 3 + [1] * 3 + [2] * 3
    np.testing.assert_allclose(sides[:, 0] / sides[:, 1], ratios, rtol=1e-5)
    np.testing.assert_array_equal(anchors[:, :2] + anchors[:, 2:], np.full((9, 2), 16))
    np.testing.assert_allclose(
        anchors[0], [8 - 45.2548, 8 - 90.5097, 8 + 45.2548, 8 + 90.5097], rtol=1e-5
    )


@pytest.mark.parametrize(("h", "w"), [(1, 1), (3, 5), (7, 2)])
def test_equal_the_reference(h, w):
    options = {"scales": (20.0, 50.0), "ratios": (0.5, 1.0, 3.0), "stride": 12}
    anchors = run_layer_test(AnchorGenerator(**options), features(h, w))
    assert anchors.dtype == np.float32
    np.testing.assert_allclose(anchors, reference.anchors(h, w, **options), atol=1e-4)


def test_the_next_cell_s_anchors_are_a_stride_away():
    anchors = AnchorGenerator()(features(3, 4)).numpy().reshape(3, 4, 9, 4)
    for row in range(3):
        for column in range(4):
            shift = [16 * row, 16 * column] * 2
            np.testing.assert_allclose(anchors[row, column], anchors[0, 0] + shift, atol=1e-4)


def test_a_smaller_map_has_the_larger_one_s_first_cells():
    large = AnchorGenerator()(features(4, 6)).numpy().reshape(4, 6, 9, 4)
    small = AnchorGenerator()(features(3, 2)).numpy().reshape(3, 2, 9, 4)
    np.testing.assert_array_equal(large[:3, :2], small)


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_half_precision_features_leave_anchors_alone(dtype):
    layer = AnchorGenerator(dtype="mixed_bfloat16")
    anchors = layer(features(40, 70, dtype))
    assert anchors.dtype == tf.float32
    np.testing.assert_array_equal(anchors, AnchorGenerator()(features(40, 70)))


def test_every_batch_has_the_same_anchors():
    for batch_size in (0, 3):
        assert AnchorGenerator()(tf.zeros([batch_size, 2, 3, 1])).shape == (54, 4)


def test_the_call_keeps_no_gradient():
    maps = features(2, 2)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        anchors = AnchorGenerator()(maps)
    assert tape.gradient(anchors, maps) is None


@pytest.mark.parametrize(
    "options",
    [
        {"scales": ()},
        {"scales": (128, 0)},
        {"ratios": (-1.0,)},
        {"stride": 0},
        {"scales": (float("nan"),)},
    ],
)
def test_what_is_not_positive_is_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"positive {name}. Received"):
        AnchorGenerator(**options)


def test_offset_and_rounding_give_torchvisions_anchors():
    # What torchvision's AnchorGenerator gives for size 32 and ratios 0.5, 1 and 2, as yxyx.
    around_origin = [[-11, -23, 11, 23], [-16, -16, 16, 16], [-23, -11, 23, 11]]
    layer = AnchorGenerator((32,), (0.5, 1, 2), 4, offset=0.0, rounding=True)
    anchors = layer(features(2, 2)).numpy().reshape(2, 2, 3, 4)
    np.testing.assert_array_equal(anchors[0, 0], around_origin)
    np.testing.assert_array_equal(anchors[1, 1], np.add(around_origin, 4))
    third = AnchorGenerator((32,), (1,), 4, offset=0.25)(features(1, 1))
    np.testing.assert_array_equal(third, [[-15, -15, 17, 17]])


def test_each_image_can_have_strides_of_its_own():
    layer = AnchorGenerator((8,), (1,), 16, offset=0.0)
    anchors = layer(features(2, 3), tf.constant([[16, 16], [10, 7]])).numpy()
    np.testing.assert_array_equal(anchors[0], layer(features(2, 3)))
    np.testing.assert_array_equal(anchors[1, 5], [10 - 4, 14 - 4, 10 + 4, 14 + 4])
    assert anchors.shape == (2, 6, 4)
