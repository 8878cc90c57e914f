"""Precision against recall, of either metric, in one form."""

import dataclasses

import numpy as np

from keras_frcnn.evaluation import coco, voc


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """The curve of one class at one IoU; its three arrays have one entry a point, recall rising.

    Attributes:
        name: the class.
        label: index of the class.
        iou: "0.5", "0.75" and so on, or "0.5:0.95" for the mean of COCO's ten.
        recall: fractions of 1; empty for a class without objects.
        precision: VOC's as counted, COCO's the best at this recall or a higher one.
        scores: the score that gives the point, NaN for COCO's recalls that are not reached.
        ap: its average precision: 11-point where VOC's is asked for, see ``of``.
    """

    name: str
    label: int
    iou: str
    recall: np.ndarray
    precision: np.ndarray
    scores: np.ndarray
    ap: float


def of(result: voc.Result | coco.Result) -> tuple[Curve, ...]:
    """Returns the curves of a result.

    Args:
        result: of ``voc.evaluate``: one curve a class, with the area AP; of ``coco.evaluate``:
            three curves a class, at IoU 0.5, 0.75 and their mean over all ten.

    Returns:
        The curves, classes in the dataset's order.
    """
    raise NotImplementedError
