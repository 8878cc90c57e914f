"""The mean of a figure over seeds with its interval, and what more images would add to it.

A figure varies for two reasons, and an interval covers both:

1. Each seed draws other training images and trains differently. With n seeds, the true mean lies
   around the measured one as Student's t with n - 1 degrees of freedom, times s / sqrt(n).
2. The evaluation images are a sample. They are drawn anew with replacement; all seeds, sizes and
   starts share these resamples, so what is common to them cancels in differences.

More images are extrapolated from the largest sizes by the power law mAP = a - b / sqrt(images),
fitted to each seed by least squares. Hoiem et al., "Learning Curves for Analysis of Deep Networks"
(ICML 2021), take this exponent, -1/2, unless the errors speak for another one between -1 and 0. A
few points can hardly tell it. So the interval also covers the ends of this range: a faster law,
mAP = a - b / images, and a slower one, mAP = a + b log(images), the limit for an exponent of 0.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_frcnn.evaluation.analysis.bootstrap import LEVEL

NUM_FITTED_SIZES = 3
MIN_SEEDS, MIN_SIZES = 2, 2

_NUM_DRAWS = 20_000
_SHAPES = (lambda images: -1 / np.sqrt(images), np.log, lambda images: -1 / images)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure, or a difference of figures, with its interval."""

    value: float
    low: float
    high: float


def estimate(figures: np.ndarray, *others: np.ndarray, lowest: float = 0.0) -> Estimate:
    """Returns the mean over the seeds with its interval.

    Args:
        figures: float64 [seeds, 1 + resamples], a figure of each seed: on the evaluation images
            themselves, then on each resample of them.
        *others: the same figure by other models, which the interval covers, too.
        lowest: the lowest possible figure; the highest is 1.
    """
    generator = np.random.default_rng(0)
    draws = np.concatenate([_draws(values, generator) for values in (figures, *others)])
    ends = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = np.clip(ends, lowest, 1.0).tolist()
    return Estimate(float(figures[:, 0].mean()), low, high)


def gain(figures: np.ndarray, sizes: Sequence[int], more: int) -> Estimate:
    """Estimates how much more images would add to a figure.

    Args:
        figures: float64 [sizes, seeds, 1 + resamples], see ``estimate``.
        sizes: at least ``MIN_SIZES`` numbers of training images, ascending; the last
            ``NUM_FITTED_SIZES`` are used.
        more: the number of images beyond the last size.
    """
    used = np.array(sizes[-NUM_FITTED_SIZES:], np.float64)
    values = [
        np.tensordot(_gain_weights(used, more, shape), figures[-len(used) :], axes=1)
        for shape in _SHAPES
    ]
    return estimate(*values, lowest=-1.0)


def _gain_weights(sizes: np.ndarray, more: int, shape) -> np.ndarray:
    """Returns the weights of the figures in the gain by a least-squares fit of a + b * shape."""
    x = shape(sizes) - shape(sizes).mean()
    return x / (x @ x) * (shape(sizes[-1] + more) - shape(sizes[-1]))


def _draws(figures: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draws what the mean over the seeds may truly be."""
    of_seeds, resampled = figures[:, 0], figures[:, 1:].mean(axis=0)
    resampled = resampled[~np.isnan(resampled)]
    draws = of_seeds.mean() + generator.choice(resampled - resampled.mean(), _NUM_DRAWS)
    if len(of_seeds) > 1:
        error = of_seeds.std(ddof=1) / math.sqrt(len(of_seeds))
        draws += error * generator.standard_t(len(of_seeds) - 1, _NUM_DRAWS)
    return draws
