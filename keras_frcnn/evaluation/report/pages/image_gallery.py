"""Images with detections in the color of their kind of error."""

import functools
from collections.abc import Collection, Sequence

import numpy as np
from PIL import Image

from keras_frcnn.console import with_progress
from keras_frcnn.data.dataset import Record
from keras_frcnn.drawing.canvas import Color
from keras_frcnn.drawing.gallery import Figure, Gallery, own_file, small_copy
from keras_frcnn.evaluation.analysis import breakdown
from keras_frcnn.evaluation.analysis.errors import ERRORS, MISSED, ErrorSplit
from keras_frcnn.evaluation.report.error_kinds import COLORS, COUNTED, kind_name

_NUM_WORST, _NUM_BEST, _NUM_EXAMPLES = 12, 6, 6  # images per group
_MISSED_COLOR = (255, 255, 255)
_MAX_BOXES = 200  # per image


def groups(
    used: ErrorSplit, records: Sequence[Record], gallery: Gallery
) -> list[tuple[str, list[Figure]]]:
    """Draws the worst and the best images, and examples of each kind of error.

    Args:
        used: The detections to show.
        records: The images, in the order of ``used.truth.image_ids``.
        gallery: The images of the page.

    Returns:
        The title and the images of each group that has any.
    """
    images = ErrorImages(used, records, gallery)
    chosen = [
        (
            "Most errors: wrong detections and missed objects",
            images.whole_image,
            breakdown.worst_images(used)[:_NUM_WORST],
        ),
        (
            "Most objects without any error",
            images.whole_image,
            breakdown.best_images(used)[:_NUM_BEST],
        ),
    ]
    for kind in ERRORS:
        title = f"Highest-scored errors: {kind_name(kind)}"
        examples = breakdown.surest(used, kind)[:_NUM_EXAMPLES]
        chosen.append((title, images.one_detection, examples))
    largest = breakdown.largest_missed(used)[:_NUM_EXAMPLES]
    chosen.append(("Largest missed objects", images.one_missed_object, largest))
    return [
        (title, [draw(index) for index in indices.tolist()])
        for title, draw, indices in with_progress(chosen, "Drawing the page", len(chosen))
        if len(indices)
    ]


class ErrorImages:
    """Draws images with their detections.

    Args:
        split: The detections to show.
        records: The images, in the order of ``split.truth.image_ids``.
        gallery: The images of the page.
    """

    def __init__(self, split: ErrorSplit, records: Sequence[Record], gallery: Gallery):
        self._split = split
        self._boxes, self._gt_boxes = split.boxes, split.gt_boxes
        self._records = records
        self._kinds, self._missed = breakdown.by_image(split)
        self._gallery = gallery

    def whole_image(self, row: int, prefix: str = "") -> Figure:
        """Returns an image with all its detections and the objects that none of them found.

        Args:
            row: The image, an index in ``split.truth.image_ids``.
            prefix: The beginning of the caption.
        """
        split = self._split
        counts = [(kind_name(kind), self._kinds[row, kind]) for kind in COUNTED]
        counts.append((MISSED, self._missed[row]))
        caption = ", ".join(f"{count} {name}" for name, count in counts if count) or "none"
        detections = np.flatnonzero(split.found.rows == row)
        objects = np.flatnonzero((split.truth.rows == row) & ~split.truth.crowd)
        not_found = objects[split.found_by[objects] < 0]
        return self._image(row, prefix + caption, detections, not_found)

    def one_detection(self, index: int) -> Figure:
        """Returns an image with one detection and the object that explains its kind."""
        split = self._split
        objects = [] if split.objects[index] < 0 else [split.objects[index]]
        caption = f"{self._class_of(index)}, score {split.found.scores[index]:.3g}"
        if objects:
            caption += f"; IoU {split.ious[index]:.2f} with a {self._true_class_of(objects[0])}"
        return self._image(split.found.rows[index], caption, [index], objects)

    def one_missed_object(self, index: int) -> Figure:
        """Returns an image with one missed object."""
        height, width = self._split.truth.bboxes[index, [3, 2]]
        caption = f"{self._true_class_of(index)}, {height:.0f} x {width:.0f} pixels"
        return self._image(self._split.truth.rows[index], caption, [], [index])

    def _image(
        self, row: int, caption: str, detections: Collection[int], objects: Collection[int]
    ) -> Figure:
        image_id, record = str(self._split.truth.image_ids[row]), self._records[row]
        draw = functools.partial(self._draw, row, detections, objects)
        return Figure([self._gallery.show(image_id, own_file(record), draw)], caption)

    def _draw(self, row: int, detections: Collection[int], objects: Collection[int]) -> Image.Image:
        split = self._split
        canvas, scale = small_copy(self._records[row])
        # The first detections are drawn on top, and their tags are placed first: errors come before
        # correct detections, and higher scores before lower ones. Correct detections have tags only
        # in images that show nothing else, because there may be many.
        ranked = sorted(
            detections, key=lambda k: (split.kinds[k] not in ERRORS, -split.found.scores[k])
        )[:_MAX_BOXES]
        objects = list(objects)[:_MAX_BOXES]
        wrong = [k for k in ranked if split.kinds[k] in ERRORS]
        for k in reversed(ranked):
            canvas.box(self._boxes[k] * scale, self._color_of(k))
        for n in objects:
            canvas.box(self._gt_boxes[n] * scale, _MISSED_COLOR, dashed=True)
        for k in wrong if wrong or objects else ranked:
            text = f"{self._class_of(k)} {split.found.scores[k]:.2f}"
            canvas.tag(self._boxes[k] * scale, text, self._color_of(k))
        for n in objects:
            canvas.tag(self._gt_boxes[n] * scale, self._true_class_of(n), _MISSED_COLOR)
        return canvas.finish()

    def _class_of(self, detection: int) -> str:
        return self._split.truth.class_names[self._split.found.labels[detection]]

    def _true_class_of(self, index: int) -> str:
        return self._split.truth.class_names[self._split.truth.labels[index]]

    def _color_of(self, detection: int) -> Color:
        return COLORS[kind_name(self._split.kinds[detection])]
