"""What is gathered from the rows that are done."""

import numpy as np
import pytest

from keras_frcnn.learning_curve import estimates
from tests.evaluation.handmade import dataset, record
from tests.learning_curve.conftest import CAT


def test_points_are_means_over_the_seeds_that_are_done(finish, curves_of):
    for seed, num_found in ((0, 10), (1, 14)):
        finish("cats", 50, seed, num_found)
    finish("cats", 25, 1, 4)
    curves = curves_of(lambda task: "broken" if "100 images" in task.title else "")
    small, middle, large = curves["cats"].points
    assert [p.size for p in (small, middle, large)] == [25, 50, 100]
    assert middle.values == pytest.approx({0: 0.5, 1: 0.7}) and middle.missing == ""
    assert middle.mean.value == pytest.approx(0.6)
    assert middle.mean.low < 0.5 and middle.mean.high > 0.7
    assert small.values == pytest.approx({1: 0.2}) and small.missing == "not run yet"
    # Each image is in a resample or not, as in a binomial: 0.2 +- 1.96 sqrt(0.2 * 0.8 / 20).
    assert small.mean.low == pytest.approx(0.2 - 0.175, abs=0.05)
    assert small.mean.high == pytest.approx(0.2 + 0.175, abs=0.05)
    assert large.values == {} and large.mean is None and large.missing == "broken"
    assert all(p.mean is None for p in curves["random"].points)


def test_a_gain_needs_two_sizes_with_the_same_two_seeds(finish, curves_of):
    finish("cats", 50, 0, 10)
    finish("cats", 50, 1, 10)
    finish("cats", 100, 0, 12)
    assert curves_of()["cats"].gain is None
    finish("cats", 100, 1, 12)
    curve = curves_of()["cats"]
    assert curve.fitted == (50, 100)
    figures = np.repeat([[[0.5], [0.5]], [[0.6], [0.6]]], 2, axis=2)
    assert curve.gain.value == pytest.approx(estimates.gain(figures, (50, 100), 100).value)
    assert curve.gain.low < curve.gain.value < curve.gain.high
    finish("cats", 25, 0, 1)
    assert curves_of()["cats"].gain is None  # until the other seed is done, too
    finish("cats", 25, 1, 1)
    assert curves_of()["cats"].fitted == (25, 50, 100)


def test_starts_are_compared_on_the_same_images_at_the_largest_size(finish, curves_of):
    for seed in (0, 1):
        finish("random", 100, seed, 6)
    assert curves_of()["random"].behind is None
    for seed in (0, 1):
        finish("cats", 100, seed, 16)
    curves = curves_of()
    assert curves["cats"].behind is None
    behind = curves["random"].behind
    assert behind.value == pytest.approx(0.5)
    # 10 of 20 images make the difference: 0.5 +- 1.96 sqrt(0.5 * 0.5 / 20).
    assert (behind.low, behind.high) == pytest.approx((0.28, 0.72), abs=0.05)


def test_a_row_that_was_measured_on_other_objects_is_named(finish, curves_of):
    other = dataset(*(record(number, (CAT, 0), ([5, 5, 9, 9], 0)) for number in range(20)))
    finish("cats", 25, 0, 3, data=other)
    with pytest.raises(ValueError, match="cats/25_images/seed_0 was measured on another ground"):
        curves_of()
