"""Suppression: picks by hand, against the greedy reference, and where there is nothing to pick."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn import nms
from tests import reference


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def picks(boxes, scores, k, threshold, valid=None):
    """``nms.suppress`` on one picture: the rows kept, best first."""
    boxes, scores = np.asarray([boxes], "float32"), np.asarray([scores], "float32")
    valid = np.ones(scores.shape, bool) if valid is None else np.asarray([valid])
    indices, kept = nms.suppress(boxes, scores, valid, k, threshold)
    assert (indices.dtype, kept.dtype) == (tf.int32, tf.bool)
    assert indices.shape == kept.shape == (1, k)
    indices, kept = indices[0].numpy(), kept[0].numpy()
    assert (indices[~kept] == 0).all()
    assert (np.diff(kept.astype(int)) <= 0).all()  # padding comes last
    return indices[kept].tolist()


FULL, LEFT_HALF, FAR = [0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]


def test_suppress_by_hand():
    assert picks([FULL, [0, 0, 10, 9], FAR], [0.5, 0.9, 0.1], 3, 0.7) == [1, 2]
    assert picks([FULL, [0, 0, 10, 9], FAR], [0.5, 0.9, 0.1], 1, 0.7) == [1]


def test_an_iou_equal_to_the_threshold_suppresses_nothing():
    assert picks([FULL, LEFT_HALF], [1, 0], 2, 0.5) == [0, 1]
    assert picks([FULL, LEFT_HALF], [1, 0], 2, 0.499) == [0]


def test_a_suppressed_box_suppresses_nothing():
    chain = [[0, 0, 10, 10], [0, 4, 10, 14], [0, 8, 10, 18]]  # neighbours overlap by 6/14
    assert picks(chain, [3, 2, 1], 3, 0.4) == [0, 2]


def test_ties_of_score_go_to_the_lower_row():
    assert picks([FAR, FULL, FULL, FAR], [1, 1, 1, 1], 4, 0.5) == [0, 1]
    boxes = [[0, 20 * i, 10, 20 * i + 10] for i in range(50)]
    assert picks(boxes, [7] * 50, 20, 0.5) == list(range(20))


def test_invalid_rows_are_neither_kept_nor_suppress():
    assert picks([FULL, FULL, FAR], [9, 1, 0], 3, 0.5, [False, True, True]) == [1, 2]
    assert picks([FULL, FULL, FAR], [np.inf, 1, np.nan], 3, 0.5, [False, True, False]) == [1]
    assert picks([FULL, FAR], [1, 2], 3, 0.5, [False, False]) == []


def test_boxes_without_area_suppress_nothing():
    flat = [[5, 0, 5, 10], [5, 0, 5, 10], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert picks([*flat, FULL], [5, 4, 3, 2, 1], 5, 0.0) == [0, 1, 2, 3, 4]


def test_more_room_than_boxes():
    assert picks([FULL], [1], 5, 0.5) == [0]
    assert picks(np.zeros((0, 4)), [], 5, 0.5) == []


def test_negative_and_huge_scores_take_part():
    assert picks([FULL, FAR, LEFT_HALF], [-1e30, -5, np.inf], 3, 0.7) == [2, 1, 0]


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("k", [5, 60])
def test_suppress_equals_the_reference(rng, threshold, k):
    # Whole corners and few distinct scores make many ties.
    boxes = reference.random_boxes(rng, (2, 60), whole=True)
    scores = rng.integers(0, 12, (2, 60)).astype("float32")
    valid = rng.random((2, 60)) < 0.8
    indices, kept = nms.suppress(boxes, scores, valid, k, threshold)
    for b in range(2):
        expected = reference.nms(boxes[b], scores[b], k, threshold, valid[b])
        assert indices[b][kept[b]].numpy().tolist() == expected
        assert picks(boxes[b], scores[b], k, threshold, valid[b]) == expected


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_suppress_works_in_float32(dtype):
    boxes = tf.constant([[[0, 0, 1000, 600], [0, 0, 1000, 592], [0, 0, 500, 600]]], dtype)
    indices, kept = nms.suppress(boxes, tf.constant([[1, 2, 3]], dtype), [[True] * 3], 3, 0.7)
    assert indices[0][kept[0]].numpy().tolist() == [2, 1]


def per_class(boxes, scores, k=4, iou_threshold=0.5, score_threshold=0.1):
    """``nms.suppress_per_class`` on one picture: list of (class, score, box)."""
    results = nms.suppress_per_class(
        np.asarray([boxes], "float32"),
        np.asarray([scores], "float32"),
        k,
        iou_threshold,
        score_threshold,
    )
    boxes, scores, classes, counts = (result[0].numpy() for result in results)
    assert boxes.shape == (k, 4) and scores.shape == classes.shape == (k,)
    assert classes.dtype == counts.dtype == np.int32
    assert (boxes[counts:] == 0).all() and (scores[counts:] == 0).all()
    assert (classes[counts:] == -1).all()
    found = zip(classes[:counts], scores[:counts], boxes[:counts], strict=True)
    return [(int(c), float(s), b.tolist()) for c, s, b in found]


def test_classes_do_not_suppress_each_other():
    found = per_class([[FULL, FULL], [FULL, FULL]], [[0.5, 0.75], [0.25, 0.625]])
    assert found == [(1, 0.75, FULL), (0, 0.5, FULL)]


def test_each_class_has_its_own_boxes():
    found = per_class([[FULL, FAR], [LEFT_HALF, [50, 50, 60, 59]]], [[0.5, 0.25], [0.75, 0.875]])
    assert found == [
        (1, 0.875, [50, 50, 60, 59]),
        (0, 0.75, LEFT_HALF),
        (0, 0.5, FULL),  # IoU is exactly the threshold
    ]


def test_only_scores_above_the_threshold_take_part():
    assert per_class([[FULL], [FAR]], [[0.5], [0.25]], score_threshold=0.25) == [(0, 0.5, FULL)]
    assert per_class([[FULL], [FAR]], [[0.5], [0.0]], score_threshold=0.0) == [(0, 0.5, FULL)]
    assert per_class([[FULL], [FAR]], [[0.5], [0.25]], score_threshold=0.5) == []


def test_the_best_of_all_classes_are_kept():
    scores = np.arange(1, 13).reshape(4, 3) / 16
    boxes = np.array([[[0, 20 * i, 10, 20 * i + 10]] * 3 for i in range(4)])
    found = per_class(boxes, scores, k=5, score_threshold=0.0)
    assert [(c, s) for c, s, _ in found] == [
        (2, 0.75),
        (1, 0.6875),
        (0, 0.625),
        (2, 0.5625),
        (1, 0.5),
    ]
    # One class may fill the answer.
    only = np.where([True, False, False], scores, 0)
    assert [c for c, _, _ in per_class(boxes, only, k=4, score_threshold=0.0)] == [0, 0, 0, 0]


@pytest.mark.parametrize("iou_threshold", [0.3, 0.6])
def test_suppress_per_class_equals_the_reference(rng, iou_threshold):
    boxes = reference.random_boxes(rng, (2, 25, 3))
    scores = rng.random((2, 25, 3)).astype("float32")
    result = nms.suppress_per_class(boxes, scores, 30, iou_threshold, 0.2)
    for b in range(2):
        expected = []
        for c in range(3):
            kept = reference.nms(
                boxes[b, :, c], scores[b, :, c], 30, iou_threshold, scores[b, :, c] > 0.2
            )
            expected += [(scores[b, i, c], c, boxes[b, i, c]) for i in kept]
        expected = sorted(expected, key=lambda one: -one[0])[:30]
        count = int(result[3][b])
        assert count == len(expected)
        np.testing.assert_array_equal(result[0][b, :count], [one[2] for one in expected])
        np.testing.assert_array_equal(result[1][b, :count], [one[0] for one in expected])
        np.testing.assert_array_equal(result[2][b, :count], [one[1] for one in expected])
