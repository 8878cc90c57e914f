"""Says in words what a learning curve shows: whether more labels would help, and the best start."""

from collections.abc import Sequence

from keras_frcnn.evaluation.report.formats import LEVEL_TEXT, percent, signed_percent
from keras_frcnn.learning_curve.estimates import MIN_SEEDS, MIN_SIZES, NUM_FITTED_SIZES, Estimate
from keras_frcnn.learning_curve.results import Curve

LITTLE = 0.01
"""A gain in mean AP below this is called little."""

METHOD = (
    "Gains are extrapolated with mAP = a - b / sqrt(images), fitted to the "
    f"{NUM_FITTED_SIZES} largest sizes. The {LEVEL_TEXT} intervals cover the choice of training "
    "images and the chance in training (over the seeds), the choice of evaluation images "
    "(bootstrap), and two other laws, mAP = a + b log(images) and mAP = a - b / images."
)


def sentences(curves: Sequence[Curve], more: int) -> list[str]:
    """Returns a sentence of advice for each start, and a comparison of the starts.

    Args:
        curves: the curves.
        more: the number of further images that the gains are for.
    """
    return [*(_gain(curve, more) for curve in curves), *_comparison(curves)]


def _gain(curve: Curve, more: int) -> str:
    if curve.gain is None:
        return (
            f"{curve.start}: the data cannot tell whether more labels would help: at least "
            f"{MIN_SEEDS} seeds are needed that are done at the same {MIN_SIZES} or more sizes."
        )
    size = curve.fitted[-1]
    change = f"{signed_percent(curve.gain.value, 1)} mAP ({LEVEL_TEXT}: {ends(curve.gain)})"
    return (
        f"{curve.start}: {more} more labelled images, {size + more} instead of {size}: {change}. "
        f"{_verdict(curve.gain)}"
    )


def _verdict(gain: Estimate) -> str:
    if gain.high < LITTLE:
        return f"They would help little, by less than {percent(LITTLE, 0)} point."
    if gain.low > 0:
        return "They would help."
    return "The data cannot tell whether they would help."


def _comparison(curves: Sequence[Curve]) -> list[str]:
    compared = [curve for curve in curves if curve.behind]
    if not compared:
        return []
    measured = [curve for curve in curves if curve.points[-1].mean]
    best = max(measured, key=lambda curve: curve.points[-1].mean.value)
    size = best.points[-1].size
    others = ", ".join(
        f"{curve.start} is {percent(curve.behind.value, 1)} points lower ({ends(curve.behind)})"
        for curve in compared
    )
    return [f"With {size} images, {best.start} is the best start; {others}."]


def ends(interval: Estimate, digits: int = 1) -> str:
    """Returns the ends of an interval in percent."""
    return f"{percent(interval.low, digits)} to {percent(interval.high, digits)}"
