"""The page of a data check: what was found, images of the faulty objects, and a random sample."""

import collections
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_frcnn.console import with_progress
from keras_frcnn.drawing import page, thumbnails
from keras_frcnn.drawing.canvas import Canvas
from keras_frcnn.drawing.detections import draw_objects
from keras_frcnn.drawing.gallery import SIDE, Figure, Gallery, Shown, own_file
from keras_frcnn.inspection.check_data import report as check_report
from keras_frcnn.inspection.check_data.findings import KINDS, Finding, Report
from keras_frcnn.inspection.check_data.samples import Object, Sample

_TEMPLATE = "inspection/check_data/templates/check.html"
_SHOWN = 24  # images per kind
_SAMPLED = 12  # images of the sample
_SHOWN_LINES = 200  # findings per kind that are listed as text
_SHOWN_BOXES = 300  # per image
_MARGIN = 0.25  # the widest margin for boxes that leave an image, as a share of its longer side
_FAR = 1e6  # pixels; limits the coordinates, which may be any number in a faulty annotation
_TINY = 4  # pixels; a faulty box with a shorter side than this is circled
_FAULTY, _OTHER, _GROUND = (229, 72, 77), (96, 165, 250), (136, 136, 136)


def write(report: Report, path: Path) -> None:
    """Writes the page: a summary with links to each kind of finding, statistics, then the findings
    and a random sample of the annotated images.

    Args:
        report: What the check found. The images that are shown are read again.
        path: The file to write.
    """
    by_kind = report.by_kind()
    gallery = Gallery(path)
    sample = _sample(report, gallery)
    kinds = with_progress(by_kind.items(), "Drawing the page", len(by_kind))
    names = (Path(data_dir).name or data_dir for data_dir in report.config.data_dir)
    page.write(
        path,
        _TEMPLATE,
        title=f"Check of {', '.join(names)}",
        has_problems=report.num_problems > 0,
        verdict=check_report.verdict(report),
        remarks=report.source.remarks,
        kinds=[_kind(report, kind, findings, gallery) for kind, findings in kinds],
        classes=_classes(report),
        boxes=_boxes(report),
        sample=sample,
        seed=report.config.seed,
    )


def _sample(report: Report, gallery: Gallery) -> list[Figure]:
    """Draws images at random with the objects that training uses, to see what is in the data."""
    found = [
        sample
        for sample in report.source.samples
        if sample.objects is not None and sample.file.digest and sample.file.problem is None
    ]
    chosen = random.Random(report.config.seed).sample(range(len(found)), min(_SAMPLED, len(found)))
    names = {name: label for label, name in enumerate(report.source.class_names)}
    figures = []
    for sample in (found[number] for number in sorted(chosen)):
        usable = [item for item in sample.objects if item.box is not None and item.name in names]
        counts = collections.Counter(item.name for item in usable)
        caption = ", ".join(f"{count} {name}" for name, count in counts.items()) or "no objects"
        labels = np.array([names[item.name] for item in usable], np.int64)

        def draw(sample=sample, usable=usable, labels=labels) -> Image.Image:
            image = _thumbnail(sample)
            scale = [image.height / sample.height, image.width / sample.width] * 2
            boxes = np.array([item.box * scale for item in usable]).reshape(-1, 4)
            canvas = Canvas(np.asarray(image))
            dashed = np.zeros(len(usable), bool)
            draw_objects(canvas, boxes, labels, report.source.class_names, dashed)
            return canvas.finish()

        figures.append(Figure([_show(sample, gallery, draw)], caption))
    return figures


def _classes(report: Report) -> list[dict[str, Any]]:
    rows = []
    for row in report.statistics["classes"]:
        num_objects = row["train_objects"] + row["eval_objects"]
        num_images = row["train_images"] + row["eval_images"]
        rows.append(
            {
                "name": row["name"],
                "is_known": row["known"],
                "num_objects": num_objects,
                "num_images": num_images,
            }
        )
    return rows


def _boxes(report: Report) -> dict[str, Any] | None:
    """Returns a sentence about small boxes and the histograms, or None if there are no boxes.

    A histogram consists of its title and its pairs (bin, count).
    """
    sizes, ratios = report.statistics["box_sizes"], report.statistics["aspect_ratios"]
    if not sum(ratios["counts"]):
        return None
    histograms = [
        (title, list(zip(check_report.bin_names(starts), counts, strict=True)))
        for title, starts, counts in (
            ("side (root of area), as stored", sizes["from"], sizes["as_stored"]),
            ("side, as resized", sizes["from"], sizes["as_resized"]),
            ("height / width", ratios["from"], ratios["counts"]),
        )
    ]
    return {"small": check_report.below_stride(report), "histograms": histograms}


