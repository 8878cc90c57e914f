"""The results of an evaluation or a comparison as files for programs: one JSON file, CSV tables.

Fractions lie between 0 and 1. An undefined value, such as the AP of a class without objects, is
null in JSON and an empty cell in CSV.
"""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_frcnn import files
from keras_frcnn.evaluation.analysis import bootstrap
from keras_frcnn.evaluation.analysis.comparison import Comparison
from keras_frcnn.evaluation.analysis.errors import MISSED, ErrorSplit, Kind
from keras_frcnn.evaluation.analysis.summary import Summary
from keras_frcnn.evaluation.metrics import ground_truth, precision_recall, voc
from keras_frcnn.evaluation.report.comparison_figures import (
    CLASS_FIGURES,
    class_figures,
    difference_intervals,
    main_figure,
)
from keras_frcnn.evaluation.report.error_kinds import kind_name

RESULTS = "results.json"
"""The name of the JSON file of an evaluation."""

_KINDS = tuple(kind_name(kind) for kind in Kind)
# Detections are counted three times: of any score, the best n of a class with n objects, and from
# the score on that gives the best F1, as the page counts them.
_PARTS = {"top": _KINDS, "kept": (*_KINDS, MISSED)}
_ERROR_COLUMNS = (
    *(*_KINDS, MISSED),
    *(f"{prefix}_{name}" for prefix, names in _PARTS.items() for name in names),
)
_SCALAR_LIST = re.compile(r"\[\n\s*([^\[\]{}]*?)\n\s*\]")


def write_evaluation(summary: Summary, folder: str | Path) -> list[str]:
    """Writes results.json, per_class.csv, errors.csv, confusions.csv and pr_curves.csv.

    If proposals were measured, proposal_recall.csv is written too.

    Args:
        summary: The results.
        folder: Where to write; the folder is created if it is missing.

    Returns:
        The names of the files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(evaluation_to_dict(summary), folder / RESULTS)
    tables = {
        "per_class.csv": _class_rows(summary),
        "errors.csv": _error_rows(summary.errors, summary.kept),
        "confusions.csv": _confusion_rows(summary.errors, summary.kept),
        "pr_curves.csv": _curve_rows(summary.curves),
    }
    if summary.recall is not None:
        tables["proposal_recall.csv"] = _recall_rows(summary)
    for name, rows in tables.items():
        write_csv(rows, folder / name)
    return [RESULTS, *tables]


def write_comparison(comparison: Comparison, folder: str | Path) -> list[str]:
    """Writes comparison.json, comparison_per_class.csv and comparison_images.csv.

    Args:
        comparison: The comparison.
        folder: Where to write; the folder is created if it is missing.

    Returns:
        The names of the files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = ["comparison.json", "comparison_per_class.csv", "comparison_images.csv"]
    write_json(comparison_to_dict(comparison), folder / names[0])
    write_csv(_compared_class_rows(comparison), folder / names[1])
    write_csv(_compared_image_rows(comparison), folder / names[2])
    return names


def evaluation_to_dict(summary: Summary) -> dict[str, Any]:
    """Returns all results of an evaluation as plain values. Undefined values are NaN."""
    truth = summary.errors.truth
    return {
        **summary.result.to_dict(),
        "class_names": list(truth.class_names),
        "category_ids": list(truth.category_ids),
        "ground_truth": {
            "metric": summary.errors.metric,
            "sha256": ground_truth.fingerprint(truth),
        },
        "intervals": _intervals_to_dict(summary.intervals, truth.class_names),
        "errors": {**_errors_to_dict(summary.errors, summary.kept), "gains": dict(summary.gains)},
        "pr_curves": [_curve_to_dict(curve) for curve in summary.curves],
        "proposal_recall": _recall_to_dict(summary),
        "settings": dict(summary.settings),
    }


