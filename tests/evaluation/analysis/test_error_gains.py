import numpy as np
import pytest

from keras_frcnn.evaluation.analysis.error_gains import error_gains
from keras_frcnn.evaluation.analysis.errors import ERRORS, Kind
from tests.evaluation.handmade import (
    dataset,
    evaluate_coco,
    evaluate_voc,
    found,
    random_images,
    record,
    split_errors,
)

A, B = [0, 0, 10, 10], [100, 100, 120, 140]
FAR = [500, 500, 510, 510]
LOOSE = [0, 0, 10, 3]
NAMES = ("cat", "dog")
NONE = dict.fromkeys(
    ("localisation", "confusion", "both", "duplicate", "background", "missed"), 0.0
)


def gains(data, detections, metric="voc"):
    return error_gains(split_errors(data, detections, metric=metric))


@pytest.mark.parametrize("metric", ["voc", "coco"])
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(A, 0.9, 0)], {"missed": 0.5}),  # B is missed: of one class, half is found
        ([(LOOSE, 0.9, 0), (B, 0.8, 0)], {"localisation": 0.75}),
        ([(B, 0.9, 0), (FAR, 0.8, 0), (A, 0.7, 0)], {"background": 1 / 6}),
        ([(B, 0.9, 0), (B, 0.8, 0), (A, 0.7, 0)], {"duplicate": 1 / 6}),
        ([(B, 0.9, 0), (A, 0.8, 1)], {"confusion": 0.5}),
        ([(B, 0.9, 0), (LOOSE, 0.8, 1), (A, 0.7, 0)], {}),
    ],
)
def test_golden(rows, expected, metric):
    data = dataset(record(1, (A, 0), (B, 0)), class_names=NAMES)
    result = gains(data, {1: found(*rows)}, metric)
    assert list(result) == list(NONE)
    # COCO's 101 recalls divide at a half unevenly: 51 and 50.
    np.testing.assert_allclose(list(result.values()), list((NONE | expected).values()), atol=0.006)


def test_only_the_best_detection_of_a_free_object_becomes_right():
    data = dataset(record(1, (A, 0), (B, 0)))
    loose = [0, 0, 10, 4]
    result = gains(data, {1: found((loose, 0.9), (LOOSE, 0.8), (B, 0.7))})
    assert result["localisation"] == pytest.approx(1 - 1 / 6)  # then all are right
    result = gains(data, {1: found((A, 0.9), (LOOSE, 0.8), (B, 0.7))})
    assert result["localisation"] == pytest.approx(1 / 6)  # A is found: the loose one goes


def test_mistakes_on_difficult_objects_go():
    data = dataset(record(1, (A, 0, True), (B, 0)))
    assert gains(data, {1: found((LOOSE, 0.9), (B, 0.8))})["localisation"] == 0.5


def test_a_class_of_which_all_is_missed():
    data = dataset(record(1, (A, 0), (B, 1)), class_names=NAMES)
    assert gains(data, {1: found((A, 0.9, 0))})["missed"] == 0.5


def test_nothing_there():
    assert all(np.isnan(list(gains(dataset(), {}).values())))
    assert gains(dataset(record(1, (A, 0))), {})["missed"] == 1


@pytest.mark.parametrize("seed", range(40))
def test_equals_evaluating_mended_detections(seed):
    data, detections = random_images(np.random.default_rng(seed))
    split = split_errors(data, detections)
    if any(len(r.boxes) > len(np.unique(r.boxes, axis=0)) for r in data.records):
        pytest.skip("twins would share a mended box")
    before = evaluate_voc(data, detections).map_area
    expected = {}
    for kind in ERRORS:
        expected[kind.name.lower()] = evaluate_voc(data, mend(data, split, kind)).map_area - before
    result = gains(data, detections)
    missed = result.pop("missed")
    np.testing.assert_allclose(list(result.values()), list(expected.values()), atol=1e-12)
    for place in np.flatnonzero(split.missed)[::-1]:
        row = split.truth.rows[place]
        r, n = data.records[row], place - np.searchsorted(split.truth.rows, row)
        for name in ("boxes", "labels", "difficult"):
            setattr(r, name, np.delete(getattr(r, name), n, axis=0))
    classes = evaluate_voc(data, detections).classes
    left = [
        c.ap_area if c.num_gt else 1.0
        for c, num_gt in zip(classes, split.num_gt(), strict=True)
        if num_gt
    ]
    np.testing.assert_allclose(missed, np.mean(left) - before if left else np.nan, atol=1e-12)


def mend(data, split, kind):
    """Returns the detections with the errors of one kind mended, as a user would by hand."""
    rows = {r.image_id: [] for r in data.records}
    done = set()
    for k in np.argsort(-split.found.scores, kind="stable"):
        box, label = split.boxes[k], split.found.labels[k]
        if split.kinds[k] == kind:
            n = split.objects[k]
            free = kind in (Kind.LOCALISATION, Kind.CONFUSION) and split.found_by[n] < 0
            if not free or split.truth.crowd[n] or n in done:
                continue
            done.add(n)
            box, label = split.gt_boxes[n], split.truth.labels[n]
        image_id = split.truth.image_ids[split.found.rows[k]]
        rows[image_id].append((split.found.index_in_image[k], (box, split.found.scores[k], label)))
    return {
        image_id: found(*(row for _, row in sorted(some, key=lambda item: item[0])))
        for image_id, some in rows.items()
    }


def test_coco_gains_are_of_ap50():
    data, detections = random_images(np.random.default_rng(3))
    split = split_errors(data, detections, metric="coco")
    before = evaluate_coco(data, detections).figures["AP50"]
    after = evaluate_coco(data, mend(data, split, Kind.BACKGROUND)).figures["AP50"]
    assert error_gains(split)["background"] == pytest.approx(after - before, abs=1e-9)
    assert after > before
