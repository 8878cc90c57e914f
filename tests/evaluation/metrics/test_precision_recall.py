import numpy as np
import pytest

from keras_frcnn.evaluation.metrics.precision_recall import curves_of
from tests.evaluation.handmade import (
    dataset,
    evaluate_coco,
    evaluate_voc,
    found,
    random_images,
    record,
)

A, B = [0, 0, 10, 10], [100, 100, 120, 140]
FAR = [500, 500, 510, 510]


def test_golden_of_voc():
    data = dataset(record("1", (A, 0), (B, 0)), record("2", (A, 0)), class_names=("cat", "dog"))
    rows = {"1": found((B, 0.75), (FAR, 0.5)), "2": found((FAR, 0.875), (A, 1))}
    # Right, wrong, right, wrong; the third object is never found.
    cat, dog = curves_of(evaluate_voc(data, rows, 0.75))
    np.testing.assert_allclose(cat.recall, [1 / 3, 2 / 3])
    np.testing.assert_allclose(cat.precision, [1, 2 / 3])
    assert cat.scores.tolist() == [1, 0.75]
    assert (cat.name, cat.label, cat.iou) == ("cat", 0, "0.75")
    assert cat.ap == pytest.approx((1 + 2 / 3) / 3)
    assert (dog.name, dog.label, len(dog.recall), len(dog.scores)) == ("dog", 1, 0, 0)
    assert np.isnan(dog.ap)


def test_points_below_a_later_one_do_not_matter():
    data = dataset(record("1", (A, 0), (B, 0)))
    (curve,) = curves_of(evaluate_voc(data, {"1": found((FAR, 1), (A, 0.5), (B, 0.25))}))
    assert (curve.recall.tolist(), curve.scores.tolist()) == ([1], [0.25])
    np.testing.assert_allclose(curve.precision, [2 / 3])


@pytest.mark.parametrize("seed", range(60))
def test_the_points_of_voc_give_both_aps(seed):
    data, detections = random_images(np.random.default_rng(seed))
    result = evaluate_voc(data, detections)
    for curve, c in zip(curves_of(result), result.classes, strict=True):
        assert np.all(np.diff(curve.recall) > 0) and np.all(np.diff(curve.precision) < 0)
        if not c.num_gt:
            assert not len(curve.recall) and np.isnan(curve.ap)
            continue
        steps = np.diff(curve.recall, prepend=0)
        assert np.sum(steps * curve.precision) == pytest.approx(c.ap_area, abs=1e-12)
        assert curve.ap == c.ap_area
        points = [max(curve.precision[curve.recall >= t / 10 - 1e-9], default=0) for t in range(11)]
        assert np.mean(points) == pytest.approx(c.ap_11point, abs=1e-12)
        for recall, precision, score in zip(
            curve.recall, curve.precision, curve.scores, strict=True
        ):
            here = np.flatnonzero((c.recall == recall) & (c.precision == precision))
            assert score in c.scores[here]


@pytest.mark.parametrize("seed", range(20))
def test_the_points_of_coco_give_its_aps(seed):
    data, detections = random_images(np.random.default_rng(seed))
    result = evaluate_coco(data, detections)
    found_curves = curves_of(result)
    assert [c.iou for c in found_curves] == ["0.5", "0.75", "0.5:0.95"] * 3
    for c, *three in zip(result.classes, *(found_curves[i::3] for i in range(3)), strict=True):
        for name, curve in zip(("AP50", "AP75", "AP"), three, strict=True):
            assert curve.name == c.name and len(curve.recall) == (101 if c.num_gt else 0)
            np.testing.assert_equal(curve.ap, c.figures[name])
            if c.num_gt:
                assert curve.precision.mean() == pytest.approx(curve.ap, abs=1e-12)
        at_half = three[0]
        np.testing.assert_array_equal(np.isnan(at_half.scores), at_half.precision == 0)
        assert np.isnan(three[2].scores).all()


def test_golden_of_coco():
    data = dataset(record(1, (A, 0)), record(2, (B, 0)))
    result = evaluate_coco(data, {1: found(([0, 0, 10, 6], 0.75)), 2: found((A, 0.5), (B, 0.25))})
    half, three_quarters, _ = curves_of(result)
    assert half.precision.tolist() == pytest.approx([1] * 51 + [2 / 3] * 50)
    assert half.scores.tolist() == [0.75] * 51 + [0.25] * 50
    assert three_quarters.precision.tolist() == pytest.approx([1 / 3] * 51 + [0] * 50)
    np.testing.assert_array_equal(half.recall, np.linspace(0, 1, 101))


def test_no_images():
    assert [len(c.recall) for c in curves_of(evaluate_voc(dataset(), {}))] == [0]
    assert [len(c.recall) for c in curves_of(evaluate_coco(dataset(), {}))] == [0, 0, 0]
