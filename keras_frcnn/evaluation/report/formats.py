"""How reports write fractions and intervals."""

import math

from keras_frcnn.evaluation.analysis.bootstrap import LEVEL, Interval

LEVEL_TEXT = f"{LEVEL:.0%}"
"""The confidence level of all intervals."""


def percent(fraction: float, digits: int = 2) -> str:
    """Returns a fraction in percent without the percent sign, or a dash if it is undefined."""
    return "-" if math.isnan(fraction) else f"{100 * fraction:.{digits}f}"


def signed_percent(fraction: float, digits: int = 2) -> str:
    """Returns a difference of fractions in percent with its sign, or a dash if it is undefined."""
    return "-" if math.isnan(fraction) else f"{100 * fraction:+.{digits}f}"


def is_defined(interval: Interval | None) -> bool:
    """Says whether there is an interval and its ends are numbers."""
    return interval is not None and math.isfinite(interval.low)


def ratio(part: float, whole: float) -> float:
    """Returns ``part / whole``, or NaN if the whole is 0."""
    return part / whole if whole else math.nan
