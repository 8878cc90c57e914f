"""Boxes in NumPy: conversion, areas, and the IoU of the VOC development kit."""

import numpy as np

from keras_frcnn.evaluation.metrics.boxes import areas, iou, overlap, to_bboxes, to_boxes
from tests.evaluation import reference_voc

A = [0, 0, 10, 10]


def test_both_forms_and_areas():
    boxes = np.array([[10, 20, 30.5, 60], [1, 2, 3, 4]])
    bboxes = to_bboxes(boxes)
    assert bboxes.tolist() == [[20, 10, 40, 20.5], [2, 1, 2, 2]]
    np.testing.assert_array_equal(to_boxes(bboxes), boxes)
    assert areas(bboxes).tolist() == [820, 4]


def test_the_overlap_with_a_region_is_the_share_of_the_box_inside():
    box, region = np.array([0, 0, 4, 2]), np.array([2, 0, 20, 20])
    assert overlap(box, region, True) == 0.5
    assert overlap(box, region) == 4 / (8 + 400 - 4)


def test_iou_is_the_development_kits_with_its_plus_one():
    # 1-based inclusive 1..10 and 6..15: sides of 10 pixels, 5 in common, so 50 / 150.
    inclusive = np.array([[1, 1, 10, 10], [6, 1, 15, 10]])
    boxes = np.stack(
        [inclusive[:, 1] - 1, inclusive[:, 0] - 1, inclusive[:, 3], inclusive[:, 2]], 1
    )
    assert iou(boxes[:1], boxes[1:]) == 1 / 3

    generator = np.random.default_rng(0)
    near = generator.integers(1, 30, [60, 2])
    inclusive = np.concatenate([near, near + generator.integers(0, 30, [60, 2])], axis=1)
    boxes = np.stack(
        [inclusive[:, 1] - 1, inclusive[:, 0] - 1, inclusive[:, 3], inclusive[:, 2]], 1
    )
    expected = [
        [float(reference_voc.overlap(a, b) or 0) for b in inclusive.tolist()]
        for a in inclusive.tolist()
    ]
    np.testing.assert_array_equal(iou(boxes.astype(np.float32), boxes.astype(np.float32)), expected)


def test_iou_of_boxes_without_area_touching_or_inside_out_is_zero():
    others = [[0, 0, 0, 10], [0, 10, 10, 20], [9, 9, 1, 1], [20, 20, 20, 20]]
    np.testing.assert_array_equal(iou([A, *others], [A, *others])[0], [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(np.diag(iou(others, others)), [0, 1, 0, 0])
    assert iou(np.zeros((0, 4)), others).shape == (0, 4)
