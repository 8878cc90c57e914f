"""The RPN's targets: the paper's rules by hand and by the reference, draws, padding, batches."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.layers import AnchorGenerator, AnchorTargetAssigner
from tests import reference
from tests.base import as_numpy, run_layer_test

P, N, IGNORED = reference.POSITIVE, reference.NEGATIVE, reference.IGNORED
SEED = np.array([1, 2], "int32")
GENERATOR = AnchorGenerator(scales=(16, 32), ratios=(0.5, 1, 2), stride=8)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def grid(h, w):
    """Anchors of a map of h x w cells of 8 pixels."""
    return GENERATOR(tf.zeros([1, h, w, 1])).numpy()


def targets_of(layer, anchors, gt_boxes, gt_labels, image_shape, seed=SEED, **options):
    """Calls the layer on one image; returns the valid rows as (anchor row, label, deltas)."""
    gt_boxes = np.asarray(gt_boxes, "float32").reshape(1, -1, 4)
    gt_labels = np.asarray(gt_labels, "int32").reshape(1, -1)
    result = layer(anchors, gt_boxes, gt_labels, np.array([image_shape]), seed, **options)
    result = as_numpy(result)
    check_form(result, layer.num_samples, len(anchors))
    rows = result["weights"][0] > 0
    return [result[name][0][rows] for name in ("indices", "labels", "deltas")]


def check_form(result, num_samples, num_anchors):
    """Asserts shapes, types and that padding counts for nothing."""
    assert {name: (t.dtype, t.shape[1:]) for name, t in result.items()} == {
        "indices": (np.int32, (num_samples,)),
        "labels": (np.int32, (num_samples,)),
        "deltas": (np.float32, (num_samples, 4)),
        "weights": (np.float32, (num_samples,)),
    }
    assert set(np.unique(result["weights"])) <= {0, 1}
    assert set(np.unique(result["labels"])) <= {0, 1}
    assert ((result["indices"] >= 0) & (result["indices"] < max(num_anchors, 1))).all()
    assert (result["labels"][result["weights"] == 0] == 0).all()
    assert (result["deltas"][result["labels"] == 0] == 0).all()
    assert np.isfinite(result["deltas"]).all()


def test_by_hand():
    anchors = np.array(
        [
            [0, 0, 10, 10],  # IoU 0.8 with the first object: positive
            [0, 0, 10, 5],  # 0.4: neither
            [20, 20, 30, 30],  # nothing: negative
            [20, 0, 30, 11],  # 0.275 with the second object, its best: positive
            [40, 0, 50, 40],  # crosses the border: takes no part, though it is an object's twin
            [10, 0, 20, 2],  # nothing: negative
        ],
        "float32",
    )
    gt_boxes = [[0, 0, 10, 8], [20, 0, 30, 40], [40, 0, 50, 40]]
    layer = AnchorTargetAssigner(num_samples=8)
    indices, labels, deltas = targets_of(layer, anchors, gt_boxes, [3, 0, 1], (45, 60))
    expected = {
        0: (1, [0, -0.1, 0, np.log(0.8)]),
        2: (0, [0] * 4),  # 0.25 with the second object
        3: (1, [0, 14.5 / 11, 0, np.log(40 / 11)]),
        5: (0, [0] * 4),
    }
    assert sorted(indices) == sorted(expected)
    for index, label, delta in zip(indices, labels, deltas, strict=True):
        assert label == expected[index][0]
        np.testing.assert_allclose(delta, expected[index][1], atol=1e-6)


def test_all_the_paper_s_anchors_around_a_small_object_tie():
    # All have 128 x 128 pixels, at (128 - 40) / 16 squared and twice (90.5 - 40) / 16 times
    # (181 - 40) / 16 places.
    anchors = AnchorGenerator()(tf.zeros([1, 37, 50, 1]))
    box = np.array([290.3, 390.7, 330.3, 430.7], "float32")
    assignment, _ = AnchorTargetAssigner().assign(
        anchors, box.reshape(1, 1, 4), tf.constant([[0]]), tf.constant([[592, 800]])
    )
    positive = anchors.numpy()[assignment[0] == P]
    expected = [
        a
        for a in anchors.numpy()
        if (a[:2] <= box[:2]).all() and (a[2:] >= box[2:]).all() and reference.area(a) < 2e4
    ]
    assert len(expected) > 50
    np.testing.assert_array_equal(positive, expected)


def test_the_border_itself_is_inside():
    anchors = np.array(
        [[0, 0, 10, 20], [0, 0, 10.01, 20], [0, 0, 10, 20.01], [-0.01, 0, 9, 9]], "float32"
    )
    layer = AnchorTargetAssigner(num_samples=4)
    assert targets_of(layer, anchors, [], [], (10, 20))[0].tolist() == [0]
    layer = AnchorTargetAssigner(num_samples=4, border_anchors=True)
    assert sorted(targets_of(layer, anchors, [], [], (10, 20))[0]) == [0, 1, 2, 3]


@pytest.mark.parametrize("border_anchors", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_assignment_equals_the_reference(border_anchors, seed):
    rng = np.random.default_rng(seed)
    anchors, image_shape = grid(6, 7), (44, 55)
    gt_boxes = reference.random_boxes(rng, (4,), image_shape, largest=40, whole=True)
    valid = rng.random(len(anchors)) < 0.9
    layer = AnchorTargetAssigner(fg_iou_threshold=0.5, border_anchors=border_anchors)
    assignment, index = layer.assign(
        tf.constant(anchors),
        tf.constant(gt_boxes[np.newaxis]),
        tf.constant([[5, 0, 2, -1]]),
        tf.constant([image_shape]),
        tf.constant([valid]),
        tf.constant([[False, False, True, True]]),
    )
    # The third is a region to ignore; the fourth is padding, which ignores nothing either.
    expected, match = reference.label_anchors(
        anchors, gt_boxes[:2], image_shape, 0.5, 0.3, border_anchors, valid, gt_boxes[2:3]
    )
    assert {P, N, IGNORED} == set(expected)
    np.testing.assert_array_equal(assignment[0], expected)
    np.testing.assert_array_equal(index[0][expected == P], match[expected == P])


def test_targets_equal_the_reference(rng):
    anchors, image_shape = grid(6, 7), (48, 56)
    gt_boxes = reference.clip(reference.random_boxes(rng, (3,), image_shape), image_shape)
    layer = AnchorTargetAssigner(fg_iou_threshold=0.4, num_samples=len(anchors), fg_fraction=1.0)
    indices, labels, deltas = targets_of(layer, anchors, gt_boxes, [0, 7, 1], image_shape)
    expected, match = reference.label_anchors(anchors, gt_boxes, image_shape, 0.4, 0.3)
    assert sorted(indices) == np.flatnonzero(expected != IGNORED).tolist()
    np.testing.assert_array_equal(labels, expected[indices] == P)
    assert labels.sum() > 3
    positive = labels == 1
    targets = reference.encode(anchors[indices], gt_boxes[match[indices]])
    np.testing.assert_allclose(deltas[positive], targets[positive], atol=1e-4)


@pytest.mark.parametrize(("num_samples", "fg_fraction"), [(4, 0.5), (40, 0.25), (500, 0.5)])
def test_counts_are_exact(rng, num_samples, fg_fraction):
    anchors, image_shape = grid(8, 8), (64, 64)
    gt_boxes = reference.clip(reference.random_boxes(rng, (6,), image_shape), image_shape)
    layer = AnchorTargetAssigner(0.5, num_samples=num_samples, fg_fraction=fg_fraction)
    indices, labels, _ = targets_of(layer, anchors, gt_boxes, range(6), image_shape)
    expected, _ = reference.label_anchors(anchors, gt_boxes, image_shape, 0.5, 0.3)
    counts = reference.sample_counts(expected, num_samples, fg_fraction)
    assert (labels.sum(), (1 - labels).sum()) == counts
    assert len(set(indices)) == sum(counts)


@pytest.mark.parametrize("num_padding", [0, 2])
def test_without_objects_all_samples_are_background(num_padding):
    # A padding row that holds a box is padding all the same.
    layer = AnchorTargetAssigner(num_samples=10)
    indices, labels, _ = targets_of(
        layer, grid(8, 8), [[0, 0, 32, 32]] * num_padding, [-1] * num_padding, (64, 64)
    )
    assert len(indices) == 10 and (labels == 0).all()


def test_objects_without_area_or_out_of_reach_make_no_positives():
    for box in ([5, 5, 5, 30], [0, 0, 0, 0], [500, 500, 600, 600], [30, 30, 10, 10]):
        labels = targets_of(AnchorTargetAssigner(num_samples=10), grid(8, 8), [box], [0], (64, 64))[
            1
        ]
        assert labels.tolist() == [0] * 10


def test_an_object_larger_than_the_image_gets_its_best_anchor():
    anchors = grid(8, 8)
    box = [-100, -100, 300, 300]
    indices, labels, deltas = targets_of(
        AnchorTargetAssigner(num_samples=500, fg_fraction=1.0), anchors, [box], [0], (64, 64)
    )
    positive = indices[labels == 1]
    # All anchors of the largest area that are inside tie.
    inside = [i for i, a in enumerate(anchors) if min(a) >= 0 and max(a) <= 64]
    shared = reference.iou(anchors, [box])[:, 0]
    best = [i for i in inside if shared[i] > 0.999 * max(shared[inside])]
    assert len(best) > 1
    assert best == sorted(positive)
    expected = reference.encode(anchors[positive], [box] * len(positive))
    np.testing.assert_allclose(deltas[labels == 1], expected, rtol=1e-5)


def test_no_anchor_fits_into_the_image():
    layer = AnchorTargetAssigner(num_samples=5)
    indices, _, _ = targets_of(layer, grid(2, 2), [[0, 0, 5, 5]], [0], (6, 6))
    assert indices.tolist() == []


def test_fewer_anchors_than_samples():
    layer = AnchorTargetAssigner(num_samples=50)
    indices, labels, _ = targets_of(
        layer, np.array([[0, 0, 9, 9]], "float32"), [[0, 0, 9, 9]], [2], (9, 9)
    )
    assert (indices.tolist(), labels.tolist()) == ([0], [1])


def test_regions_to_ignore_are_no_background():
    anchors = np.array(
        [[0, 0, 10, 10], [0, 5, 10, 15], [0, 6, 10, 16], [30, 30, 40, 40]], "float32"
    )
    layer = AnchorTargetAssigner(num_samples=4)
    options = {"ignore": np.array([[True]])}
    indices, labels, _ = targets_of(layer, anchors, [[0, 0, 10, 10]], [0], (50, 50), **options)
    assert (sorted(indices), labels.tolist()) == ([2, 3], [0, 0])
    indices, _, _ = targets_of(layer, anchors, [[0, 0, 10, 10]], [-1], (50, 50), **options)
    assert sorted(indices) == [0, 1, 2, 3]  # padding ignores nothing


def test_the_seed_decides_the_draw():
    layer, anchors = AnchorTargetAssigner(num_samples=10), grid(8, 8)
    draws = [
        targets_of(layer, anchors, [[0, 0, 32, 32]], [0], (64, 64), np.array(seed, "int32"))[
            0
        ].tolist()
        for seed in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert draws[0] == draws[1]
    assert len({tuple(draw) for draw in draws}) == 3


def test_a_batch_of_two_sizes_equals_its_images(rng):
    sizes = [(6, 7), (4, 5)]
    image_shape = np.array([[8 * h, 8 * w] for h, w in sizes])
    anchors = grid(6, 7)
    row, column = np.divmod(np.arange(42).repeat(6), 7)
    valid = np.stack([(row < h) & (column < w) for h, w in sizes])
    gt_boxes = reference.random_boxes(rng, (2, 3), (32, 40), largest=30)
    gt_boxes[1, 1:] = 0
    gt_labels = np.array([[0, 1, 2], [4, -1, -1]])
    layer = AnchorTargetAssigner(0.5, num_samples=300, fg_fraction=1.0)
    together = run_layer_test(layer, anchors, gt_boxes, gt_labels, image_shape, SEED, valid=valid)
    check_form(together, 300, len(anchors))

    def as_set(result, anchors, b):
        rows = result["weights"][b] > 0
        return {
            (*anchors[i].tolist(), int(label), *np.round(delta, 4).tolist())
            for i, label, delta in zip(
                result["indices"][b][rows],
                result["labels"][b][rows],
                result["deltas"][b][rows],
                strict=True,
            )
        }

    for b, size in enumerate(sizes):
        count = (gt_labels[b] >= 0).sum()
        alone = layer(
            grid(*size),
            gt_boxes[b : b + 1, :count],
            gt_labels[b : b + 1, :count],
            image_shape[b : b + 1],
            SEED,
        )
        alone = as_numpy(alone)
        assert as_set(together, anchors, b) == as_set(alone, grid(*size), 0)
        assert alone["labels"].sum() > 0


def test_no_gradient_to_the_targets():
    anchors, gt_boxes = tf.constant(grid(4, 4)), tf.constant([[[1.0, 2.0, 20.0, 24.0]]])
    with tf.GradientTape() as tape:
        tape.watch([anchors, gt_boxes])
        result = AnchorTargetAssigner(0.3, num_samples=8)(
            anchors, gt_boxes, np.array([[0]]), np.array([[32, 32]]), SEED
        )
        total = tf.reduce_sum(result["deltas"]) + tf.reduce_sum(result["weights"])
    assert np.abs(result["deltas"]).max() > 0
    assert tape.gradient(total, [anchors, gt_boxes]) == [None, None]


def test_half_precision_leaves_coordinates_alone():
    # 1001 and 1003 are one number in bfloat16.
    anchors = np.array([[0, 0, 1001, 1001], [0, 0, 1003, 1003]], "float32")
    layer = AnchorTargetAssigner(num_samples=2, fg_fraction=1.0, dtype="mixed_bfloat16")
    result = layer(
        anchors,
        np.array([[[0, 0, 1001, 1003]]], "float32"),
        np.array([[0]]),
        np.array([[1003, 1003]]),
        SEED,
    )
    order = np.argsort(result["indices"][0])
    expected = reference.encode(anchors, [[0, 0, 1001, 1003]] * 2)
    np.testing.assert_allclose(result["deltas"][0].numpy()[order], expected, atol=1e-6)


def test_an_image_has_the_same_samples_alone_and_padded_beside_others(rng):
    small, large, layer = (4, 3), (6, 7), AnchorTargetAssigner(num_samples=6, border_anchors=True)
    boxes = np.array([[[3, 2, 20, 18], [0, 0, 0, 0]]] * 3, "float32")
    labels = np.array([[1, -1]] * 3, "int32")
    anchors = grid(*large).reshape(*large, -1, 4)
    own = np.zeros(anchors.shape[:3], bool)
    own[: small[0], : small[1]] = True
    ids = np.arange(own.size).reshape(own.shape)
    together = as_numpy(
        layer(
            anchors.reshape(-1, 4),
            boxes,
            labels,
            np.array([[48, 56], [32, 24], [48, 56]]),
            np.array([[1, 2], [3, 4], [5, 6]]),
            valid=np.stack([np.ones(own.size, bool), own.ravel(), np.ones(own.size, bool)]),
            ids=ids.ravel(),
        )
    )
    alone = as_numpy(
        layer(
            grid(*small),
            boxes[:1, :1],
            labels[:1, :1],
            np.array([[32, 24]]),
            np.array([[3, 4]]),
            ids=ids[own],
        )
    )
    rows = np.flatnonzero(own)
    np.testing.assert_array_equal(together["indices"][1], rows[alone["indices"][0]])
    for name in ("labels", "deltas", "weights"):
        np.testing.assert_array_equal(together[name][1], alone[name][0])
    assert alone["weights"].all() and alone["labels"].any()
