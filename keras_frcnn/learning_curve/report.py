"""Writes a learning curve as a table, a chart and a page, and for programs as JSON and CSV."""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from keras_frcnn import files
from keras_frcnn.drawing import charts, page
from keras_frcnn.evaluation.analysis.bootstrap import MAIN_FIGURES
from keras_frcnn.evaluation.report import result_files
from keras_frcnn.evaluation.report.formats import LEVEL_TEXT, duration, markdown_table, percent
from keras_frcnn.learning_curve import advice
from keras_frcnn.learning_curve.plan import Plan
from keras_frcnn.learning_curve.results import Curve, Results

NAME = "learning_curve"
"""The name of every file, without its suffix."""

_TEMPLATE = "learning_curve/templates/learning_curve.html"
_HEADS = ("start", "images", "seeds", "mAP", "± 1 seed", LEVEL_TEXT, "missing")
_GAP = 0.06  # of the axis, the least distance of two of its ticks


def table(curves: Sequence[Curve]) -> Table:
    """Returns the points of all curves for the console."""
    shown = Table(*_HEADS, header_style="bold")
    for line in _lines(curves):
        shown.add_row(*line)
    return shown


def time_table(plan: Plan) -> tuple[Table, str]:
    """Returns how long the rows that are left take: by start, and in all."""
    shown = Table("start", "rows left", "training a row", "evaluating it", header_style="bold")
    seconds, total, num_left = plan.seconds(), 0.0, 0
    for start in plan.settings:
        tasks = [plan.evaluation(row) for row in plan.rows if row.start == start]
        left = [task for task in tasks if not task.is_done]
        if left:
            parts = (seconds[left[0].needs[0].result], seconds[left[0].result])
            shown.add_row(start, f"{len(left)} of {len(tasks)}", *map(duration, parts))
            trainings = [task.needs[0] for task in left if not task.needs[0].is_done]
            total += sum(seconds[task.result] for task in (*left, *trainings))
            num_left += len(left)
    rows = f"{num_left} row" + ("" if num_left == 1 else "s")
    return shown, f"estimate: {duration(total)} for {rows}, without start-up"


def write(results: Results, curves: Sequence[Curve], folder: Path) -> list[str]:
    """Writes all files.

    Returns:
        Their names.
    """
    text = [*advice.sentences(curves, results.more), advice.METHOD]
    chart = _chart(curves, results)
    legend = list(zip(charts.COLORS, (curve.start for curve in curves), strict=False))
    result_files.write_json(_to_dict(results, curves, text), folder / f"{NAME}.json")
    result_files.write_csv(_csv_rows(curves), folder / f"{NAME}.csv")
    charts.write_svg(chart, folder / f"{NAME}.svg", legend, charts.COLORS)
    body = ["# Learning curve", *text[:-1], markdown_table([_HEADS, *_lines(curves)])]
    body += [text[-1], f"![{NAME}.svg]({NAME}.svg)"]
    files.write_text(folder / f"{NAME}.md", "\n\n".join(body) + "\n")
    page.write(
        folder / f"{NAME}.html",
        _TEMPLATE,
        title="Learning curve",
        sentences=text[:-1],
        method=text[-1],
        chart=chart,
        legend=legend,
        colors=charts.COLORS,
        level=LEVEL_TEXT,
        heads=_HEADS,
        rows=_lines(curves),
    )
    return [f"{NAME}.{suffix}" for suffix in ("html", "md", "svg", "csv", "json")]


def _lines(curves: Sequence[Curve]) -> list[tuple[str, ...]]:
    lines = []
    for curve in curves:
        for point in curve.points:
            figures = ("", "", "")
            if point.mean:
                deviation = _deviation(list(point.values.values()))
                figures = (percent(point.mean.value, 1), percent(deviation, 1))
                figures += (advice.ends(point.mean),)
            seeds = str(len(point.values))
            lines.append((curve.start, str(point.size), seeds, *figures, point.missing))
    return lines


def _csv_rows(curves: Sequence[Curve]) -> list[list]:
    rows = [["start", "images", "seeds", "mean", "standard_deviation", "low", "high", "missing"]]
    for curve in curves:
        for point in curve.points:
            values = list(point.values.values())
            mean = dataclasses.astuple(point.mean) if point.mean else [math.nan] * 3
            rows.append(
                [
                    *(curve.start, point.size, len(values)),
                    *(mean[0], _deviation(values), *mean[1:], point.missing),
                ]
            )
    return rows


def _deviation(values: Sequence[float]) -> float:
    """Returns the sample standard deviation; NaN for fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


def _to_dict(results: Results, curves: Sequence[Curve], text: Sequence[str]) -> dict:
    return {
        "figure": MAIN_FIGURES[results.metric],
        "more": results.more,
        "advice": text[:-1],
        "method": text[-1],
        "curves": [dataclasses.asdict(curve) for curve in curves],
    }


def _chart(curves: Sequence[Curve], results: Results) -> charts.Chart:
    """Draws mean AP against the number of images, with intervals and, dashed, the extrapolation."""
    lines, heights = [], []
    for curve, color in zip(curves, charts.COLORS, strict=False):
        drawn = [(point.size, point.mean) for point in curve.points if point.mean]
        xs, ys = [size for size, _ in drawn], [100 * mean.value for _, mean in drawn]
        lines.append(charts.Line(curve.start, color, xs, ys))
        for size, mean in drawn:
            bar = (100 * mean.low, 100 * mean.high)
            lines.append(charts.Line(f"{curve.start}: {LEVEL_TEXT}", color, (size, size), bar))
            heights += bar
        if curve.gain:
            last = dict(drawn)[curve.fitted[-1]].value
            end = curve.fitted[-1] + results.more
            ahead = (100 * last, 100 * min(1.0, last + curve.gain.value))
            name = f"{curve.start}, extrapolated"
            lines.append(charts.Line(name, color, (curve.fitted[-1], end), ahead, dashed=True))
            heights += ahead
    low = min(90, math.floor(min(heights, default=0) / 10) * 10)
    high = min(100, max(low + 10, math.ceil(max(heights, default=100) / 10) * 10))
    sizes = [*results.plan.sizes, results.plan.sizes[-1] + results.more]
    start, end = sizes[0], sizes[-1]
    ticks = [start]
    for size in sizes[1:]:
        if math.log(size / ticks[-1]) > _GAP * math.log(end / start):
            ticks.append(size)
    x = charts.Axis("training images", start, end, tuple(ticks), is_log=True)
    step = 10 if high - low > 30 else 5
    y = charts.Axis("mAP, percent", low, high, tuple(range(low, high + 1, step)))
    return charts.lines("mAP against the number of training images", x, y, lines)
