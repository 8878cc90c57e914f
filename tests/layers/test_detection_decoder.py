"""Detections by hand, against the reference, and from hostile regions."""

import numpy as np
import pytest

from keras_frcnn.layers import DetectionDecoder
from tests import reference
from tests.base import as_numpy, assert_detection_output, run_layer_test


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def logits_of(*probabilities):
    """Class logits [1, R, C + 1] whose softmax are these rows."""
    return np.log(np.array([probabilities], "float32"))


def found(detections, b=0):
    """The detections of one image as a list of (label, score, box)."""
    count = int(detections["num_detections"][b])
    rows = zip(
        np.asarray(detections["labels"][b]),
        np.asarray(detections["scores"][b]),
        np.asarray(detections["boxes"][b]),
        strict=True,
    )
    return [(int(c), round(float(s), 4), np.round(x, 3).tolist()) for c, s, x in rows][:count]


def decode(rois, logits, deltas=None, valid=None, image_shape=(100, 100), **options):
    rois = np.array([rois], "float32")
    deltas = np.zeros((*logits.shape, 4), "float32") if deltas is None else deltas
    valid = np.ones(rois.shape[:2], bool) if valid is None else np.array([valid])
    options = {"max_detections": 5, **options}
    shape = np.array([image_shape])
    detections = as_numpy(DetectionDecoder(**options)(rois, valid, logits, deltas, shape))
    assert_detection_output(detections, shape, logits.shape[-1] - 1, options["max_detections"])
    return found(detections)


def test_by_hand():
    rois = [[10, 10, 30, 50], [10, 10, 30, 49], [60, 60, 80, 80]]
    logits = logits_of([0.1, 0.7, 0.2], [0.1, 0.6, 0.3], [0.9, 0.04, 0.06])
    assert decode(rois, logits) == [
        (0, 0.7, [10, 10, 30, 50]),
        # the first suppresses the second of class 0, the second the first of class 1
        (1, 0.3, [10, 10, 30, 49]),
        (1, 0.06, [60, 60, 80, 80]),  # background is likelier, yet class 1 is above the threshold
    ]


def test_each_class_moves_the_region_by_its_own_deltas_times_the_std():
    deltas = np.zeros((1, 1, 3, 4), "float32")
    deltas[0, 0, 0] = 99  # background's are not used
    deltas[0, 0, 1] = [1, 0, 0, 0]
    deltas[0, 0, 2] = [0, -2, 0, np.log(2) / 0.2]
    # 20 high, 40 wide: ty = 0.1 moves by 2; tx = -0.2 by -8, and twice the width
    assert decode([[10, 30, 30, 70]], logits_of([0.2, 0.5, 0.3]), deltas) == [
        (0, 0.5, [12, 30, 32, 70]),
        (1, 0.3, [10, 2, 30, 82]),
    ]


def test_boxes_are_clipped_to_the_true_image_before_suppression():
    # Outside the image they differ, inside they are the same.
    rois = [[0, 0, 50, 60], [0, 0, 50, 150]]
    logits = logits_of([0.2, 0.8], [0.3, 0.7])
    assert decode(rois, logits, image_shape=(40, 30)) == [(0, 0.8, [0, 0, 40, 30])]


def test_padding_regions_give_nothing():
    rois = [[10, 10, 30, 50], [0, 0, 0, 0]]
    logits = logits_of([0.5, 0.5], [0.01, 0.99])
    assert decode(rois, logits, valid=[True, False]) == [(0, 0.5, [10, 10, 30, 50])]
    assert decode(rois, logits, valid=[False, False]) == []
    assert decode(rois, logits, valid=[False, False], score_threshold=0.0) == []


def test_scores_up_to_the_threshold_are_dropped():
    rois, logits = [[10, 10, 30, 50]], logits_of([0.5, 0.5])
    assert decode(rois, logits, score_threshold=0.5) == []
    assert len(decode(rois, logits, score_threshold=0.49)) == 1


def test_the_best_of_all_are_kept():
    rois = [[0, 20 * i, 10, 20 * i + 10] for i in range(4)]
    logits = logits_of([0.4, 0.6], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9])
    assert [s for _, s, _ in decode(rois, logits, max_detections=3)] == [0.9, 0.8, 0.7]


