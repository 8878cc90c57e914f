"""Proposals by hand, against the reference, from hostile outputs, and their gradient."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.layers import AnchorGenerator, ProposalGenerator
from keras_frcnn.ops import nms
from tests import reference
from tests.base import as_numpy, assert_valid_boxes, run_layer_test

GENERATOR = AnchorGenerator(scales=(12, 24), ratios=(0.5, 1, 2), stride=8)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def grid(h, w):
    """Anchors of a map of h x w cells of 8 pixels."""
    return GENERATOR(tf.zeros([1, h, w, 1])).numpy()


def propose(anchors, objectness, deltas=None, image_shape=(100, 100), options=(), **kwargs):
    """Calls the layer on one image; returns its valid proposals and scores."""
    anchors = np.asarray(anchors, "float32")
    logits = np.zeros((1, len(anchors), 2), "float32")
    logits[0, :, 1] = objectness
    deltas = np.zeros((1, len(anchors), 4)) if deltas is None else np.array([deltas])
    layer = ProposalGenerator(**{"post_nms_top_k": 4, **dict(options)})
    shape = np.array([image_shape])
    result = layer(logits, deltas.astype("float32"), anchors, shape, **kwargs)
    boxes, scores, valid = as_numpy(result)
    assert boxes.shape == (1, layer.post_nms_top_k, 4)
    assert scores.dtype == np.float32 and valid.dtype == bool
    assert (scores[~valid] == 0).all()
    assert_valid_boxes(boxes, shape, valid)
    return boxes[valid].tolist(), scores[valid].tolist()


FULL, NEAR, FAR = [0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]


def test_by_hand():
    boxes, scores = propose([NEAR, FAR, FULL], [0, -np.log(3), np.log(3)])
    assert boxes == [FULL, FAR]
    np.testing.assert_allclose(scores, [0.75, 0.25], rtol=1e-6)


def test_unregressed_anchors_are_ranked_and_suppressed_as_they_are():
    deltas = np.full((3, 4), 0.7)
    boxes, scores = propose(
        [NEAR, FAR, FULL], [0, -np.log(3), np.log(3)], deltas, options={"regressed": False}
    )
    assert boxes == [FULL, FAR]
    np.testing.assert_allclose(scores, [0.75, 0.25], rtol=1e-6)


def test_unranked_boxes_are_drawn_at_random_and_none_is_suppressed(rng):
    anchors = np.array([[0, 0, 9, 9 + 0.001 * i] for i in range(100)], "float32")
    logits = rng.normal(0, 1, (400, 100, 2)).astype("float32")
    logits[1] = logits[0]
    layer = ProposalGenerator(post_nms_top_k=10, ranked=False)
    arguments = (np.zeros((400, 100, 4), "float32"), anchors, np.array([[99, 99]] * 400))
    boxes, _, valid = as_numpy(layer(logits, *arguments))
    assert valid.all()
    drawn = np.round((boxes[..., 3] - 9) * 1000).astype(int)
    assert all(len(set(row)) == 10 for row in drawn)
    assert drawn[0].tolist() == drawn[1].tolist() != drawn[2].tolist()  # by the logits alone
    counts = np.bincount(drawn[1:].ravel(), minlength=100)
    assert abs(counts.mean() - 39.9) < 1e-6 and counts.min() > 15 and counts.max() < 70
    again, _, _ = as_numpy(layer(logits[5:6], *[arguments[0][:1], anchors, arguments[2][:1]]))
    np.testing.assert_array_equal(again[0], boxes[5])


def test_an_unranked_draw_does_not_depend_on_padding(rng):
    # The same anchors among others that are not the image's own, with the same ids.
    logits = rng.normal(0, 1, (1, 60, 2)).astype("float32")
    anchors = rng.uniform(0, 50, (60, 4)).astype("float32")
    anchors[:, 2:] += anchors[:, :2]
    ids = np.arange(60) * 5
    own = np.zeros(60, bool)
    own[::3] = True
    layer, shape = ProposalGenerator(post_nms_top_k=8, ranked=False), np.array([[99, 99]])
    together = layer(logits, np.zeros((1, 60, 4)), anchors, shape, own[np.newaxis], ids=ids)
    alone = layer(
        logits[:, own], np.zeros((1, 20, 4)), anchors[own], shape, ids=ids[own]
    )  # fmt: skip
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_each_level_keeps_its_own_best_and_suppresses_alone():
    # NEAR overlaps FULL, but they are on different levels; of the second level one box is kept.
    anchors = np.array([FULL, FAR, NEAR, [20, 20, 40, 40]], "float32")
    boxes, scores = propose(anchors, [1, 3, 2, 0], options={"pre_nms_top_k": 2}, level_sizes=[2, 2])
    assert boxes == [FAR, NEAR, FULL, [20, 20, 40, 40]]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp([-3.0, -2.0, -1.0, 0.0])), rtol=1e-6)
    boxes, _ = propose(anchors, [1, 3, 2, 0], options={"pre_nms_top_k": 1}, level_sizes=[2, 2])
    assert boxes == [FAR, NEAR]
    boxes, _ = propose(anchors, [1, 3, 2, 0], options={"post_nms_top_k": 2}, level_sizes=[2, 2])
    assert boxes == [FAR, NEAR]


@pytest.mark.parametrize("options", [{}, {"on_cpu": True}, {"supports_jit": True}])
def test_levels_equal_the_reference_of_each_and_the_best_of_all(rng, options):
    sizes = [(6, 8), (3, 4)]
    anchors = [
        AnchorGenerator((scale,), (0.5, 1, 2), stride)(tf.zeros([1, *size, 1])).numpy()
        for scale, stride, size in zip((12, 24), (8, 16), sizes, strict=True)
    ]
    counts = [len(level) for level in anchors]
    logits = rng.normal(0, 2, (2, sum(counts), 2)).astype("float32")
    deltas = rng.normal(0, 0.3, (2, sum(counts), 4)).astype("float32")
    layer = ProposalGenerator(pre_nms_top_k=50, post_nms_top_k=20, **options)
    shape = np.array([[48, 64]] * 2)
    boxes, scores, valid = as_numpy(
        layer(logits, deltas, np.concatenate(anchors), shape, level_sizes=counts)
    )
    ends = np.cumsum([0, *counts])
    for b in range(2):
        found = [
            reference.propose(
                logits[b, first:last],
                deltas[b, first:last],
                level,
                (48, 64),
                pre=50,
                post=20,
                iou_threshold=0.7,
            )
            for level, first, last in zip(anchors, ends, ends[1:], strict=False)
        ]
        expected = np.concatenate([level[0] for level in found])
        expected_scores = np.concatenate([level[1] for level in found])
        best = np.argsort(-expected_scores, kind="stable")[:20]
        assert valid[b].all() and len(best) == 20
        np.testing.assert_allclose(boxes[b], expected[best], atol=1e-3)
        np.testing.assert_allclose(scores[b], expected_scores[best], rtol=1e-5)


def test_one_level_is_the_same_with_and_without_its_size(rng):
    logits, deltas, anchors, image_shape, valid = random_scene(rng, [(4, 3), (5, 6)])
    layer = ProposalGenerator(post_nms_top_k=30)
    plain = layer(logits, deltas, anchors, image_shape, valid)
    sized = layer(logits, deltas, anchors, image_shape, valid, level_sizes=[len(anchors)])
    for one, other in zip(plain, sized, strict=True):
        np.testing.assert_array_equal(one, other)


def test_deltas_move_the_anchors():
    boxes, _ = propose([[10, 20, 20, 40]], [0], [[0.5, -0.25, 0, np.log(0.5)]])
    np.testing.assert_allclose(boxes, [[15, 20, 25, 30]], rtol=1e-6)


def test_anchors_across_the_border_take_part_clipped():
    anchors = [[-10, -20, 30, 20], [80, 90, 120, 110], [-9, -9, 109, 109]]
    assert propose(anchors, [3, 2, 1])[0] == [[0, 0, 30, 20], [80, 90, 100, 100], [0, 0, 100, 100]]


def test_what_is_outside_or_flat_is_dropped():
    anchors = [[-20, 0, -10, 10], [0, 100, 10, 110], [0, 0, 0, 0], [5, 5, 5, 9], [9, 9, 1, 1], FAR]
    assert propose(anchors, [9, 8, 7, 6, 5, 4])[0] == [FAR]


def test_small_boxes_are_dropped_after_clipping():
    anchors = [[0, 0, 16, 16], [20, 0, 35.9, 16], [-1, 40, 15, 60], [40, 0, 80, 15.9]]
    assert propose(anchors, [4, 3, 2, 1], options={"min_size": 16})[0] == [[0, 0, 16, 16]]


def test_scores_below_the_threshold_are_dropped():
    anchors = [FULL, FAR]
    assert len(propose(anchors, [2, 0], options={"score_threshold": 0.5})[0]) == 2
    assert propose(anchors, [2, -0.01], options={"score_threshold": 0.5})[0] == [FULL]


def test_each_image_can_have_anchors_of_its_own(rng):
    logits, deltas, anchors, image_shape, valid = random_scene(rng, [(4, 3), (5, 6)])
    layer, half = ProposalGenerator(post_nms_top_k=30), len(anchors) // 2
    sizes = {"level_sizes": [half, len(anchors) - half]}
    others = np.stack([anchors, anchors + 3.0])
    both = layer(logits, deltas, others, image_shape, valid, **sizes)
    for row in (0, 1):
        alone = layer(logits, deltas, others[row], image_shape, valid, **sizes)
        for one, other in zip(both, alone, strict=True):
            np.testing.assert_array_equal(one[row], other[row])


def test_min_size_is_of_the_original_image():
    # Resized to half the height and double the width: 16 pixels are 8 and 32.
    anchors = [[0, 0, 8, 32], [20, 0, 27.9, 32], [40, 0, 48, 31.9]]
    scale = np.array([[0.5, 2.0]], "float32")
    assert propose(anchors, [3, 2, 1], options={"min_size": 16}, scale=scale)[0] == [[0, 0, 8, 32]]


def test_only_the_best_enter_suppression():
    # The third best would survive, but only two are looked at.
    anchors, scores = [NEAR, FAR, FULL], [2, 1, 3]
    assert propose(anchors, scores, options={"pre_nms_top_k": 2})[0] == [FULL]
    assert propose(anchors, scores, options={"pre_nms_top_k": 3})[0] == [FULL, FAR]


def test_the_best_survivors_are_kept():
    anchors = [[0, 20 * i, 10, 20 * i + 10] for i in range(5)]
    assert propose(anchors, [1, 5, 3, 4, 2], options={"post_nms_top_k": 2})[0] == [
        anchors[1],
        anchors[3],
    ]


def test_suppression_is_above_the_threshold_only():
    anchors = [FULL, [0, 0, 10, 5]]
    assert len(propose(anchors, [2, 1], options={"nms_iou_threshold": 0.5})[0]) == 2
    assert len(propose(anchors, [2, 1], options={"nms_iou_threshold": 0.49})[0]) == 1


def test_saturated_scores_keep_their_order():
    # All probabilities are 1 in float32.
    anchors = [[0, 20 * i, 10, 20 * i + 10] for i in range(3)]
    boxes, scores = propose(anchors, [50, 60, 55])
    assert boxes == [anchors[1], anchors[2], anchors[0]]
    assert scores == [1, 1, 1]


def test_ties_go_to_the_lower_anchor():
    assert propose([FAR, FULL, NEAR], [0, 0, 0])[0] == [FAR, FULL]


def test_padding_anchors_give_nothing():
    anchors = [FULL, FAR, NEAR]
    assert propose(anchors, [3, 2, 1], valid=np.array([[False, True, True]]))[0] == [FAR, NEAR]
    assert propose(anchors, [3, 2, 1], valid=np.zeros((1, 3), bool))[0] == []
    valid = np.array([[False, False, True]])
    assert propose(anchors, [np.inf, 1e38, -1e37], valid=valid)[0] == [NEAR]


def test_logits_of_background_count():
    logits = np.array([[[5.0, 6.0], [0.0, 3.0]]], "float32")
    layer = ProposalGenerator(post_nms_top_k=2)
    boxes, scores, _ = layer(
        logits,
        np.zeros((1, 2, 4), "float32"),
        np.array([FULL, FAR], "float32"),
        np.array([[99, 99]]),
    )
    assert boxes[0].numpy().tolist() == [FAR, FULL]
    np.testing.assert_allclose(scores[0], 1 / (1 + np.exp([-3.0, -1.0])), rtol=1e-6)


@pytest.mark.parametrize("hostile", [np.inf, -np.inf, np.nan])
def test_wild_deltas_and_logits_make_no_invalid_boxes(hostile):
    for axis in range(4):
        deltas = np.zeros((2, 4))
        deltas[0, axis] = hostile
        assert FAR in propose([FULL, FAR], [2, 1], deltas)[0]
    assert FAR in propose([FULL, FAR], [hostile, 1])[0]


def random_scene(rng, sizes):
    """Outputs of an RPN for images whose maps have these sizes, in one batch."""
    h, w = np.max(sizes, axis=0)
    row, column = np.divmod(np.arange(h * w).repeat(6), w)
    valid = np.stack([(row < rows) & (column < columns) for rows, columns in sizes])
    logits = rng.normal(0, 2, (len(sizes), h * w * 6, 2)).astype("float32")
    deltas = rng.normal(0, 0.5, (len(sizes), h * w * 6, 4)).astype("float32")
    return logits, deltas, grid(h, w), np.array(sizes) * 8, valid


@pytest.mark.parametrize("form", [{}, {"on_cpu": True}, {"supports_jit": True}], ids=str)
@pytest.mark.parametrize(("pre", "post"), [(1000, 100), (60, 100), (1000, 12)])
def test_equal_the_reference(rng, pre, post, form):
    sizes, scale = [(5, 6), (4, 3)], np.array([[1.5, 1.5], [2.0, 1.0]], "float32")
    logits, deltas, anchors, image_shape, valid = random_scene(rng, sizes)
    layer = ProposalGenerator(pre, post, nms_iou_threshold=0.5, min_size=4, **form)
    boxes, scores, kept = run_layer_test(
        layer, logits, deltas, anchors, image_shape, valid=valid, scale=scale,
        tolerance=1e-4, policy_tolerance=1e-4,
    )  # fmt: skip
    assert_valid_boxes(boxes, image_shape, kept)
    for b in range(2):
        expected_boxes, expected_scores = reference.propose(
            logits[b], deltas[b], anchors, image_shape[b],
            pre=pre, post=post, iou_threshold=0.5, min_size=4, valid=valid[b], scale=scale[b],
        )  # fmt: skip
        assert kept[b].sum() == len(expected_boxes) > 0
        np.testing.assert_allclose(boxes[b][kept[b]], expected_boxes, atol=1e-3)
        np.testing.assert_allclose(scores[b][kept[b]], expected_scores, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"on_cpu": False, "supports_jit": False}),
        ({"on_cpu": True}, {"on_cpu": True, "supports_jit": False}),
        ({"supports_jit": True}, {"on_cpu": False, "supports_jit": True}),
    ],
)
def test_the_form_reaches_suppression(rng, monkeypatch, options, expected):
    asked = []
    suppress = nms.suppress
    monkeypatch.setattr(nms, "suppress", lambda *a, **k: asked.append(k) or suppress(*a, **k))
    logits, deltas, anchors, image_shape, _ = random_scene(rng, [(2, 2)])
    ProposalGenerator(**options)(logits, deltas, anchors, image_shape)
    assert asked == [expected]


def test_a_batch_of_two_sizes_equals_its_images(rng):
    sizes = [(4, 3), (5, 6)]
    logits, deltas, anchors, image_shape, valid = random_scene(rng, sizes)
    layer = ProposalGenerator(post_nms_top_k=30)
    together = layer(logits, deltas, anchors, image_shape, valid=valid)
    for b, size in enumerate(sizes):
        rows = valid[b]
        np.testing.assert_array_equal(anchors[rows], grid(*size))
        alone = layer(
            logits[b : b + 1, rows], deltas[b : b + 1, rows], grid(*size), image_shape[b : b + 1]
        )
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(
                tf.cast(one[b], tf.float32), tf.cast(other[0], tf.float32), rtol=1e-5, atol=1e-4
            )


def test_proposals_move_with_the_image(rng):
    # The same outputs two rows and a column further: the same proposals 16 and 8 pixels further.
    logits, deltas, anchors, _, _ = random_scene(rng, [(9, 9)])
    strong = np.full((9, 9, 6, 2), [20.0, 0.0], "float32")
    strong[3:6, 3:6] = logits.reshape(9, 9, 6, 2)[3:6, 3:6]
    strong, deltas = strong.reshape(1, 9, 9, 12), deltas.reshape(1, 9, 9, 24) / 4
    layer, shape = ProposalGenerator(post_nms_top_k=8), np.array([[72, 72]])

    def moved(maps, rows, columns, depth):
        return np.roll(maps, (rows, columns), (1, 2)).reshape(1, -1, depth)

    here = layer(moved(strong, 0, 0, 2), moved(deltas, 0, 0, 4), anchors, shape)
    there = layer(moved(strong, 2, 1, 2), moved(deltas, 2, 1, 4), anchors, shape)
    inside = ((here[0] > 0) & (here[0] < 72)).numpy().all(axis=-1)
    inside &= ((there[0] > 0) & (there[0] < 72)).numpy().all(axis=-1)
    assert inside.sum() > 3
    np.testing.assert_allclose(there[0][inside], here[0][inside] + [16, 8, 16, 8], atol=1e-3)
    np.testing.assert_allclose(there[1], here[1], rtol=1e-5)


def test_gradient_flows_through_the_boxes_that_are_kept():
    anchors = np.array([[10, 10, 30, 50], [10, 10, 30, 49], [90, 60, 110, 80]], "float32")
    logits = np.array([[[0, 2], [0, 1], [0, 0]]], "float32")
    deltas = tf.zeros([1, 3, 4])
    layer = ProposalGenerator(post_nms_top_k=3)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(deltas)
        boxes, _, valid = layer(logits, deltas, anchors, np.array([[100, 100]]))
        top, bottom = tf.reduce_sum(boxes[..., 0]), tf.reduce_sum(boxes[..., 2:])
    assert valid.numpy().tolist() == [[True, True, False]]
    # y1 moves with the height of 20, and by half of it with th; the second anchor is suppressed.
    np.testing.assert_allclose(
        tape.gradient(top, deltas), [[[20, 0, -10, 0], [0] * 4, [20, 0, -10, 0]]], atol=1e-4
    )
    # The last box's bottom edge is clipped: it does not move.
    np.testing.assert_allclose(
        tape.gradient(bottom, deltas), [[[20, 40, 10, 20], [0] * 4, [0, 20, 0, 10]]], atol=1e-4
    )


def test_gradient_stays_finite_beside_padding():
    deltas = tf.constant([[[0.0] * 4, [1e4, 0, 1e4, 0], [0, 0, -1e4, 0]]])
    anchors = np.array([FULL, FAR, FAR], "float32")
    with tf.GradientTape() as tape:
        tape.watch(deltas)
        boxes, scores, _ = ProposalGenerator(post_nms_top_k=5)(
            np.zeros((1, 3, 2), "float32"), deltas, anchors, np.array([[100, 100]])
        )
        total = tf.reduce_sum(boxes) + tf.reduce_sum(scores)
    assert np.isfinite(tape.gradient(total, deltas)).all()
