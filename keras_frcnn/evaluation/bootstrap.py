"""How far average precision could be another with other pictures of the same kind: the bootstrap.

A data set's pictures are drawn anew, as many as there are, with replacement; the average precision
of each draw is computed exactly. The interval holds the middle 95 % of these (Efron's percentiles).
"""

import dataclasses

LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Interval:
    """The middle ``LEVEL`` of the draws; NaN where a figure is undefined."""

    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intervals:
    """Intervals of the figures of one evaluation.

    Attributes:
        num_resamples: number of draws.
        seed: of the draws.
        means: by figure, with the names of the result: "map_11point" and "map_area", or "AP" and
            "AP50".
        classes: by figure, of each class in the dataset's order.
    """

    num_resamples: int
    seed: int
    means: dict[str, Interval]
    classes: dict[str, tuple[Interval, ...]]
