"""Flips, crops and sizes: what they do to image and boxes, and how they are distributed."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.data.augment import draws, geometry
from tests.data.augment.drawing import assert_uniform, for_keys

PLAIN = Config(flip="none", shorter_side=40, longer_side=70)
CROPS = PLAIN.replace(crop_probability=1.0, crop_sides=(0.4, 0.9))


def _targets(boxes, ignore=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    ignore = np.zeros(len(boxes), bool) if ignore is None else np.array(ignore, bool)
    labels = np.arange(len(boxes), dtype=np.int32)
    columns = {"boxes": boxes, "labels": labels, "ignore": ignore}
    return {name: tf.constant(values) for name, values in columns.items()}


def _windows(config, shape, boxes=(), is_object=None, count=1000):
    """Draws many windows of one image, int [count, 4]."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    is_object = np.ones(len(boxes), bool) if is_object is None else np.array(is_object)
    shape = tf.constant(shape)
    return for_keys(lambda key: geometry.draw_window(key, config, shape, boxes, is_object), count)


# --- crop


IMAGE = np.arange(10 * 20 * 3, dtype=np.uint16).reshape(10, 20, 3)


def test_crop_goldens():
    """A window of 5 x 10 from (2, 4): what is inside, cut, nearly gone, touching and outside."""
    boxes = [
        [3, 5, 6, 9],  # inside
        [0, 4, 4, 8],  # half of it, the lower, is left
        [6, 12, 9, 18],  # 1 of 3 rows and 2 of 6 columns are left: 1 / 9
        [2, 0, 4, 4],  # touches the window
        [8, 15, 10, 20],  # outside
        [0, 0, 10, 20],  # all around it: 50 of 200 pixels
        [2.5, 3.5, 4.0, 5.5],  # 3 / 4 of it are left
    ]
    targets = _targets(boxes, [False, False, False, False, True, False, True])
    image, cut = geometry.crop(IMAGE, targets, tf.constant([2, 4, 7, 14]), 0.3)
    np.testing.assert_array_equal(image, IMAGE[2:7, 4:14])
    assert cut["labels"].numpy().tolist() == [0, 1, 2, 5, 6]
    assert cut["ignore"].numpy().tolist() == [False, False, True, True, True]
    np.testing.assert_array_equal(
        cut["boxes"],
        [[1, 1, 4, 5], [0, 0, 2, 4], [4, 8, 5, 10], [0, 0, 5, 10], [0.5, 0, 2, 1.5]],
    )


@pytest.mark.parametrize(
    ("min_visible", "ignore"),
    [
        (0.0, [False, False, False]),
        (0.25, [False, False, False]),
        (0.26, [False, False, True]),
        (0.5, [False, False, True]),
        (0.51, [False, True, True]),
        (1.0, [False, True, True]),
    ],
)
def test_what_is_left_of_an_object_decides_whether_it_stays_one(min_visible, ignore):
    targets = _targets([[0.3, 0.7, 5, 9.1], [0, 8, 4, 12], [8, 9, 10, 13]])  # all, 1/2, 1/4
    _, cut = geometry.crop(IMAGE, targets, tf.constant([0, 0, 10, 10]), min_visible)
    assert cut["ignore"].numpy().tolist() == ignore


def test_the_whole_image_is_a_crop_that_changes_nothing():
    targets = _targets([[0, 0, 10, 20], [0.1, 0.2, 0.3, 19.9]], [False, True])
    image, cut = geometry.crop(IMAGE, targets, tf.constant([0, 0, 10, 20]), 1.0)
    np.testing.assert_array_equal(image, IMAGE)
    tf.nest.map_structure(np.testing.assert_array_equal, cut, targets)


@pytest.mark.parametrize("boxes", [[], [[0, 0, 2, 2]]])
def test_a_crop_may_leave_no_row(boxes):
    _, cut = geometry.crop(IMAGE, _targets(boxes), tf.constant([5, 5, 10, 10]), 0.3)
    assert cut["boxes"].shape == (0, 4) and cut["labels"].shape == (0,)
    assert cut["ignore"].shape == (0,)


# --- windows


@pytest.mark.parametrize("shape", [(200, 300), (300, 200), (200, 200), (199, 200), (33, 2000)])
def test_windows_lie_inside_and_keep_the_orientation(shape):
    windows = _windows(CROPS.replace(crop_sides=(0.1, 1.0), scale_jitter=(0.5, 2.0)), shape)
    sides = windows[:, 2:] - windows[:, :2]
    assert windows.min() >= 0 and np.all(windows[:, 2:] <= shape)
    assert sides.min() == 32 or shape != (200, 300)  # 0.1 * 200 / 2 would be 10
    assert np.all(sides >= 32)
    if shape[0] > shape[1]:
        assert np.all(sides[:, 0] >= sides[:, 1])
    else:
        assert np.all(sides[:, 0] <= sides[:, 1])
    assert np.all(windows[:, :2].min(axis=0) == 0) and np.all(windows[:, 2:].max(axis=0) == shape)


