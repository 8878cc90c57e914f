"""Box algebra against pencil-sized goldens and the NumPy reference."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.ops import boxes as box_ops
from tests import reference

HOSTILE = np.array(
    [
        [0, 0, 10, 10],
        [0, 0, 0, 0],  # padding
        [5, 5, 5, 20],  # no height
        [9, 9, 1, 1],  # inverted
        [-1e6, -1e6, 1e6, 1e6],  # far larger than any image
        [3, 3, 3.0001, 3.0001],
        [1000, 1000, 2000, 2000],
    ],
    "float32",
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_area():
    areas = box_ops.area([[1, 2, 4, 8], [4, 2, 1, 8], [4, 8, 1, 2], [3, 3, 3, 9]])
    np.testing.assert_array_equal(areas, [18, 0, 0, 0])


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 10, 10], [0, 0, 10, 10], 1.0),
        ([0, 0, 10, 10], [0, 5, 10, 15], 50 / 150),
        ([0, 0, 10, 10], [0, 10, 10, 20], 0.0),  # touching: the far edge is exclusive
        ([0, 0, 10, 10], [2, 2, 4, 7], 0.1),
        ([0, 0, 1, 1], [0, 0, 2, 3], 1 / 6),  # with "+1" it would be 4 / 12
        ([0, 0, 0, 0], [0, 0, 0, 0], 0.0),
        ([0, 0, 0, 0], [0, 0, 10, 10], 0.0),
        ([10, 10, 0, 0], [0, 0, 10, 10], 0.0),
        ([10, 10, 0, 0], [10, 10, 0, 0], 0.0),
        ([5, 0, 5, 10], [0, 0, 10, 10], 0.0),
    ],
)
def test_iou_by_hand(a, b, expected):
    assert box_ops.iou([a], [b]).numpy() == np.float32(expected)
    assert box_ops.iou([b], [a]).numpy() == np.float32(expected)


def test_iou_of_random_and_hostile_boxes(rng):
    a = np.concatenate([reference.random_boxes(rng, (20,)), HOSTILE])
    b = np.concatenate([reference.random_boxes(rng, (30,)), HOSTILE])
    result = box_ops.iou(a, b).numpy()
    np.testing.assert_allclose(result, reference.iou(a, b), atol=1e-5)
    assert ((result >= 0) & (result <= 1)).all()


def test_iou_of_a_box_with_itself_is_exactly_one(rng):
    boxes = reference.random_boxes(rng, (500,))
    assert (np.diag(box_ops.iou(boxes, boxes)) == 1).all()


def test_iou_broadcasts_anchors_against_a_batch(rng):
    anchors, boxes = reference.random_boxes(rng, (5,)), reference.random_boxes(rng, (3, 4))
    result = box_ops.iou(anchors, boxes)
    assert result.shape == (3, 5, 4)
    for one, image in zip(result, boxes, strict=True):
        np.testing.assert_array_equal(one, box_ops.iou(anchors, image))
    assert box_ops.iou(anchors, np.zeros((3, 0, 4), "float32")).shape == (3, 5, 0)


def test_ioa_divides_by_the_first_box():
    result = box_ops.ioa([[0, 0, 10, 10], [0, 0, 0, 0]], [[0, 5, 10, 105], [0, 0, 10, 10]])
    np.testing.assert_array_equal(result, [[0.5, 1.0], [0.0, 0.0]])


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_everything_is_computed_in_float32(dtype):
    boxes = tf.constant([[0, 0, 1000, 600]], dtype)  # its area overflows float16
    shape = box_ops.area(boxes[0])
    results = [
        shape,
        box_ops.iou(boxes, boxes),
        box_ops.ioa(boxes, boxes),
        box_ops.encode(boxes, boxes),
        box_ops.decode(boxes, tf.zeros([1, 4], dtype)),
        box_ops.clip(boxes, tf.constant([2000, 2000])),
        box_ops.rescale(boxes, tf.constant([1, 1], dtype), tf.constant([1, 1])),
    ]
    assert {result.dtype for result in results} == {tf.float32}
    assert shape.numpy() == float(boxes[0, 2]) * float(boxes[0, 3])
    assert results[1].numpy() == 1


def test_encode_by_hand():
    deltas = box_ops.encode([[0, 0, 10, 20]], [[5, 10, 15, 50]])
    np.testing.assert_allclose(deltas, [[0.5, 1.0, 0.0, math.log(2)]], rtol=1e-6)
    deltas = box_ops.encode([[0, 0, 10, 20]], [[5, 10, 15, 50]], std=(0.1, 0.2, 0.3, 0.4))
    np.testing.assert_allclose(deltas, [[5.0, 5.0, 0.0, math.log(2) / 0.4]], rtol=1e-6)


def test_decode_by_hand():
    boxes = box_ops.decode([[0, 0, 10, 20]], [[0.5, 1.0, 0.0, math.log(2)]])
    np.testing.assert_allclose(boxes, [[5, 10, 15, 50]], rtol=1e-6)
    boxes = box_ops.decode([[0, 0, 10, 20]], [[5, 5, 0, math.log(2) / 0.4]], (0.1, 0.2, 0.3, 0.4))
    np.testing.assert_allclose(boxes, [[5, 10, 15, 50]], rtol=1e-6)


def test_encode_and_decode_are_inverse_and_equal_the_reference(rng):
    anchors, boxes = reference.random_boxes(rng, (100,)), reference.random_boxes(rng, (100,))
    std = (0.1, 0.1, 0.2, 0.2)
    deltas = box_ops.encode(anchors, boxes, std)
    np.testing.assert_allclose(deltas, reference.encode(anchors, boxes, std), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(box_ops.decode(anchors, deltas, std), boxes, atol=1e-3)
    deltas = rng.normal(0, 1, (100, 4)).astype("float32")
    np.testing.assert_allclose(
        box_ops.decode(anchors, deltas), reference.decode(anchors, deltas), rtol=1e-4, atol=1e-3
    )


def test_encode_is_symmetric_under_a_flip(rng):
    a, b = reference.random_boxes(rng, (20,)), reference.random_boxes(rng, (20,))
    mirrored = [np.stack([c[:, 0], 100 - c[:, 3], c[:, 2], 100 - c[:, 1]], axis=1) for c in (a, b)]
    expected = box_ops.encode(a, b) * [1, -1, 1, 1]
    np.testing.assert_allclose(box_ops.encode(*mirrored), expected, atol=1e-3)


def test_encode_stays_finite_without_area():
    for boxes in (HOSTILE, HOSTILE[::-1]):
        deltas = box_ops.encode(HOSTILE, boxes)
        assert np.isfinite(deltas).all()


def test_decode_bounds_growth():
    anchor, wild = [[0.0, 0.0, 16.0, 16.0]], tf.constant([[0.0, 0.0, 1000.0, -1000.0]])
    boxes = box_ops.decode(anchor, wild).numpy()
    np.testing.assert_allclose(boxes, [[8 - 500, 8, 8 + 500, 8]], rtol=1e-6)
    np.testing.assert_allclose(
        box_ops.decode(anchor, [[0, 0, math.log(62), 0]]), [[8 - 496, 0, 8 + 496, 16]], rtol=1e-5
    )
    with tf.GradientTape() as tape:
        tape.watch(wild)
        total = tf.reduce_sum(box_ops.decode(anchor, wild) * [[1.0, 2.0, 3.0, 4.0]])
    np.testing.assert_array_equal(tape.gradient(total, wild), [[64, 96, 0, 0]])


def test_decode_broadcasts_anchors_against_a_batch(rng):
    anchors = reference.random_boxes(rng, (6,))
    deltas = rng.normal(0, 1, (2, 6, 4)).astype("float32")
    boxes = box_ops.decode(anchors, deltas)
    for one, image in zip(boxes, deltas, strict=True):
        np.testing.assert_allclose(one, box_ops.decode(anchors, image), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_clip_uses_each_image_s_size(dtype):
    box = [[-5.0, -np.inf, 200.0, np.inf], [300.0, 300.0, 400.0, 400.0], [1.0, 2.0, 3.0, 4.0]]
    clipped = box_ops.clip([box, box], np.array([[100, 50], [20, 250]], dtype))
    expected = [
        [[0, 0, 100, 50], [100, 50, 100, 50], [1, 2, 3, 4]],
        [[0, 0, 20, 250], [20, 250, 20, 250], [1, 2, 3, 4]],
    ]
    np.testing.assert_array_equal(clipped, expected)


def test_rescale_has_a_factor_for_each_axis_and_each_image():
    boxes = np.array([[[1, 2, 3, 4]], [[1, 2, 3, 4]]], "float32")
    scaled = box_ops.rescale(boxes, [[5, 7], [10, 10]], [[10, 70], [5, 10]])
    np.testing.assert_array_equal(scaled, [[[2, 20, 6, 40]], [[0.5, 2, 1.5, 4]]])
    one_image = box_ops.rescale(
        [[1, 2, 3, 5], [0, 0, 5, 7], [0.5, 6.0, 1.0, 6.5]], [5, 7], [10, 21]
    )
    np.testing.assert_allclose(
        one_image, [[2, 6, 6, 15], [0, 0, 10, 21], [1, 18, 2, 19.5]], rtol=1e-6
    )
    assert box_ops.rescale(np.zeros((2, 0, 4)), [[1, 1]] * 2, [[2, 2]] * 2).shape == (2, 0, 4)


def test_rescale_keeps_a_border_a_border(rng):
    """There and back, exactly: a factor new / old, rounded, would move some by a last bit."""
    for old in rng.integers(1, 2000, (200, 2)):
        new = rng.integers(1, 1000, 2)
        scaled = box_ops.rescale(np.float32([[0, 0, *old]]), old, new)
        np.testing.assert_array_equal(scaled[0], [0, 0, *new])
        np.testing.assert_array_equal(box_ops.rescale(scaled, new, old)[0], [0, 0, *old])


def test_inside_allows_the_border_itself():
    boxes = [
        [0, 0, 10, 20],
        [-0.01, 0, 10, 20],
        [0, -0.01, 10, 20],
        [0, 0, 10.01, 20],
        [0, 0, 10, 20.01],
    ]
    result = box_ops.inside(boxes, [[10, 20], [30, 30]])
    np.testing.assert_array_equal(result, [[1, 0, 0, 0, 0], [1, 0, 0, 1, 1]])
