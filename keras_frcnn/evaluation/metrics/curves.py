"""Precision against recall, of either metric, in one form: only the points that matter.

Precision at a recall is the best at this recall or a higher one, as both metrics take it. For VOC
there is a point wherever it falls, at the highest recall before: from these points average
precision comes out as from all of them. For COCO there is one at each of the metric's 101 recalls.
"""

import dataclasses

import numpy as np

from keras_frcnn.evaluation.metrics import coco, voc
from keras_frcnn.evaluation.metrics.average_precision import COCO_RECALLS

COCO_MEAN = "0.5:0.95"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """The curve of one class at one IoU; its three arrays have one entry a point, recall rising.

    Attributes:
        name: the class.
        label: index of the class.
        iou: least IoU of a right detection, such as "0.5", or "0.5:0.95" for the mean of COCO's
            ten.
        recall: fractions of 1; without points for a class without objects.
        precision: likewise.
        scores: the lowest score of the detections that are counted there. NaN where the recall is
            not reached, and for the mean.
        ap: average precision of the curve: the area for VOC; NaN without objects.
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
        result: of ``voc.evaluate``: it has one curve a class; of ``coco.evaluate``: it has three,
            at IoU 0.5, 0.75 and the mean over all ten.

    Returns:
        The curves, classes in the dataset's order.
    """
    if isinstance(result, voc.Result):
        iou = f"{result.iou_threshold:g}"
        return tuple(_voc_curve(c, label, iou) for label, c in enumerate(result.classes))
    return tuple(
        curve for label, c in enumerate(result.classes) for curve in _coco_curves(c, label)
    )


def _voc_curve(c: voc.ClassResult, label: int, iou: str) -> Curve:
    found = np.flatnonzero(np.diff(c.recall, prepend=0.0) > 0)
    best = np.maximum.accumulate(c.precision[found][::-1])[::-1]
    falls = np.diff(best, append=0.0) < 0
    corners = found[falls]
    return Curve(
        name=c.name,
        label=label,
        iou=iou,
        recall=c.recall[corners],
        precision=best[falls],
        scores=c.scores[corners],
        ap=c.ap_area,
    )


def _coco_curves(c: coco.ClassResult, label: int) -> list[Curve]:
    recalls = COCO_RECALLS if c.num_gt else COCO_RECALLS[:0]
    points = slice(len(recalls))
    curves = {
        "0.5": (c.precision[0], c.scores[0], c.figures["AP50"]),
        "0.75": (c.precision[5], c.scores[5], c.figures["AP75"]),
        COCO_MEAN: (c.precision.mean(axis=0), np.full(len(COCO_RECALLS), np.nan), c.figures["AP"]),
    }
    return [
        Curve(
            name=c.name,
            label=label,
            iou=iou,
            recall=recalls,
            precision=precision[points],
            scores=scores[points],
            ap=ap,
        )
        for iou, (precision, scores, ap) in curves.items()
    ]
