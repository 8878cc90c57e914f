"""Assignment by hand and against the reference; the draw's counts, seeds and fairness."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.ops import matching
from tests import reference

P, N, I = reference.POSITIVE, reference.NEGATIVE, reference.IGNORED  # noqa: E741


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def assign(candidates, gt_boxes, valid=None, **options):
    """``matching.assign`` on one image, as NumPy arrays."""
    gt_boxes = np.asarray(gt_boxes, "float32").reshape(1, -1, 4)
    valid = np.ones(gt_boxes.shape[:2], bool) if valid is None else np.asarray([valid])
    options = {"fg_iou_threshold": 0.7, "bg_iou_threshold": 0.3, **options}
    for name in {"eligible", "ignore"} & set(options):
        options[name] = tf.constant([options[name]])
    results = matching.assign(np.asarray(candidates, "float32"), gt_boxes, valid, **options)
    assert [r.dtype for r in results] == [tf.int32, tf.int32, tf.float32]
    return [r[0].numpy() for r in results]


def strips(*widths):
    """Boxes of height 1 from 0 to the widths: IoU with a box of width 20 is width / 20."""
    return [[0, 0, 1, width] for width in widths]


def test_thresholds_are_met_exactly():
    candidates = strips(20, 15, 14.9, 10, 5, 4.9, 0)
    labels, index, iou = assign(
        candidates, strips(20), fg_iou_threshold=0.75, bg_iou_threshold=0.25
    )
    assert labels.tolist() == [P, P, I, I, I, N, N]
    assert index.tolist() == [0] * 7
    np.testing.assert_allclose(iou, [1, 0.75, 0.745, 0.5, 0.25, 0.245, 0], rtol=1e-6)


def test_lower_bound_of_background():
    options = {"fg_iou_threshold": 0.5, "bg_iou_threshold": 0.5, "bg_iou_threshold_low": 0.125}
    labels, _, _ = assign(strips(20, 10, 9.9, 2.5, 2.4, 0), strips(20), **options)
    assert labels.tolist() == [P, P, N, N, I, I]


def test_every_best_box_of_an_object_is_positive():
    two_best = [[0, 0, 1, 4], [0, 4, 1, 8], [0, 0, 1, 3], [5, 5, 6, 6]]
    labels, index, _ = assign(two_best, strips(20), force_best=True)
    assert labels.tolist() == [P, P, N, N]  # 0.2 is far below both thresholds
    assert assign(two_best, strips(20))[0].tolist() == [N, N, N, N]
    assert index.tolist() == [0, 0, 0, 0]


def test_ties_between_unlike_boxes_are_exact():
    # A third of the object, and three times the object: equal numbers, found by different sums.
    labels, _, iou = assign(strips(4, 36, 3.99), strips(12), bg_iou_threshold=0.5, force_best=True)
    assert iou[0] == iou[1]
    assert labels.tolist() == [P, P, N]  # a box that is a little worse is no tie


def test_a_forced_box_keeps_its_own_best_object():
    # The box is the only one near the second object, but nearer to the first.
    labels, index, _ = assign([[0, 0, 1, 10]], [[0, 0, 1, 9], [0, 5, 1, 15]], force_best=True)
    assert (labels.tolist(), index.tolist()) == ([P], [0])


def test_an_object_that_overlaps_no_box_makes_no_positives():
    labels, _, _ = assign(strips(10, 20), [[50, 50, 60, 60]], force_best=True)
    assert labels.tolist() == [N, N]
    labels, _, _ = assign(strips(10, 20), [[5, 5, 5, 5]], force_best=True)  # no area
    assert labels.tolist() == [N, N]


def test_the_first_of_equal_objects_is_matched():
    labels, index, _ = assign(strips(20), strips(10, 20, 20), force_best=True)
    assert (labels.tolist(), index.tolist()) == ([P], [1])


@pytest.mark.parametrize("force_best", [True, False])
@pytest.mark.parametrize("padding", [0, 3])
def test_no_objects(force_best, padding):
    # Padding rows match nothing, even if they hold a box.
    labels, _, iou = assign(
        strips(10, 20, 0), strips(20) * padding, [False] * padding, force_best=force_best
    )
    assert labels.tolist() == [N, N, N]
    assert iou.tolist() == [0, 0, 0]


def test_padding_beside_an_object():
    padded = [[0, 0, 0, 0], [0, 0, 1, 20], [0, 0, 1, 10]]
    labels, index, _ = assign(strips(20, 10, 0), padded, [False, True, False], force_best=True)
    assert labels.tolist() == [P, I, N]
    assert index[0] == 1


def test_boxes_that_may_not_take_part():
    labels, _, iou = assign(
        strips(20, 14, 1), strips(20), eligible=[False, True, True], force_best=True
    )
    assert labels.tolist() == [I, P, N]  # the second is the best of those left
    assert iou[0] == 0


def test_regions_to_ignore():
    candidates = [[0, 0, 1, 10], [0, 10, 1, 20], [0, 12, 1, 22], [40, 40, 41, 50]]
    gt_boxes, ignore = [[0, 0, 1, 10], [0, 0, 1, 15]], [False, True]
    labels, _, iou = assign(candidates, gt_boxes, [True, False], ignore=ignore)
    assert labels.tolist() == [P, I, N, N]  # exactly half inside is inside; positive wins
    assert iou.tolist() == [1, 0, 0, 0]


def test_assign_equals_the_reference(rng):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        candidates = reference.random_boxes(rng, (80,), whole=True)
        gt_boxes = reference.random_boxes(rng, (4,), whole=True)
        regions = reference.random_boxes(rng, (2,), whole=True)
        eligible = rng.random(80) < 0.8
        labels, index, _ = assign(
            candidates,
            np.concatenate([gt_boxes, regions]),
            [True] * 4 + [False] * 2,
            fg_iou_threshold=0.5,
            force_best=True,
            eligible=eligible,
            ignore=[False] * 4 + [True] * 2,
        )
        expected, match = reference.label_anchors(
            candidates, gt_boxes, (0, 0), 0.5, 0.3, True, eligible, regions
        )
        assert set(expected) == {P, N, I}
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_array_equal(index[labels == P], match[labels == P])


def test_each_image_of_a_batch_is_assigned_alone(rng):
    candidates = reference.random_boxes(rng, (2, 30))
    gt_boxes = reference.random_boxes(rng, (2, 3))
    valid = np.array([[True, True, True], [True, False, False]])
    options = {"fg_iou_threshold": 0.5, "bg_iou_threshold": 0.3, "force_best": True}
    together = matching.assign(candidates, gt_boxes, valid, **options)
    for b in range(2):
        count = valid[b].sum()
        alone = matching.assign(
            candidates[b : b + 1], gt_boxes[b : b + 1, :count], valid[b : b + 1, :count], **options
        )
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_array_equal(one[b], other[0])


def test_assign_has_no_gradient():
    candidates = tf.constant([strips(20.0, 10.0)])
    with tf.GradientTape() as tape:
        tape.watch(candidates)
        _, _, iou = matching.assign(
            candidates,
            [strips(20.0)],
            tf.constant([[True]]),
            fg_iou_threshold=0.5,
            bg_iou_threshold=0.5,
        )
        total = tf.reduce_sum(iou)
    assert total == 1.5
    assert tape.gradient(total, candidates) is None


def test_gather():
    values = tf.constant([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    result = matching.gather(values, [[1, 2, 0], [0, 0, 2]])
    np.testing.assert_array_equal(result, [[[3, 4], [0, 0], [1, 2]], [[5, 6], [5, 6], [0, 0]]])
    np.testing.assert_array_equal(matching.gather(tf.zeros([1, 0], tf.int32), [[0, 0]]), [[0, 0]])
