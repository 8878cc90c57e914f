"""The box head's samples: targets by hand and by the reference, counts, padding, gradients."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.layers import ProposalSampler
from tests import reference
from tests.base import as_numpy, assert_valid_boxes, run_layer_test

SEED = np.array([1, 2], "int32")
STD = (0.1, 0.1, 0.2, 0.2)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def sample(proposals, gt_boxes, gt_labels, valid=None, seed=SEED, ignore=None, **options):
    """Calls the layer on one image; returns the valid rows as (roi, label, deltas)."""
    proposals = np.asarray(proposals, "float32").reshape(1, -1, 4)
    gt_boxes = np.asarray(gt_boxes, "float32").reshape(1, -1, 4)
    gt_labels = np.asarray(gt_labels, "int32").reshape(1, -1)
    valid = np.ones(proposals.shape[:2], bool) if valid is None else np.array([valid])
    kwargs = {} if ignore is None else {"ignore": np.array([ignore])}
    layer = ProposalSampler(**{"num_samples": 8, "fg_fraction": 0.5, **options})
    result = as_numpy(layer(proposals, valid, gt_boxes, gt_labels, seed, **kwargs))
    check_form(result, layer.num_samples)
    rows = result["weights"][0] > 0
    return [result[name][0][rows] for name in ("rois", "labels", "deltas")]


def check_form(result, num_samples):
    """Asserts shapes, types and that padding counts for nothing."""
    assert {name: (t.dtype, t.shape[1:]) for name, t in result.items()} == {
        "rois": (np.float32, (num_samples, 4)),
        "labels": (np.int32, (num_samples,)),
        "deltas": (np.float32, (num_samples, 4)),
        "weights": (np.float32, (num_samples,)),
    }
    assert set(np.unique(result["weights"])) <= {0, 1}
    assert_valid_boxes(result["rois"], valid=result["weights"] > 0)
    assert (result["labels"][result["weights"] == 0] == 0).all()
    assert (result["deltas"][result["labels"] == 0] == 0).all()
    assert np.isfinite(result["deltas"]).all()


def as_dict(rois, labels, _):
    return {tuple(roi): int(label) for roi, label in zip(rois.tolist(), labels, strict=True)}


OBJECT = [0, 0, 20, 20]


def test_by_hand():
    proposals = [[0, 0, 20, 10], [0, 0, 20, 9.9], [50, 50, 70, 70], [0, 10, 20, 30]]
    rois, labels, deltas = sample(proposals, [OBJECT], [4])
    assert as_dict(rois, labels, deltas) == {
        (0, 0, 20, 20): 5,  # the true box itself; class 4 is 5 beside background
        (0, 0, 20, 10): 5,  # IoU exactly 0.5
        (0, 0, 20, np.float32(9.9)): 0,
        (50, 50, 70, 70): 0,
        (0, 10, 20, 30): 0,  # 1/3
    }
    row = rois.tolist().index([0, 0, 20, 10])
    np.testing.assert_allclose(deltas[row], [0, 5, 0, np.log(2) / 0.2], rtol=1e-6)
    assert (deltas[rois.tolist().index(OBJECT)] == 0).all()


def test_without_the_true_boxes():
    rois, labels, _ = sample([[0, 0, 20, 9]], [OBJECT], [4], append_gt_boxes=False)
    assert (rois.tolist(), labels.tolist()) == ([[0, 0, 20, 9]], [0])


def test_the_lower_bound_of_background():
    proposals = [[0, 0, 20, 2], [0, 0, 20, 1.9], [50, 50, 70, 70], [0, 0, 20, 9]]
    options = {"bg_iou_threshold_low": 0.1, "append_gt_boxes": False}
    rois, labels, _ = sample(proposals, [OBJECT], [0], **options)
    assert (sorted(rois[:, 3]), labels.tolist()) == ([2, 9], [0, 0])
    assert sample(proposals[1:3], [OBJECT], [0], **options)[1].tolist() == []  # none is left


def test_between_the_thresholds_is_neither():
    options = {"fg_iou_threshold": 0.75, "bg_iou_threshold": 0.25, "append_gt_boxes": False}
    proposals = [[0, 0, 20, 15], [0, 0, 20, 14.9], [0, 0, 20, 5], [0, 0, 20, 4.9]]
    found = as_dict(*sample(proposals, [OBJECT], [0], **options))
    assert found == {(0, 0, 20, 15): 1, (0, 0, 20, np.float32(4.9)): 0}


def test_the_first_of_equal_objects_is_learned():
    assert sample([], [OBJECT, OBJECT], [7, 3])[1].tolist() == [8, 8]


@pytest.mark.parametrize("num_padding", [0, 2])
def test_without_objects_all_samples_are_background(num_padding):
    # A padding row that holds a box is padding all the same.
    rois, labels, _ = sample(
        [[0, 0, 20, 19], [5, 5, 9, 9]], [OBJECT] * num_padding, [-1] * num_padding
    )
    assert sorted(rois.tolist()) == [[0, 0, 20, 19], [5, 5, 9, 9]]
    assert labels.tolist() == [0, 0]


def test_padding_proposals_are_never_drawn():
    # A padding row that holds a box is padding all the same.
    rois, _, _ = sample([[0, 0, 0, 0], OBJECT, [5, 5, 9, 9]], [], [], valid=[False, False, True])
    assert rois.tolist() == [[5, 5, 9, 9]]


def test_nothing_at_all():
    assert sample([[0, 0, 0, 0]], [[0, 0, 0, 0]], [-1], valid=[False])[1].tolist() == []


def test_true_boxes_alone():
    assert as_dict(*sample([], [OBJECT], [2])) == {tuple(OBJECT): 3}


def test_true_boxes_without_area_do_not_join():
    proposals = [[0, 0, 20, 20]]
    for box in ([5, 5, 5, 9], [9, 9, 5, 5], [0, 0, 0, 0]):
        assert as_dict(*sample(proposals, [box], [2])) == {(0, 0, 20, 20): 0}


def test_a_box_larger_than_the_image():
    box = [-1000, -1000, 3000, 3000]
    rois, labels, deltas = sample([[0, 0, 2900, 2900]], [box], [0], fg_fraction=1.0)
    assert labels.tolist() == [1, 1]
    np.testing.assert_allclose(deltas, reference.encode(rois, [box] * 2, STD), atol=1e-5)


def test_regions_to_ignore_are_neither():
    proposals = [OBJECT, [0, 10, 20, 30], [0, 11, 20, 31], [50, 50, 60, 60]]
    found = as_dict(*sample(proposals, [OBJECT], [3], ignore=[True]))
    assert found == {(0, 11, 20, 31): 0, (50, 50, 60, 60): 0}
    found = as_dict(*sample(proposals, [OBJECT], [-1], ignore=[True]))
    assert len(found) == 4  # padding ignores nothing


@pytest.mark.parametrize(("num_samples", "fg_fraction"), [(16, 0.25), (8, 1.0), (200, 0.5)])
def test_equal_the_reference(rng, num_samples, fg_fraction):
    gt_boxes, gt_labels = reference.random_boxes(rng, (5,)), np.array([3, 0, 3, 1, 2])
    near = gt_boxes[rng.integers(0, 5, 40)] + rng.normal(0, 3, (40, 4))
    proposals = np.concatenate([near, reference.random_boxes(rng, (40,))]).astype("float32")
    proposals[:, 2:] = np.maximum(proposals[:, 2:], proposals[:, :2] + 1)
    rois, labels, deltas = sample(
        proposals, gt_boxes, gt_labels, num_samples=num_samples, fg_fraction=fg_fraction
    )
    everything = np.concatenate([proposals, gt_boxes])
    table = reference.iou(everything, gt_boxes)
    kinds = np.where(table.max(axis=1) >= 0.5, reference.POSITIVE, reference.NEGATIVE)
    counts = reference.sample_counts(kinds, num_samples, fg_fraction)
    assert ((labels > 0).sum(), (labels == 0).sum()) == counts
    assert len({tuple(roi) for roi in rois.tolist()}) == sum(counts)

    table = reference.iou(rois, gt_boxes)
    match = table.argmax(axis=1)
    foreground = table.max(axis=1) >= 0.5
    np.testing.assert_array_equal(labels, np.where(foreground, gt_labels[match] + 1, 0))
    expected = reference.encode(rois, gt_boxes[match], STD)
    np.testing.assert_allclose(deltas[foreground], expected[foreground], atol=1e-3)


def test_the_seed_decides_the_draw(rng):
    proposals = reference.random_boxes(rng, (50,))
    draws = [
        sample(proposals, [OBJECT], [0], seed=np.array(seed, "int32"))[0].tobytes()
        for seed in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


def test_a_batch_equals_its_images(rng):
    proposals, gt_boxes = reference.random_boxes(rng, (2, 20)), reference.random_boxes(rng, (2, 3))
    proposals[1, 12:], gt_boxes[1, 1:] = 0, 0
    valid = np.arange(20) < np.array([[20], [12]])
    gt_labels = np.array([[0, 1, 2], [5, -1, -1]])
    layer = ProposalSampler(num_samples=30, fg_fraction=1.0)  # all are drawn, in any order

    def as_set(result, b):
        columns = (np.asarray(result[name][b]) for name in ("rois", "labels", "deltas", "weights"))
        rows = zip(*columns, strict=True)
        return {(*r.tolist(), int(c), *np.round(d, 3).tolist()) for r, c, d, w in rows if w > 0}

    ignore = np.zeros((2, 3), bool)
    together = run_layer_test(layer, proposals, valid, gt_boxes, gt_labels, SEED, ignore=ignore)
    for b, (num_proposals, num_objects) in enumerate([(20, 3), (12, 1)]):
        alone = layer(
            proposals[b : b + 1, :num_proposals],
            valid[b : b + 1, :num_proposals],
            gt_boxes[b : b + 1, :num_objects],
            gt_labels[b : b + 1, :num_objects],
            SEED,
        )
        assert as_set(together, b) == as_set(alone, 0)
        assert len(as_set(alone, 0)) == num_proposals + num_objects


def test_gradient_flows_to_the_proposals_from_rois_and_from_targets():
    proposals = tf.constant(
        [[[0.0, 0.0, 20.0, 15.0], [50.0, 50.0, 70.0, 70.0], [1.0, 1.0, 2.0, 2.0]]]
    )
    gt_boxes = tf.constant([[[0.0, 0.0, 20.0, 20.0]]])
    layer = ProposalSampler(num_samples=8, fg_fraction=0.5)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(proposals)
        result = layer(proposals, np.array([[True, True, False]]), gt_boxes, np.array([[0]]), SEED)
        rois, targets = tf.reduce_sum(result["rois"]), tf.reduce_sum(result["deltas"])
    assert np.abs(result["deltas"]).max() > 0
    np.testing.assert_array_equal(tape.gradient(rois, proposals), [[[1] * 4, [1] * 4, [0] * 4]])

    def targets_of(box):
        return np.sum(reference.encode(box[np.newaxis], gt_boxes[0], layer.box_delta_std))

    expected = np.zeros((1, 3, 4))
    expected[0, 0] = reference.central_differences(targets_of, proposals[0, 0])
    received = tape.gradient(targets, proposals)
    assert np.count_nonzero(np.abs(expected) > 0.1) == 3
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-6)


def test_half_precision_leaves_coordinates_alone():
    # 1001 and 1003 are one number in bfloat16.
    layer = ProposalSampler(num_samples=2, fg_fraction=1.0, dtype="mixed_bfloat16")
    proposals = np.array([[[0, 0, 1001, 1003]]], "float32")
    gt_boxes = np.array([[[0, 0, 1003, 1003]]], "float32")
    result = layer(proposals, np.array([[True]]), gt_boxes, np.array([[0]]), SEED)
    assert sorted(result["rois"][0].numpy().tolist()) == [[0, 0, 1001, 1003], [0, 0, 1003, 1003]]


def test_an_image_has_the_same_samples_whatever_pads_its_proposals_and_objects(rng):
    proposals = rng.uniform(0, 40, (1, 30, 4)).astype("float32")
    proposals[..., 2:] += proposals[..., :2]
    boxes = np.array([[[5, 5, 30, 40], [20, 41, 60, 90]]], "float32")
    labels, layer = np.array([[0, 2]]), ProposalSampler(num_samples=8, fg_fraction=0.5)
    seed = np.array([[3, 4]])
    alone = as_numpy(layer(proposals, np.ones((1, 30), bool), boxes, labels, seed))
    assert alone["weights"].all() and alone["labels"].any()
    # More rows of padding behind both, and another image above.
    padded = np.zeros((2, 50, 4), "float32")
    padded[1, :30], padded[0] = proposals[0], rng.uniform(0, 90, (50, 4))
    valid = np.stack([np.ones(50, bool), np.arange(50) < 30])
    more_boxes, more_labels = np.zeros((2, 5, 4), "float32"), np.full((2, 5), -1)
    more_boxes[1, :2], more_labels[1, :2] = boxes[0], labels[0]
    together = as_numpy(layer(padded, valid, more_boxes, more_labels, np.array([[1, 1], [3, 4]])))
    for name, value in alone.items():
        np.testing.assert_array_equal(together[name][1], value[0], err_msg=name)
