"""An evaluation as one HTML page, complete in itself: how good a detector is, and what is wrong.

The figures come first, then the errors by kind, class, score and size of the objects, then the
images. Everything but the figures of the metric is about the detections that one would use: those
from the score on that makes precision and recall best together.
"""

from pathlib import Path

from keras_frcnn.drawing import page
from keras_frcnn.evaluation.analysis import breakdown, errors
from keras_frcnn.evaluation.analysis.bootstrap import LEVEL
from keras_frcnn.evaluation.analysis.errors import ERRORS, ErrorSplit, Kind
from keras_frcnn.evaluation.analysis.summary import Summary
from keras_frcnn.evaluation.metrics import coco
from keras_frcnn.evaluation.report import chart_sections, error_sections, judged_images, page_style
from keras_frcnn.evaluation.report.error_sections import between, percent, share

FILE = "report.html"


def write(summary: Summary, path: Path, subject: str = "") -> None:
    """Writes the page.

    Args:
        summary: the evaluation. The images of its dataset are read again, a few of them.
        path: file to write.
        subject: plain text, what was judged: a checkpoint's or a file's name.
    """
    split, work = summary.errors, used(summary.errors)
    score = work.score_threshold
    body = [
        _head(summary, subject),
        _cards(summary, work),
        section(
            "errors",
            "What it does wrong",
            f"Detections scored at least {score:.3g}, the score that makes F1 (of precision and "
            f"recall) best on these images, at IoU {split.iou_threshold:g}. Gains in average "
            "precision, if one kind were mended, are over all scores and do not add up.",
            error_sections.kinds_table(work, summary),
        ),
        section(
            "classes",
            "Classes",
            f"Detections, precision and recall are from the score {score:.3g} on.",
            error_sections.classes_table(work, summary),
        ),
        section("kinds", "Errors by class", "", error_sections.kinds_by_class(work)),
        section(
            "confusions", "Classes taken for others", "", error_sections.confusion_matrix(work)
        ),
        section(
            "curves",
            "Precision and recall",
            f"Small: each class at IoU {split.iou_threshold:g}, with its average precision; the "
            f"dot is at the score {score:.3g}.",
            chart_sections.curves(summary.curves, split, work),
        ),
        section("scores", "Scores", "", chart_sections.scores(split)),
        section(
            "sizes",
            "Sizes",
            "Small is below 32 x 32 pixels of the image as stored, large from 96 x 96 on.",
            error_sections.sizes_table(work),
        ),
        _proposals(summary),
        _images(summary, work),
        _settings(summary),
    ]
    title = f"Evaluation on {name_of_data(summary)}"
    body = "\n".join(part for part in body if part)
    page.write(path, title, body, page_style.STYLE, page_style.SORT)


def used(split: ErrorSplit) -> ErrorSplit:
    """Returns what becomes of the detections that one would use: from the best score on."""
    score = breakdown.best_score(split)
    return errors.split(split.truth, split.found, split.iou_threshold, split.metric, score)


def name_of_data(summary: Summary) -> str:
    """Returns the words for what was measured on."""
    folders = ", ".join(Path(folder).name for folder in summary.settings.get("data_dir", ()))
    splits = ", ".join(split for split in summary.settings.get("eval_split", ()) if split != "-")
    return " ".join(part for part in (folders, splits) if part) or "images"


def section(anchor: str, title: str, words: str, body: str) -> str:
    """Returns a section with its heading; nothing if there is nothing to show."""
    if not body:
        return ""
    said = f'<p class="dim">{page.text(words)}</p>' if words else ""
    return f'<h2 id="{anchor}">{page.text(title)}</h2>{said}{body}'


def _head(summary: Summary, subject: str) -> str:
    truth, found = summary.errors.truth, summary.errors.found
    num_classes, num_ignored = len(truth.class_names), int(truth.crowd.sum())
    parts = [
        f"{len(truth.image_ids):,} images",
        f"{int((~truth.crowd).sum()):,} objects of {num_classes:,} classes",
        f"{len(found.rows):,} detections",
    ]
    if num_ignored:
        words = "crowd regions" if summary.errors.metric == "coco" else "difficult objects"
        parts.append(f"{num_ignored:,} {words} ignored")
    lines = [f"<p>{page.text(subject)}</p>"] if subject else []
    return "".join(lines) + f'<p class="dim">{page.text("; ".join(parts))}</p>'


def _cards(summary: Summary, work: ErrorSplit) -> str:
    result, intervals = summary.result, summary.intervals
    if isinstance(result, coco.Result):
        named = [(name, name, result.figures[name]) for name in ("AP", "AP50", "AP75")]
        named[0] = ("AP", "mAP, IoU 0.50 to 0.95", result.figures["AP"])
    else:
        at = f"IoU {result.iou_threshold:g}"
        named = [
            ("map_area", f"mAP (area), {at}", result.map_area),
            ("map_11point", f"mAP (11-point), {at}", result.map_11point),
        ]
    cards = []
    for name, title, value in named:
        interval = intervals.means.get(name) if intervals else None
        below = f"{LEVEL:.0%}: {between(interval)}" if interval else ""
        cards.append(card(percent(value), title, below))
    counts = work.counts().sum(axis=0)
    correct, wrong = counts[Kind.CORRECT], counts[list(ERRORS)].sum()
    at = f"score {work.score_threshold:.3g} and more"
    cards.append(card(percent(share(correct, correct + wrong)), "precision", at))
    cards.append(card(percent(share(correct, work.num_gt().sum())), "recall", at))
    return f'<div class="cards">{"".join(cards)}</div>'


def card(value: str, title: str, below: str) -> str:
    """Returns a figure with words above and below it; the value is markup."""
    return (
        f'<div class="card"><span>{page.text(title)}</span><b>{value}</b>'
        f"<span>{page.text(below)}</span></div>"
    )


def _proposals(summary: Summary) -> str:
    if summary.recall is None:
        return ""
    return section(
        "proposals",
        "Proposals",
        f"{summary.recall.source} proposals. {summary.recall.num_gt:,} objects, each covered by a "
        "proposal of its own.",
        chart_sections.proposals(summary.recall),
    )


def _images(summary: Summary, work: ErrorSplit) -> str:
    if summary.dataset is None or not summary.dataset.records:
        words = "Only annotations were read: their images are not there to be shown."
        return section("images", "Images", words, " ")
    words = f"Detections scored at least {work.score_threshold:.3g}."
    shown = judged_images.sections(work, summary.dataset.records)
    return section("images", "Images", words, shown)


def _settings(summary: Summary) -> str:
    if not summary.settings:
        return ""
    rows = "".join(
        f'<tr><td>{page.text(str(name))}</td><td class="words">{page.text(_value(value))}</td></tr>'
        for name, value in sorted(summary.settings.items())
    )
    return f"<details><summary>Settings</summary><table><tbody>{rows}</tbody></table></details>"


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
