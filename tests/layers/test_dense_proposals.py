"""Every anchor as a proposal."""

import numpy as np

from keras_frcnn.layers import DenseProposals
from tests.base import as_numpy

ANCHORS = np.array([[10, 20, 30, 40], [-5, -5, 5, 5], [40, 50, 80, 90], [60, 0, 70, 9]], "float32")


def test_anchors_are_clipped_to_each_image_and_keep_their_order():
    shapes, valid = np.array([[64, 64], [50, 80]]), np.array([[1, 1, 1, 1], [0, 1, 1, 1]], bool)
    boxes, scores, usable = as_numpy(DenseProposals()(None, None, ANCHORS, shapes, valid))
    assert boxes.tolist() == [
        [[10, 20, 30, 40], [0, 0, 5, 5], [40, 50, 64, 64], [60, 0, 64, 9]],
        [[0, 0, 0, 0], [0, 0, 5, 5], [40, 50, 50, 80], [0, 0, 0, 0]],
    ]
    assert usable.tolist() == [[True] * 4, [False, True, True, False]]
    assert scores.tolist() == [[1, 1, 1, 1], [0, 1, 1, 0]]


def test_without_padding_all_are_taken():
    boxes, scores, usable = DenseProposals()(None, None, ANCHORS[:1], np.array([[64, 64]]))
    assert boxes.numpy().tolist() == [[[10, 20, 30, 40]]]
    assert usable.numpy().tolist() == [[True]] and scores.numpy().tolist() == [[1]]
