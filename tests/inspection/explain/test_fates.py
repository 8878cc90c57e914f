"""The fate of an object at every stage, on traces small enough to follow by hand."""

import dataclasses

import numpy as np
import pytest

from keras_frcnn.inspection.explain.fates import Fate, Limits, explain
from keras_frcnn.inspection.explain.trace import Trace

LIMITS = Limits(
    iou_threshold=0.5, pre_nms_top_k=3, proposal_nms=0.7, score_threshold=0.4, detection_nms=0.3
)
OBJECT = [0.0, 0.0, 10.0, 10.0]
NEAR = [0.0, 0.0, 10.0, 8.0]  # IoU 0.8 with the object
HALF = [0.0, 0.0, 10.0, 5.0]  # IoU 0.5 with the object, 0.625 with NEAR
OFF = [0.0, 0.0, 10.0, 4.0]  # IoU 0.4 with the object, 0.8 with HALF
FAR = [50.0, 50.0, 60.0, 60.0]


def trace(rpn, proposals=(), heads=(), detections=(), **changes) -> Trace:
    """Makes a trace of one level and two classes.

    Args:
        rpn: for each anchor, its box and its score.
        proposals: rows of anchors.
        heads: for each proposal, its box for class 0, and its scores for both classes.
        detections: rows of proposals, all of class 0.
    """
    boxes = np.array([box for box, _ in rpn])
    scores = np.array([score for _, score in rpn])
    class_boxes = np.array([[box, FAR] for box, _ in heads]).reshape(-1, 2, 4)
    values = {
        "image_shape": np.array([100, 100]),
        "scale": np.ones(2),
        "anchors": boxes,
        "rpn_boxes": boxes,
        "rpn_scores": scores,
        "ranks": np.argsort(np.argsort(-scores)),
        "levels": np.zeros(len(scores), int),
        "large": np.ones(len(scores), bool),
        "proposals": np.array(proposals, int),
        "class_scores": np.array([scores for _, scores in heads]).reshape(-1, 2),
        "class_boxes": class_boxes,
        "detections": np.array([(row, 0) for row in detections], int).reshape(-1, 2),
    }
    return Trace(**(values | changes))


def explained(made, is_found=False):
    (one,) = explain(made, np.array([OBJECT]), np.array([0]), np.array([is_found]), LIMITS)
    return one


GOOD = [(NEAR, 0.9), (FAR, 0.5)]
LOST_IN_HEAD = {"rpn": GOOD, "proposals": (0,)}


@pytest.mark.parametrize(
    ("fate", "made"),
    [
        (Fate.UNCOVERED, trace([(OFF, 0.9), (FAR, 0.5)])),
        (Fate.LOW_RANK, trace([(NEAR, 0.1), *[(FAR, 0.5)] * 3], (1,), [(FAR, (0, 0))])),
        (Fate.SMALL, trace(GOOD, large=np.array([False, True]))),
        (
            Fate.PROPOSAL_SUPPRESSED,
            trace([(OFF, 0.9), (HALF, 0.5)], (0,), [(FAR, (0.0, 0.0))]),
        ),
        (Fate.PROPOSAL_CUT, trace([(FAR, 0.9), (NEAR, 0.5)], (0,), [(FAR, (0.0, 0.0))])),
        (Fate.MOVED_AWAY, trace(**LOST_IN_HEAD, heads=[(OFF, (0.9, 0.0))])),
        (Fate.BACKGROUND, trace(**LOST_IN_HEAD, heads=[(NEAR, (0.3, 0.1))])),
        (Fate.CONFUSED, trace(**LOST_IN_HEAD, heads=[(NEAR, (0.2, 0.7))])),
        (Fate.LOW_SCORE, trace(**LOST_IN_HEAD, heads=[(NEAR, (0.39, 0.31))])),
        (
            Fate.SUPPRESSED,
            trace([(NEAR, 0.9), (OFF, 0.8)], (0, 1), [(HALF, (0.5, 0)), (OFF, (0.6, 0))], (1,)),
        ),
        (Fate.CUT, trace(GOOD, (0, 1), [(NEAR, (0.5, 0.0)), (FAR, (0.6, 0.0))], (1,))),
        (Fate.TAKEN, trace(**LOST_IN_HEAD, heads=[(NEAR, (0.5, 0.0))], detections=(0,))),
    ],
)
def test_the_last_stage_that_an_object_does_not_pass(fate, made):
    assert explained(made).fate == fate


