"""Recall of proposals: the share of objects that the best 50, 100, ... boxes per image cover.

Proposals and objects are matched one to one, as in py-faster-rcnn's ``evaluate_recall``: the pair
with the highest IoU is removed, then the best pair of the rest, and so on. A proposal therefore
never covers two objects, unlike with the simpler "best IoU of any proposal".
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_frcnn.evaluation.metrics.boxes import iou

NUM_PROPOSALS = (50, 100, 200, 300)
AVERAGE_RECALL_IOU_THRESHOLDS = tuple(np.arange(10, 20) / 20)  # 0.5, 0.55, ..., 0.95
CURVE_IOU_THRESHOLDS = (*AVERAGE_RECALL_IOU_THRESHOLDS, 1.0)

_CURVE_NUM_PROPOSALS = (1, 2, 5, 10, 20, 50, 100, 200, 300, 500, 1000, 2000, 5000, 10000)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RecallCurves:
    """Recall of proposals against their number and against IoU.

    Attributes:
        source: where the proposals come from, see ``source_of``.
        num_proposals: M numbers of best proposals per image.
        iou_thresholds: T thresholds, 0.5 to 1.
        recall: float64 [M, T]; NaN without objects.
        average_recall: float64 [M], the mean over the thresholds 0.5, 0.55, ..., 0.95.
        num_gt: number of objects, without difficult ones.
    """

    source: str
    num_proposals: tuple[int, ...]
    iou_thresholds: tuple[float, ...]
    recall: np.ndarray
    average_recall: np.ndarray
    num_gt: int


def source_of(test_proposals: str) -> str:
    """Names the source of the proposals that the setting ``test_proposals`` asks for: "RPN",
    "dense" or "file".
    """
    return {"rpn": "RPN", "dense": "dense"}.get(test_proposals, "file")


def curves(
    gt_boxes: Sequence[np.ndarray], proposals: Sequence[np.ndarray], source: str = "RPN"
) -> RecallCurves:
    """Computes recall against the number of proposals and against IoU (the paper's figure 4).

    Args:
        gt_boxes: for each image [G, 4] yxyx.
        proposals: for each image [P, 4] yxyx in the same pixels, best first.
        source: where the proposals come from, see ``source_of``.

    Returns:
        The curves, up to the largest number of proposals of any image.

    Raises:
        ValueError: as for ``recall``.
    """
    most = max((len(boxes) for boxes in proposals), default=0)
    numbers = tuple(n for n in _CURVE_NUM_PROPOSALS if n < most) + (max(most, 1),)
    values = recall(gt_boxes, proposals, numbers, CURVE_IOU_THRESHOLDS)
    return RecallCurves(
        source=source,
        num_proposals=numbers,
        iou_thresholds=CURVE_IOU_THRESHOLDS,
        recall=values,
        average_recall=values[:, : len(AVERAGE_RECALL_IOU_THRESHOLDS)].mean(axis=1),
        num_gt=sum(map(len, gt_boxes)),
    )


def recall(
    gt_boxes: Sequence[np.ndarray],
    proposals: Sequence[np.ndarray],
    num_proposals: Sequence[int] = NUM_PROPOSALS,
    iou_thresholds: Sequence[float] = (0.5,),
) -> np.ndarray:
    """Computes the share of all objects that the best proposals of their images cover.

    Args:
        gt_boxes: for each image [G, 4] yxyx.
        proposals: for each image [P, 4] yxyx in the same pixels, best first.
        num_proposals: numbers of best proposals to use; an image may have fewer.
        iou_thresholds: least IoU of a covered object.

    Returns:
        [len(num_proposals), len(iou_thresholds)] float64; NaN if there are no objects.

    Raises:
        ValueError: if the two lists differ in length, an array is not [*, 4], or a number of
            proposals is not positive.
    """
    _check(gt_boxes, proposals, num_proposals)
    thresholds = np.asarray(iou_thresholds, np.float64)
    covered = np.zeros((len(num_proposals), len(thresholds)))
    for gt, candidates in zip(gt_boxes, proposals, strict=True):
        overlaps = iou(gt, candidates[: max(num_proposals, default=0)])
        for row, limit in enumerate(num_proposals):
            best = _match_one_to_one(overlaps[:, :limit])
            covered[row] += np.sum(best[:, None] >= thresholds, axis=0)
    num_gt = sum(len(gt) for gt in gt_boxes)
    return covered / num_gt if num_gt else np.full_like(covered, np.nan)


def average_recall(
    gt_boxes: Sequence[np.ndarray],
    proposals: Sequence[np.ndarray],
    num_proposals: Sequence[int] = NUM_PROPOSALS,
) -> np.ndarray:
    """Computes average recall (AR), the mean over the IoU thresholds 0.5, 0.55, ..., 0.95.

    Args:
        gt_boxes: as in ``recall``.
        proposals: as in ``recall``.
        num_proposals: as in ``recall``.

    Returns:
        [len(num_proposals)] float64; NaN if there are no objects.

    Raises:
        ValueError: as for ``recall``.
    """
    return recall(gt_boxes, proposals, num_proposals, AVERAGE_RECALL_IOU_THRESHOLDS).mean(axis=1)


def _match_one_to_one(overlaps: np.ndarray) -> np.ndarray:
    """Matches greedily by overlaps [G, P]; returns the IoU of each matched pair [min(G, P)]."""
    remaining = overlaps.copy()
    best = np.zeros(min(remaining.shape))
    for pair in range(len(best)):
        gt, proposal = np.unravel_index(np.argmax(remaining), remaining.shape)
        best[pair] = remaining[gt, proposal]
        remaining[gt, :] = -1
        remaining[:, proposal] = -1
    return best


def _check(
    gt_boxes: Sequence[np.ndarray], proposals: Sequence[np.ndarray], num_proposals: Sequence[int]
) -> None:
    if len(gt_boxes) != len(proposals):
        raise ValueError(
            "gt_boxes and proposals must have one array for each image. "
            f"Received: {len(gt_boxes)} and {len(proposals)}"
        )
    for name, arrays in (("gt_boxes", gt_boxes), ("proposals", proposals)):
        for index, array in enumerate(arrays):
            if np.ndim(array) != 2 or np.shape(array)[1] != 4:
                raise ValueError(
                    f"{name}[{index}] must have shape [*, 4]. Received: {np.shape(array)}"
                )
    if any(limit < 1 for limit in num_proposals):
        raise ValueError(f"num_proposals must be positive. Received: {tuple(num_proposals)}")
