"""Draws objects and detections on images, and the stages of the model side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_frcnn.drawing.canvas import Canvas, checked, class_color, score_color, sheet, with_title

_PANEL_SIDES = 300, 800  # the smallest shorter side and the largest longer side, pixels


def draw_detections(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    class_names: Sequence[str],
    score_threshold: float = 0.5,
) -> np.ndarray:
    """Draws detections on an image, each with its class name and score.

    Args:
        image: [H, W, 3] uint8 RGB. It is not changed.
        boxes: [K, 4] yxyx pixels of the image, far edge exclusive. They may leave the image.
        labels: [K] integers below the number of class names.
        scores: [K].
        class_names: The names of the labels.
        score_threshold: Detections with a lower score are not drawn.

    Returns:
        [H, W, 3] uint8 RGB.

    Raises:
        ValueError: If a shape, type or label is wrong, or a box is not finite.
    """
    canvas = Canvas(image)
    _draw_scored(canvas, boxes, labels, scores, class_names, score_threshold)
    return np.array(canvas.finish())


def draw_panels(
    image: np.ndarray,
    class_names: Sequence[str],
    gt: Mapping[str, Any] | None = None,
    proposals: Mapping[str, Any] | None = None,
    detections: Mapping[str, Any] | None = None,
    num_proposals: int = 50,
    score_threshold: float = 0.5,
) -> np.ndarray:
    """Draws the stages of the model side by side: ground truth, best proposals, detections.

    Small images are enlarged and large ones reduced. A stage that is None gets no panel.

    Args:
        image: [H, W, 3] uint8 RGB.
        class_names: The names of the labels.
        gt: ``{"boxes": [G, 4], "labels": [G]}`` and, if known, ``"difficult": [G]``; difficult
            objects are dashed. All boxes are yxyx pixels of the image, far edge exclusive.
        proposals: ``{"boxes": [P, 4], "scores": [P]}``, drawn in the color of their score.
        detections: ``{"boxes": [K, 4], "labels": [K], "scores": [K]}``.
        num_proposals: The number of best proposals to draw.
        score_threshold: Detections with a lower score are not drawn.

    Returns:
        [H', W', 3] uint8 RGB.

    Raises:
        ValueError: If a shape, type or label is wrong, a box is not finite, or all three stages
            are None.
    """
    panels = []
    if gt is not None:
        panels.append(_gt_panel(image, gt, class_names))
    if proposals is not None:
        panels.append(_proposals_panel(image, proposals, num_proposals))
    if detections is not None:
        canvas = Canvas(image, _PANEL_SIDES)
        columns = (detections[name] for name in ("boxes", "labels", "scores"))
        num_drawn = _draw_scored(canvas, *columns, class_names, score_threshold)
        title = f"detections: {num_drawn} (score >= {score_threshold:g})"
        panels.append(with_title(canvas.finish(), title))
    if not panels:
        raise ValueError("expected at least one of gt, proposals and detections. Received: none")
    return np.array(sheet(panels, columns=len(panels)))


def _draw_scored(
    canvas: Canvas,
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    class_names: Sequence[str],
    score_threshold: float,
) -> int:
    """Draws the detections that reach the threshold and returns their number."""
    boxes, labels, scores = checked(boxes, len(class_names), labels=labels, scores=scores)
    best_first = np.argsort(-scores, kind="stable")
    best_first = best_first[scores[best_first] >= score_threshold]
    for index in best_first[::-1]:  # the best is drawn on top
        canvas.box(boxes[index], class_color(int(labels[index])))
    for index in best_first:  # the best detection's tag is placed first
        text = f"{class_names[labels[index]]} {scores[index]:.2f}"
        canvas.tag(boxes[index], text, class_color(int(labels[index])))
    return len(best_first)


def draw_objects(
    canvas: Canvas,
    boxes: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    dashed: np.ndarray,
) -> None:
    """Draws objects in the colors of their classes, each with its class name.

    Args:
        canvas: Where to draw.
        boxes: [G, 4].
        labels: [G].
        class_names: The names of the labels.
        dashed: [G], whether an object is drawn with a dashed line.
    """
    order = largest_first(boxes)
    for index in order:
        canvas.box(boxes[index], class_color(int(labels[index])), dashed=bool(dashed[index]))
    for index in order:
        canvas.tag(boxes[index], class_names[labels[index]], class_color(int(labels[index])))


def largest_first(boxes: np.ndarray) -> np.ndarray:
    """Returns the order in which boxes must be drawn so that small ones are on top."""
    return np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), kind="stable")


def _gt_panel(image: np.ndarray, gt: Mapping[str, Any], class_names: Sequence[str]) -> Image.Image:
    difficult = gt.get("difficult", np.zeros(len(gt["boxes"]), bool))
    columns = {"labels": gt["labels"], "difficult": difficult}
    boxes, labels, difficult = checked(gt["boxes"], len(class_names), **columns)
    canvas = Canvas(image, _PANEL_SIDES)
    draw_objects(canvas, boxes, labels, class_names, dashed=difficult)
    note = f" ({np.sum(difficult)} difficult)" if np.any(difficult) else ""
    return with_title(canvas.finish(), f"ground truth: {len(boxes)}{note}")


def _proposals_panel(
    image: np.ndarray, proposals: Mapping[str, Any], num_proposals: int
) -> Image.Image:
    boxes, scores = checked(proposals["boxes"], 0, scores=proposals["scores"])
    canvas = Canvas(image, _PANEL_SIDES)
    best = np.argsort(-scores, kind="stable")[:num_proposals]
    for index in best[::-1]:
        canvas.box(boxes[index], score_color(scores[index]))
    title = f"proposals: {len(best)} of {len(boxes)}"
    return with_title(canvas.finish(), title, has_scores=True)
