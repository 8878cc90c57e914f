"""Draws the result of each stage of training and detection on an image, one panel per stage."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_frcnn.drawing import detections
from keras_frcnn.drawing.canvas import Canvas, checked, class_color, score_color, with_title
from keras_frcnn.evaluation.analysis.errors import ErrorSplit, Kind
from keras_frcnn.evaluation.report.error_kinds import COLORS, kind_name

_SIDE = 800  # pixels of the longer side of every panel's image
_LETTERS = 0.7  # relative size; small, because there may be many tags
_TAGGED_PROPOSALS = 10
_WHITE, _BLACK, _GREY = (255, 255, 255), (0, 0, 0), (134, 139, 148)

Objects = Mapping[str, Any]
"""``{"boxes": [G, 4], "labels": [G], "dashed": [G] bool}``, boxes as yxyx pixels of the image.

Dashed objects are those that need to be told apart: difficult or ignored ones.
"""


def draw_objects(
    image: np.ndarray, objects: Objects, class_names: Sequence[str], title: str, dashed_means: str
) -> Image.Image:
    """Draws objects in the colors of their classes.

    Args:
        image: [H, W, 3] uint8 RGB.
        objects: The objects.
        class_names: The names of the labels.
        title: The title of the panel.
        dashed_means: What the legend says about dashed boxes.

    Returns:
        The panel.

    Raises:
        ValueError: If a shape or a label is wrong, or a box is not finite.
    """
    boxes, labels, dashed = _checked_objects(objects, len(class_names))
    canvas = _canvas(image)
    detections.draw_objects(canvas, boxes, labels, class_names, dashed)
    legend = [("line", f"objects: {np.sum(~dashed)}", _WHITE)]
    if np.any(dashed):
        legend.append(("dashed", f"{dashed_means}: {np.sum(dashed)}", _WHITE))
    return with_title(canvas.finish(), title, legend)


def draw_anchors(
    image: np.ndarray,
    objects: Objects,
    class_names: Sequence[str],
    matched: Mapping[str, np.ndarray],
    title: str,
) -> Image.Image:
    """Draws the sampled anchors of all levels: positive ones as boxes, negative ones as dots.

    Here each object has its own color, which its positive anchors share. Its tag gives the number
    of its positive anchors and the best IoU among them. Dashed objects are grey: they are ignored.

    Args:
        image: [H, W, 3] uint8 RGB, the input of the network.
        objects: The objects, in the order of the targets.
        class_names: The names of the labels.
        matched: What ``training_view.match_anchors`` returns.
        title: The title of the panel.

    Returns:
        The panel.
    """
    boxes, labels, dashed = _checked_objects(objects, len(class_names))
    anchors, object_of = matched["anchors"], matched["objects"]
    positive, negative, sampled = (matched[n] for n in ("positive", "negative", "sampled"))
    canvas = _canvas(image)
    for anchor in anchors[negative & sampled]:
        canvas.dot((anchor[:2] + anchor[2:]) / 2, _WHITE)
    for row in np.flatnonzero(positive & sampled):
        canvas.box(anchors[row], class_color(int(object_of[row])), thin=True)
    for index in detections.largest_first(boxes):
        color = _GREY if dashed[index] else class_color(int(index))
        canvas.box(boxes[index], color, dashed=bool(dashed[index]))
        ious = matched["ious"][positive & (object_of == index)]
        note = "ignored" if dashed[index] else f"{len(ious)}, {np.max(ious, initial=0):.2f}"
        canvas.tag(boxes[index], f"{class_names[labels[index]]} {note}", color)
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
        image: [H, W, 3] uint8 RGB, the input of the network.
        objects: The objects.
        proposals: ``{"proposals": [P, 4], "scores": [P]}``.
        number: How many of the best proposals to draw.
        title: The title of the panel.

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
    meaning = f"{len(best)} best of {len(boxes):,}, in the color of their score"
    legend = [("line", meaning, score_color(1.0)), ("dashed", f"objects: {len(gt_boxes)}", _WHITE)]
    return with_title(canvas.finish(), title, legend, has_scores=True)


def draw_regions(
    image: np.ndarray,
    rois: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    title: str,
) -> Image.Image:
    """Draws the sampled regions: foreground in the color of its class, background in grey.

    Args:
        image: [H, W, 3] uint8 RGB, the input of the network.
        rois: [R, 4].
        labels: [R], 0 for background and c + 1 for class c.
        class_names: The names of the classes.
        title: The title of the panel.

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
        meaning = f"{class_names[label - 1]}: {np.sum(labels == label)}"
        legend.append(("line", meaning, class_color(int(label) - 1)))
    return with_title(canvas.finish(), title, legend)


def draw_detections(image: np.ndarray, split: ErrorSplit, row: int, title: str) -> Image.Image:
    """Draws detections in the color of their kind, right or wrong, and the objects not found.

    Args:
        image: [H, W, 3] uint8 RGB, the original image.
        split: The kinds of the detections.
        row: The index of the image in ``split.truth.image_ids``.
        title: The title of the panel.

    Returns:
        The panel.
    """
    canvas, names = _canvas(image), split.truth.class_names
    found = np.flatnonzero(split.found.rows == row)
    found = found[np.argsort(-split.found.scores[found], kind="stable")]
    expected = (split.truth.rows == row) & ~split.truth.crowd
    not_found = np.flatnonzero(expected & (split.found_by < 0))
    for index in found[::-1]:  # the best is drawn on top
        canvas.box(split.boxes[index], COLORS[kind_name(split.kinds[index])])
    for index in not_found:
        _outline(canvas, split.gt_boxes[index])
    for index in found:  # the best detection's tag is placed first
        text = f"{names[split.found.labels[index]]} {split.found.scores[index]:.2f}"
        canvas.tag(split.boxes[index], text, COLORS[kind_name(split.kinds[index])])
    for index in not_found:
        canvas.tag(split.gt_boxes[index], names[split.truth.labels[index]], _WHITE)
    legend = [
        ("line", f"{kind_name(kind)}: {number}", COLORS[kind_name(kind)])
        for kind in Kind
        if (number := np.sum(split.kinds[found] == kind))
    ]
    legend.append(("dashed", f"objects not found: {len(not_found)}", _WHITE))
    return with_title(canvas.finish(), title, legend)


def _canvas(image: np.ndarray) -> Canvas:
    return Canvas(image, (_SIDE, _SIDE), _LETTERS)


def _outline(canvas: Canvas, box: np.ndarray) -> None:
    """Draws a box that is visible on any background: white dashes on a black line."""
    canvas.box(box, _BLACK)
    canvas.box(box, _WHITE, dashed=True)


def _checked_objects(objects: Objects, num_classes: int) -> list[np.ndarray]:
    columns = {"labels": objects["labels"], "dashed": np.asarray(objects["dashed"], bool)}
    return checked(objects["boxes"], num_classes, **columns)
