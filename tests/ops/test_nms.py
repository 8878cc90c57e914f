"""Suppression: picks by hand, against the greedy reference, and where there is nothing to pick."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.ops import nms
from tests import reference


@pytest.fixture
def rng():
    return np.random.default_rng(0)


FORMS = [{}, {"on_cpu": True}, {"supports_jit": True}]


@pytest.fixture(params=FORMS, ids=str)
def picks(request):
    """``nms.suppress`` in each of its forms on one image: the rows kept, best first."""

    def suppress(boxes, scores, k, threshold, valid=None):
        boxes, scores = np.asarray([boxes], "float32"), np.asarray([scores], "float32")
        valid = np.ones(scores.shape, bool) if valid is None else np.asarray([valid])
        indices, kept = nms.suppress(boxes, scores, valid, k, threshold, **request.param)
        assert (indices.dtype, kept.dtype) == (tf.int32, tf.bool)
        assert indices.shape == kept.shape == (1, k)
        indices, kept = indices[0].numpy(), kept[0].numpy()
        assert (indices[~kept] == 0).all()
        assert (np.diff(kept.astype(int)) <= 0).all()  # padding comes last
        return indices[kept].tolist()

    return suppress


FULL, LEFT_HALF, FAR = [0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]


def test_suppress_by_hand(picks):
    assert picks([FULL, [0, 0, 10, 9], FAR], [0.5, 0.9, 0.1], 3, 0.7) == [1, 2]
    assert picks([FULL, [0, 0, 10, 9], FAR], [0.5, 0.9, 0.1], 1, 0.7) == [1]


def test_an_iou_equal_to_the_threshold_suppresses_nothing(picks):
    assert picks([FULL, LEFT_HALF], [1, 0], 2, 0.5) == [0, 1]
    assert picks([FULL, LEFT_HALF], [1, 0], 2, 0.499) == [0]


def test_a_suppressed_box_suppresses_nothing(picks):
    chain = [[0, 0, 10, 10], [0, 4, 10, 14], [0, 8, 10, 18]]  # neighbours overlap by 6/14
    assert picks(chain, [3, 2, 1], 3, 0.4) == [0, 2]


def test_ties_of_score_go_to_the_lower_row(picks):
    assert picks([FAR, FULL, FULL, FAR], [1, 1, 1, 1], 4, 0.5) == [0, 1]
    boxes = [[0, 20 * i, 10, 20 * i + 10] for i in range(50)]
    assert picks(boxes, [7] * 50, 20, 0.5) == list(range(20))


def test_invalid_rows_are_neither_kept_nor_suppress(picks):
    assert picks([FULL, FULL, FAR], [9, 1, 0], 3, 0.5, [False, True, True]) == [1, 2]
    assert picks([FULL, FULL, FAR], [np.inf, 1, np.nan], 3, 0.5, [False, True, False]) == [1]
    assert picks([FULL, FAR], [1, 2], 3, 0.5, [False, False]) == []


def test_boxes_without_area_suppress_nothing(picks):
    flat = [[5, 0, 5, 10], [5, 0, 5, 10], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert picks([*flat, FULL], [5, 4, 3, 2, 1], 5, 0.0) == [0, 1, 2, 3, 4]


def test_more_room_than_boxes(picks):
    assert picks([FULL], [1], 5, 0.5) == [0]
    assert picks(np.zeros((0, 4)), [], 5, 0.5) == []


def test_negative_and_huge_scores_take_part(picks):
    assert picks([FULL, FAR, LEFT_HALF], [-1e30, -5, np.inf], 3, 0.7) == [2, 1, 0]


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("k", [5, 60])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_suppress_equals_the_reference(rng, threshold, k, form):
    # Whole corners and few distinct scores make many ties.
    boxes = reference.random_boxes(rng, (2, 60), whole=True)
    scores = rng.integers(0, 12, (2, 60)).astype("float32")
    valid = rng.random((2, 60)) < 0.8
    indices, kept = nms.suppress(boxes, scores, valid, k, threshold, **form)
    for b in range(2):
        expected = reference.nms(boxes[b], scores[b], k, threshold, valid[b])
        assert indices[b][kept[b]].numpy().tolist() == expected


def scene(rng, kind, shape):
    """Boxes [*shape, 4] float32 of a kind that is hard on suppression."""
    if kind == "clustered":
        centres = reference.random_boxes(rng, (*shape[:-1], 3))
        chosen = np.take_along_axis(centres, rng.integers(0, 3, (*shape, 1)), axis=-2)
        return chosen + rng.normal(0, 1, (*shape, 4)).astype("float32")
    if kind == "grid":  # many IoUs that are exactly a half, a third, ...; some without area
        corners = rng.integers(0, 6, (*shape, 2))
        return np.concatenate([corners, corners + rng.integers(0, 7, (*shape, 2))], -1) * 1.0
    if kind == "touching":
        corners = rng.integers(0, 4, (*shape, 2)) * 10.0
        return np.concatenate([corners, corners + 10], axis=-1)
    if kind == "tiny":
        return reference.random_boxes(rng, shape) * np.float32(1e-6)
    return np.broadcast_to([1.0, 2.0, 11.0, 22.0], (*shape, 4))  # all the same


KINDS = ("clustered", "grid", "touching", "tiny", "same")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threshold", [1 / 3, 0.5])
def test_all_forms_pick_the_same(rng, kind, threshold):
    # A block of the form for XLA has 256 rows: none, one exactly, and some.
    for batch_size, n, k in ((2, 600, 70), (1, 256, 300), (0, 9, 5)):
        boxes = scene(rng, kind, (batch_size, n)).astype("float32")
        values = [0, 1, -1, np.inf, -np.inf, np.nan, 3e38, -3e38]
        valid = rng.random((batch_size, n)) < 0.9
        for scores in (rng.normal(size=(batch_size, n)), rng.choice(values, (batch_size, n))):
            plain, *others = (
                nms.suppress(boxes, scores.astype("float32"), valid, k, threshold, **form)
                for form in FORMS
            )
            assert not batch_size or np.any(plain[1])
            for indices, kept in others:
                np.testing.assert_array_equal(indices, plain[0])
                np.testing.assert_array_equal(kept, plain[1])


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_an_image_that_is_done_early_does_not_stop_the_others(form):
    # Five distinct boxes lead the first list; in the second they come last, each of them twice.
    boxes = np.zeros((2, 600, 4), "float32") + [100, 0, 110, 10]
    boxes[0, :5] = [[0, 20 * i, 10, 20 * i + 10] for i in range(5)]
    boxes[1, -10:] = np.repeat(boxes[0, :5], 2, axis=0)
    scores = np.arange(1200, 0, -1, dtype="float32").reshape(2, 600)
    indices, kept = nms.suppress(boxes, scores, np.ones((2, 600), bool), 5, 0.5, **form)
    assert kept.numpy().all()
    assert indices.numpy().tolist() == [[0, 1, 2, 3, 4], [0, 590, 592, 594, 596]]


@pytest.mark.parametrize(
    ("form", "name"), [({}, "V4"), ({"on_cpu": True}, "Combined"), (FORMS[2], "")]
)
def test_a_form_uses_its_own_kernel_alone(form, name):
    concrete = tf.function(
        lambda boxes, scores, valid: nms.suppress(boxes, scores, valid, 3, 0.5, **form),
        input_signature=[
            tf.TensorSpec([None, None, 4]),
            tf.TensorSpec([None, None]),
            tf.TensorSpec([None, None], tf.bool),
        ],
    ).get_concrete_function()
    text = str(concrete.graph.as_graph_def())
    found = [op for op in ("NonMaxSuppressionV4", "CombinedNonMaxSuppression") if op in text]
    assert len(found) == bool(name)
    assert all(name in op for op in found)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_suppress_works_in_float32(dtype):
    boxes = tf.constant([[[0, 0, 1000, 600], [0, 0, 1000, 592], [0, 0, 500, 600]]], dtype)
    indices, kept = nms.suppress(boxes, tf.constant([[1, 2, 3]], dtype), [[True] * 3], 3, 0.7)
    assert indices[0][kept[0]].numpy().tolist() == [2, 1]


@pytest.fixture(params=[False, True], ids=["kernel", "supports_jit"])
def per_class(request):
    """``nms.suppress_per_class`` in both forms on one image: list of (class, score, box)."""

    def suppress(boxes, scores, k=4, iou_threshold=0.5, score_threshold=0.1):
        results = nms.suppress_per_class(
            np.asarray([boxes], "float32"),
            np.asarray([scores], "float32"),
            k,
            iou_threshold,
            score_threshold,
            supports_jit=request.param,
        )
        boxes, scores, classes, counts = (result[0].numpy() for result in results)
        assert boxes.shape == (k, 4) and scores.shape == classes.shape == (k,)
        assert classes.dtype == counts.dtype == np.int32
        assert (boxes[counts:] == 0).all() and (scores[counts:] == 0).all()
        assert (classes[counts:] == -1).all()
        found = zip(classes[:counts], scores[:counts], boxes[:counts], strict=True)
        return [(int(c), float(s), b.tolist()) for c, s, b in found]

    return suppress


def test_classes_do_not_suppress_each_other(per_class):
    found = per_class([[FULL, FULL], [FULL, FULL]], [[0.5, 0.75], [0.25, 0.625]])
    assert found == [(1, 0.75, FULL), (0, 0.5, FULL)]


def test_each_class_has_its_own_boxes(per_class):
    found = per_class([[FULL, FAR], [LEFT_HALF, [50, 50, 60, 59]]], [[0.5, 0.25], [0.75, 0.875]])
    assert found == [
        (1, 0.875, [50, 50, 60, 59]),
        (0, 0.75, LEFT_HALF),
        (0, 0.5, FULL),  # IoU is exactly the threshold
    ]


def test_only_scores_above_the_threshold_take_part(per_class):
    assert per_class([[FULL], [FAR]], [[0.5], [0.25]], score_threshold=0.25) == [(0, 0.5, FULL)]
    assert per_class([[FULL], [FAR]], [[0.5], [0.0]], score_threshold=0.0) == [(0, 0.5, FULL)]
    assert per_class([[FULL], [FAR]], [[0.5], [0.25]], score_threshold=0.5) == []


def test_the_best_of_all_classes_are_kept(per_class):
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


def test_ties_go_to_the_lower_class_and_region(per_class):
    boxes = [[[0, 20 * i, 10, 20 * i + 10]] * 2 for i in range(3)]
    found = per_class(boxes, [[0.5, 0.5], [0.5, 0.75], [0.5, 0.5]], k=5)
    assert [(c, b[1] // 20) for c, _, b in found] == [(1, 1), (0, 0), (0, 1), (0, 2), (1, 0)]
    # Of equals in one place the first region suppresses the others.
    boxes = [[[0, 0, 10, 10 - i / 8]] for i in range(20)]
    assert [b[3] for _, _, b in per_class(boxes, [[1.0]] * 20)] == [10]


@pytest.mark.parametrize("supports_jit", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_suppress_per_class_equals_the_reference(rng, kind, supports_jit):
    for shape, k in (((2, 25, 3), 30), ((1, 40, 2), 9)):
        boxes = scene(rng, kind, shape).astype("float32")
        scores = rng.integers(0, 12, shape).astype("float32") / 16  # many ties
        result = nms.suppress_per_class(boxes, scores, k, 0.3, 0.2, supports_jit=supports_jit)
        for b in range(shape[0]):
            expected = []
            for c in range(shape[2]):
                one, of_one = boxes[b, :, c], scores[b, :, c]
                kept = reference.nms(one, of_one, k, 0.3, of_one > 0.2)
                expected += [(of_one[i], c, one[i]) for i in kept]
            expected = sorted(expected, key=lambda one: -one[0])[:k]
            count = int(result[3][b])
            assert count == len(expected) > 0
            np.testing.assert_array_equal(result[0][b, :count], [one[2] for one in expected])
            np.testing.assert_array_equal(result[1][b, :count], [one[0] for one in expected])
            np.testing.assert_array_equal(result[2][b, :count], [one[1] for one in expected])


@pytest.mark.parametrize("supports_jit", [False, True])
@pytest.mark.parametrize("shape", [(0, 4, 2), (2, 0, 3)])
def test_no_images_and_no_regions(shape, supports_jit):
    boxes, scores, classes, counts = nms.suppress_per_class(
        tf.zeros([*shape, 4]), tf.ones(shape), 3, 0.5, 0.1, supports_jit=supports_jit
    )
    assert boxes.shape == (shape[0], 3, 4) and counts.shape == shape[:1]
    assert not (np.any(boxes) or np.any(scores) or np.any(counts))
    assert (classes.numpy() == -1).all()


# --- Soft-NMS -----------------------------------------------------------------------------------


@pytest.mark.parametrize("supports_jit", [False, True])
def test_soft_suppression_by_hand(supports_jit):
    boxes = np.array([[FULL, LEFT_HALF, FAR]], "float32")[:, :, np.newaxis]  # IoU 0.5
    scores = np.array([[[0.9], [0.8], [0.3]]], "float32")
    found, kept, labels, counts = nms.suppress_per_class(
        boxes, scores, 3, 0.3, 0.05, soft_sigma=0.5, supports_jit=supports_jit
    )
    np.testing.assert_allclose(kept, [[0.9, 0.8 * np.exp(-0.25 / 0.5), 0.3]], rtol=1e-6)
    np.testing.assert_array_equal(found, [[FULL, LEFT_HALF, FAR]])
    np.testing.assert_array_equal(labels, [[0, 0, 0]])
    np.testing.assert_array_equal(counts, [3])


def test_scores_that_sink_to_the_threshold_are_dropped_and_lower_no_other():
    chain = [[0, 0, 10, 10], [0, 1, 10, 11], [0, 6, 10, 16]]  # IoU 9/11, 5/15 and 1/4
    arguments = np.array([chain], "float32")[:, :, np.newaxis], [[[0.9], [0.5], [0.4]]]
    _, scores, _, counts = nms.suppress_per_class(*arguments, 3, 0.3, 0.3, soft_sigma=0.5)
    np.testing.assert_allclose(scores, [[0.9, 0.4 * np.exp(-((4 / 16) ** 2) / 0.5), 0]], rtol=1e-5)
    np.testing.assert_array_equal(counts, [2])


@pytest.mark.parametrize("supports_jit", [False, True])
@pytest.mark.parametrize("k", [5, 60])
def test_soft_suppression_equals_tensorflows(rng, k, supports_jit):
    boxes = reference.random_boxes(rng, (2, 40, 3)).astype("float32")
    scores = rng.random((2, 40, 3)).astype("float32")
    found = nms.suppress_per_class(
        boxes, scores, k, 0.3, 0.2, soft_sigma=0.5, supports_jit=supports_jit
    )
    for image in range(2):
        rows = []
        for label in range(3):
            picks, softened = tf.image.non_max_suppression_with_scores(
                boxes[image, :, label],
                scores[image, :, label],
                k,
                iou_threshold=1.0,
                score_threshold=0.2,
                soft_nms_sigma=0.25,  # its exponent is half as large
            )
            picked = boxes[image, picks.numpy(), label]
            rows += [(s, label, box) for s, box in zip(softened.numpy(), picked, strict=True)]
        rows.sort(key=lambda row: -row[0])
        count = int(found[3][image])
        assert count == min(len(rows), k)
        np.testing.assert_allclose(found[1][image, :count], [r[0] for r in rows[:k]], rtol=1e-5)
        np.testing.assert_array_equal(found[2][image, :count], [r[1] for r in rows[:k]])
        np.testing.assert_array_equal(found[0][image, :count], [r[2] for r in rows[:k]])


def test_soft_suppression_compiles():
    boxes = np.array([[FULL, LEFT_HALF]], "float32")[:, :, np.newaxis]
    scores = np.array([[[0.9], [0.8]]], "float32")

    @tf.function(jit_compile=True)
    def compiled():
        return nms.suppress_per_class(
            boxes, scores, 2, 0.3, 0.05, soft_sigma=0.5, supports_jit=True
        )

    np.testing.assert_allclose(compiled()[1], [[0.9, 0.8 * np.exp(-0.5)]], rtol=1e-6)
