"""Tiles: they cover the image, and what their seams cut becomes whole."""

import numpy as np
import pytest

from keras_frcnn.ops import tiles


@pytest.mark.parametrize(
    ("size", "tile", "overlap", "expected"),
    [
        ((100, 200), 640, 0.2, [[0, 0]]),  # smaller than a tile
        ((640, 640), 640, 0.2, [[0, 0]]),
        ((640, 641), 640, 0.0, [[0, 0], [0, 1]]),
        ((100, 260), 100, 0.2, [[0, 0], [0, 80], [0, 160]]),
        ((100, 250), 100, 0.2, [[0, 0], [0, 75], [0, 150]]),  # spread evenly
        ((180, 180), 100, 0.2, [[0, 0], [0, 80], [80, 0], [80, 80]]),
    ],
)
def test_corners(size, tile, overlap, expected):
    assert tiles.corners(*size, tile, overlap).numpy().tolist() == expected


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("length", [33, 100, 101, 397, 1000])
def test_tiles_cover_every_pixel_and_share_what_is_asked(length, overlap):
    starts = tiles.corners(1, length, 100, overlap).numpy()[:, 1]
    side = min(length, 100)
    assert starts[0] == 0 and starts[-1] + side == length
    if len(starts) > 1:
        assert (np.diff(starts) <= round(100 * (1 - overlap))).all()


TILES = np.float32([[0, x, 100, x + 100] for x in (0, 80, 160)])  # of an image of 100 x 260


def join(rows, max_detections=10):
    """Joins rows of (box, score, label, number of the tile)."""
    boxes, scores, labels, places = zip(*rows, strict=True)
    boxes, scores, found = tiles.join(
        np.float32(boxes),
        np.float32(scores),
        np.int32(labels),
        TILES[list(places)],
        np.int32([100, 260]),
        max_detections,
    )
    scores = [round(score, 3) for score in scores.numpy().tolist()]
    return boxes.numpy().tolist(), scores, found.numpy().tolist()


def test_an_object_that_two_tiles_see_whole_is_found_once():
    one, two = ([20, 82, 50, 98], 0.8, 0, 0), ([21, 83, 50, 98], 0.9, 0, 1)
    assert join([one, two]) == ([[21, 83, 50, 98]], [0.9], [1])


def test_an_object_over_three_tiles_becomes_whole():
    parts = [([20, 10, 60, 100], 0.7, 0, 0), ([21, 80, 60, 180], 0.9, 0, 1)]
    parts += [([20, 160, 59, 200], 0.8, 0, 2)]
    assert join(parts) == ([[21, 10, 60, 200]], [0.9], [1])


def test_a_cut_off_part_inside_a_whole_box_is_dropped():
    whole, part = ([20, 60, 60, 99], 0.9, 0, 0), ([30, 80, 50, 99], 0.95, 0, 1)
    boxes, scores, _ = join([whole, part])
    assert boxes == [[30, 60, 50, 99]] and scores == [0.95]


def test_what_is_not_one_object_stays_apart():
    rows = [
        ([20, 82, 50, 98], 0.9, 0, 0),
        ([20, 82, 50, 98], 0.8, 1, 1),  # another class
        ([20, 85, 60, 95], 0.7, 0, 0),  # the same tile: suppression has decided there
        ([60, 82, 90, 98], 0.6, 0, 1),  # another place
        ([20, 84, 30, 90], 0.5, 0, 1),  # a small object in front, whole
    ]
    assert join(rows)[2] == [0, 1, 2, 3, 4]


def test_padding_and_the_rest_are_left_out():
    rows = [([0, 0, 5, 5], 0.9, 0, 0), ([0, 0, 0, 0], 0.0, -1, 0), ([0, 40, 5, 45], 0.5, 0, 0)]
    assert join(rows)[2] == [0, 2]
    assert join(rows, max_detections=1)[2] == [0]
    assert join([rows[1]])[2] == []


def test_an_edge_of_the_image_is_no_seam():
    """The box ends at the image's right edge, so it is not moved out."""
    rows = [([0, 200, 50, 259], 0.9, 0, 2), ([0, 161, 50, 180], 0.5, 0, 1)]
    assert join(rows)[0] == [[0, 200, 50, 259], [0, 161, 50, 180]]
