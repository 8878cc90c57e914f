"""The fate of an object in a detector: the stage at which it was lost, and what happened there.

A box *fits* an object if its IoU with the object is at least the threshold of the metric. The fate
is the last of these stages that the object did not pass:

1. uncovered: no box of the RPN fits, although every anchor is regressed.
2. low rank: a box fits, but ``pre_nms_top_k`` anchors of its level score better.
3. small: the boxes that fit are smaller than ``min_size``.
4. low objectness: the large ones among them score less than ``rpn_score_threshold``.
5. proposal suppressed: proposals that do not fit have suppressed all boxes that do.
6. proposal cut: no proposal suppresses a box that fits, but ``post_nms_top_k`` score better.
7. moved away: a proposal fits, but the box head's regression moves it off the object.
8. background, 9. confused, 10. low score: the box head's box fits, but its score for the object's
   class is not above ``score_threshold``. The highest score is that of background, of another
   class, or of the object's own class.
11. suppressed: detections of the same class that do not fit have suppressed all boxes that do.
12. cut: no detection suppresses a box that fits, but ``max_detections`` score better.
13. taken: a detection fits, but it counts for another object.
14. found.

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
    LOW_RANK = "low rank"
    SMALL = "small"
    LOW_OBJECTNESS = "low objectness"
    PROPOSAL_SUPPRESSED = "proposal suppressed"
    PROPOSAL_CUT = "proposal cut"
    MOVED_AWAY = "moved away"
    BACKGROUND = "background"
    CONFUSED = "confused"
    LOW_SCORE = "low score"
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
        rpn_score_threshold: of the RPN at test time.
    """

    iou_threshold: float
    pre_nms_top_k: int
    proposal_nms: float
    score_threshold: float
    detection_nms: float
    rpn_score_threshold: float = 0.0


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
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")]
    detections = np.flatnonzero(trace.detections[:, 1] == label)
    detection_ious = final_ious[trace.detections[detections, 0]]

    best_rpn = fits[np.argmax(trace.rpn_scores[fits])] if len(fits) else -1
    candidate = candidates[0] if len(candidates) else -1
    detection = -1
    if len(detections) and detection_ious.max() >= limits.iou_threshold:
        detection = detections[np.argmax(detection_ious)]
    suppressors = []  # of the boxes that could have been detections
    if detection < 0:
        eligible = candidates[scores[candidates] > limits.score_threshold]
        suppressors = [_suppressor(trace, row, label, limits) for row in eligible]
    rpn_suppressor = -1
    if best_rpn >= 0 and _enters_suppression(trace, best_rpn, limits):
        rpn_suppressor = _rpn_suppressor(trace, best_rpn, limits)
    has_proposals = len(proposal_ious) > 0
    proposal = int(np.argmax(proposal_ious)) if has_proposals else -1

    if is_found:
        fate = Fate.FOUND
    elif detection >= 0:
        fate = Fate.TAKEN
    elif suppressors:
        fate = Fate.SUPPRESSED if min(suppressors) >= 0 else Fate.CUT
    elif candidate >= 0:
        fate = _fate_of_scores(trace.class_scores[candidate], label)
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
        suppressor=suppressors[0] if suppressors else -1,
        detection=int(detection),
    )


def _fate_of_scores(scores: np.ndarray, label: int) -> Fate:
    """Returns why a box with these scores [C], without background, is not detected as a class."""
    best = int(np.argmax(np.append(scores, 1 - scores.sum())))
    if best == label:
        return Fate.LOW_SCORE
    return Fate.BACKGROUND if best == len(scores) else Fate.CONFUSED


def _fate_in_rpn(trace: Trace, fits: np.ndarray, limits: Limits) -> Fate:
    """Returns why none of the RPN's boxes that fit became a proposal."""
    if not len(fits):
        return Fate.UNCOVERED
    fits = fits[trace.ranks[fits] < limits.pre_nms_top_k]
    if not len(fits):
        return Fate.LOW_RANK
    fits = fits[trace.large[fits]]
    if not len(fits):
        return Fate.SMALL
    fits = fits[trace.rpn_scores[fits] >= limits.rpn_score_threshold]
    if not len(fits):
        return Fate.LOW_OBJECTNESS
    if all(_rpn_suppressor(trace, row, limits) >= 0 for row in fits):
        return Fate.PROPOSAL_SUPPRESSED
    return Fate.PROPOSAL_CUT


def _enters_suppression(trace: Trace, row: int, limits: Limits) -> bool:
    """Whether a box of the RPN is ranked, large and scored high enough."""
    is_ranked = trace.ranks[row] < limits.pre_nms_top_k
    return bool(
        is_ranked and trace.large[row] and trace.rpn_scores[row] >= limits.rpn_score_threshold
    )


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