def comparison_to_dict(comparison: Comparison) -> dict[str, Any]:
    """Returns a comparison as plain values: B minus A for differences, NaN where undefined."""
    (a, b), figure = main_figure(comparison)
    class_names = comparison.before.errors.truth.class_names
    image_keys, *images = _compared_image_rows(comparison)
    return {
        "A": {"name": comparison.names[0], **evaluation_to_dict(comparison.before)},
        "B": {"name": comparison.names[1], **evaluation_to_dict(comparison.after)},
        "figure": figure,
        "difference": b - a,
        "differences": {name: b - a for name, a, b in class_figures(comparison)},
        "intervals": _intervals_to_dict(comparison.differences, class_names),
        "images": [dict(zip(image_keys, row, strict=True)) for row in images],
    }


def _intervals_to_dict(
    intervals: bootstrap.Intervals | None, class_names: Sequence[str]
) -> dict[str, Any] | None:
    """Returns intervals as plain values: [low, high] of each mean, and of each class."""
    if intervals is None:
        return None
    return {
        "level": bootstrap.LEVEL,
        "num_resamples": intervals.num_resamples,
        "seed": intervals.seed,
        "means": {name: [i.low, i.high] for name, i in intervals.means.items()},
        "classes": {
            figure: {name: [i.low, i.high] for name, i in zip(class_names, some, strict=True)}
            for figure, some in intervals.classes.items()
        },
    }


def write_json(values: Mapping[str, Any], path: str | Path) -> None:
    """Writes plain values as JSON, with sorted keys, flat lists on one line, and NaN as null.

    Args:
        values: The values.
        path: The file to write.
    """
    text = json.dumps(_without_nan(values), sort_keys=True, indent=2, allow_nan=False)
    # JSON escapes line ends inside strings, so only lists match.
    text = _SCALAR_LIST.sub(lambda found: "[" + re.sub(r"\n *", " ", found[1]) + "]", text)
    files.write_text(path, text + "\n")


def write_csv(rows: Iterable[Sequence[Any]], path: str | Path) -> None:
    """Writes a table as CSV.

    Args:
        rows: The names of the columns, then the rows. NaN becomes an empty cell.
        path: The file to write.
    """
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["" if v != v else v for v in row] for row in rows])
    files.write_text(path, text.getvalue())


def _errors_to_dict(split: ErrorSplit, kept: ErrorSplit) -> dict[str, Any]:
    counts, names = _error_counts(split, kept), split.truth.class_names
    confusions = _confusion_rows(split, kept)
    return {
        **_tally(counts.sum(axis=0)),
        "iou_threshold": split.iou_threshold,
        "score_threshold": split.score_threshold,
        "kept_score_threshold": kept.score_threshold,
        "classes": {name: _tally(row) for name, row in zip(names, counts, strict=True)},
        "confusions": [dict(zip(confusions[0], row, strict=True)) for row in confusions[1:]],
    }


def _error_counts(split: ErrorSplit, kept: ErrorSplit) -> np.ndarray:
    """Returns the columns ``_ERROR_COLUMNS``, one row for each class."""
    missed, top = split.num_missed(), split.counts(top=True)
    columns = (split.counts(), missed, top, kept.counts(), kept.num_missed())
    return np.column_stack(columns)


def _tally(row: np.ndarray) -> dict[str, Any]:
    named = dict(zip(_ERROR_COLUMNS, row.tolist(), strict=True))
    nested = {
        prefix: {name: named.pop(f"{prefix}_{name}") for name in names}
        for prefix, names in _PARTS.items()
    }
    return named | nested


def _curve_to_dict(curve: precision_recall.Curve) -> dict[str, Any]:
    return {
        "class": curve.name,
        "iou": curve.iou,
        "ap": curve.ap,
        "recall": curve.recall.tolist(),
        "precision": curve.precision.tolist(),
        "scores": curve.scores.tolist(),
    }


