"""The plots as SVG files: recall curves of figure 4, AP of each class of tables 6 and 7."""

from collections.abc import Sequence
from pathlib import Path

from keras_frcnn.drawing import charts
from keras_frcnn.evaluation.metrics.proposal_recall import CURVE_IOU_THRESHOLDS
from keras_frcnn.paper import rows
from keras_frcnn.paper.figure import CurveOutcome
from keras_frcnn.paper.outcome import Outcome

_COLORS = {"blue": "#2f7fc4", "orange": "#d9822b", "green": "#3a9a5b", "purple": "#8a5bb5"}


def write_curves(outcomes: Sequence[CurveOutcome], folder: Path) -> list[str]:
    """Draws the recall of the curves that there are, one file for each number of proposals.

    Returns:
        The names of the files.
    """
    drawn = [outcome for outcome in outcomes if outcome.recall is not None]
    colors = dict(zip((curve.name for curve in rows.CURVES), _COLORS, strict=True))
    legend = [(colors[outcome.curve.name], outcome.curve.title) for outcome in drawn]
    names = []
    for row, number in enumerate(rows.FIGURE_NUMBERS if drawn else ()):
        lines = [
            charts.Line(
                outcome.curve.title,
                colors[outcome.curve.name],
                CURVE_IOU_THRESHOLDS,
                outcome.recall[row].tolist(),
            )
            for outcome in drawn
        ]
        words = f"Recall of {number} proposals against IoU"
        x = charts.Axis("IoU", 0.5, 1.0, (0.5, 0.6, 0.7, 0.8, 0.9, 1.0))
        chart = charts.lines(words, x, charts.Axis(f"recall of {number}"), lines)
        names.append(f"figure_{rows.FIGURE}_{number}.svg")
        charts.write_svg(chart, folder / names[-1], legend, _COLORS)
    return names


def write_classes(number: int, outcome: Outcome, folder: Path) -> str:
    """Draws AP of each class of a row, ours as bars, the paper's as marks.

    Returns:
        The name of the file.
    """
    means = map(outcome.class_mean, rows.CLASSES)
    parts = [
        charts.Part(name, "blue", round(mean or 0.0, 1))
        for name, mean in zip(rows.CLASSES, means, strict=True)
    ]
    words = f"{outcome.row.title}: AP of each class in percent, ours and the paper's"
    x = charts.Axis("AP, percent; bars: ours, marks: the paper's", 0, 100, (0, 20, 40, 60, 80, 100))
    chart = charts.bars(words, x, list(zip(parts, outcome.row.per_class, strict=True)))
    name = f"table_{number}_{outcome.row.name}.svg"
    charts.write_svg(chart, folder / name, [("blue", outcome.row.title)], _COLORS)
    return name
