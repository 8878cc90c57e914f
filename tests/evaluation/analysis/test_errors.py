from fractions import Fraction

import numpy as np
import pytest

from keras_frcnn.evaluation.analysis.errors import Kind
from keras_frcnn.evaluation.metrics import matching
from tests.evaluation import reference_errors
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
LOOSE = [0, 0, 10, 3]  # IoU 0.3 with A
NAMES = ("cat", "dog")


def kinds_of(split):
    return [Kind(kind).name.lower() for kind in split.kinds]


def test_one_of_each_kind():
    data = dataset(
        record("1", (A, 0), (B, 1)),
        record("2", (A, 0, True), (B, 0)),
        class_names=NAMES,
    )
    rows_1 = [
        (A, 0.9, 0),  # right
        (A, 0.8, 0),  # found before
        (LOOSE, 0.7, 0),
        (A, 0.6, 1),
        (LOOSE, 0.5, 1),
        (FAR, 0.4, 0),
    ]
    split = split_errors(data, {"1": found(*rows_1), "2": found((A, 0.9, 0))})
    assert kinds_of(split) == [
        "correct",
        "duplicate",
        "localisation",
        "confusion",
        "both",
        "background",
        "ignored",
    ]
    assert split.objects.tolist() == [0, 0, 0, 0, 0, -1, 2]
    np.testing.assert_allclose(split.ious, [1, 1, 0.3, 1, 0.3, 0, 1])
    assert split.found.rows.tolist() == [0] * 6 + [1]
    assert split.found.index_in_image.tolist() == [0, 1, 2, 3, 4, 5, 0]
    assert split.found_by.tolist() == [0, -1, -1, -1]
    # The dog and the cat that is not difficult; the difficult one is not asked for.
    assert split.missed.tolist() == [False, True, False, True]
    assert split.num_missed().tolist() == [1, 1] and split.num_gt().tolist() == [2, 1]
    assert split.counts().tolist() == [[1, 1, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0, 0]]
    # The two best cats and the best dog.
    assert split.counts(top=True).tolist() == [[1, 0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 0]]
    assert split.confusions().tolist() == [[0, 0], [1, 0]]
    np.testing.assert_array_equal(split.boxes[5], FAR)
    np.testing.assert_array_equal(split.gt_boxes[1], B)


@pytest.mark.parametrize(
    ("kind", "box", "label"), [("localisation", LOOSE, 0), ("confusion", A, 1)]
)
def test_an_object_that_a_mistake_names_is_not_missed(kind, box, label):
    split = split_errors(
        dataset(record(1, (A, 0)), class_names=NAMES), {1: found((box, 0.9, label))}
    )
    assert kinds_of(split) == [kind]
    assert not split.missed.any() and split.found_by.tolist() == [-1]


def test_the_order_of_the_rules():
    # Loose on its own class, exact on another: localisation, as in TIDE.
    data = dataset(record(1, (A, 0), (LOOSE, 1)), class_names=NAMES)
    assert kinds_of(split_errors(data, {1: found((LOOSE, 0.9, 0))})) == ["localisation"]
    # Found before, and exact on another class: confusion.
    data = dataset(record(1, (A, 0), (A, 1)), class_names=NAMES)
    split = split_errors(data, {1: found((A, 0.9, 0), (A, 0.8, 0))})
    assert kinds_of(split) == ["correct", "confusion"] and split.objects.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("height", "kind"),
    [(5, "correct"), (4.99, "localisation"), (1, "localisation"), (0.99, "background")],
)
def test_the_thresholds_belong_to_the_better_kind(height, kind):
    split = split_errors(dataset(record(1, (A, 0))), {1: found(([0, 0, height, 10], 0.9))})
    assert kinds_of(split) == [kind]


def test_difficult_objects_explain_mistakes_but_crowd_regions_do_not():
    data = dataset(record(1, (A, 0, True)), class_names=NAMES)
    detections = {1: found((LOOSE, 0.9, 0), (A, 0.8, 1), (A, 0.7, 0))}
    split = split_errors(data, detections)
    assert kinds_of(split) == ["localisation", "confusion", "ignored"] and not split.missed.any()
    split = split_errors(data, detections, metric="coco")
    assert kinds_of(split) == ["ignored", "background", "ignored"] and not split.missed.any()
    assert split.ious.tolist() == [1, 0, 1]  # LOOSE lies inside the region


def test_cocos_detection_takes_the_best_free_object():
    near, data = [0, 0, 10, 9], dataset(record(1, (A, 0), ([0, 0, 10, 8], 0)))
    detections = {1: found((A, 0.9), (near, 0.8))}
    assert kinds_of(split_errors(data, detections)) == ["correct", "duplicate"]
    assert kinds_of(split_errors(data, detections, metric="coco")) == ["correct", "correct"]


