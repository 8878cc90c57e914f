"""The best IoU without laying all anchors equals that of laying them all."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.data.dataset import Record
from keras_frcnn.inspection.anchor_fit import best_iou
from tests import reference


def objects(boxes, image_shape, stride=16):
    """Objects of one image, whose backbone rounds down."""
    boxes = np.float64(boxes).reshape(-1, 4)
    shape = np.tile(np.int32(image_shape), (len(boxes), 1))
    return best_iou.Objects(
        boxes=boxes,
        labels=np.zeros(len(boxes), np.int32),
        original_sides=boxes[:, 2:] - boxes[:, :2],
        image_shape=shape,
        feature_shape=np.maximum(shape // stride, 1),
        pixels=float(np.prod(image_shape)),
    )


def slow_best_iou(some, scales, ratios, stride, kind):
    """Lays all anchors of each shape over each object's image and compares with all of them."""
    table = np.zeros([len(some.boxes), len(scales) * len(ratios)])
    for i, box in enumerate(some.boxes):
        height, width = some.image_shape[i]
        anchors = reference.anchors(*some.feature_shape[i], scales, ratios, stride)
        shown = reference.clip(anchors, (height, width)) if kind == "clipped" else anchors
        (ious,) = reference.iou([box], shown)
        if kind == "inside":
            is_inside = np.all(anchors[:, :2] >= 0, axis=1)
            is_inside &= (anchors[:, 2] <= height) & (anchors[:, 3] <= width)
            ious = np.where(is_inside, ious, 0.0)
        table[i] = np.reshape(ious, (-1, table.shape[1])).max(axis=0)
    return table


@pytest.mark.parametrize("kind", best_iou.KINDS)
@pytest.mark.parametrize(
    ("image_shape", "stride"),
    [((96, 128), 16), ((143, 71), 16), ((9, 200), 16), ((75, 61), 8), ((8, 8), 16)],
)
def test_it_equals_laying_all_anchors(kind, image_shape, stride):
    rng = np.random.default_rng(image_shape[0])
    limits = np.array([*image_shape, *image_shape])
    corners = np.sort(rng.uniform(0, 1, (40, 2, 2)), axis=1).reshape(-1, 4) * limits
    whole, tiny = [0, 0, *image_shape], [3.2, 4.1, 3.9, 4.3]
    corner = [0, 0, 5, 7]
    # On centres and halfway between two of them, where both neighbours are as good.
    on_grid, between = [0, 0, stride, stride], [stride / 2, 0, stride * 1.5, 8]
    ended = np.minimum([whole, tiny, corner, on_grid, between], limits)
    some = objects([*corners, *ended[ended[:, 2] > ended[:, 0]]], image_shape, stride)
    scales, ratios = (7, 32, 61.5, 300), (0.2, 1, 2.5)
    fast = best_iou.best_iou(some, best_iou.shapes_of(scales, ratios, stride), kind)
    slow = slow_best_iou(some, scales, ratios, stride, kind)
    np.testing.assert_allclose(fast, slow, atol=1e-5)
    assert fast.max() > 0.1 or kind == "inside"


