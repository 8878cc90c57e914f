"""Gathers what the tasks produced: AP of the rows, recall of the curves, times of table 5."""

import dataclasses
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_frcnn import data, files
from keras_frcnn.evaluation.metrics.proposal_recall import CURVE_IOU_THRESHOLDS, recall
from keras_frcnn.evaluation.report.result_files import RESULTS
from keras_frcnn.paper import rows
from keras_frcnn.paper.plan import Planner
from keras_frcnn.tasks.task import Task

NOT_RUN = "not run yet"

Obstacle = Callable[[Task], str]
"""Says why a task that is not done cannot run; empty if it is done or can run."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowResult:
    """The results of a row.

    Attributes:
        row: the row.
        values: the mean AP of each seed that is done, in percent.
        per_class: the AP of each class for each of these seeds, in percent.
        missing: why the other seeds have no figure; empty if all are done.
        data: what it was trained and tested on.
        steps: its number of training steps; None: not known yet.
        full_steps: the steps of the full schedule.
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
        """The mean over the seeds; None without any."""
        return statistics.mean(self.values.values()) if self.values else None

    @property
    def standard_deviation(self) -> float | None:
        """The sample standard deviation over the seeds; None for fewer than two."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    def class_mean(self, name: str) -> float | None:
        """Returns the mean AP of a class over the seeds; None if no seed has it."""
        found = [aps[name] for aps in self.per_class.values() if aps.get(name) is not None]
        return statistics.mean(found) if found else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurveResult:
    """The recall of a curve's proposals.

    Attributes:
        curve: the curve.
        recall: float64 [len(rows.FIGURE_NUM_PROPOSALS), len(CURVE_IOU_THRESHOLDS)], the mean over
            the seeds; None without any.
        num_seeds: how many seeds it is the mean of; 1 for methods without randomness.
        missing: why the other seeds have no curve; empty if all are done.
    """

    curve: rows.Curve
    recall: np.ndarray | None
    num_seeds: int
    missing: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimingResult:
    """The measured times for a row of table 5.

    Attributes:
        row: the row.
        milliseconds: the times of convolutions, proposal, regions and total; empty: none yet.
        device: the device they were measured on.
        missing: why there are no times; empty if there are.
    """

    row: rows.TimingRow
    milliseconds: tuple[float, ...] = ()
    device: str = ""
    missing: str = ""


def metric_of(row: rows.Row, planner: Planner) -> str:
    """Returns how the AP of a row is computed, which depends on the year of the paper's test set.

    Returns:
        "11point" or "area".
    """
    return "11point" if planner.config(row.model).eval_split == ("VOC2007/test",) else "area"


def row_result(row: rows.Row, planner: Planner, obstacle: Obstacle) -> RowResult:
    """Gathers the figures of a row, as far as they exist.

    Args:
        row: the row.
        planner: plans its tasks.
        obstacle: says why a task cannot run.
    """
    metric, values, per_class, missing = metric_of(row, planner), {}, {}, ""
    for seed in planner.settings.seeds:
        task = planner.evaluation(row, seed)
        if not task.is_done:
            missing = missing or obstacle(task) or NOT_RUN
            continue
        file = task.result.with_name(RESULTS)
        if not file.is_file():
            missing = missing or f"for the evaluation server: {file.with_name('voc')}"
            continue
        result = json.loads(file.read_text(encoding="utf-8"))
        value = _percent(result[f"map_{metric}"])
        if value is None:
            missing = missing or "the test images have no objects"
            continue
        values[seed] = value
        per_class[seed] = {
            name: _percent(figures[f"ap_{metric}"]) for name, figures in result["classes"].items()
        }
    try:
        steps = planner.schedule(row.model).total_steps
    except ValueError:
        steps = None
    return RowResult(
        row=row,
        values=values,
        per_class=per_class,
        missing=missing,
        data=planner.describe_data(row),
        steps=steps,
        full_steps=planner.config(row.model).total_steps,
    )


def curve_result(curve: rows.Curve, planner: Planner, obstacle: Obstacle) -> CurveResult:
    """Computes the recall of a curve, as far as its proposals exist.

    Args:
        curve: the curve.
        planner: plans its tasks.
        obstacle: says why a task cannot run.

    Raises:
        ValueError: naming the file that is wrong.
    """
    seeds = planner.settings.seeds if curve.proposals.model else planner.settings.seeds[:1]
    found, missing = [], ""
    for seed in seeds:
        task = planner.curve(curve, seed)
        if task.is_done and not task.obstacle:
            found.append(_recall(task.result, planner))
        else:
            missing = missing or task.obstacle or obstacle(task) or NOT_RUN
    mean = np.mean(found, axis=0) if found else None
    return CurveResult(curve=curve, recall=mean, num_seeds=len(found), missing=missing)


def timing_results(planner: Planner, obstacle: Obstacle) -> list[TimingResult]:
    """Gathers the times for table 5, as far as they exist.

    Args:
        planner: plans its tasks.
        obstacle: says why a task cannot run.
    """
    results = []
    for row in rows.TIMING_ROWS:
        task = planner.benchmark(row.benchmark)
        if not task.is_done:
            results.append(TimingResult(row=row, missing=obstacle(task) or NOT_RUN))
            continue
        document = json.loads(task.result.with_name("times.json").read_text(encoding="utf-8"))
        environment = document["environment"]
        (case,) = (case for case in document["cases"] if case["backbone"] == row.backbone)
        results.append(
            TimingResult(
                row=row,
                milliseconds=tuple(line["milliseconds"]["median"] for line in case["rows"]),
                device=environment.get("gpu") or environment.get("processor") or "",
            )
        )
    return results


def _recall(file: Path, planner: Planner) -> list[list[float]]:
    """Returns the recall of a proposals file, which is kept beside it because it takes minutes."""
    kept = file.with_suffix(".recall.json")
    if not kept.exists() or kept.stat().st_mtime < file.stat().st_mtime:
        from keras_frcnn.data import proposals_file  # imports TensorFlow, which takes seconds

        settings, config = planner.settings, planner.config("zf_ss")
        config = config.replace(data_dir=(settings.data_dir,))
        dataset = data.load(config, settings.splits(config.eval_split))
        most = max(rows.FIGURE_NUM_PROPOSALS)
        proposals = proposals_file.read_for(file, dataset.records, most)
        values = recall(
            [record.boxes[~record.difficult] for record in dataset.records],
            np.split(proposals.boxes, proposals.splits[1:-1]),
            rows.FIGURE_NUM_PROPOSALS,
            CURVE_IOU_THRESHOLDS,
        )
        files.write_text(kept, json.dumps(values.tolist()))
    return json.loads(kept.read_text(encoding="utf-8"))


def _percent(fraction):
    return None if fraction is None else 100 * fraction
