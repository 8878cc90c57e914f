"""How reports write fractions, intervals, times and tables."""

import math
from collections.abc import Sequence

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


def duration(seconds: float) -> str:
    """Returns a time in minutes, or in hours and minutes."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown.

    Args:
        lines: the cells of the header, then those of the rows.
    """
    head, *body = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    cells = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
