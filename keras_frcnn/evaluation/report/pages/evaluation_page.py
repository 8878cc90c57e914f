"""The page of an evaluation: how good a detector is, and what it does wrong.

The figures come first, then the errors by kind, class, score and object size, then images. Except
for the figures of the metric, everything describes the detections that a user would keep, namely
those that reach the score threshold with the highest F1. The console's table of errors has the same
counts.
"""

from pathlib import Path

from keras_frcnn.drawing import page
from keras_frcnn.drawing.gallery import Gallery
from keras_frcnn.evaluation.analysis.errors import ERRORS, ErrorSplit, Kind
from keras_frcnn.evaluation.analysis.summary import Summary
from keras_frcnn.evaluation.metrics import coco
from keras_frcnn.evaluation.report.error_kinds import COLORS
from keras_frcnn.evaluation.report.formats import LEVEL_TEXT, percent, ratio
from keras_frcnn.evaluation.report.pages import (
    evaluation_charts,
    evaluation_tables,
    image_gallery,
)

FILE = "report.html"
"""The usual name of the file."""

_TEMPLATE = "evaluation/report/pages/templates/evaluation.html"


def write(summary: Summary, path: Path, subject: str = "") -> None:
    """Writes the page.

    Args:
        summary: The evaluation. Some images of its dataset are read again.
        path: The file to write.
        subject: What was evaluated, for example the name of a checkpoint.
    """
    split, used = summary.errors, summary.kept
    records = summary.dataset.records if summary.dataset else []
    page.write(
        path,
        _TEMPLATE,
        title=f"Evaluation on {data_name(summary)}",
        colors=COLORS,
        subject=subject,
        scope=_scope(summary),
        cards=_cards(summary, used),
        score=f"{used.score_threshold:.3g}",
        iou=f"{split.iou_threshold:g}",
        legend=evaluation_tables.KIND_LEGEND,
        kinds=evaluation_tables.kinds(used, summary),
        classes=evaluation_tables.classes(used, summary),
        kind_names=evaluation_tables.KIND_NAMES,
        kinds_by_class=evaluation_tables.kinds_by_class(used),
        confusions=evaluation_tables.confusions(used),
        curve_figures=[
            evaluation_charts.precision_recall(summary.curves),
            evaluation_charts.thresholds(split, used.score_threshold),
        ],
        class_curves=evaluation_charts.class_curves(summary.curves, used),
        score_figures=evaluation_charts.scores(split),
        sizes=evaluation_tables.sizes(used),
        recall=summary.recall,
        proposal_figures=evaluation_charts.proposals(summary.recall) if summary.recall else [],
        has_images=bool(records),
        groups=image_gallery.groups(used, records, Gallery(path)) if records else [],
        settings=[(name, _text_of(value)) for name, value in sorted(summary.settings.items())],
    )


def data_name(summary: Summary) -> str:
    """Returns the names of the data folders and image sets that were measured on."""
    folders = ", ".join(Path(folder).name for folder in summary.settings.get("data_dir", ()))
    splits = ", ".join(split for split in summary.settings.get("eval_split", ()) if split != "-")
    return " ".join(name for name in (folders, splits) if name) or "images"


def card(value: str, title: str, note: str = "") -> dict[str, str]:
    """Returns the values of a card: a large figure with a title above and a note below it."""
    return {"value": value, "title": title, "note": note}


def _scope(summary: Summary) -> list[str]:
    """Returns the numbers of images, objects and detections."""
    truth, found = summary.errors.truth, summary.errors.found
    num_ignored = int(truth.crowd.sum())
    scope = [
        f"{len(truth.image_ids):,} images",
        f"{int((~truth.crowd).sum()):,} objects of {len(truth.class_names):,} classes",
        f"{len(found.rows):,} detections",
    ]
    if num_ignored:
        name = "crowd regions" if summary.errors.metric == "coco" else "difficult objects"
        scope.append(f"{num_ignored:,} {name} ignored")
    return scope


def _cards(summary: Summary, used: ErrorSplit) -> list[dict[str, str]]:
    result, intervals = summary.result, summary.intervals
    if isinstance(result, coco.Result):
        titles = {"AP": "mAP, IoU 0.50 to 0.95", "AP50": "AP50", "AP75": "AP75"}
        figures = [(name, title, result.figures[name]) for name, title in titles.items()]
    else:
        iou = f"IoU {result.iou_threshold:g}"
        figures = [
            ("map_area", f"mAP (area), {iou}", result.map_area),
            ("map_11point", f"mAP (11-point), {iou}", result.map_11point),
        ]
    cards = []
    for name, title, value in figures:
        interval = intervals.means.get(name) if intervals else None
        ends = interval and f"{percent(interval.low, 1)} to {percent(interval.high, 1)}"
        cards.append(card(percent(value, 1), title, f"{LEVEL_TEXT}: {ends}" if ends else ""))
    counts = used.counts().sum(axis=0)
    correct, wrong = counts[Kind.CORRECT], counts[list(ERRORS)].sum()
    note = f"at score {used.score_threshold:.3g} or higher"
    precision, recall = ratio(correct, correct + wrong), ratio(correct, used.num_gt().sum())
    return [
        *cards,
        card(percent(precision, 1), "precision", note),
        card(percent(recall, 1), "recall", note),
    ]


def _text_of(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