def test_sides_and_places_of_crops_are_uniform():
    windows = _windows(CROPS, (3000, 9000))  # an aspect at which no crop can turn
    sides = windows[:, 2:] - windows[:, :2]
    for axis, side in enumerate((3000, 9000)):
        assert_uniform(sides[:, axis] / side, 0.4, 0.9)
        assert_uniform(windows[:, axis] / (side - sides[:, axis]), 0, 1)
    assert abs(np.corrcoef(sides.T)[0, 1]) < 0.1
    assert abs(np.corrcoef(windows[:, :2].T)[0, 1]) < 0.1


def test_a_crop_that_would_turn_swaps_its_shares():
    sides = _windows(CROPS, (1000, 1000))[:, 2:] - _windows(CROPS, (1000, 1000))[:, :2]
    unturned = _windows(CROPS, (1000, 9000))[:, 2:] - _windows(CROPS, (1000, 9000))[:, :2]
    shares = unturned / [1000, 9000]
    np.testing.assert_allclose(sides / 1000, np.sort(shares, axis=1), atol=6e-4)
    assert 400 < np.sum(shares[:, 0] > shares[:, 1]) < 600


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_as_many_images_are_cropped_as_asked_for(probability):
    windows = _windows(CROPS.replace(crop_probability=probability), (300, 400))
    is_whole = np.all(windows == [0, 0, 300, 400], axis=1)
    assert abs(np.mean(~is_whole) - probability) < 0.05
    assert np.all(is_whole) or probability > 0


def test_a_jitter_above_one_crops_in_the_images_proportion():
    config = PLAIN.replace(scale_jitter=(0.5, 2.0))
    windows = _windows(config, (3000, 4000))
    sides = windows[:, 2:] - windows[:, :2]
    factors = 3000 / sides[:, 0]
    np.testing.assert_allclose(sides, np.array([3000, 4000]) / factors[:, None], atol=1)
    zoomed = factors > 1
    assert abs(zoomed.mean() - 2 / 3) < 0.05
    np.testing.assert_array_equal(windows[~zoomed], np.tile([0, 0, 3000, 4000], (sum(~zoomed), 1)))
    assert abs(np.mean(factors > 1.5) - 1 / 3) < 0.05 and 1.95 < factors.max() < 2.01


def test_a_crop_keeps_an_object():
    """A small one in a corner, which most windows miss, beside a region to ignore."""
    boxes, is_object = [[180, 280, 195, 295], [0, 0, 150, 250]], [True, False]
    missed = _windows(CROPS, (200, 300))
    missed = (missed[:, 2] < 188) | (missed[:, 3] < 288)
    windows = _windows(CROPS, (200, 300), boxes, is_object)
    assert missed.mean() > 0.8
    ends, starts = np.minimum(windows[:, 2:], [195, 295]), np.maximum(windows[:, :2], [180, 280])
    shown = np.maximum(ends - starts, 0).prod(axis=1)
    assert np.all(shown >= 0.3 * 225)
    assert np.mean(np.all(windows == [0, 0, 200, 300], axis=1)) < 0.2


def test_the_image_stays_whole_where_no_crop_keeps_an_object():
    config = CROPS.replace(crop_min_visible=0.9)  # of a box that no crop can hold
    windows = _windows(config, (200, 300), [[0, 0, 200, 300]], count=50)
    np.testing.assert_array_equal(windows, np.tile([0, 0, 200, 300], (50, 1)))
    windows = _windows(config, (200, 300), [[5, 5, 5, 5]], count=50)  # nothing to be seen of it
    np.testing.assert_array_equal(windows, np.tile([0, 0, 200, 300], (50, 1)))


def test_an_object_larger_than_every_crop_may_be_cut():
    windows = _windows(CROPS, (200, 300), [[0, 0, 200, 300]])
    shares = np.prod((windows[:, 2:] - windows[:, :2]) / [200, 300], axis=1)
    assert 0.3 <= shares.min() < 0.35 and shares.max() < 0.9