def test_a_found_object_is_found():
    made = trace(**LOST_IN_HEAD, heads=[(NEAR, (0.5, 0.0))], detections=(0,))
    one = explained(made, is_found=True)
    assert (one.fate, one.detection, one.candidate, one.score) == (Fate.FOUND, 0, 0, 0.5)
    assert one.proposal_iou == one.rpn_iou == pytest.approx(0.8)


def test_a_poor_proposal_that_the_head_improves_is_not_lost_in_the_rpn():
    made = trace([(OFF, 0.9)], (0,), [(NEAR, (0.2, 0.0))])
    one = explained(made)
    assert (one.fate, one.rank, one.proposal_iou) == (Fate.BACKGROUND, 0, pytest.approx(0.4))
    assert np.isnan(one.rpn_score)


def test_a_small_box_of_low_rank_is_lost_at_its_rank_because_the_best_are_chosen_first():
    low = [(NEAR, 0.1), *[(FAR, 0.5)] * 3]
    assert explained(trace(low, large=np.array([False, True, True, True]))).fate == Fate.LOW_RANK


def test_a_box_below_the_rpns_threshold_is_lost_there():
    made = trace([(NEAR, 0.3), (HALF, 0.2), (FAR, 0.5)], (2,), [(FAR, (0, 0))])
    assert explained(made).fate == Fate.PROPOSAL_CUT
    for threshold, expected in ((0.3, Fate.PROPOSAL_CUT), (0.31, Fate.LOW_OBJECTNESS)):
        limits = dataclasses.replace(LIMITS, rpn_score_threshold=threshold)
        (one,) = explain(made, np.array([OBJECT]), np.array([0]), np.array([False]), limits)
        assert one.fate == expected
    small = trace([(NEAR, 0.3), (FAR, 0.5)], (1,), [(FAR, (0, 0))], large=np.array([False, True]))
    (one,) = explain(small, np.array([OBJECT]), np.array([0]), np.array([False]), limits)
    assert one.fate == Fate.SMALL


def test_a_box_that_no_proposal_suppresses_is_cut_though_the_best_one_is_suppressed():
    heads = [(HALF, (0.5, 0)), (OFF, (0.9, 0)), ([0, 0, 10, 20], (0.45, 0))]
    made = trace([(NEAR, 0.9), (OFF, 0.8), (NEAR, 0.7)], (0, 1, 2), heads, detections=(1,))
    assert explained(made).fate == Fate.CUT


def test_nothing_suppresses_what_never_entered_suppression():
    rpn, small = [(OFF, 0.9), (HALF, 0.5)], np.array([True, False])
    assert explained(trace(rpn, (0,), [(FAR, (0, 0))])).rpn_suppressor == 0
    assert explained(trace(rpn, (0,), [(FAR, (0, 0))], large=small)).rpn_suppressor == -1
    low = [(HALF, 0.1), (OFF, 0.9), *[(FAR, 0.5)] * 2]
    assert explained(trace(low, (1,), [(FAR, (0, 0))])).rpn_suppressor == -1


def test_who_suppressed_a_box_of_the_rpn():
    one = explained(trace([(OFF, 0.9), (FAR, 0.8), (HALF, 0.5)], (0, 1), [(FAR, (0, 0))] * 2))
    assert (one.rpn_suppressor, one.rank, one.num_ranked, one.rpn_score) == (0, 3, 3, 0.5)


def test_only_a_better_proposal_of_the_same_level_suppresses():
    made = trace([(OFF, 0.9), (HALF, 0.5)], (0,), [(FAR, (0, 0))])
    other_level = dataclasses.replace(made, levels=np.array([0, 1]), ranks=np.array([0, 0]))
    assert explained(other_level).rpn_suppressor == -1
    worse = dataclasses.replace(made, ranks=np.array([1, 0]))
    assert explained(worse).fate == Fate.PROPOSAL_CUT


def test_who_suppressed_a_detection():
    heads = [(HALF, (0.5, 0)), (FAR, (0.9, 0)), (OFF, (0.6, 0))]
    rpn = [(NEAR, 0.9), (FAR, 0.8), (OFF, 0.7)]
    one = explained(trace(rpn, (0, 1, 2), heads, detections=(1, 2)))
    assert (one.fate, one.suppressor, one.candidate) == (Fate.SUPPRESSED, 1, 0)


def test_an_image_without_proposals_or_objects():
    assert explained(trace([(FAR, 0.5)])).proposal == -1
    assert explain(trace(GOOD), np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, bool), LIMITS) == []
