"""Joining what was found on one image at several sizes."""

import numpy as np
from keras_frcnn.inference.collect import merge

from keras_frcnn.config import Config


def found(*rows):
    """Detections from rows (score, label, y1, x1, y2, x2)."""
    rows = np.array(rows, np.float32).reshape(-1, 6)
    return {"boxes": rows[:, 2:], "scores": rows[:, 0], "labels": rows[:, 1].astype(np.int32)}


def rows_of(merged):
    return [
        (round(float(score), 3), int(label), *box.tolist())
        for score, label, box in zip(
            merged["scores"], merged["labels"], merged["boxes"], strict=True
        )
    ]


def test_doubles_go_within_a_class_only_and_the_best_come_first():
    small = found((0.6, 0, 0, 0, 10, 10), (0.5, 1, 0, 0, 10, 10))
    large = found((0.9, 0, 0, 0, 10, 9), (0.3, 0, 50, 50, 60, 60))
    merged = merge([small, large], 3, Config(nms_iou_threshold=0.5))
    assert rows_of(merged) == [
        (0.9, 0, 0, 0, 10, 9),
        (0.5, 1, 0, 0, 10, 10),
        (0.3, 0, 50, 50, 60, 60),
    ]


def test_the_settings_decide_what_is_a_double_and_how_many_stay():
    # IoU 1 / 3: 5 x 10 pixels in common of 150.
    some = [found((0.6, 0, 0, 0, 10, 10)), found((0.8, 0, 5, 0, 15, 10), (0.7, 1, 0, 0, 9, 9))]
    assert len(merge(some, 2, Config(nms_iou_threshold=0.34))["scores"]) == 3
    assert len(merge(some, 2, Config(nms_iou_threshold=0.33))["scores"]) == 2
    best = merge(some, 2, Config(nms_iou_threshold=0.34, max_detections=2))
    assert rows_of(best) == [(0.8, 0, 5, 0, 15, 10), (0.7, 1, 0, 0, 9, 9)]


def test_a_score_of_0_counts_and_nothing_found_is_nothing():
    merged = merge([found(), found((0.0, 1, 0, 0, 4, 4))], 2, Config(score_threshold=0.0))
    assert rows_of(merged) == [(0.0, 1, 0, 0, 4, 4)]
    assert rows_of(merge([found(), found()], 2, Config())) == []
