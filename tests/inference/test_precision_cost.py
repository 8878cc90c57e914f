"""What another number format costs, by pencil."""

import numpy as np
import pytest

from keras_frcnn.inference import precision_cost
from keras_frcnn.models.detections import ImageDetections

SQUARE, SHIFTED, FAR = [0, 0, 10, 10], [0, 2, 10, 12], [50, 50, 60, 60]


def detections(*rows):
    """Returns detections of rows ``(box, score, label)``."""
    boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return ImageDetections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels, np.int32),
        ("cat", "dog"),
    )


def test_detections_that_overlap_are_compared():
    expected = {0: detections((SQUARE, 0.9, 0), (FAR, 0.75, 1)), 1: detections((SQUARE, 0.6, 1))}
    found = {
        0: detections((FAR, 0.7, 1), (FAR, 0.65, 0), (SHIFTED, 0.5, 0)),
        1: detections((SQUARE, 0.55, 0)),
    }
    cost = precision_cost.measure(found, expected, precision_cost.objects_of(expected))
    assert cost.score == pytest.approx(0.4)  # of the shifted box, whose IoU is 80 / 120
    assert (cost.num_lost, cost.num_expected) == (1, 3)  # in the second image the class differs
    # Cat: ranks FAR (wrong), image 1 (wrong), SHIFTED (right): 1/3. Dog: 1 of 2 objects: 1/2.
    assert cost.mean_ap == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert cost.expected_ap == pytest.approx(1)
    assert str(cost) == (
        "scores differ by up to 0.4000, 1 of 3 detections are lost, mAP is 0.4167 instead of 1.0000"
    )


def test_images_without_detections_are_compared_too():
    found = {0: detections((SQUARE, 0.9, 0)), 1: detections()}
    assert precision_cost.measure(found, found, precision_cost.objects_of(found))[:3] == (0, 0, 1)
    lost = precision_cost.measure(
        {0: detections(), 1: detections()}, found, precision_cost.objects_of(found)
    )
    assert lost == (0, 1, 1, 0, 1)


def test_objects_are_the_sure_detections():
    dataset = precision_cost.objects_of(
        {7: detections((SQUARE, 0.5, 1), (FAR, 0.49, 0)), 8: detections()}
    )
    assert dataset.class_names == ("cat", "dog")
    first, second = dataset.records
    assert (first.image_id, first.boxes.tolist(), first.labels.tolist()) == (7, [SQUARE], [1])
    assert (second.image_id, len(second.boxes)) == (8, 0)
