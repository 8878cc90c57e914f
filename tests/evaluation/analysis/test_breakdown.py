import numpy as np
import pytest

from keras_frcnn.evaluation.analysis import breakdown
from keras_frcnn.evaluation.analysis.errors import Kind
from tests.evaluation.handmade import dataset, found, random_images, record, split_errors

A, B, FAR = (0, 0, 10, 10), (20, 20, 40, 40), (100, 100, 110, 110)


def split_of(records, detections, names=("cat", "dog"), **settings):
    return split_errors(dataset(*records, class_names=names), detections, **settings)


def test_the_best_score_is_that_of_the_highest_f1():
    records = [record("a", (A, 0), (B, 0))]
    # Right, wrong, right, wrong: F1 of the first k is 2/3, 1/2, 4/5, 2/3.
    rows = [(A, 0.9), (FAR, 0.8), (B, 0.5), (FAR, 0.25)]
    assert breakdown.best_score(split_of(records, {"a": found(*rows)})) == 0.5
    # Of the tie at 0.5 only both can be had, at 4/6; the first alone has 2/3 as well.
    rows = [(A, 0.75), (B, 0.5), (FAR, 0.5), (FAR, 0.5), (FAR, 0.5), (FAR, 0.5)]
    assert breakdown.best_score(split_of(records, {"a": found(*rows)})) == 0.75


def test_ignored_detections_change_no_score():
    records = [record("a", (A, 0), (B, 0, True))]
    rows = [(B, 0.9), (A, 0.5), (FAR, 0.25)]
    assert breakdown.best_score(split_of(records, {"a": found(*rows)})) == 0.5


def test_without_right_detections_all_are_looked_at():
    records = [record("a", (A, 0))]
    assert breakdown.best_score(split_of(records, {})) == 0
    assert breakdown.best_score(split_of(records, {"a": found((FAR, 0.5))})) == 0
    assert breakdown.best_score(split_of(records, {"a": found((FAR, -2.0))})) == -2


def test_scores_fall_into_bins():
    rows = [(A, 1.0), (A, 0.5), (FAR, 0.25), (FAR, 0.0)]
    split = split_of([record("a", (A, 0))], {"a": found(*rows)})
    edges, counts = breakdown.by_score(split, 4)
    assert edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert counts[:, Kind.BACKGROUND].tolist() == [1, 1, 0, 0]
    assert counts[:, Kind.DUPLICATE].tolist() == [0, 0, 1, 0]
    assert counts[:, Kind.CORRECT].tolist() == [0, 0, 0, 1]
    assert counts.sum() == 4
    edges, _ = breakdown.by_score(split_of([], {}), 2)
    assert edges.tolist() == [0, 0.5, 1]
    rows = [(A, 3.0), (A, -1.0)]
    edges, counts = breakdown.by_score(split_of([record("a")], {"a": found(*rows)}), 2)
    assert edges.tolist() == [-1, 1, 3] and counts.sum(axis=1).tolist() == [1, 1]


def test_precision_and_recall_from_a_score_on():
    rows = [(A, 0.75), (FAR, 0.5), (FAR, 0.5), (B, 0.25)]
    split = split_of([record("a", (A, 0), (B, 0))], {"a": found(*rows)})
    precision, recall = breakdown.at_scores(split, np.array([0, 0.25, 0.5, 0.75, 0.76]))
    np.testing.assert_allclose(precision, [0.5, 0.5, 1 / 3, 1, np.nan])
    np.testing.assert_allclose(recall, [1, 1, 0.5, 0.5, 0])
    _, recall = breakdown.at_scores(split_of([record("a")], {}), np.array([0.5]))
    assert np.isnan(recall).all()


