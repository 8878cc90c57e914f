"""The confusion matrix: each object and each detection that counts stands in it once."""

import numpy as np
import pytest

from keras_frcnn.evaluation.analysis.confusion import confusion_matrix
from keras_frcnn.evaluation.analysis.errors import Kind
from tests.evaluation.handmade import dataset, found, random_images, record, split_errors

A, B = [0, 0, 10, 10], [100, 100, 120, 140]
FAR = [500, 500, 510, 510]
LOOSE = [0, 0, 10, 3]  # IoU 0.3 with A
NEAR = [0, 0, 10, 9]  # IoU 0.9 with A
CAT, DOG = 0, 1


def matrix_of(objects, detections, metric="voc"):
    data = dataset(record("1", *objects), class_names=("cat", "dog"))
    split = split_errors(data, {"1": found(*detections)}, metric=metric)
    return confusion_matrix(split).tolist()


@pytest.mark.parametrize(
    ("objects", "detections", "expected"),
    [
        ([], [], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
        ([(A, CAT)], [(A, 0.9, CAT)], [[1, 0, 0], [0, 0, 0], [0, 0, 0]]),
        ([(A, CAT)], [(A, 0.9, DOG)], [[0, 1, 0], [0, 0, 0], [0, 0, 0]]),
        ([(A, CAT)], [], [[0, 0, 1], [0, 0, 0], [0, 0, 0]]),
        ([], [(A, 0.9, DOG)], [[0, 0, 0], [0, 0, 0], [0, 1, 0]]),
        # An inexact detection has no object, and its object no detection.
        ([(A, CAT)], [(LOOSE, 0.9, CAT)], [[0, 0, 1], [0, 0, 0], [1, 0, 0]]),
        # A correct detection has its object, even if another class scores higher there.
        ([(A, CAT)], [(A, 0.9, DOG), (A, 0.3, CAT)], [[1, 0, 0], [0, 0, 0], [0, 1, 0]]),
        # Of two confusions the better one has the object.
        ([(A, CAT)], [(NEAR, 0.3, DOG), (A, 0.9, DOG)], [[0, 1, 0], [0, 0, 0], [0, 1, 0]]),
        # A duplicate is no second object.
        ([(A, CAT)], [(A, 0.9, CAT), (NEAR, 0.8, CAT)], [[1, 0, 0], [0, 0, 0], [1, 0, 0]]),
        # It lies inexactly on a dog, but well on a cat, for which it takes it.
        (
            [(A, CAT), (LOOSE, DOG)],
            [(A, 0.9, DOG)],
            [[0, 1, 0], [0, 0, 1], [0, 0, 0]],
        ),
        # Difficult objects do not count, nor do detections of them.
        ([(A, CAT, True)], [(A, 0.9, CAT)], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
        ([(A, CAT, True)], [(A, 0.9, DOG)], [[0, 0, 0], [0, 0, 0], [0, 1, 0]]),
    ],
)
@pytest.mark.parametrize("metric", ["voc", "coco"])
def test_where_objects_and_detections_stand(metric, objects, detections, expected):
    assert matrix_of(objects, detections, metric) == expected


def test_a_second_detection_takes_the_next_object():
    objects = [(A, CAT), (NEAR, CAT), (B, CAT)]
    detections = [(A, 0.9, DOG), (A, 0.8, DOG), (FAR, 0.7, DOG)]
    assert matrix_of(objects, detections) == [[0, 2, 1], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("metric", ["voc", "coco"])
def test_rows_and_columns_add_up(metric):
    generator = np.random.default_rng(3)
    for _ in range(30):
        split = split_errors(*random_images(generator), metric=metric)
        matrix, counts = confusion_matrix(split), split.counts()
        assert matrix[:-1].sum(axis=1).tolist() == split.num_gt().tolist()
        detections = counts.sum(axis=1) - counts[:, Kind.IGNORED]
        assert matrix[:, :-1].sum(axis=0).tolist() == detections.tolist()
        assert np.diag(matrix)[:-1].tolist() == counts[:, Kind.CORRECT].tolist()
        assert matrix[-1, -1] == 0 and matrix.min() == 0
