"""How much the answers of a detector change when it computes in another number format."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.evaluation.metrics.boxes import iou
from keras_frcnn.evaluation.metrics.evaluate import evaluate
from keras_frcnn.models.detections import ImageDetections

_SAME_OBJECT = 0.5  # least IoU of two detections that are compared
_IS_OBJECT = 0.5  # least score of a detection that stands in for an annotated object


class PrecisionCost(NamedTuple):
    """The difference between two sets of detections on the same images.

    Attributes:
        score: the largest difference in score between two detections of one class that overlap.
        num_lost: how many of the expected detections overlap none of those that were found.
        num_expected: the number of expected detections.
        mean_ap: mAP at IoU 0.5 of what was found.
        expected_ap: mAP at IoU 0.5 of what was expected.
    """

    score: float
    num_lost: int
    num_expected: int
    mean_ap: float
    expected_ap: float

    def __str__(self) -> str:
        return (
            f"scores differ by up to {self.score:.4f}, {self.num_lost} of {self.num_expected} "
            f"detections are lost, mAP is {self.mean_ap:.4f} instead of {self.expected_ap:.4f}"
        )


def measure(
    found: Mapping[str | int, ImageDetections],
    expected: Mapping[str | int, ImageDetections],
    dataset: Dataset,
) -> PrecisionCost:
    """Compares the detections of two number formats.

    Args:
        found: the detections in one format, by image id.
        expected: those in the other one, of the same images.
        dataset: the objects on the images, by which mAP is measured.
    """
    scores, num_lost = [0.0], 0
    for image_id, theirs in expected.items():
        ours = found[image_id]
        is_class = theirs.labels[:, np.newaxis] == ours.labels
        overlaps = np.where(is_class, iou(theirs.boxes, ours.boxes), 0.0)
        for score, row in zip(theirs.scores, overlaps, strict=True):
            best = row.argmax() if row.size else 0
            if row.size and row[best] >= _SAME_OBJECT:
                scores.append(abs(float(score - ours.scores[best])))
            else:
                num_lost += 1
    return PrecisionCost(
        max(scores),
        num_lost,
        sum(map(len, expected.values())),
        evaluate(dataset, found, "voc").map_area,
        evaluate(dataset, expected, "voc").map_area,
    )


def objects_of(detections: Mapping[str | int, ImageDetections]) -> Dataset:
    """Returns a data set in which the detections that score at least 0.5 are the objects."""
    records, class_names = [], ()
    for image_id, found in detections.items():
        class_names, sure = found.class_names, found[found.scores >= _IS_OBJECT]
        is_difficult = np.zeros(len(sure), bool)
        records.append(Record(image_id, "", 1, 1, sure.boxes, sure.labels, is_difficult))
    return Dataset(class_names, records)