@pytest.mark.parametrize("kind", best_iou.KINDS)
def test_objects_of_images_of_many_sizes(kind, monkeypatch):
    monkeypatch.setattr(best_iou, "_PAIRS_AT_ONCE", 400)  # chunks of a few objects
    sizes = [(79, 100), (64, 207), (159, 64)]
    parts = []
    for seed, (height, width) in enumerate(sizes):
        boxes = reference.random_boxes(np.random.default_rng(seed), (4,), (height, width), 4, 60)
        corner = [height - 14, width - 14, height, width]  # more rows would have a better one
        parts.append(objects([*boxes, corner], (height, width)))
    names = ("boxes", "labels", "original_sides", "image_shape", "feature_shape")
    joined = {name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
    some = best_iou.Objects(**joined, pixels=1.0).take(np.random.default_rng(0).permutation(15))
    shapes = best_iou.shapes_of((20, 70), (0.5, 1), 16)
    slow = slow_best_iou(some, (20, 70), (0.5, 1), 16, kind)
    np.testing.assert_allclose(best_iou.best_iou(some, shapes, kind), slow, atol=1e-5)


def test_by_hand():
    # Anchors of 16 x 16 tile the image of 2 x 2 cells; those of 32 x 32 all leave it.
    some = objects([[0, 0, 16, 16], [0, 0, 32, 16], [0, 0, 32, 32], [8, 8, 24, 24]], (32, 32))
    shapes = best_iou.shapes_of((16, 32), (1,), 16)
    expected = {
        # Around (8, 8) the larger anchor reaches from -8 to 24.
        "inside": [[1, 0], [1 / 2, 0], [1 / 4, 0], [64 / (512 - 64), 0]],
        "all": [[1, 256 / 1024], [1 / 2, 384 / 1152], [1 / 4, 576 / 1472], [1 / 7, 256 / 1024]],
        "clipped": [[1, 256 / 576], [1 / 2, 384 / 704], [1 / 4, 576 / 1024], [1 / 7, 256 / 576]],
    }
    for kind, table in expected.items():
        np.testing.assert_allclose(best_iou.best_iou(some, shapes, kind), table, atol=1e-9)


def test_an_anchor_that_just_fits_is_inside():
    shapes = best_iou.shapes_of((16,), (1,), 16)
    fits, cut = objects([[0, 0, 16, 16]], (16, 16)), objects([[0, 0, 15, 16]], (15, 16))
    assert best_iou.best_iou(fits, shapes, "inside") == 1
    assert best_iou.best_iou(cut, shapes, "inside") == 0
    assert best_iou.best_iou(cut, shapes, "clipped") == 1


def test_an_anchor_that_just_fits_is_inside_whatever_others_there_are():
    # 112 pixels around 56, the centre of a cell; the sides of the other anchors are rounded.
    some = objects([[0, 0, 112, 112]], (256, 256))
    for other in np.random.default_rng(0).uniform(10, 20, 10):
        shapes = best_iou.shapes_of((other, 112), (1 / other, 1), 16)
        assert best_iou.best_iou(some, shapes, "inside")[0, 3] == 1


def test_the_shapes_are_the_layers():
    shapes = best_iou.shapes_of((64, 128), (0.25, 1), 16)
    expected = [[32, 128], [64, 256], [64, 64], [128, 128]]  # by ratio, then scale
    np.testing.assert_allclose(shapes.sides, expected, rtol=1e-6)
    assert (shapes.first, shapes.stride) == (8.0, 16)


@pytest.mark.parametrize("kind", best_iou.KINDS)
def test_no_objects(kind):
    some = objects(np.zeros((0, 4)), (32, 32))
    shapes = best_iou.shapes_of((16,), (1, 2), 16)
    assert best_iou.best_iou(some, shapes, kind).shape == (0, 2)


def record(name, height, width, boxes, labels, difficult):
    boxes = np.float32(boxes).reshape(-1, 4)
    columns = np.array(labels, np.int32), np.array(difficult, bool)
    return Record(name, f"{name}.jpg", height, width, boxes, *columns)


def test_objects_are_carried_into_the_resized_images():
    records = [
        record("a", 100, 50, [[10, 5, 20, 25], [0, 0, 100, 50]], [1, 0], [False, True]),
        record("b", 30, 30, [], [], []),
        record("c", 333, 500, [[0, 0, 333, 500]], [2], [False]),
    ]
    some = best_iou.objects_of(records, 60, 100, lambda shape: shape // 16)
    # a: by 1, since the longer side is full; c: by 60 / 333, the longer side is rounded to 90.
    np.testing.assert_allclose(some.boxes, [[10, 5, 20, 25], [0, 0, 60, 90]], rtol=1e-6)
    np.testing.assert_array_equal(some.labels, [1, 2])
    np.testing.assert_array_equal(some.original_sides, [[10, 20], [333, 500]])
    np.testing.assert_array_equal(some.sides, some.boxes[:, 2:] - some.boxes[:, :2])
    np.testing.assert_array_equal(some.image_shape, [[100, 50], [60, 90]])
    np.testing.assert_array_equal(some.feature_shape, [[6, 3], [3, 5]])
    assert some.pixels == pytest.approx((100 * 50 + 60 * 60 + 60 * 90) / 3)

    every = best_iou.objects_of(records, 60, 100, lambda shape: shape // 16, True)
    np.testing.assert_array_equal(every.labels, [1, 0, 2])
    np.testing.assert_array_equal(every.image_shape, [[100, 50], [100, 50], [60, 90]])


def test_no_images():
    some = best_iou.objects_of([], 60, 100, lambda shape: tf.maximum(shape // 16, 1))
    assert some.boxes.shape == (0, 4) and some.feature_shape.shape == (0, 2)
