"""The fate of an object in a detector: the stage at which it was lost, and what happened there.

A box *fits* an object if its IoU with the object is at least the threshold of the metric. The fate
is the last of these stages that the object did not pass:

1. uncovered: no box of the RPN fits, although every anchor is regressed.
2. small: the boxes that fit are smaller than ``min_size``.
3. low rank: a box fits, but more than ``pre_nms_top_k`` anchors of its level score better.
4. proposal suppressed: proposals that do not fit have suppressed all boxes that do.
5. proposal cut: boxes that fit survive, but ``post_nms_top_k`` proposals score better.
6. moved away: a proposal fits, but the box head's regression moves it off the object.
7. background, 8. confused: the box head's box fits, but its score for the object's class is not
   above ``score_threshold``. The highest score is that of background, or of another class.
9. suppressed: a detection of the same class that does not fit has suppressed those that do.
10. cut: detections that fit survive, but ``max_detections`` others score better.
11. taken: a detection fits, but it counts for another object.
12. found.

An object may be found without passing the earlier stages, for example by a proposal that fits only
after the box head has moved it. That is why the stages are examined from the last to the first.
"""

import dataclasses
import enum

import numpy as np

from keras_frcnn.evaluation.metrics.boxes import iou
from keras_frcnn.inspection.explain.trace import Trace


class Fate(enum.StrEnum):
    """What became of an object, in the order of the stages."""

    UNCOVERED = "uncovered"
    SMALL = "small"
    LOW_RANK = "low rank"
    PROPOSAL_SUPPRESSED = "proposal suppressed"
    PROPOSAL_CUT = "proposal cut"
    MOVED_AWAY = "moved away"
    BACKGROUND = "background"
    CONFUSED = "confused"
    SUPPRESSED = "suppressed"
    CUT = "cut"
    TAKEN = "taken"
    FOUND = "found"


