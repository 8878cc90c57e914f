"""Gathers what the rows have measured: the points of each curve, and what more images would add."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from keras_frcnn.data.dataset import Dataset
from keras_frcnn.evaluation import inputs
from keras_frcnn.evaluation.analysis import bootstrap
from keras_frcnn.evaluation.metrics import ground_truth
from keras_frcnn.evaluation.metrics.evaluate import choose_metric
from keras_frcnn.learning_curve import estimates
from keras_frcnn.learning_curve.estimates import Estimate
from keras_frcnn.learning_curve.plan import Plan, Row
from keras_frcnn.tasks.task import Task

NOT_RUN = "not run yet"


@dataclasses.dataclass(frozen=True)
class Point:
    """One size of a curve.

    Attributes:
        size: the number of training images.
        values: mean AP, a fraction, of each seed that is done.
        mean: their mean with its interval; None if no seed is done.
        missing: why the other seeds have no figure; empty if all are done.
    """

    size: int
    values: dict[int, float]
    mean: Estimate | None
    missing: str


@dataclasses.dataclass(frozen=True)
class Curve:
    """The results of one start.

    Attributes:
        start: the name of the start.
        points: one for each size, ascending.
        fitted: the sizes from which ``gain`` is extrapolated.
        gain: what ``more`` images beyond the last fitted size would add; None if there are too few
            sizes, or too few seeds that are done at each of them.
        behind: how far the curve lies below the best one at the largest size; None for the best
            one, and where they share no seed.
    """

    start: str
    points: tuple[Point, ...]
    fitted: tuple[int, ...] = ()
    gain: Estimate | None = None
    behind: Estimate | None = None


class Results:
    """Reads the detections of the rows and summarizes them.

    Args:
        plan: what is run.
        dataset: the evaluation split.
        more: the number of further images whose gain is estimated.
        num_resamples: the number of resamples of the evaluation images.

    Attributes:
        plan: as given.
        more: as given.
        metric: "voc" or "coco", as the format of the data says.
    """

    def __init__(self, plan: Plan, dataset: Dataset, more: int, num_resamples: int = 1000):
        self.plan, self.more = plan, more
        self.metric = choose_metric("auto", dataset.form)
        self._truth = ground_truth.of_dataset(dataset, self.metric)
        self._num_resamples = num_resamples
        self._measure = functools.lru_cache(maxsize=1)(self._measure_rows)
        self._read = functools.cache(self._read_row)

    def curves(self, obstacle: Callable[[Task], str]) -> list[Curve]:
        """Returns the curve of each start, as far as its rows are done.

        Args:
            obstacle: says why a task that is not done cannot run; empty if it is done or can run.

        Raises:
            ValueError: naming a row that was measured on other images or objects.
        """
        done = tuple(row for row in self.plan.rows if self.plan.evaluation(row).is_done)
        figures = self._measure(done)
        curves = [self._curve(start, figures, obstacle) for start in self.plan.settings]
        return self._compared(curves, figures)

    def _curve(self, start, figures, obstacle) -> Curve:
        points = []
        for size in self.plan.sizes:
            of_seeds, missing = {}, ""
            for seed in self.plan.seeds:
                row = Row(start, size, seed)
                if row in figures:
                    of_seeds[seed] = figures[row]
                else:
                    missing = missing or obstacle(self.plan.evaluation(row)) or NOT_RUN
            mean = estimates.estimate(np.stack(list(of_seeds.values()))) if of_seeds else None
            values = {seed: float(values[0]) for seed, values in of_seeds.items()}
            points.append(Point(size, values, mean, missing))
        fitted = tuple(p.size for p in points if p.values)[-estimates.NUM_FITTED_SIZES :]
        seeds = self._shared_seeds(figures, [(start, size) for size in fitted])
        gain = None
        if len(fitted) >= estimates.MIN_SIZES and len(seeds) >= estimates.MIN_SEEDS:
            stacked = [[figures[Row(start, size, seed)] for seed in seeds] for size in fitted]
            gain = estimates.gain(np.array(stacked), fitted, self.more)
        return Curve(start, tuple(points), fitted, gain)

    def _compared(self, curves: list[Curve], figures) -> list[Curve]:
        """Adds how far each curve lies below the best one at the largest size."""
        size = self.plan.sizes[-1]
        means = {c.start: c.points[-1].mean.value for c in curves if c.points[-1].mean}
        best = max(means, key=means.get, default="")

        def behind(start):
            seeds = self._shared_seeds(figures, [(start, size), (best, size)])
            if start == best or start not in means or len(seeds) < estimates.MIN_SEEDS:
                return None
            pairs = [[figures[Row(name, size, seed)] for seed in seeds] for name in (best, start)]
            return estimates.estimate(np.array(pairs[0]) - np.array(pairs[1]), lowest=-1.0)

        return [dataclasses.replace(curve, behind=behind(curve.start)) for curve in curves]

    def _shared_seeds(self, figures, places) -> list[int]:
        """Returns the seeds that are done at each (start, size)."""
        return [
            seed
            for seed in self.plan.seeds
            if all(Row(start, size, seed) in figures for start, size in places)
        ]

    def _measure_rows(self, rows: Sequence[Row]) -> dict[Row, np.ndarray]:
        """Returns the mean AP of rows on the evaluation images and on their resamples."""
        tables = [self._read(row) for row in rows]
        if not tables:
            return {}
        figures = bootstrap.resampled_means(
            self._truth, tables, self.metric, num_resamples=self._num_resamples
        )
        return dict(zip(rows, figures, strict=True))

    def _read_row(self, row: Row):
        found = inputs.locate(str(self.plan.folder(row)))
        inputs.check_same_truth([found], self.metric, ground_truth.fingerprint(self._truth))
        return inputs.read_detections(found, self.plan.config(row), self._truth)
