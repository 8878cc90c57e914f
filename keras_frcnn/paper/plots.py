"""Draws SVG files: the recall curves of figure 4, and the AP of each class for tables 6 and 7."""

from collections.abc import Sequence
from pathlib import Path

from keras_frcnn.drawing import charts
from keras_frcnn.evaluation.metrics.proposal_recall import CURVE_IOU_THRESHOLDS
from keras_frcnn.paper import rows
from keras_frcnn.paper.results import CurveResult, RowResult


def write_curves(results: Sequence[CurveResult], folder: Path) -> list[str]:
    """Draws the curves that have results, one file for each number of proposals.

    Returns:
        The names of the files.
    """
    drawn = [result for result in results if result.recall is not None]
    colors = dict(zip((curve.name for curve in rows.CURVES), charts.COLORS, strict=False))
    legend = [(colors[result.curve.name], result.curve.title) for result in drawn]
    names = []
    for index, number in enumerate(rows.FIGURE_NUM_PROPOSALS if drawn else ()):
        lines = [
            charts.Line(
                result.curve.title,
                colors[result.curve.name],
                CURVE_IOU_THRESHOLDS,
                result.recall[index].tolist(),
            )
            for result in drawn
        ]
        title = f"Recall of {number} proposals against IoU"
        x = charts.Axis("IoU", 0.5, 1.0, (0.5, 0.6, 0.7, 0.8, 0.9, 1.0))
        chart = charts.lines(title, x, charts.Axis(f"recall of {number}"), lines)
        names.append(f"figure_{rows.FIGURE}_{number}.svg")
        charts.write_svg(chart, folder / names[-1], legend, charts.COLORS)
    return names


def write_classes(number: int, result: RowResult, folder: Path) -> str:
    """Draws the AP of each class of a row: ours as bars, the paper's as marks.

    Returns:
        The name of the file.
    """
    means = map(result.class_mean, rows.CLASSES)
    ours = [
        charts.Part(name, "blue", round(mean or 0.0, 1))
        for name, mean in zip(rows.CLASSES, means, strict=True)
    ]
    title = f"{result.row.title}: AP of each class in percent, ours and the paper's"
    x = charts.Axis("AP, percent; bars: ours, marks: the paper's", 0, 100, (0, 20, 40, 60, 80, 100))
    chart = charts.bars(title, x, list(zip(ours, result.row.per_class, strict=True)))
    name = f"table_{number}_{result.row.name}.svg"
    charts.write_svg(chart, folder / name, [("blue", result.row.title)], charts.COLORS)
    return name