@dataclasses.dataclass(frozen=True)
class Limits:
    """The numbers of a detector that decide what passes a stage.

    Attributes:
        iou_threshold: least IoU of a box that fits.
        pre_nms_top_k, proposal_nms: of the RPN at test time.
        score_threshold, detection_nms: of the detections.
    """

    iou_threshold: float
    pre_nms_top_k: int
    proposal_nms: float
    score_threshold: float
    detection_nms: float


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The way of one object through the stages.

    Attributes:
        fate: what became of it.
        anchor_iou: highest IoU of an anchor with the object.
        rpn_iou: highest IoU of a box of the RPN.
        rpn_score: highest probability that the RPN gives to a box that fits; NaN without one.
        rank: rank of that box on its feature level, from 1; 0 without such a box.
        num_ranked: the number of boxes on that level, or 0.
        rpn_suppressor: row of the anchor whose proposal suppressed that box, or -1.
        proposal: row of the proposal with the highest IoU, or -1 without proposals.
        proposal_iou: that IoU, or 0.
        candidate: row of the proposal whose box for the object's class fits and scores best; -1 if
            none fits.
        score: the score of that box for the object's class, or NaN.
        suppressor: index of the detection that suppressed that box, or -1.
        detection: index of the detection that fits best among those of the class, or -1.
    """

    fate: Fate
    anchor_iou: float
    rpn_iou: float
    rpn_score: float
    rank: int
    num_ranked: int
    rpn_suppressor: int
    proposal: int
    proposal_iou: float
    candidate: int
    score: float
    suppressor: int
    detection: int


def explain(
    trace: Trace, boxes: np.ndarray, labels: np.ndarray, found: np.ndarray, limits: Limits
) -> list[Explanation]:
    """Finds the fate of every object of an image.

    Args:
        trace: what the detector made of the image.
        boxes: [G, 4], the objects, yxyx pixels of the network's input.
        labels: int [G].
        found: bool [G], whether the metric counts a detection as a find of the object.
        limits: what decides what passes a stage.

    Returns:
        An explanation for each object.
    """
    anchor_ious, rpn_ious = iou(boxes, trace.anchors), iou(boxes, trace.rpn_boxes)
    return [
        _explain(trace, box, label, bool(is_found), of_anchors, of_boxes, limits)
        for box, label, is_found, of_anchors, of_boxes in zip(
            boxes, labels, found, anchor_ious, rpn_ious, strict=True
        )
    ]


def _explain(trace, box, label, is_found, anchor_ious, rpn_ious, limits):
    fits = np.flatnonzero(rpn_ious >= limits.iou_threshold)
    proposal_ious = rpn_ious[trace.proposals]
    final_ious = iou(box[np.newaxis], trace.class_boxes[:, label])[0]
    scores = trace.class_scores[:, label]
    candidates = np.flatnonzero(final_ious >= limits.iou_threshold)
    detections = np.flatnonzero(trace.detections[:, 1] == label)
    detection_ious = final_ious[trace.detections[detections, 0]]

    best_rpn = fits[np.argmax(trace.rpn_scores[fits])] if len(fits) else -1
    candidate = candidates[np.argmax(scores[candidates])] if len(candidates) else -1
    detection = -1
    if len(detections) and detection_ious.max() >= limits.iou_threshold:
        detection = detections[np.argmax(detection_ious)]
    suppressor = -1
    if candidate >= 0 and detection < 0 and scores[candidate] > limits.score_threshold:
        suppressor = _suppressor(trace, candidate, label, limits)
    rpn_suppressor = -1 if best_rpn < 0 else _rpn_suppressor(trace, best_rpn, limits)
    has_proposals = len(proposal_ious) > 0
    proposal = int(np.argmax(proposal_ious)) if has_proposals else -1

    if is_found:
        fate = Fate.FOUND
    elif detection >= 0:
        fate = Fate.TAKEN
    elif candidate >= 0 and scores[candidate] > limits.score_threshold:
        fate = Fate.SUPPRESSED if suppressor >= 0 else Fate.CUT
    elif candidate >= 0:
        others = trace.class_scores[candidate]
        is_background = 1 - others.sum() >= others.max()
        fate = Fate.BACKGROUND if is_background else Fate.CONFUSED
    elif has_proposals and proposal_ious[proposal] >= limits.iou_threshold:
        fate = Fate.MOVED_AWAY
    else:
        fate = _fate_in_rpn(trace, fits, limits)
    return Explanation(
        fate=fate,
        anchor_iou=float(anchor_ious.max(initial=0)),
        rpn_iou=float(rpn_ious.max(initial=0)),
        rpn_score=float(trace.rpn_scores[best_rpn]) if best_rpn >= 0 else np.nan,
        rank=int(trace.ranks[best_rpn]) + 1 if best_rpn >= 0 else 0,
        num_ranked=int(np.sum(trace.levels == trace.levels[best_rpn])) if best_rpn >= 0 else 0,
        rpn_suppressor=int(rpn_suppressor),
        proposal=proposal,
        proposal_iou=float(proposal_ious.max(initial=0)),
        candidate=int(candidate),
        score=float(scores[candidate]) if candidate >= 0 else np.nan,
        suppressor=int(suppressor),
        detection=int(detection),
    )


def _fate_in_rpn(trace: Trace, fits: np.ndarray, limits: Limits) -> Fate:
    """Returns why none of the RPN's boxes that fit became a proposal."""
    if not len(fits):
        return Fate.UNCOVERED
    fits = fits[trace.large[fits]]
    if not len(fits):
        return Fate.SMALL
    fits = fits[trace.ranks[fits] < limits.pre_nms_top_k]
    if not len(fits):
        return Fate.LOW_RANK
    if all(_rpn_suppressor(trace, row, limits) >= 0 for row in fits):
        return Fate.PROPOSAL_SUPPRESSED
    return Fate.PROPOSAL_CUT


def _rpn_suppressor(trace: Trace, row: int, limits: Limits) -> int:
    """Returns the row of the best proposal that suppresses a box of the RPN, or -1."""
    better = trace.proposals[
        (trace.levels[trace.proposals] == trace.levels[row])
        & (trace.ranks[trace.proposals] < trace.ranks[row])
    ]
    ious = iou(trace.rpn_boxes[[row]], trace.rpn_boxes[better])[0]
    over = better[ious > limits.proposal_nms]
    return int(over[0]) if len(over) else -1


def _suppressor(trace: Trace, candidate: int, label: int, limits: Limits) -> int:
    """Returns the index of the best detection that suppresses a box of the box head, or -1."""
    for number, (proposal, of_label) in enumerate(trace.detections):
        if of_label == label:
            boxes = trace.class_boxes[[candidate, proposal], label]
            if iou(boxes[:1], boxes[1:])[0, 0] > limits.detection_nms:
                return number
    return -1
