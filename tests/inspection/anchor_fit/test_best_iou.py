"""The best IoU without laying all anchors equals that of laying them all."""

import numpy as np
import pytest

from keras_frcnn.config import Config
from keras_frcnn.inspection.anchor_fit import best_iou
from tests import reference
from tests.inspection.anchor_fit.handmade import level_shapes, objects, record


def slow_shape_ious(some, scales, ratios, stride, kind, level=0, **layout):
    """Lays all anchors of each shape over each object's image and compares with all of them."""
    table = np.zeros([len(some.boxes), len(scales) * len(ratios)])
    for i, box in enumerate(some.boxes):
        height, width = some.image_shape[i]
        shape = some.level_shapes[i, level]
        anchors = reference.anchors(*shape, scales, ratios, stride, **layout)
        shown = reference.clip(anchors, (height, width)) if kind == "clipped" else anchors
        (ious,) = reference.iou([box], shown)
        if kind == "inside":
            is_inside = np.all(anchors[:, :2] >= 0, axis=1)
            is_inside &= (anchors[:, 2] <= height) & (anchors[:, 3] <= width)
            ious = np.where(is_inside, ious, 0.0)
        table[i] = np.reshape(ious, (-1, table.shape[1])).max(axis=0)
    return table


@pytest.mark.parametrize("kind", best_iou.KINDS)
@pytest.mark.parametrize("layout", [{}, {"offset": 0.0, "rounding": True}], ids=["ours", "other"])
@pytest.mark.parametrize(
    ("image_shape", "stride"),
    [((96, 128), 16), ((143, 71), 16), ((9, 200), 16), ((75, 61), 8), ((8, 8), 16)],
)
def test_it_equals_laying_all_anchors(kind, image_shape, stride, layout):
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
    (grid,) = best_iou.anchor_grids(scales, ratios, [stride], **layout)
    fast = best_iou.shape_ious(some, grid, kind)
    slow = slow_shape_ious(some, scales, ratios, stride, kind, **layout)
    np.testing.assert_allclose(fast, slow, atol=1e-5)
    assert fast.max() > 0.1 or kind == "inside"


