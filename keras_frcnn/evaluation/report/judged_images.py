"""Images with their detections in the colors of what became of them, as parts of a page."""

from collections.abc import Collection, Sequence

import numpy as np
from PIL import Image

from keras_frcnn.console import with_progress
from keras_frcnn.data.dataset import Record
from keras_frcnn.drawing import page
from keras_frcnn.drawing.canvas import Canvas, Color
from keras_frcnn.evaluation.analysis import breakdown
from keras_frcnn.evaluation.analysis.errors import ERRORS, MISSED, ErrorSplit, Kind
from keras_frcnn.evaluation.report.error_sections import SHOWN, kind_name, legend

COLORS: dict[str, Color] = {
    "correct": (0, 158, 115),
    "localisation": (230, 149, 0),
    "confusion": (180, 95, 201),
    "both": (139, 111, 71),
    "duplicate": (58, 148, 221),
    "background": (220, 59, 46),
    "ignored": (134, 139, 148),
}
"""Of the kinds of detections, alike in charts and images."""

_WORST, _BEST, _SUREST = 12, 6, 6  # images of a group
_MISSED = (255, 255, 255)
_SIDE = 448  # pixels of an image's longer side
_MOST_BOXES = 200  # of an image
_MOST_BYTES = 7_000_000  # of all images, as markup


def sections(work: ErrorSplit, records: Sequence[Record]) -> str:
    """Returns the groups of images, each with its heading.

    Args:
        work: what became of the detections that are used.
        records: the images, in the order of ``work.truth.image_ids``.
    """
    gallery = Gallery(work, records)
    groups = [
        (
            "Most errors: wrong detections and missed objects",
            gallery.whole,
            _WORST,
            breakdown.worst_images(work),
        ),
        ("Most objects without error", gallery.whole, _BEST, breakdown.best_images(work)),
    ]
    groups += [
        (f"Surest {kind_name(kind)}", gallery.detection, _SUREST, breakdown.surest(work, kind))
        for kind in ERRORS
    ]
    groups += [("Largest missed", gallery.missed, _SUREST, breakdown.largest_missed(work))]
    markup = [legend(("ignored", "on an object that does not count"))]
    for title, draw, limit, chosen in with_progress(groups, "Drawing the page", len(groups)):
        if len(chosen):
            figures = "".join(draw(index) for index in chosen[:limit].tolist())
            markup.append(f'<h3>{title}</h3><div class="images">{figures}</div>')
    return "".join(markup)


class Gallery:
    """Draws images until the page is full.

    Args:
        split: what became of the detections.
        records: its images, in the order of ``truth.image_ids``.
        share: of the page that these images may fill.
    """

    def __init__(self, split: ErrorSplit, records: Sequence[Record], share: float = 1.0):
        self._split = split
        self._boxes, self._gt_boxes = split.boxes, split.gt_boxes
        self._records = records
        self._kinds, self._missed = breakdown.by_image(split)
        self._bytes_left = share * _MOST_BYTES

    def whole(self, row: int, start: str = "") -> str:
        """Returns an image with all of its detections and the objects that were not found."""
        split = self._split
        counts = [(kind_name(kind), self._kinds[row, kind]) for kind in SHOWN]
        counts.append((MISSED, self._missed[row]))
        words = start + (", ".join(f"{count} {name}" for name, count in counts if count) or "none")
        detections = np.flatnonzero(split.found.rows == row)
        objects = np.flatnonzero((split.truth.rows == row) & ~split.truth.crowd)
        return self._figure(row, words, detections, objects[split.found_by[objects] < 0])

    def detection(self, index: int) -> str:
        """Returns an image with one detection and the object that explains its kind."""
        split = self._split
        row, name = split.found.rows[index], split.truth.class_names[split.found.labels[index]]
        objects = [] if split.objects[index] < 0 else [split.objects[index]]
        words = f"{name}, score {split.found.scores[index]:.3g}"
        if objects:
            true = split.truth.class_names[split.truth.labels[objects[0]]]
            words += f"; IoU {split.ious[index]:.2f} with a {true}"
        return self._figure(row, words, [index], objects)

    def missed(self, index: int) -> str:
        """Returns an image with one missed object."""
        split = self._split
        height, width = split.truth.bboxes[index, [3, 2]]
        name = split.truth.class_names[split.truth.labels[index]]
        return self._figure(
            split.truth.rows[index], f"{name}, {height:.0f} x {width:.0f} pixels", [], [index]
        )

    def _figure(
        self, row: int, words: str, detections: Collection[int], objects: Collection[int]
    ) -> str:
        image_id = str(self._split.truth.image_ids[row])
        try:
            drawn = self._draw(row, detections, objects)
            image = page.image_tag(drawn, image_id)
        except ValueError:  # unreadable, or not there
            image = page.NO_IMAGE
        if len(image) > self._bytes_left:
            image = '<div class="none">left out: the page is full</div>'
        self._bytes_left -= len(image)
        return (
            f"<figure>{image}<figcaption><b>{page.text(image_id)}</b> {page.text(words)}"
            "</figcaption></figure>"
        )

    def _draw(self, row: int, detections: Collection[int], objects: Collection[int]) -> Image.Image:
        split, record = self._split, self._records[row]
        image = page.thumbnail(record.path, _SIDE, record.orientation != 1, record.span)
        scale = np.array([image.height / record.height, image.width / record.width] * 2)
        canvas = Canvas(np.asarray(image))
        # Errors end on top and choose their places first; so do the better scores. Right ones have
        # tags where nothing else has: their class is seen, and there may be many.
        order = sorted(
            detections, key=lambda k: (split.kinds[k] not in ERRORS, -split.found.scores[k])
        )[:_MOST_BOXES]
        objects = list(objects)[:_MOST_BOXES]
        wrong = [k for k in order if split.kinds[k] in ERRORS]
        for k in reversed(order):
            canvas.box(self._boxes[k] * scale, _color(split.kinds[k]))
        for n in objects:
            canvas.box(self._gt_boxes[n] * scale, _MISSED, dashed=True)
        for k in order if not wrong and not objects else wrong:
            name = split.truth.class_names[split.found.labels[k]]
            words = f"{name} {split.found.scores[k]:.2f}"
            canvas.tag(self._boxes[k] * scale, words, _color(split.kinds[k]))
        for n in objects:
            name = split.truth.class_names[split.truth.labels[n]]
            canvas.tag(self._gt_boxes[n] * scale, name, _MISSED)
        return canvas.finish()


def _color(kind: int) -> Color:
    return COLORS[kind_name(Kind(kind))]
