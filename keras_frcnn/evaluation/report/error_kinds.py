"""How reports name, color and explain the kinds of errors."""

from keras_frcnn.drawing.canvas import Color
from keras_frcnn.evaluation.analysis.errors import ERRORS, MISSED, Kind

COUNTED = (Kind.CORRECT, *ERRORS)
"""The kinds of detections that reports count: all but the ignored ones."""

COLORS: dict[str, Color] = {
    "correct": (0, 158, 115),
    "localisation": (230, 149, 0),
    "confusion": (180, 95, 201),
    "both": (139, 111, 71),
    "duplicate": (58, 148, 221),
    "background": (220, 59, 46),
    "ignored": (134, 139, 148),
}
"""The color of each kind of detection, the same in charts and images."""

MEANINGS = {
    "correct": "has the right class and is the best detection of its object",
    "localisation": "has the right class, but an IoU of only 0.1 to {iou:g} with its object",
    "confusion": "lies on an object of another class",
    "both": "has an IoU of only 0.1 to {iou:g} with an object of another class",
    "duplicate": "has the right class, but a better detection has found the object",
    "background": "lies on nothing that is annotated",
    MISSED: "an object without a correct, localisation or confusion detection",
}
"""What a detection of each kind does, and what a missed object is. ``iou`` is the IoU threshold."""


def kind_name(kind: Kind | int) -> str:
    """Returns the name of a kind of detection, a key of ``COLORS``."""
    return Kind(kind).name.lower()