def test_a_box_moved_out_of_the_image_is_not_detected():
    deltas = np.zeros((1, 1, 2, 4), "float32")
    deltas[0, 0, 1, 1] = 100
    assert decode([[10, 10, 30, 50]], logits_of([0.1, 0.9]), deltas) == []


@pytest.mark.parametrize("hostile", [np.inf, -np.inf, np.nan])
def test_wild_outputs_make_no_invalid_boxes(hostile):
    rois = [[10, 10, 30, 50], [60, 60, 80, 80]]
    for axis in range(4):
        deltas = np.zeros((1, 2, 2, 4), "float32")
        deltas[0, 0, 1, axis] = hostile
        detections = decode(rois, logits_of([0.1, 0.9], [0.2, 0.8]), deltas)
        assert detections[-1] == (0, 0.8, [60, 60, 80, 80])
    logits = logits_of([0.1, 0.9], [0.2, 0.8])
    logits[0, 0, 1] = hostile
    assert (0, 0.8, [60, 60, 80, 80]) in decode(rois, logits)


def test_a_region_larger_than_the_image():
    assert decode([[-50, -60, 500, 600]], logits_of([0.1, 0.9])) == [(0, 0.9, [0, 0, 100, 100])]


def random_scene(rng):
    rois = reference.clip(reference.random_boxes(rng, (2, 30)), (100, 100)).astype("float32")
    valid = rng.random((2, 30)) < 0.9
    logits = rng.normal(0, 1.5, (2, 30, 4)).astype("float32")
    deltas = rng.normal(0, 2, (2, 30, 4, 4)).astype("float32")
    return rois, valid, logits, deltas, np.array([[100, 80], [70, 100]])


@pytest.mark.parametrize("supports_jit", [False, True])
@pytest.mark.parametrize("max_detections", [10, 100])
def test_equal_the_reference(rng, max_detections, supports_jit):
    rois, valid, logits, deltas, image_shape = random_scene(rng)
    layer = DetectionDecoder(
        max_detections=max_detections, score_threshold=0.1, supports_jit=supports_jit
    )
    detections = run_layer_test(
        layer, rois, valid, logits, deltas, image_shape, tolerance=1e-4, policy_tolerance=1e-4
    )
    assert_detection_output(detections, image_shape, 3, max_detections)
    for b in range(2):
        rows = valid[b]
        expected = reference.detect(
            rois[b, rows],
            logits[b, rows],
            deltas[b, rows],
            image_shape[b],
            std=(0.1, 0.1, 0.2, 0.2),
            score_threshold=0.1,
            iou_threshold=0.3,
            max_detections=max_detections,
        )
        count = int(detections["num_detections"][b])
        assert count == len(expected)
        np.testing.assert_array_equal(detections["labels"][b, :count], [one[1] for one in expected])
        np.testing.assert_allclose(
            detections["scores"][b, :count], [one[0] for one in expected], rtol=1e-4
        )
        np.testing.assert_allclose(
            detections["boxes"][b, :count], [one[2] for one in expected], atol=1e-3
        )


def test_ties_go_to_the_lower_class_and_region():
    # Saturated scores are all 1 in float32.
    rois = [[0, 20 * i, 10, 20 * i + 10] for i in range(4)] + [[0, 0, 10, 9.5]]
    logits = np.full((1, 5, 3), -99, "float32")
    logits[0, range(5), [2, 1, 2, 1, 2]] = 99
    for supports_jit in (False, True):
        assert decode(rois, logits, supports_jit=supports_jit) == [
            (0, 1, rois[1]),
            (0, 1, rois[3]),
            (1, 1, rois[0]),
            (1, 1, rois[2]),
        ]


def test_a_batch_equals_its_images(rng):
    args = random_scene(rng)
    layer = DetectionDecoder()
    together = layer(*args)
    for b in range(2):
        assert found(together, b) == found(layer(*(a[b : b + 1] for a in args)))


def test_no_regions():
    rois, logits, deltas = np.zeros((2, 0, 4)), np.zeros((2, 0, 3)), np.zeros((2, 0, 3, 4))
    shape = np.array([[9, 9]] * 2)
    detections = DetectionDecoder(max_detections=3)(
        rois, np.zeros((2, 0), bool), logits, deltas, shape
    )
    assert_detection_output(detections, shape, 2, 3)
    assert detections["num_detections"].numpy().tolist() == [0, 0]