@pytest.mark.parametrize("kind", best_iou.KINDS)
def test_objects_of_images_of_many_sizes(kind, monkeypatch):
    monkeypatch.setattr(best_iou, "PAIRS_AT_ONCE", 400)  # chunks of a few objects
    sizes = [(79, 100), (64, 207), (159, 64)]
    parts = []
    for seed, (height, width) in enumerate(sizes):
        boxes = reference.random_boxes(np.random.default_rng(seed), (4,), (height, width), 4, 60)
        corner = [height - 14, width - 14, height, width]  # more rows would have a better one
        parts.append(objects([*boxes, corner], (height, width)))
    names = ("boxes", "labels", "original_sides", "image_shape", "level_shapes")
    joined = {name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
    some = best_iou.Objects(**joined, pixels=1.0).take(np.random.default_rng(0).permutation(15))
    (grid,) = best_iou.anchor_grids((20, 70), (0.5, 1), [16])
    slow = slow_shape_ious(some, (20, 70), (0.5, 1), 16, kind)
    np.testing.assert_allclose(best_iou.shape_ious(some, grid, kind), slow, atol=1e-5)
    np.testing.assert_allclose(best_iou.best_iou(some, [grid], kind), slow.max(axis=1), atol=1e-5)


@pytest.mark.parametrize("kind", best_iou.KINDS)
@pytest.mark.parametrize(
    ("scales", "by_level"),
    [((12, 40), [(12, 40), (12, 40)]), (((12, 20), (40, 90)), [(12, 20), (40, 90)])],
)
def test_two_levels_equal_laying_the_anchors_of_both(kind, scales, by_level):
    size, strides, ratios = (71, 90), (8, 16), (0.5, 2)
    boxes = reference.random_boxes(np.random.default_rng(3), (20,), size, 4, 60)
    some = objects([*boxes, [60, 70, 71, 90]], size, *strides)
    grids = best_iou.anchor_grids(scales, ratios, strides)
    slow = [
        slow_shape_ious(some, by_level[level], ratios, strides[level], kind, level)
        for level in (0, 1)
    ]
    for grid, expected in zip(grids, slow, strict=True):
        np.testing.assert_allclose(best_iou.shape_ious(some, grid, kind), expected, atol=1e-5)
    expected = np.concatenate(slow, axis=1).max(axis=1)
    np.testing.assert_allclose(best_iou.best_iou(some, grids, kind), expected, atol=1e-5)
    single = best_iou.best_iou(some, grids[:1], kind)
    assert (single < expected - 1e-3).any()  # the second level matters


def test_scales_by_level_must_be_of_every_level():
    with pytest.raises(ValueError, match="one list per level, all of one length, for 3 levels"):
        best_iou.anchor_grids(((8,), (16,)), (1,), (8, 16, 32))


def test_by_hand():
    # Anchors of 16 x 16 tile the image of 2 x 2 cells; those of 32 x 32 all leave it.
    some = objects([[0, 0, 16, 16], [0, 0, 32, 16], [0, 0, 32, 32], [8, 8, 24, 24]], (32, 32))
    (grid,) = best_iou.anchor_grids((16, 32), (1,), [16])
    expected = {
        # Around (8, 8) the larger anchor reaches from -8 to 24.
        "inside": [[1, 0], [1 / 2, 0], [1 / 4, 0], [64 / (512 - 64), 0]],
        "all": [[1, 256 / 1024], [1 / 2, 384 / 1152], [1 / 4, 576 / 1472], [1 / 7, 256 / 1024]],
        "clipped": [[1, 256 / 576], [1 / 2, 384 / 704], [1 / 4, 576 / 1024], [1 / 7, 256 / 576]],
    }
    for kind, table in expected.items():
        np.testing.assert_allclose(best_iou.shape_ious(some, grid, kind), table, atol=1e-9)


def test_an_anchor_that_just_fits_is_inside():
    grids = best_iou.anchor_grids((16,), (1,), [16])
    fits, cut = objects([[0, 0, 16, 16]], (16, 16)), objects([[0, 0, 15, 16]], (15, 16))
    assert best_iou.best_iou(fits, grids, "inside") == 1
    assert best_iou.best_iou(cut, grids, "inside") == 0
    assert best_iou.best_iou(cut, grids, "clipped") == 1


def test_an_anchor_that_just_fits_is_inside_whatever_others_there_are():
    # 112 pixels around 56, the centre of a cell; the sides of the other anchors are rounded.
    some = objects([[0, 0, 112, 112]], (256, 256))
    for other in np.random.default_rng(0).uniform(10, 20, 10):
        (grid,) = best_iou.anchor_grids((other, 112), (1 / other, 1), [16])
        assert best_iou.shape_ious(some, grid, "inside")[0, 3] == 1


def test_the_anchors_are_the_layers():
    (grid,) = best_iou.anchor_grids((64, 128), (0.25, 1), [16])
    expected = [[32, 128], [64, 256], [64, 64], [128, 128]]  # by ratio, then scale
    np.testing.assert_allclose(grid.sides, expected, rtol=1e-6)
    assert (grid.level, grid.first, grid.stride) == (0, 8.0, 16)


@pytest.mark.parametrize("kind", best_iou.KINDS)
def test_no_objects(kind):
    some = objects(np.zeros((0, 4)), (32, 32))
    (grid,) = best_iou.anchor_grids((16,), (1, 2), [16])
    assert best_iou.shape_ious(some, grid, kind).shape == (0, 2)
    assert best_iou.best_iou(some, [grid], kind).shape == (0,)


def test_objects_are_carried_into_the_resized_images():
    records = [
        record("a", 100, 50, [[10, 5, 20, 25], [0, 0, 100, 50]], [1, 0], [False, True]),
        record("b", 30, 30, [], [], []),
        record("c", 333, 500, [[0, 0, 333, 500]], [2], [False]),
    ]
    some = best_iou.objects_of(records, 60, 100, level_shapes(16, 32))
    # a: by 1, since the longer side is full; c: by 60 / 333, the longer side is rounded to 90.
    np.testing.assert_allclose(some.boxes, [[10, 5, 20, 25], [0, 0, 60, 90]], rtol=1e-6)
    np.testing.assert_array_equal(some.labels, [1, 2])
    np.testing.assert_array_equal(some.original_sides, [[10, 20], [333, 500]])
    np.testing.assert_array_equal(some.sides, some.boxes[:, 2:] - some.boxes[:, :2])
    np.testing.assert_array_equal(some.image_shape, [[100, 50], [60, 90]])
    np.testing.assert_array_equal(some.level_shapes[:, 0], [[6, 3], [3, 5]])
    np.testing.assert_array_equal(some.level_shapes[:, 1], [[3, 1], [1, 2]])
    assert some.pixels == pytest.approx((100 * 50 + 60 * 60 + 60 * 90) / 3)

    every = best_iou.objects_of(records, 60, 100, level_shapes(16), True)
    np.testing.assert_array_equal(every.labels, [1, 0, 2])
    np.testing.assert_array_equal(every.image_shape, [[100, 50], [100, 50], [60, 90]])


def test_no_images():
    some = best_iou.objects_of([], 60, 100, level_shapes(16, 32))
    assert some.boxes.shape == (0, 4) and some.level_shapes.shape == (0, 2, 2)


def test_the_settings_say_where_anchors_lie_and_how_sides_are_rounded():
    config = Config(anchor_offset=0.25, anchor_rounding=True)
    layout = best_iou.layout_of(config)
    assert layout == {"offset": 0.25, "rounding": True}
    (grid,) = best_iou.anchor_grids((33,), (1,), [16], **layout)
    assert (grid.first, grid.sides.tolist()) == (4, [[32, 32]])
    records = [record("a", 50, 75, [[0, 0, 50, 75]], [0], [False])]
    for rounding, width in (("nearest", 98), ("down", 97)):
        some = best_iou.objects_of(records, 65, 100, level_shapes(16), rounding=rounding)
        assert some.image_shape.tolist() == [[65, width]]
