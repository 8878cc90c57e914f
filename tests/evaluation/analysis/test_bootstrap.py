import numpy as np
import pytest

from keras_frcnn.evaluation.analysis import bootstrap
from keras_frcnn.evaluation.metrics.detections import to_table
from tests.evaluation.handmade import (
    dataset,
    evaluate_coco,
    evaluate_voc,
    found,
    random_images,
    record,
    tables,
)

A, B = [0, 0, 10, 10], [100, 100, 120, 140]
FAR = [500, 500, 510, 510]


def intervals(data, detections, metric="voc", **options):
    return bootstrap.intervals(*tables(data, detections), metric, **options)


def differences(data, detections, others, metric="voc", **options):
    truth, table = tables(data, detections)
    return bootstrap.differences(truth, table, to_table(others, truth), metric, **options)


def without_ties_in_an_image(detections):
    """Copies of tied detections of an image would be in another order; ties of images stay."""
    for image in detections.values():
        image["scores"] += np.arange(len(image["scores"]), dtype=np.float32) / 64
    return detections


def redrawn(data, detections, rows):
    """Returns the data set and detections of some images, each as often as drawn."""
    records, copies = [], {}
    for row in np.sort(rows):
        image_id = 1000 * int(row) + sum(r.image_id // 1000 == row for r in records)
        objects = data.records[row]
        records.append(
            record(image_id, *zip(objects.boxes, objects.labels, objects.difficult, strict=True))
        )
        copies[image_id] = detections.get(objects.image_id, found())
    return dataset(*records, class_names=data.class_names), copies


def figures(data, detections, metric):
    """Returns the means and the classes' figures, [2] and [2, classes], by the metric itself."""
    if metric == "coco":
        result = evaluate_coco(data, detections)
        names = ("AP", "AP50")
        means = [result.figures[name] for name in names]
        return means, [[c.figures[name] for c in result.classes] for name in names]
    result = evaluate_voc(data, detections)
    return [result.map_11point, result.map_area], [
        [c.ap_11point for c in result.classes],
        [c.ap_area for c in result.classes],
    ]


def slow_interval(measured, draws, limits):
    draws = [value for value in draws if not np.isnan(value)]
    if np.isnan(measured) or not draws:
        return [np.nan, np.nan]
    moved = [value - np.mean(draws) + measured for value in draws]
    return np.clip(np.percentile(moved, [2.5, 97.5]), *limits).tolist()


def slow_intervals(data, sets, metric, num_resamples, seed, limits):
    """Draws, copies and evaluates. Returns [2, 2] of the means and [2, classes, 2]."""
    generator = np.random.default_rng(seed)
    count = len(data.records)
    draws = [generator.integers(0, count, count) for _ in range(num_resamples)]
    means, classes = [], []
    for rows in [np.arange(count), *draws]:
        values = [figures(*redrawn(data, one, rows), metric) for one in sets]
        (mean, of_class), *rest = [(np.array(m), np.array(c)) for m, c in values]
        for other_mean, other_class in rest:
            mean, of_class = mean - other_mean, of_class - other_class
        means.append(mean)
        classes.append(of_class)
    means, classes = np.array(means), np.array(classes)
    return (
        [slow_interval(v[0], v[1:], limits) for v in means.T],
        [[slow_interval(v[0], v[1:], limits) for v in one.T] for one in classes.swapaxes(0, 1)],
    )


def ends(result):
    means = [(i.low, i.high) for i in result.means.values()]
    return means, [[(i.low, i.high) for i in some] for some in result.classes.values()]


@pytest.mark.parametrize(("metric", "seeds"), [("voc", range(12)), ("coco", range(12, 18))])
def test_equals_copying_and_evaluating(metric, seeds):
    for seed in seeds:
        data, detections = random_images(np.random.default_rng(seed), num_images=12)
        detections = without_ties_in_an_image(detections)
        result = ends(intervals(data, detections, metric, num_resamples=15, seed=seed))
        expected = slow_intervals(data, [detections], metric, 15, seed, (0, 1))
        for mine, theirs in zip(result, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-12)


@pytest.mark.parametrize("metric", ["voc", "coco"])
def test_differences_equal_copying_and_evaluating_both(metric):
    generator = np.random.default_rng(5)
    data, detections = random_images(generator, num_images=12)
    detections = without_ties_in_an_image(detections)
    others = {
        image_id: {**image, "scores": generator.permutation(image["scores"])}
        for image_id, image in detections.items()
    }
    result = ends(differences(data, detections, others, metric, num_resamples=15, seed=3))
    expected = slow_intervals(data, [detections, others], metric, 15, 3, (-1, 1))
    for mine, theirs in zip(result, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("metric", ["voc", "coco"])
def test_the_interval_of_one_resample_is_the_metrics_figure(seed, metric):
    data, detections = random_images(np.random.default_rng(seed))
    data.records.reverse()  # VOC breaks ties by this order, COCO by that of the image ids
    _, expected = figures(data, detections, metric)
    # A single resample is shifted onto the measured figure. It says nothing of a class of which it
    # has no objects; another one does.
    measured = np.full(np.shape(expected), np.nan)
    for resample_seed in range(30):
        result = intervals(data, detections, metric, num_resamples=1, seed=resample_seed)
        classes = np.array(ends(result)[1])
        np.testing.assert_allclose(classes[..., 0], classes[..., 1], atol=1e-12)
        measured = np.where(np.isnan(measured), classes[..., 0], measured)
    np.testing.assert_allclose(measured, expected, atol=1e-12)


def test_names_and_seed():
    data, detections = random_images(np.random.default_rng(0), num_images=30)
    result = intervals(data, detections, num_resamples=250, seed=4)
    assert (result.num_resamples, result.seed) == (250, 4)
    assert list(result.means) == ["map_11point", "map_area"]
    assert list(result.classes) == ["ap_11point", "ap_area"]
    assert str(result) == str(intervals(data, detections, num_resamples=250, seed=4))
    assert result.means != intervals(data, detections, num_resamples=250, seed=5).means
    result = intervals(data, detections, "coco", num_resamples=2)
    assert list(result.means) == list(result.classes) == ["AP", "AP50"]


def test_a_perfect_detector_is_certain_and_one_image_too():
    data = dataset(*(record(i, (A, 0)) for i in range(5)))
    result = intervals(data, {i: found((A, 0.5)) for i in range(5)}, num_resamples=50)
    assert result.means["map_area"] == bootstrap.Interval(1.0, 1.0)
    one = dataset(record(0, (A, 0), (B, 0)))
    result = intervals(one, {0: found((A, 0.5))}, num_resamples=50)
    assert result.means["map_area"] == bootstrap.Interval(0.5, 0.5)


def test_the_interval_of_a_known_distribution():
    # Half of 400 images' objects are found: a share of 0.5 with a standard error of 0.025.
    data = dataset(*(record(i, (A, 0)) for i in range(400)))
    detections = {i: found((A, 0.9)) for i in range(0, 400, 2)}
    interval = intervals(data, detections, num_resamples=2000).means["map_area"]
    assert interval.low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.005)
    assert interval.high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.005)


