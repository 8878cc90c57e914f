"""The result of a case: rows of timings with what belongs to them."""

import dataclasses
from collections.abc import Mapping, Sequence

from benchmarks.timing import Spread, Timing


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was timed.
        timing: its milliseconds.
        gflop: the arithmetic of one call in convolutions and dense layers, if there is any.
        ratio_to: the name of the row that it is compared with.
        ratio: its time divided by that row's, round by round.
        facts: further figures by name.
    """

    what: str
    timing: Timing
    gflop: float | None = None
    ratio_to: str | None = None
    ratio: Spread | None = None
    facts: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict:
        """Returns the row in JSON's types."""
        values = {
            "what": self.what,
            "calls": len(self.timing.samples),
            "milliseconds": _rounded(self.timing.spread),
            "facts": dict(self.facts),
        }
        if self.gflop is not None:
            values["gflop"] = round(self.gflop, 2)
            values["gflop_per_s"] = round(1000 * self.gflop / self.timing.median, 1)
        if self.ratio is not None:
            values["ratio"] = {"to": self.ratio_to, **_rounded(self.ratio)}
        return values


@dataclasses.dataclass(frozen=True)
class Result:
    """The rows of a case, and facts about the whole, such as the number of detections."""

    rows: Sequence[Row]
    facts: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict:
        """Returns the result in JSON's types."""
        return {"rows": [row.to_dict() for row in self.rows], "facts": dict(self.facts)}


def timed_rows(
    timings: Mapping[str, Timing],
    gflop: Mapping[str, float] | None = None,
    ratio_to: str | None = None,
) -> list[Row]:
    """Makes a row of each timing.

    Args:
        timings: by name, from one call of ``timing.interleaved``.
        gflop: by name, if there is any arithmetic.
        ratio_to: the name that all others are compared with. None: no comparison.
    """
    rows = []
    for name, timing in timings.items():
        is_compared = ratio_to is not None and name != ratio_to
        rows.append(
            Row(
                name,
                timing,
                gflop=(gflop or {}).get(name),
                ratio_to=ratio_to if is_compared else None,
                ratio=timing.ratio_to(timings[ratio_to]) if is_compared else None,
            )
        )
    return rows


def _rounded(spread):
    return {name: round(value, 3) for name, value in dataclasses.asdict(spread).items()}