def _recall_to_dict(summary: Summary) -> dict[str, Any] | None:
    if summary.recall is None:
        return None
    return {
        "source": summary.recall.source,
        "num_gt": summary.recall.num_gt,
        "num_proposals": list(summary.recall.num_proposals),
        "iou_thresholds": list(summary.recall.iou_thresholds),
        "recall": summary.recall.recall.tolist(),
        "average_recall": summary.recall.average_recall.tolist(),
    }


def _class_rows(summary: Summary) -> list[list]:
    result, intervals = summary.result, summary.intervals
    counts = ["num_gt", "num_difficult" if isinstance(result, voc.Result) else "num_crowd"]
    by_class = result.to_dict()["classes"]
    figures = [name for name in next(iter(by_class.values()), {}) if not name.startswith("num_")]
    measured = {} if intervals is None else intervals.classes
    rows = [["class", *counts, "num_detections", *figures]]
    rows[0] += [f"{name}_{end}" for name in measured for end in ("low", "high")]
    for label, (name, values) in enumerate(by_class.items()):
        ends = [(some[label].low, some[label].high) for some in measured.values()]
        keys = (*counts, "num_detections", *figures)
        rows.append([name, *(values[key] for key in keys), *(end for two in ends for end in two)])
    return rows


def _error_rows(split: ErrorSplit, kept: ErrorSplit) -> list[list]:
    counts = zip(split.num_gt().tolist(), _error_counts(split, kept).tolist(), strict=True)
    rows = [
        [name, num_gt, *row]
        for name, (num_gt, row) in zip(split.truth.class_names, counts, strict=True)
    ]
    return [["class", "num_gt", *_ERROR_COLUMNS], *rows]


def _confusion_rows(split: ErrorSplit, kept: ErrorSplit) -> list[list]:
    """Returns the pairs of classes that were confused, most frequent first."""
    names, counts = split.truth.class_names, split.confusions()
    of_kept = kept.confusions()
    said, true = np.nonzero(counts | of_kept)
    order = np.argsort(-counts[said, true], kind="stable")
    pairs = zip(said[order].tolist(), true[order].tolist(), strict=True)
    rows = [[names[i], names[j], int(counts[i, j]), int(of_kept[i, j])] for i, j in pairs]
    return [["said", "true", "detections", "kept_detections"], *rows]


def _curve_rows(some: Iterable[precision_recall.Curve]) -> Iterable[list]:
    yield ["class", "iou", "recall", "precision", "score"]
    for curve in some:
        points = (curve.recall.tolist(), curve.precision.tolist(), curve.scores.tolist())
        yield from ([curve.name, curve.iou, *point] for point in zip(*points, strict=True))


def _recall_rows(summary: Summary) -> Iterable[list]:
    recall = summary.recall
    yield ["num_proposals", "iou_threshold", "recall"]
    for number, values, average in zip(
        recall.num_proposals, recall.recall.tolist(), recall.average_recall.tolist(), strict=True
    ):
        yield from ([number, *point] for point in zip(recall.iou_thresholds, values, strict=True))
        yield [number, precision_recall.COCO_MEAN, average]


def _compared_class_rows(comparison: Comparison) -> Iterable[list]:
    figure = CLASS_FIGURES[main_figure(comparison)[1]]
    yield ["class", f"{figure}_A", f"{figure}_B", "difference", "difference_low", "difference_high"]
    intervals, _ = difference_intervals(comparison)
    for (name, a, b), interval in zip(class_figures(comparison), intervals, strict=True):
        yield [name, a, b, b - a, interval.low, interval.high]


def _compared_image_rows(comparison: Comparison) -> Iterable[list]:
    """Returns the images whose AP changed, most improved first."""
    yield ["image_id", "ap_A", "ap_B"]
    image_ids = comparison.before.errors.truth.image_ids
    for row in comparison.changed_images().tolist():
        yield [image_ids[row], *comparison.image_aps[:, row].tolist()]


def _without_nan(value: Any) -> Any:
    """Replaces NaN and infinity, which JSON cannot express, with None."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