def test_the_difference_of_a_detector_and_itself_is_none():
    data, detections = random_images(np.random.default_rng(2))
    result = differences(data, detections, detections, num_resamples=20)
    assert set(result.means.values()) == {bootstrap.Interval(0.0, 0.0)}


def test_what_is_undefined_is_nan():
    data = dataset(record(0, (A, 0)), record(1, (A, 0, True)), class_names=("cat", "dog"))
    result = intervals(data, {1: found((A, 0.9), (A, 0.9, 1))}, num_resamples=50)
    low, high = (np.array([i.low for i in v]) for v in result.classes.values())
    np.testing.assert_array_equal([low, high], [[0, np.nan]] * 2)
    assert result.means["map_area"] == bootstrap.Interval(0.0, 0.0)
    nothing = intervals(dataset(record(0)), {0: found((A, 0.9))}, num_resamples=3)
    assert np.isnan(nothing.means["map_area"].low)
    assert np.isnan(intervals(dataset(record(0)), {}, "coco", num_resamples=3).means["AP"].high)


def test_the_number_of_draws_must_be_positive():
    with pytest.raises(ValueError, match="num_resamples must be at least 1. Received: 0"):
        intervals(dataset(record(0)), {}, num_resamples=0)


@pytest.mark.parametrize("metric", ["voc", "coco"])
def test_the_means_of_several_detectors_share_their_resamples(metric):
    generator = np.random.default_rng(5)
    data, detections = random_images(generator, num_images=12)
    others = {
        image_id: {**image, "scores": generator.permutation(image["scores"])}
        for image_id, image in detections.items()
    }
    truth, one = tables(data, detections)
    both = one, to_table(others, truth)
    means = bootstrap.resampled_means(truth, both, metric, num_resamples=15, seed=3)
    assert means.shape == (2, 16)
    main = {"voc": 1, "coco": 0}[metric]  # of the metric's two figures
    for of_one, found_by in zip(means, (detections, others), strict=True):
        assert of_one[0] == pytest.approx(figures(data, found_by, metric)[0][main])
    difference = means[0] - means[1]
    expected = slow_interval(difference[0], difference[1:], (-1, 1))
    result = differences(data, detections, others, metric, num_resamples=15, seed=3)
    interval = result.means[bootstrap.MAIN_FIGURES[metric]]
    assert [interval.low, interval.high] == pytest.approx(expected)
