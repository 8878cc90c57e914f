"""What came out for a row: figures of each seed, or what is missing."""

import dataclasses
import json
import statistics
from collections.abc import Callable

from keras_frcnn.evaluation.report.result_files import RESULTS
from keras_frcnn.paper import rows
from keras_frcnn.paper.parts import Part, Planner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came out for a row.

    Attributes:
        row: the row.
        values: mean AP of each seed that is done, in percent.
        per_class: for each of them AP by class, in percent.
        missing: why other seeds have none; empty: all are done.
        data: what it was trained and tested on.
        steps: of its training; None: not known yet.
        full_steps: of the full schedule.
    """

    row: rows.Row
    values: dict[int, float]
    per_class: dict[int, dict[str, float]]
    missing: str
    data: str
    steps: int | None
    full_steps: int

    @property
    def mean(self) -> float | None:
        """Mean over the seeds; None without any."""
        return statistics.mean(self.values.values()) if self.values else None

    @property
    def spread(self) -> float | None:
        """Standard deviation of single seeds; None for fewer than two."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    def class_mean(self, name: str) -> float | None:
        """Mean over the seeds of a class' AP; None where no seed has it."""
        found = [aps[name] for aps in self.per_class.values() if aps.get(name) is not None]
        return statistics.mean(found) if found else None


def metric_of(row: rows.Row, planner: Planner) -> str:
    """Returns how a row's AP is computed: the year of the published test set decides."""
    return "11point" if planner.config(row.model).eval_split == ("VOC2007/test",) else "area"


def of_row(row: rows.Row, planner: Planner, problem: Callable[[Part], str]) -> Outcome:
    """Gathers what is there for a row.

    Args:
        row: the row.
        planner: of its parts.
        problem: says why a part cannot be made; empty: it may be.
    """
    metric, values, per_class, missing = metric_of(row, planner), {}, {}, ""
    for seed in planner.settings.seeds:
        part = planner.evaluation(row, seed)
        if not part.is_done:
            missing = missing or problem(part) or "not run yet"
            continue
        file = part.result.with_name(RESULTS)
        if not file.is_file():
            missing = missing or f"for the evaluation server: {file.with_name('voc')}"
            continue
        result = json.loads(file.read_text(encoding="utf-8"))
        value = _percent(result[f"map_{metric}"])
        if value is None:
            missing = missing or "no object to find"
            continue
        values[seed] = value
        per_class[seed] = {
            name: _percent(figures[f"ap_{metric}"]) for name, figures in result["classes"].items()
        }
    full = planner.config(row.model).total_steps
    try:
        steps = planner.schedule(row.model).total_steps
    except ValueError:
        steps = None
    return Outcome(
        row=row,
        values=values,
        per_class=per_class,
        missing=missing,
        data=planner.data(row),
        steps=steps,
        full_steps=full,
    )


def _percent(fraction):
    return None if fraction is None else 100 * fraction
