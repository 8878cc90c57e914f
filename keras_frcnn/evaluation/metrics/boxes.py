"""Boxes in NumPy: conversion between yxyx and COCO's format, areas, overlaps.

The metrics compute in COCO's format ("bbox": x, y, width, height) and in float64, so that the
numbers of COCO's files stay as they are written. The boxes of records are float32 pixels, and
converting them to this format and back loses nothing.
"""

import numpy as np


def to_bboxes(boxes: np.ndarray) -> np.ndarray:
    """Converts yxyx boxes [..., 4] to x, y, width, height."""
    return np.concatenate([boxes[..., 1::-1], (boxes[..., 2:] - boxes[..., :2])[..., ::-1]], -1)


def to_boxes(bboxes: np.ndarray) -> np.ndarray:
    """Converts x, y, width, height [..., 4] to yxyx boxes."""
    far = bboxes[..., :2] + bboxes[..., 2:]
    return np.concatenate([bboxes[..., 1::-1], far[..., ::-1]], -1)


def areas(bboxes: np.ndarray) -> np.ndarray:
    """Returns the areas [...] of boxes in COCO's format [..., 4]."""
    return bboxes[..., 2] * bboxes[..., 3]


def overlap(
    bboxes: np.ndarray, others: np.ndarray, is_region: np.ndarray | bool = False
) -> np.ndarray:
    """Computes how much boxes overlap, pair by pair.

    Args:
        bboxes: [..., 4] in COCO's format.
        others: [..., 4] in COCO's format, of a shape that broadcasts with ``bboxes``.
        is_region: bool [...], whether the other box is a crowd region, inside which the first box
            may lie anywhere.

    Returns:
        float64 [...]: the IoU, or the share of the first box that lies inside the region. It is 0
        where the boxes do not overlap, and a box without area overlaps nothing.
    """
    boxes, other_boxes = to_boxes(bboxes), to_boxes(others)
    near = np.maximum(boxes[..., :2], other_boxes[..., :2])
    far = np.minimum(boxes[..., 2:], other_boxes[..., 2:])
    intersection = np.prod(np.maximum(far - near, 0.0), axis=-1)
    own_area = areas(bboxes)
    whole = np.where(is_region, own_area, own_area + areas(others) - intersection)
    return np.divide(intersection, whole, out=np.zeros_like(intersection), where=intersection > 0)


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Computes the IoU of every box with every other box.

    Args:
        boxes: [N, 4] yxyx.
        others: [M, 4] yxyx.

    Returns:
        float64 [N, M], see ``overlap``.
    """
    bboxes = to_bboxes(np.asarray(boxes, np.float64).reshape(-1, 1, 4))
    return overlap(bboxes, to_bboxes(np.asarray(others, np.float64).reshape(-1, 4)))