def test_sizes_are_cocos():
    side_31, side_32, side_96 = ((0, 0, s, s) for s in (31, 32, 96))
    records = [
        record("a", (side_31, 0)),
        record("b", (side_32, 0)),
        record("c", (side_96, 0)),
        record("d", (side_96, 0)),
        record("e", (side_96, 0, True)),
    ]
    detections = {
        "a": found((side_31, 0.5)),
        "b": found((side_32, 0.5, 1)),  # another class
        "c": found((side_96, 0.5), ((0, 0, 31, 31), 0.5)),
        "e": found((side_96, 0.5)),
    }
    small, medium, large = breakdown.by_size(split_of(records, detections))
    assert [small.name, medium.name, large.name] == ["small", "medium", "large"]
    assert [s.num_gt for s in (small, medium, large)] == [1, 1, 2]
    assert [s.num_found for s in (small, medium, large)] == [1, 0, 1]
    assert [s.num_missed for s in (small, medium, large)] == [0, 0, 1]
    assert [s.num_detections for s in (small, medium, large)] == [2, 1, 1]
    assert [s.num_correct for s in (small, medium, large)] == [1, 0, 1]


def test_images_are_ranked_by_their_errors():
    records = [
        record("right", (A, 0)),
        record("empty"),
        record("missed twice", (A, 0), (B, 0)),
        record("one wrong", (A, 0)),
        record("two right", (A, 0), (B, 1)),
        record("one right, two wrong", (A, 0)),
    ]
    detections = {
        "right": found((A, 0.5)),
        "one wrong": found((A, 0.5), (FAR, 0.5)),
        "two right": found((A, 0.5), (B, 0.5, 1)),
        "one right, two wrong": found((A, 0.5), (FAR, 0.5), (FAR, 0.5)),
    }
    split = split_of(records, detections)
    kinds, missed = breakdown.by_image(split)
    assert kinds[:, Kind.CORRECT].tolist() == [1, 0, 0, 1, 2, 1]
    assert kinds[:, Kind.BACKGROUND].tolist() == [0, 0, 0, 1, 0, 2]
    assert missed.tolist() == [0, 0, 2, 0, 0, 0]
    assert breakdown.worst_images(split).tolist() == [2, 5, 3]
    assert breakdown.best_images(split).tolist() == [4, 0]


def test_the_surest_and_the_largest_of_each_image():
    records = [record("a", (A, 0), (B, 0)), record("b", (A, 0)), record("c", (B, 0, True))]
    detections = {
        "a": found((FAR, 0.25), (FAR, 0.75)),
        "b": found((FAR, 0.5), (A, 0.9)),
    }
    split = split_of(records, detections)
    assert breakdown.surest(split, Kind.BACKGROUND).tolist() == [1, 2]
    assert breakdown.surest(split, Kind.CONFUSION).tolist() == []
    assert breakdown.largest_missed(split).tolist() == [1]


@pytest.mark.parametrize("seed", range(10))
def test_the_sides_add_up(seed):
    data, detections = random_images(np.random.default_rng(seed))
    split = split_errors(data, detections)
    every = split.counts().sum(axis=0)
    assert (breakdown.by_score(split)[1].sum(axis=0) == every).all()
    assert (breakdown.by_image(split)[0].sum(axis=0) == every).all()
    sizes = breakdown.by_size(split)
    assert sum(s.num_gt for s in sizes) == split.num_gt().sum()
    assert sum(s.num_missed for s in sizes) == split.num_missed().sum()
    assert sum(s.num_correct for s in sizes) == every[Kind.CORRECT]
    # What a score gives is what remains when the others are left out.
    score = breakdown.best_score(split)
    work = split_errors(data, detections, score_threshold=score)
    counts = work.counts().sum(axis=0)
    precision, recall = breakdown.at_scores(split, np.array([score]))
    counted = counts.sum() - counts[Kind.IGNORED]
    if counted and split.num_gt().sum():
        assert precision[0] == counts[Kind.CORRECT] / counted
        assert recall[0] == counts[Kind.CORRECT] / split.num_gt().sum()