def test_of_equal_objects_voc_takes_the_first_and_coco_the_last():
    left, right, between = [0, 0, 10, 10], [0, 5, 10, 15], [0, 2.5, 10, 12.5]  # IoU 0.6 each
    data = dataset(record(1, (left, 0), (right, 0)))
    detections = {1: found((between, 0.9), (right, 0.8))}
    split = split_errors(data, detections)
    assert (split.objects.tolist(), kinds_of(split)) == ([0, 1], ["correct", "correct"])
    split = split_errors(data, detections, metric="coco")
    assert (split.objects.tolist(), kinds_of(split)) == ([1, 1], ["correct", "duplicate"])
    assert evaluate_coco(data, detections).figures["AP50"] == pytest.approx(51 / 101)


def test_coco_counts_100_detections_of_a_class_in_an_image():
    data = dataset(record(1, (A, 0)), class_names=NAMES)
    rows = [(FAR, 0.9, 0)] * 100 + [(FAR, 0.9, 1)] * 100 + [(A, 0.8, 0)]
    split = split_errors(data, {1: found(*rows)}, metric="coco")
    assert split.counts()[:, Kind.BACKGROUND].tolist() == [100, 100]
    assert split.kinds[-1] == Kind.IGNORED and split.missed.all()
    assert kinds_of(split_errors(data, {1: found(*rows)}))[-1] == "correct"


def test_detections_below_the_score_threshold_are_left_out():
    data = dataset(record(1, (A, 0), (B, 0)))
    split = split_errors(data, {1: found((FAR, 0.25), (A, 0.75), (B, 0.5))}, score_threshold=0.5)
    assert split.found.index_in_image.tolist() == [1, 2] and kinds_of(split) == [
        "correct",
        "correct",
    ]
    split = split_errors(data, {1: found((A, 0.75), (B, 0.25))}, score_threshold=0.5)
    assert split.missed.tolist() == [False, True] and split.score_threshold == 0.5


@pytest.mark.parametrize("metric", ["voc", "coco"])
@pytest.mark.parametrize(
    ("data", "detections", "kinds", "missed"),
    [
        (dataset(), {}, [], []),
        (dataset(record(1)), {}, [], []),
        (dataset(record(1)), {1: found((A, 0.9))}, ["background"], []),
        (dataset(record(1, (A, 0))), {}, [], [True]),
        (dataset(record(1, (A, 0)), record(2)), {2: found((A, 0.9))}, ["background"], [True]),
    ],
)
def test_nothing_there(metric, data, detections, kinds, missed):
    split = split_errors(data, detections, metric=metric)
    assert kinds_of(split) == kinds and split.missed.tolist() == missed
    assert split.counts().sum() == len(kinds)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="metric must be voc or coco. Received: 'x'"):
        split_errors(dataset(), {}, metric="x")
    for threshold in (0, 1.01, float("nan")):
        with pytest.raises(ValueError, match="iou_threshold must be above 0 and at most 1"):
            split_errors(dataset(), {}, threshold)
    with pytest.raises(ValueError, match="unknown image ids: 1"):
        split_errors(dataset(), {1: found()})


@pytest.mark.parametrize("metric", ["voc", "coco"])
@pytest.mark.parametrize("seed", range(60))
def test_equals_the_slow_reference(seed, metric, monkeypatch):
    if seed % 2:
        monkeypatch.setattr(matching, "PAIRS_AT_ONCE", 3)
    generator = np.random.default_rng(seed)
    threshold = [Fraction(1, 2), Fraction(3, 4), Fraction(1, 20), Fraction(1)][seed % 4]
    data, detections = random_images(generator)
    split = split_errors(data, detections, float(threshold), metric)
    first = 0
    for row, record_ in enumerate(data.records):
        objects = list(
            zip(record_.boxes.tolist(), record_.labels.tolist(), record_.difficult, strict=True)
        )
        image = detections.get(record_.image_id, found())
        rows = list(zip(*(image[k].tolist() for k in ("boxes", "scores", "labels")), strict=True))
        answers, missed = reference_errors.explain(rows, objects, threshold, metric)
        mine = split.found.rows == row
        assert [Kind(k).name.lower() for k in split.kinds[mine]] == [kind for kind, _ in answers]
        expected = [-1 if n is None else first + n for _, n in answers]
        assert split.objects[mine].tolist() == expected
        of_image = split.truth.rows == row
        assert np.flatnonzero(split.missed[of_image]).tolist() == missed
        first += len(objects)


@pytest.mark.parametrize("seed", range(10))
def test_what_is_correct_is_what_the_metric_counts(seed):
    data, detections = random_images(np.random.default_rng(seed))
    split = split_errors(data, detections, 0.5)
    for label, c in enumerate(evaluate_voc(data, detections, 0.5).classes):
        counts = split.counts()[label]
        assert counts.sum() - counts[Kind.IGNORED] == len(c.scores)
        last = c.precision[-1] if len(c.scores) else 0
        assert counts[Kind.CORRECT] == round(last * len(c.scores))
