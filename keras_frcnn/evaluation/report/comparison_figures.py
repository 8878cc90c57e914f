"""The figures by which two evaluations are compared, and the verdict that follows from them."""

from keras_frcnn.evaluation.analysis import bootstrap
from keras_frcnn.evaluation.analysis.comparison import Comparison
from keras_frcnn.evaluation.metrics import voc
from keras_frcnn.evaluation.report.formats import is_defined

CLASS_FIGURES = dict((*bootstrap.VOC_FIGURES, *bootstrap.COCO_FIGURES))
"""The figure of a class that each mean figure averages."""


def main_figure(comparison: Comparison) -> tuple[tuple[float, float], str]:
    """Returns the main figure of both evaluations, and its name."""
    results = (comparison.before.result, comparison.after.result)
    if isinstance(results[0], voc.Result):
        return (results[0].map_area, results[1].map_area), "map_area"
    return (results[0].figures["AP"], results[1].figures["AP"]), "AP"


def class_figures(comparison: Comparison) -> list[tuple[str, float, float]]:
    """Returns the name of each class and its main figure in both evaluations."""
    both = zip(comparison.before.result.classes, comparison.after.result.classes, strict=True)
    if isinstance(comparison.before.result, voc.Result):
        return [(a.name, a.ap_area, b.ap_area) for a, b in both]
    return [(a.name, a.figures["AP"], b.figures["AP"]) for a, b in both]


def difference_intervals(
    comparison: Comparison,
) -> tuple[list[bootstrap.Interval], bootstrap.Interval]:
    """Returns the intervals of the main figure's difference: one for each class, and the mean's.

    The ends are NaN where no interval is known.
    """
    differences = comparison.differences
    if differences is None:
        unknown = bootstrap.Interval(float("nan"), float("nan"))
        return [unknown] * len(comparison.before.result.classes), unknown
    _, name = main_figure(comparison)
    return list(differences.classes[CLASS_FIGURES[name]]), differences.means[name]


def verdict(comparison: Comparison) -> str:
    """Returns a sentence: which evaluation is better, as far as the interval can tell."""
    _, interval = difference_intervals(comparison)
    if not is_defined(interval):
        return "No interval of the difference was computed."
    if interval.low > 0:
        return "B is better than A: the interval of the difference lies above 0."
    if interval.high < 0:
        return "B is worse than A: the interval of the difference lies below 0."
    return "These images do not tell which is better: the interval of the difference includes 0."