def _kind(report: Report, kind: str, findings: list[Finding], gallery: Gallery) -> dict[str, Any]:
    figures, num_more_images = _figures(findings, gallery)
    return {
        "id": kind,
        "title": KINDS[kind].title,
        "meaning": KINDS[kind].words,
        "style": "note" if report.is_note(kind) else "bad",
        "num_findings": len(findings),
        "figures": figures,
        "num_more_images": num_more_images,
        "lines": [f"{finding.subset}: {finding.line}" for finding in findings[:_SHOWN_LINES]],
    }


def _figures(findings: list[Finding], gallery: Gallery) -> tuple[list[Figure], int]:
    """Draws the images of a kind, each once with all its faulty objects.

    Returns:
        The first images, and how many more there are.
    """
    by_sample: dict[int, list[Finding]] = {}
    for finding in findings:
        if finding.sample is not None and finding.sample.path is not None:
            by_sample.setdefault(id(finding.sample), []).append(finding)
    figures = [_figure(group, gallery) for group in list(by_sample.values())[:_SHOWN]]
    return figures, len(by_sample) - len(figures)


def _figure(group: list[Finding], gallery: Gallery) -> Figure:
    first = group[0]
    numbers = {finding.number for finding in group}
    images = [_show(first.sample, gallery, lambda: _draw(first.sample, numbers))]
    if first.other is not None:
        images.append(_show(first.other, gallery, lambda: _draw(first.other, set())))
    caption = first.line if len(group) == 1 else f"{first.line} ... and {len(group) - 1} more"
    return Figure(images, caption)


def _show(sample: Sample, gallery: Gallery, draw: Callable[[], Image.Image]) -> Shown:
    return gallery.show(sample.image_id, own_file(sample), draw)


def _draw(sample: Sample, numbers: set[int]) -> Image.Image:
    image = _thumbnail(sample)
    scale = image.width / sample.width if sample.width else 0
    faulty = [item for item in sample.objects or () if item.number in numbers]
    others = [item for item in sample.objects or () if item.number not in numbers]
    left, top, right, bottom = _margins(faulty, scale, image)
    size = image.width + left + right, image.height + top + bottom
    ground = Image.new("RGB", size, _GROUND)
    ground.paste(image, (left, top))
    canvas = Canvas(np.asarray(ground))
    for item in (others + faulty)[-_SHOWN_BOXES:]:  # faulty boxes are drawn on top
        if item.written is not None and scale:
            corners = np.clip(np.reshape(item.written * scale, (2, 2)), -_FAR, _FAR)
            corners = np.sort(corners, axis=0) + (top, left)
            _draw_box(canvas, corners, item.number in numbers)
    return canvas.finish()


def _thumbnail(sample: Sample) -> Image.Image:
    """Reads an image in the orientation that its boxes refer to."""
    if sample.path is None or not sample.file.digest:
        raise ValueError("the image is missing or too large")
    upright = not sample.as_stored and sample.file.orientation != 1
    return thumbnails.read(sample.path, SIDE, upright, sample.span)


def _margins(faulty: list[Object], scale: float, image: Image.Image) -> tuple[int, ...]:
    """Returns the margins for boxes that leave the image: left, top, right, bottom."""
    most = int(_MARGIN * max(image.size))
    corners = [item.written * scale for item in faulty if item.written is not None]
    overhangs = [(-box[1], -box[0], box[3] - image.width, box[2] - image.height) for box in corners]
    widest = (max(sides) for sides in zip(*overhangs, strict=True)) if overhangs else [0] * 4
    return tuple(0 if side < 2 else int(min(side + 4, most)) for side in widest)


def _draw_box(canvas: Canvas, corners: np.ndarray, is_faulty: bool) -> None:
    color = _FAULTY if is_faulty else _OTHER
    canvas.box(corners, color, thin=not is_faulty)
    if is_faulty and np.min(corners[1] - corners[0]) < _TINY:
        canvas.ring(corners.mean(axis=0), color)
