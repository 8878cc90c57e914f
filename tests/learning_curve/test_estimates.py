"""Means and gains with their intervals, against formulas and simulated experiments."""

import numpy as np
import pytest

from keras_frcnn.learning_curve import estimates

T_2 = 4.302653  # the 97.5 % point of Student's t with 2 degrees of freedom


def constant(values, num_resamples=50):
    """Returns figures that are the same on every resample of the evaluation images."""
    return np.repeat(np.array(values, float)[..., np.newaxis], 1 + num_resamples, axis=-1)


def test_the_interval_over_seeds_is_that_of_students_t():
    found = estimates.estimate(constant([0.5, 0.6, 0.7]))
    half = T_2 * 0.1 / np.sqrt(3)
    assert found.value == pytest.approx(0.6)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.05)
    assert (found.high + found.low) / 2 == pytest.approx(0.6, abs=0.01)


def test_the_interval_of_one_seed_is_that_of_the_evaluation_images():
    resampled = np.random.default_rng(1).normal(0.9, 0.02, 5000)  # on average 0.1 too high
    found = estimates.estimate(np.array([[0.8, *resampled, np.nan]]))
    assert found.value == 0.8
    assert found.low == pytest.approx(0.8 - 1.96 * 0.02, abs=0.002)
    assert found.high == pytest.approx(0.8 + 1.96 * 0.02, abs=0.002)


def test_both_causes_add_up():
    rng = np.random.default_rng(0)
    figures = 0.5 + rng.normal(0, 0.03, (1, 5001)) + rng.normal(0, 0.03, (200, 1))
    figures[:, 0] = 0.5 + rng.normal(0, 0.3, 200)
    found = estimates.estimate(figures)
    expected = 1.96 * np.hypot(0.03, figures[:, 0].std(ddof=1) / np.sqrt(200))
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.05)


def test_figures_end_at_0_and_1_and_differences_at_minus_1():
    wide = constant([0.1, 0.9])
    assert estimates.estimate(wide) == estimates.Estimate(0.5, 0.0, 1.0)
    assert estimates.estimate(wide, lowest=-1.0).low == -1.0


def test_in_95_of_100_experiments_the_interval_holds_the_truth():
    rng = np.random.default_rng(3)
    found = [estimates.estimate(constant(rng.normal(0.5, 0.05, 3), 1)) for _ in range(400)]
    share = np.mean([one.low <= 0.5 <= one.high for one in found])
    assert 0.925 < share < 0.975


SIZES = (25, 50, 100, 200)
LAWS = {
    "sqrt": lambda n: 0.9 - 2 / np.sqrt(n),
    "log": lambda n: 0.1 + 0.1 * np.log(n),
    "inverse": lambda n: 0.8 - 10 / np.asarray(n, float),
}


def fitted_gain(law, shape, more=100):
    """Fits a straight line over ``shape`` to the last three points; returns its gain."""
    sizes = np.array(SIZES[-3:], float)
    slope, _ = np.polyfit(shape(sizes), law(sizes), 1)
    return slope * (shape(sizes[-1] + more) - shape(sizes[-1]))


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_a_gain_is_that_of_the_power_law_and_its_interval_covers_the_other_laws(law):
    figures = constant([[law(size)] * 2 for size in SIZES])
    found = estimates.gain(figures, SIZES, 100)
    shapes = (lambda n: n**-0.5, np.log, lambda n: 1 / n)
    gains = [fitted_gain(law, shape) for shape in shapes]
    assert found.value == pytest.approx(gains[0])
    assert (found.low, found.high) == pytest.approx((min(gains), max(gains)))
    assert found.low - 1e-9 <= law(300) - law(200) <= found.high + 1e-9


def test_what_all_sizes_share_does_not_widen_the_interval_of_a_gain():
    figures = constant([[LAWS["sqrt"](size)] * 3 for size in SIZES])
    narrow = estimates.gain(figures, SIZES, 100)
    rng = np.random.default_rng(0)
    figures[..., 1:] += rng.normal(0, 0.05, 50)  # hard and easy resamples
    figures += rng.normal(0, 0.05, (1, 3, 1))  # good and bad seeds
    wide = estimates.gain(figures, SIZES, 100)
    assert (wide.value, wide.low, wide.high) == pytest.approx(
        (narrow.value, narrow.low, narrow.high)
    )
    figures[-1, 0] += 0.05  # one seed at one size
    wider = estimates.gain(figures, SIZES, 100)
    assert wider.low < narrow.low and wider.high > narrow.high + 0.01


def test_two_sizes_are_enough():
    figures = constant([[0.5, 0.5], [0.6, 0.6]])
    found = estimates.gain(figures, (50, 100), 100)
    share = (1 / np.sqrt(100) - 1 / np.sqrt(200)) / (1 / np.sqrt(50) - 1 / np.sqrt(100))
    assert found.value == pytest.approx(0.1 * share)
    assert found.high == pytest.approx(0.1)  # by the logarithm, each doubling adds as much
    assert found.low == pytest.approx(0.05)  # by 1 / n, half as much