@pytest.mark.parametrize("min_visible", [0.0, 0.3])
def test_without_an_object_the_first_draw_is_taken(min_visible):
    config = CROPS.replace(crop_min_visible=min_visible)
    first = _windows(config, (200, 300), count=50)
    ignored = _windows(config, (200, 300), [[0, 0, 9, 9]], [False], count=50)
    np.testing.assert_array_equal(first, ignored)
    seen = _windows(config, (200, 300), [[0, 0, 200, 300], [0, 0, 9, 9]], count=50)
    assert np.mean(np.all(seen == first, axis=1)) > 0.5
    hidden = _windows(config, (200, 300), [[0, 0, 9, 9]], count=50)
    assert np.mean(np.all(hidden == first, axis=1)) < 0.4


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_tiny_images_have_windows(shape):
    box = [[0, 0, *shape]]
    windows = _windows(CROPS.replace(scale_jitter=(0.5, 10.0)), shape, box, count=100)
    sides = windows[:, 2:] - windows[:, :2]
    assert np.all(sides >= np.minimum(shape, 32)) and np.all(windows[:, 2:] <= shape)


# --- sizes


def _sides(config):
    return np.stack(for_keys(lambda key: geometry.draw_sides(key, config)), axis=1)


def test_without_a_range_the_size_is_the_configs():
    key = tf.constant([1, 2], tf.int64)
    assert geometry.draw_sides(key, PLAIN) == (40, 70)
    assert geometry.draw_sides(key, PLAIN.replace(scale_jitter=(1.0, 2.0))) == (40, 70)
    assert geometry.draw_sides(key, PLAIN.replace(train_shorter_sides=(60,))) == (60, 105)


def test_multi_scale_draws_each_side_as_often_and_its_longer_side_in_proportion():
    config = PLAIN.replace(train_shorter_sides=(28, 40, 41, 61))
    drawn = _sides(config)
    pairs, counts = np.unique(drawn, axis=0, return_counts=True)
    assert pairs.tolist() == [[28, 49], [40, 70], [41, 72], [61, 107]]  # 71.75 and 106.75
    assert counts.min() > 200 and counts.max() < 300
    assert geometry.largest_sides(config) == (61, 107)


def test_a_jitter_below_one_shrinks():
    drawn = _sides(PLAIN.replace(shorter_side=4000, longer_side=7000, scale_jitter=(0.5, 1.25)))
    factors = drawn[:, 0] / 4000
    np.testing.assert_allclose(drawn[:, 1] / 7000, factors, atol=3e-4)
    is_whole = factors == 1
    assert abs(is_whole.mean() - 1 / 3) < 0.05
    assert abs(np.mean(factors < 0.75) - 1 / 3) < 0.05 and 0.5 <= factors.min() < 0.51


def test_a_jitter_shrinks_or_crops_and_never_both():
    config = PLAIN.replace(scale_jitter=(0.5, 2.0), shorter_side=4000, longer_side=7000)
    shrunk = _sides(config)[:, 0] < 4000
    is_cropped = np.any(_windows(config, (3000, 4000)) != [0, 0, 3000, 4000], axis=1)
    assert not np.any(shrunk & is_cropped)
    assert np.mean(shrunk | is_cropped) > 0.99  # of 1.0001 nothing is seen


def test_jitter_goes_with_multi_scale():
    config = PLAIN.replace(train_shorter_sides=(400, 800), scale_jitter=(0.5, 1.0))
    drawn = _sides(config)[:, 0]
    assert drawn.min() < 210 and drawn.max() > 780
    assert 440 < np.sum(drawn > 400) < 560 and 190 < np.sum(drawn < 300) < 310
    assert geometry.largest_sides(config) == (800, 1400)


def test_a_size_is_at_least_one_pixel():
    config = PLAIN.replace(shorter_side=1, longer_side=1, scale_jitter=(0.1, 0.2))
    assert _sides(config).min() == 1


# --- flips


@pytest.mark.parametrize("mode", ["none", "horizontal", "vertical", "both"])
def test_flips_are_fair_and_independent(mode):
    drawn = np.stack(for_keys(lambda key: geometry.draw_flips(key, mode)), axis=1)
    shares = drawn.mean(axis=0)
    expected = [0.5 * (mode in ("horizontal", "both")), 0.5 * (mode in ("vertical", "both"))]
    np.testing.assert_allclose(shares, expected, atol=0.05)
    if mode == "both":
        assert abs(drawn.all(axis=1).mean() - 0.25) < 0.05


def test_flips_are_those_of_earlier_versions():
    """A run begun by one of them goes on as it would have."""
    expected = [1, 0, 0, 0, 1, 1, 0, 1, 1, 1, 0, 0]
    for row, flip in enumerate(expected):
        key = draws.image_key(7, tf.constant(2, tf.int64), tf.constant(row, tf.int64))
        horizontal, vertical = geometry.draw_flips(key, "horizontal")
        assert (bool(horizontal), bool(vertical)) == (bool(flip), False)
