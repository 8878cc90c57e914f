"""Draws what each step of training and detection makes of an image: one panel a step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_frcnn.drawing.canvas import Canvas, checked, class_color, score_color, with_title
from keras_frcnn.evaluation.analysis.errors import ErrorSplit, Kind
from keras_frcnn.evaluation.report.error_sections import kind_name
from keras_frcnn.evaluation.report.judged_images import COLORS

_SIDE = 800  # the longer side of every panel's image
_LETTERS = 0.7  # small ones, as there may be many tags
_TAGGED_PROPOSALS = 10
_WHITE, _BLACK, _GREY = (255, 255, 255), (0, 0, 0), (134, 139, 148)

Objects = Mapping[str, Any]


def draw_objects(
    image: np.ndarray, objects: Objects, class_names: Sequence[str], title: str, dashed: str
) -> Image.Image:
    """Draws objects, those apart from the others dashed.

    Args:
        image: [H, W, 3] uint8 RGB.
        objects: ``{"boxes": [G, 4], "labels": [G], "apart": [G] bool}``, yxyx pixels of the
            image.
        class_names: names of the labels.
        title: stands above.
        dashed: what a dashed box means.

    Returns:
        The panel.

    Raises:
        ValueError: if a shape or label is wrong, or a box is not finite.
    """
    boxes, labels, apart = _checked_objects(objects, len(class_names))
    canvas = _canvas(image)
    order = _largest_first(boxes)
    for index in order:
        canvas.box(boxes[index], class_color(int(labels[index])), dashed=bool(apart[index]))
    for index in order:
        canvas.tag(boxes[index], class_names[labels[index]], class_color(int(labels[index])))
    legend = [("line", f"objects: {np.sum(~apart)}", _WHITE)]
    if np.any(apart):
        legend.append(("dashed", f"{dashed}: {np.sum(apart)}", _WHITE))
    return with_title(canvas.finish(), title, legend)


def draw_anchors(
    image: np.ndarray,
    objects: Objects,
    class_names: Sequence[str],
    matched: Mapping[str, np.ndarray],
    title: str,
) -> Image.Image:
    """Draws the sampled anchors: positive ones in their object's color, centres of negative ones.

    Each object has a color of its own here, and as a tag how many anchors are positive for it, and
    the best IoU of these.

    Args:
        image: [H, W, 3] uint8 RGB, the network's input.
        objects: as for ``draw_objects``, in the order of the targets.
        class_names: names of the labels.
        matched: of ``looks.match_anchors``.
        title: stands above.

    Returns:
        The panel.
    """
    boxes, labels, apart = _checked_objects(objects, len(class_names))
    anchors, owners = matched["anchors"], matched["objects"]
    positive, negative, sampled = (matched[n] for n in ("positive", "negative", "sampled"))
    canvas = _canvas(image)
    for anchor in anchors[negative & sampled]:
        canvas.dot((anchor[:2] + anchor[2:]) / 2, _WHITE)
    for place in np.flatnonzero(positive & sampled):
        canvas.box(anchors[place], class_color(int(owners[place])), thin=True)
    for index in _largest_first(boxes):
        color = _GREY if apart[index] else class_color(int(index))
        canvas.box(boxes[index], color, dashed=bool(apart[index]))
        ious = matched["ious"][positive & (owners == index)]
        words = "ignored" if apart[index] else f"{len(ious)}, {np.max(ious, initial=0):.2f}"
        canvas.tag(boxes[index], f"{class_names[labels[index]]} {words}", color)
    counts = [np.sum(mask) for mask in (positive, positive & sampled, negative, negative & sampled)]
    num_neither = len(anchors) - counts[0] - counts[2]
    legend = [
        ("line", f"positive, in the object's color: {counts[0]:,}, sampled {counts[1]:,}", _WHITE),
        ("dot", f"negative (centres): {counts[2]:,}, sampled {counts[3]:,}", _WHITE),
        ("", f"neither: {num_neither:,}", _WHITE),
        ("", "tags: positive anchors, best IoU", _WHITE),
    ]
    return with_title(canvas.finish(), title, legend)


def draw_proposals(
    image: np.ndarray,
    objects: Objects,
    proposals: Mapping[str, np.ndarray],
    number: int,
    title: str,
) -> Image.Image:
    """Draws the best proposals in the color of their score, and the objects.

    Args:
        image: [H, W, 3] uint8 RGB, the network's input.
        objects: as for ``draw_objects``.
        proposals: ``{"proposals": [P, 4], "scores": [P]}``.
        number: how many of the best to draw.
        title: stands above.

    Returns:
        The panel.
    """
    boxes, scores = checked(proposals["proposals"], 0, scores=proposals["scores"])
    canvas = _canvas(image)
    best = np.argsort(-scores, kind="stable")[:number]
    for index in best[::-1]:
        canvas.box(boxes[index], score_color(scores[index]), thin=True)
    (gt_boxes,) = checked(objects["boxes"], 0)
    for box in gt_boxes:
        _outline(canvas, box)
    for index in best[:_TAGGED_PROPOSALS]:
        canvas.tag(boxes[index], f"{scores[index]:.2f}", score_color(scores[index]))
    words = f"{len(best)} best of {len(boxes):,}, in the color of their score"
    legend = [("line", words, score_color(1.0)), ("dashed", f"objects: {len(gt_boxes)}", _WHITE)]
    return with_title(canvas.finish(), title, legend, has_scores=True)


def draw_regions(
    image: np.ndarray,
    rois: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    title: str,
) -> Image.Image:
    """Draws sampled regions: foreground in the color of its class, background grey.

    Args:
        image: [H, W, 3] uint8 RGB, the network's input.
        rois: [R, 4].
        labels: [R], 0 for background and c + 1 for class c.
        class_names: names of the classes.
        title: stands above.

    Returns:
        The panel.
    """
    rois, labels = checked(rois, len(class_names) + 1, labels=labels)
    canvas = _canvas(image)
    background = labels == 0
    for roi in rois[background]:
        canvas.box(roi, _GREY, thin=True)
    for roi, label in zip(rois[~background], labels[~background], strict=True):
        canvas.box(roi, class_color(int(label) - 1))
    legend = [("line", f"background: {np.sum(background)}", _GREY)]
    for label in np.unique(labels[~background]):
        words = f"{class_names[label - 1]}: {np.sum(labels == label)}"
        legend.append(("line", words, class_color(int(label) - 1)))
    return with_title(canvas.finish(), title, legend)


def draw_judged(image: np.ndarray, split: ErrorSplit, row: int, title: str) -> Image.Image:
    """Draws an image's detections in the color of what became of them, and what was missed.

    Args:
        image: [H, W, 3] uint8 RGB, the original image.
        split: what became of the detections.
        row: of the image, in ``split.truth.image_ids``.
        title: stands above.

    Returns:
        The panel.
    """
    canvas, names = _canvas(image), split.truth.class_names
    found = np.flatnonzero(split.found.rows == row)
    found = found[np.argsort(-split.found.scores[found], kind="stable")]
    lost = np.flatnonzero((split.truth.rows == row) & (split.found_by < 0) & ~split.truth.crowd)
    for index in found[::-1]:  # the best ends on top
        canvas.box(split.boxes[index], COLORS[kind_name(Kind(split.kinds[index]))])
    for index in lost:
        _outline(canvas, split.gt_boxes[index])
    for index in found:  # the best chooses its place first
        words = f"{names[split.found.labels[index]]} {split.found.scores[index]:.2f}"
        canvas.tag(split.boxes[index], words, COLORS[kind_name(Kind(split.kinds[index]))])
    for index in lost:
        canvas.tag(split.gt_boxes[index], names[split.truth.labels[index]], _WHITE)
    legend = [
        ("line", f"{kind_name(kind)}: {number}", COLORS[kind_name(kind)])
        for kind in Kind
        if (number := np.sum(split.kinds[found] == kind))
    ]
    legend.append(("dashed", f"objects not found: {len(lost)}", _WHITE))
    return with_title(canvas.finish(), title, legend)


def _canvas(image: np.ndarray) -> Canvas:
    return Canvas(image, (_SIDE, _SIDE), _LETTERS)


def _outline(canvas: Canvas, box: np.ndarray) -> None:
    """Draws a box that is seen on any ground: white dashes on a black line."""
    canvas.box(box, _BLACK)
    canvas.box(box, _WHITE, dashed=True)


def _largest_first(boxes: np.ndarray) -> np.ndarray:
    """Returns the order in which small objects end on top."""
    return np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), kind="stable")


def _checked_objects(objects: Objects, num_classes: int) -> list[np.ndarray]:
    columns = {"labels": objects["labels"], "apart": np.asarray(objects["apart"], bool)}
    return checked(objects["boxes"], num_classes, **columns)
