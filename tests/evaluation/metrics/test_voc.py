import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from tests.evaluation import reference_voc
from tests.evaluation.handmade import dataset, evaluate_voc, found, record

A, B = [0, 0, 10, 10], [100, 100, 120, 140]
FAR = [500, 500, 510, 510]


def test_golden_with_a_false_positive_between():
    # Best first: found, wrong, found; the third object is never found.
    data = dataset(record("1", (A, 0), (B, 0)), record("2", (A, 0)))
    result = evaluate_voc(data, {"1": found((B, 0.7), (A, 0.9)), "2": found((FAR, 0.8))})
    (cat,) = result.classes
    np.testing.assert_allclose(cat.precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(cat.recall, [1 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(cat.scores, [0.9, 0.8, 0.7], atol=1e-7)
    # Precision 1 at the recalls 0 to 0.3, 2/3 at 0.4 to 0.6, 0 above.
    assert cat.ap_11point == pytest.approx((4 + 3 * 2 / 3) / 11)
    # A third of the recall at precision 1, a third at 2/3.
    assert cat.ap_area == pytest.approx((1 + 2 / 3) / 3)
    assert (cat.num_gt, cat.num_difficult, cat.num_detections) == (3, 0, 3)
    assert result.map_11point == cat.ap_11point
    assert result.map_area == cat.ap_area


def test_envelope_lifts_low_precision_at_low_recall():
    # Wrong, found, found: precisions 0, 1/2, 2/3; the envelope is 2/3 everywhere.
    data = dataset(record("1", (A, 0), (B, 0)))
    (cat,) = evaluate_voc(data, {"1": found((FAR, 0.9), (A, 0.8), (B, 0.7))}).classes
    assert cat.ap_11point == pytest.approx(2 / 3)
    assert cat.ap_area == pytest.approx(2 / 3)


@pytest.mark.parametrize(("height", "ap"), [(20, 1.0), (20.01, 0.0)])
def test_iou_equal_to_the_threshold_is_enough(height, ap):
    data = dataset(record("1", (A, 0)))  # IoU 100 / 200, or a little less
    result = evaluate_voc(data, {"1": found(([0, 0, height, 10], 0.9))}, iou_threshold=0.5)
    assert result.classes[0].ap_area == ap


def test_threshold_is_used():
    data = dataset(record("1", (A, 0)))
    detections = {"1": found(([0, 0, 10, 8], 0.9))}  # IoU 0.8
    assert evaluate_voc(data, detections, 0.75).map_area == 1
    assert evaluate_voc(data, detections, 0.85).map_area == 0


def test_second_detection_is_wrong_even_if_another_object_is_free():
    near_a = [
        0,
        0,
        10,
        9,
    ]  # both detections overlap A best; the neighbour overlaps them by more than 1/2
    neighbour = [0, 0, 10, 6]
    data = dataset(record("1", (A, 0), (neighbour, 0)))
    (cat,) = evaluate_voc(data, {"1": found((A, 0.9), (near_a, 0.8))}).classes
    np.testing.assert_allclose(cat.precision, [1, 1 / 2])
    assert cat.ap_area == 0.5


def test_difficult_objects_are_neither_asked_for_nor_counted():
    data = dataset(record("1", (A, 0, True), (B, 0)))
    (cat,) = evaluate_voc(data, {"1": found((A, 0.9), (A, 0.8), (B, 0.7))}).classes
    assert (cat.num_gt, cat.num_difficult, cat.num_detections) == (1, 1, 3)
    np.testing.assert_array_equal(cat.precision, [1.0])
    np.testing.assert_allclose(cat.scores, [0.7], atol=1e-7)
    assert cat.ap_11point == cat.ap_area == 1


def test_best_overlap_decides_before_the_difficult_flag():
    smaller = [0, 0, 10, 6]  # IoU 0.6 with a detection of A, but the difficult A has IoU 1
    data = dataset(record("1", (smaller, 0), (A, 0, True)))
    (cat,) = evaluate_voc(data, {"1": found((A, 0.9))}).classes
    assert len(cat.precision) == 0
    assert cat.ap_11point == cat.ap_area == 0


def test_only_difficult_objects_is_a_class_without_ground_truth():
    result = evaluate_voc(dataset(record("1", (A, 0, True))), {"1": found((FAR, 0.9))})
    assert np.isnan(result.classes[0].ap_area)
    assert result.num_classes_without_gt == 1
    assert result.num_difficult == 1
    assert np.isnan(result.map_11point)
    assert np.isnan(result.map_area)


def test_objects_of_other_classes_and_images_do_not_match():
    data = dataset(record("1", (A, 0)), record("2", (A, 1)), class_names=("cat", "dog"))
    result = evaluate_voc(data, {"1": found((A, 0.9, 1)), "2": found((A, 0.9, 0))})
    assert [c.ap_area for c in result.classes] == [0, 0]
    np.testing.assert_array_equal(result.classes[0].precision, [0])


def test_best_object_of_the_class_is_found_behind_a_better_one_of_another():
    smaller = [0, 0, 10, 9]
    data = dataset(record("1", (A, 0), (smaller, 1)), class_names=("cat", "dog"))
    result = evaluate_voc(data, {"1": found((A, 0.9, 1))})
    assert [c.ap_area for c in result.classes] == [0, 1]


def test_classes_without_ground_truth_are_left_out_of_the_mean():
    data = dataset(record("1", (A, 0), (B, 2)), class_names=("cat", "dog", "cow"))
    result = evaluate_voc(data, {"1": found((A, 0.9, 0), (A, 0.8, 1))})
    assert [c.ap_11point for c in result.classes if c.num_gt] == [1, 0]
    assert np.isnan(result.classes[1].ap_11point)
    assert np.isnan(result.classes[1].recall).all()
    assert result.map_11point == result.map_area == 0.5
    assert result.num_classes_without_gt == 1


@pytest.mark.parametrize("num_found", range(11))
def test_11_points_do_not_miss_a_recall_by_rounding(num_found):
    # Recall num_found / 10 at precision 1; 3 * 0.1, 6 * 0.1 and 7 * 0.1 lie above 0.3, 0.6 and 0.7.
    boxes = [[0, 20 * i, 10, 20 * i + 10] for i in range(10)]
    data = dataset(record("1", *((box, 0) for box in boxes)))
    result = evaluate_voc(data, {"1": found(*((box, 0.5) for box in boxes[:num_found]))})
    assert result.map_11point == pytest.approx((num_found + 1) / 11 if num_found else 0)
    assert result.map_area == pytest.approx(num_found / 10)


def test_equal_scores_keep_the_order_of_records_then_rows():
    data = dataset(record("1", (A, 0)), record("2", (A, 0)))
    right_first = {"1": found((A, 0.5)), "2": found((FAR, 0.5))}
    wrong_first = {"1": found((FAR, 0.5)), "2": found((A, 0.5))}
    for detections, precision in ((right_first, [1, 1 / 2]), (wrong_first, [0, 1 / 2])):
        for ordered in (detections, dict(reversed(detections.items()))):
            np.testing.assert_array_equal(
                evaluate_voc(data, ordered).classes[0].precision, precision
            )
    rows = evaluate_voc(data, {"1": found((FAR, 0.5), (A, 0.5))}).classes[0]
    np.testing.assert_array_equal(rows.precision, [0, 1 / 2])


def test_scores_one_float32_step_apart_are_not_equal():
    below_one = np.nextafter(np.float32(1), np.float32(0))
    result = evaluate_voc(dataset(record("1", (A, 0))), {"1": found((FAR, below_one), (A, 1))})
    np.testing.assert_array_equal(result.classes[0].precision, [1, 1 / 2])


@pytest.mark.parametrize(
    ("data", "detections", "expected"),
    [
        (dataset(), {}, np.nan),
        (dataset(record("1")), {}, np.nan),
        (dataset(record("1")), {"1": found((A, 0.9))}, np.nan),
        (dataset(record("1", (A, 0))), {}, 0),
        (dataset(record("1", (A, 0))), {"1": found()}, 0),
        (dataset(record("1", (A, 0)), record("2")), {"1": found((A, 0.9)), "2": found()}, 1),
    ],
)
def test_nothing_there(data, detections, expected):
    result = evaluate_voc(data, detections)
    np.testing.assert_equal([result.map_11point, result.map_area], [expected, expected])


def test_images_without_detections_are_counted():
    data = dataset(record("1", (A, 0)), record("2"), record("3"))
    result = evaluate_voc(data, {"1": found((A, 0.9)), "2": found()})
    assert (result.num_images, result.num_images_without_detections) == (3, 2)


@pytest.mark.parametrize("seed", range(300))
def test_equals_the_development_kit(seed):
    generator = np.random.default_rng(seed)
    names = tuple(f"class {i}" for i in range(generator.integers(1, 4)))
    iou_threshold = generator.choice([0.3, 0.5, 0.75])
    objects = {name: {} for name in names}
    rows = {name: [] for name in names}
    records, detections = [], {}
    for image_id in map(str, range(generator.integers(1, 6))):
        gt = inclusive_boxes(generator, generator.integers(0, 5))
        labels = generator.integers(0, len(names), len(gt))
        difficult = generator.random(len(gt)) < 0.3
        jittered = gt[generator.integers(0, len(gt), 6)] if len(gt) else gt
        jittered = np.clip(jittered + generator.integers(-1, 2, jittered.shape), 1, None)
        jittered = jittered[(jittered[:, 2:] >= jittered[:, :2]).all(axis=1)]
        boxes = np.concatenate([jittered, inclusive_boxes(generator, 3), gt])[
            : generator.integers(0, 12)
        ]
        scores = generator.integers(0, 5, len(boxes)) / 4  # many ties
        found_labels = generator.integers(0, len(names), len(boxes))
        for box, label, flag in zip(gt.tolist(), labels, difficult, strict=True):
            objects[names[label]].setdefault(image_id, []).append((box, flag))
        for box, score, label in zip(boxes.tolist(), scores, found_labels, strict=True):
            rows[names[label]].append((image_id, score, box))
        records.append(record(image_id, *zip(package_boxes(gt), labels, difficult, strict=True)))
        detections[image_id] = found(*zip(package_boxes(boxes), scores, found_labels, strict=True))

    result = evaluate_voc(dataset(*records, class_names=names), detections, iou_threshold)

    threshold = Fraction(str(iou_threshold))
    expected = {
        name: reference_voc.evaluate_class(objects[name], rows[name], threshold) for name in names
    }
    for c in result.classes:
        aps = expected[c.name] or (np.nan, np.nan)
        np.testing.assert_allclose((c.ap_11point, c.ap_area), aps, rtol=1e-12, err_msg=c.name)
    present = [aps for aps in expected.values() if aps]
    means = np.mean(present, axis=0) if present else (np.nan, np.nan)
    np.testing.assert_allclose((result.map_11point, result.map_area), means, rtol=1e-12)
    assert result.num_classes_without_gt == len(names) - len(present)


def inclusive_boxes(generator, count):
    near = generator.integers(1, 8, [count, 2])
    return np.concatenate([near, near + generator.integers(0, 6, [count, 2])], axis=1)


def package_boxes(inclusive):
    return [(ymin - 1, xmin - 1, ymax, xmax) for xmin, ymin, xmax, ymax in inclusive.tolist()]


def test_unknown_image_id_is_named():
    with pytest.raises(ValueError, match=r"unknown image ids: 2, the first is '000009'"):
        evaluate_voc(dataset(record("1")), {"1": found(), "000009": found(), "x": found()})


def test_image_id_twice_is_named():
    with pytest.raises(ValueError, match="Received twice: '1'"):
        evaluate_voc(dataset(record("1"), record("1")), {})


@pytest.mark.parametrize("iou_threshold", [0, -0.5, 1.01, float("nan")])
def test_threshold_out_of_range(iou_threshold):
    with pytest.raises(ValueError, match="iou_threshold must be above 0"):
        evaluate_voc(dataset(), {}, iou_threshold)


def test_malformed_detections_are_refused():
    with pytest.raises(ValueError, match="image '1': labels must be between 0 and 0"):
        evaluate_voc(dataset(record("1")), {"1": found((A, 0.9, 1))})


def test_to_dict_is_plain_and_complete():
    data = dataset(record("1", (A, 0), (B, 0, True)), record("2"), class_names=("cat", "dog"))
    assert evaluate_voc(data, {"1": found((A, 0.9))}, 0.6).to_dict() == {
        "metric": "PASCAL VOC average precision",
        "iou_threshold": 0.6,
        "map_11point": 1.0,
        "map_area": 1.0,
        "num_images": 2,
        "num_images_without_detections": 1,
        "num_difficult": 1,
        "num_classes": 2,
        "num_classes_without_gt": 1,
        "classes": {
            "cat": {
                "num_gt": 1,
                "num_difficult": 1,
                "num_detections": 1,
                "ap_11point": 1.0,
                "ap_area": 1.0,
            },
            "dog": {
                "num_gt": 0,
                "num_difficult": 0,
                "num_detections": 0,
                "ap_11point": pytest.approx(np.nan, nan_ok=True),
                "ap_area": pytest.approx(np.nan, nan_ok=True),
            },
        },
    }


def test_result_cannot_be_changed():
    result = evaluate_voc(dataset(record("1", (A, 0))), {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.iou_threshold = 0.1
