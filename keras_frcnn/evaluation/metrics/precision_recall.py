"""Precision-recall curves of either metric, reduced to the points that matter.

As in both metrics, the precision at a recall is the highest one at that recall or at any higher
recall. VOC's curves have a point wherever this precision falls, at the last recall before it does;
average precision follows from these points alone. COCO's curves have a point at each of the
metric's 101 recalls.
"""

import dataclasses

import numpy as np

from keras_frcnn.evaluation.metrics import coco, voc
from keras_frcnn.evaluation.metrics.average_precision import COCO_RECALLS

COCO_MEAN = "0.5:0.95"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """The curve of one class at one IoU threshold.

    Its three arrays have one entry for each point, recall rising. The curve of a class without
    objects has no points.

    Attributes:
        name: the class.
        label: index of the class.
        iou: the IoU threshold, such as "0.5", or "0.5:0.95" for the mean of COCO's ten.
        recall: fractions of 1.
        precision: fractions of 1.
        scores: the lowest score needed for that recall. NaN where the recall is not reached, and
            for the mean of several thresholds.
        ap: the average precision, for VOC the area under the curve; NaN without objects.
    """

    name: str
    label: int
    iou: str
    recall: np.ndarray
    precision: np.ndarray
    scores: np.ndarray
    ap: float


def curves_of(result: voc.Result | coco.Result) -> tuple[Curve, ...]:
    """Returns the curves of a result.

    Args:
        result: that of ``voc.evaluate``, which gives one curve per class, or of ``coco.evaluate``,
            which gives three: at IoU 0.5, at 0.75 and the mean of all ten thresholds.

    Returns:
        The curves, classes in the data set's order.
    """
    if isinstance(result, voc.Result):
        iou = f"{result.iou_threshold:g}"
        return tuple(_voc_curve(c, label, iou) for label, c in enumerate(result.classes))
    return tuple(
        curve for label, c in enumerate(result.classes) for curve in _coco_curves(c, label)
    )


def _voc_curve(c: voc.ClassResult, label: int, iou: str) -> Curve:
    positives = np.flatnonzero(np.diff(c.recall, prepend=0.0) > 0)
    best = np.maximum.accumulate(c.precision[positives][::-1])[::-1]
    falls = np.diff(best, append=0.0) < 0
    corners = positives[falls]
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
