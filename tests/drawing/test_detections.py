"""Detections and the stages of the model, drawn on images."""

import numpy as np
import pytest

from keras_frcnn.drawing import canvas
from keras_frcnn.drawing.detections import draw_detections, draw_panels

BLACK = (0, 0, 0)
NO_BOXES = np.zeros((0, 4))
BAR, GAP = 28, 6


def black(height, width):
    return np.zeros((height, width, 3), np.uint8)


def draw(image, boxes, labels=None, scores=None, **kwargs):
    labels = [0] * len(boxes) if labels is None else labels
    scores = [0.9] * len(boxes) if scores is None else scores
    names = [f"c{i}" for i in range(100)]
    return draw_detections(image, boxes, labels, scores, names, **kwargs)


def is_color(pixels, color):
    return np.all(pixels == color, axis=-1)


def test_box_is_the_outermost_pixels_inside_its_edges():
    image = draw(black(100, 200), [[40, 10, 80, 150]])
    color = canvas.class_color(0)
    expected = np.zeros((100, 200), bool)
    expected[40, 10:150] = expected[79, 10:150] = True
    expected[40:80, 10] = expected[40:80, 149] = True
    below_tag = slice(40, None)  # the tag stands above the box
    np.testing.assert_array_equal(is_color(image, color)[below_tag], expected[below_tag])
    assert not image[~expected][-1].any()
    assert image[:40].any()


def test_tag_holds_text_in_a_readable_color():
    image = draw(black(100, 200), [[40, 10, 80, 150]])
    tag = image[26:40, 10:50].reshape(-1, 3)
    assert is_color(tag, canvas.class_color(0)).mean() > 0.5
    assert tag.sum(axis=1).min() < 60  # black letters on a light color
    blue = draw(black(100, 200), [[40, 10, 80, 150]], labels=[8])[26:40, 10:50].reshape(-1, 3)
    assert blue.min(axis=1).max() > 200  # white letters on a dark one


def test_tags_of_one_place_do_not_hide_each_other():
    boxes = [[40, 10, 80, 150], [40, 10, 80, 150]]
    image = draw(black(100, 200), boxes, labels=[0, 1], scores=[0.9, 0.8])
    assert is_color(image[20:40, 10:50], canvas.class_color(0)).sum() > 150
    assert is_color(image, canvas.class_color(1)).sum() > 150


def test_tags_of_a_wide_box_stand_on_more_lines():
    labels = range(6)  # two above, two inside, two below
    image = draw(black(120, 200), [[40, 10, 80, 20]] * 6, labels=labels, scores=[0.9] * 6)
    assert all(is_color(image, canvas.class_color(label)).sum() > 150 for label in labels)


def test_best_tag_is_on_top_where_there_is_no_room():
    boxes = [[2, 2, 18, 58], [2, 2, 18, 58]]
    for scores, winner in (([0.9, 0.8], 0), ([0.8, 0.9], 1)):
        image = draw(black(20, 60), boxes, labels=[0, 1], scores=scores)
        assert is_color(image, canvas.class_color(winner)).sum() > 300
        assert is_color(image, canvas.class_color(1 - winner)).sum() < 100


def test_best_box_is_on_top():
    boxes = [[40, 10, 80, 150], [40, 10, 80, 150]]
    for scores, winner in (([0.9, 0.8], 0), ([0.8, 0.9], 1)):
        image = draw(black(100, 200), boxes, labels=[0, 1], scores=scores)
        assert tuple(image[60, 10]) == canvas.class_color(winner)


def test_score_threshold_is_inclusive():
    image = black(100, 200)
    box = [[40, 10, 80, 150]]
    assert draw(image, box, scores=[0.5]).any()
    assert not draw(image, box, scores=[0.49]).any()
    assert draw(image, box, scores=[0.1], score_threshold=0.1).any()


def test_lines_grow_with_the_image():
    for side, width in ((100, 1), (250, 1), (251, 2), (1000, 4)):
        column = draw(black(side, side), [[0.3 * side, 0.2 * side, 0.9 * side, 0.8 * side]])[
            side // 2
        ]
        assert is_color(column, canvas.class_color(0)).sum() == 2 * width, side


@pytest.mark.parametrize(("height", "width"), [(1, 30), (30, 1), (1, 1), (3, 2)])
def test_small_box_is_filled_not_overdrawn(height, width):
    image = draw(black(1000, 1000), [[500, 500, 500 + height, 500 + width]])  # lines of 4 pixels
    colored = is_color(image, canvas.class_color(0))
    assert colored[500 : 500 + height, 500 : 500 + width].all()
    assert not colored[500 + height :].any()
    assert not colored[500:, :500].any()
    assert not colored[500:, 500 + width :].any()


def test_image_is_not_changed_and_no_boxes_draw_nothing():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    before = image.copy()
    draw(image, [[5, 5, 30, 30]])
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(draw(image, NO_BOXES), before)


@pytest.mark.parametrize(
    "box", [[-90, -90, -10, -10], [200, 0, 300, 50], [0, -1e30, 50, -10], [1e30, 1e30, 2e30, 2e30]]
)
def test_box_outside_draws_nothing(box):
    assert not draw(black(100, 100), [box]).any()


def test_edges_outside_are_not_seen():
    image = draw(black(100, 100), [[50, -1e30, 1e30, 60]])
    colored = is_color(image, canvas.class_color(0))
    assert colored[50, :60].all()
    assert colored[50:, 59].all()
    assert not colored[51:, :59].any()
    assert not colored[50:, 60:].any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_tiny_images(shape):
    image = draw(black(*shape), [[0, 0, 1, 1]])
    assert image.shape == (*shape, 3)
    assert image.dtype == np.uint8
    panels = draw_panels(
        black(*shape), ["c"], gt={"boxes": [[0, 0, 1, 1]], "labels": [0]}, detections=None
    )
    assert panels.dtype == np.uint8


def panel_values():
    box = [[100, 50, 200, 250]]
    return {
        "gt": {"boxes": box, "labels": [1]},
        "proposals": {"boxes": box, "scores": [0.0]},
        "detections": {"boxes": box, "labels": [2], "scores": [0.7]},
    }


def test_panels_stand_side_by_side():
    # 300 x 400 is not scaled, so a box lies where it lies in each panel's image.
    sheet = draw_panels(black(300, 400), ["a", "b", "c"], **panel_values())
    assert sheet.shape == (300 + BAR, 3 * 400 + 2 * GAP, 3)
    colors = [canvas.class_color(1), canvas.score_color(0), canvas.class_color(2)]
    for index, color in enumerate(colors):
        panel = sheet[BAR:, index * (400 + GAP) :][:, :400]
        colored = is_color(panel, color)
        assert colored[150, 50:52].all() and colored[150, 248:250].all(), index
        assert colored[198:200, 50:250].all(), index
        assert not colored[200:].any() and not colored[100:, 250:].any(), index
        assert sheet[:BAR, index * (400 + GAP) :][:, :200].max() == 255, index  # its title


def test_panels_without_values_are_left_out():
    values = panel_values()
    for name in ("gt", "proposals", "detections"):
        sheet = draw_panels(black(300, 400), ["a", "b", "c"], **{name: values[name]})
        assert sheet.shape == (300 + BAR, 400, 3)
    with pytest.raises(ValueError, match="at least one of gt, proposals and detections"):
        draw_panels(black(300, 400), ["a"])


@pytest.mark.parametrize(
    ("shape", "size"), [((60, 100), (300, 500)), ((1200, 1600), (600, 800)), ((10, 800), (10, 800))]
)
def test_panels_have_a_good_size(shape, size):
    gt = {"boxes": np.array([[0.5, 0.25, 1, 0.75]]) * [*shape, *shape], "labels": [0]}
    sheet = draw_panels(black(*shape), ["a"], gt=gt)
    assert sheet.shape == (size[0] + BAR, size[1], 3)
    edge = sheet[BAR + round(0.9 * size[0]), round(0.25 * size[1])]
    assert tuple(edge) == canvas.class_color(0)  # the box was scaled with its image


def test_difficult_objects_are_dashed():
    boxes = [[100, 50, 200, 250], [230, 50, 290, 250]]
    gt = {"boxes": boxes, "labels": [0, 1], "difficult": [False, True]}
    panel = draw_panels(black(300, 400), ["a", "b"], gt=gt)[BAR:]
    assert is_color(panel[199, 50:250], canvas.class_color(0)).all()
    assert 0.4 < is_color(panel[289, 50:250], canvas.class_color(1)).mean() < 0.75
    assert 0.4 < is_color(panel[231:289, 50], canvas.class_color(1)).mean() < 0.75


def test_only_the_best_proposals_are_drawn_the_best_on_top():
    boxes = [[100, 50, 200, 250], [10, 10, 60, 60], [100, 50, 200, 250]]
    proposals = {"boxes": boxes, "scores": [0.5, 0.1, 0.9]}
    panel = draw_panels(black(300, 400), [], proposals=proposals, num_proposals=2)[BAR:]
    assert tuple(panel[150, 50]) == canvas.score_color(0.9)
    assert not panel[:90].any()


def test_empty_panels():
    sheet = draw_panels(
        black(300, 400),
        ["a"],
        gt={"boxes": NO_BOXES, "labels": []},
        proposals={"boxes": NO_BOXES, "scores": []},
        detections={"boxes": NO_BOXES, "labels": [], "scores": []},
    )
    assert sheet.shape == (300 + BAR, 3 * 400 + 2 * GAP, 3)
    assert not sheet[BAR:, :400].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image": np.zeros((10, 10), np.uint8)},
            r"image must have shape \[H, W, 3\]. Received: \(10, 10\)",
        ),
        ({"image": np.zeros((0, 10, 3), np.uint8)}, r"image must have shape"),
        ({"image": np.zeros((10, 10, 3), np.float32)}, "image must be uint8. Received: float32"),
        ({"boxes": [[0, 0, 1]]}, r"boxes must have shape \[K, 4\]. Received: \(1, 3\)"),
        ({"boxes": [[0, 0, np.nan, 1]]}, "boxes must be finite"),
        ({"labels": [0, 1]}, r"labels must have one value for each of 1 boxes. .* \(2,\)"),
        ({"scores": 0.5}, r"scores must have one value for each of 1 boxes. .* \(\)"),
        ({"labels": [2]}, "labels must be between 0 and 1. Received: 2"),
        ({"labels": [-1]}, "labels must be between 0 and 1. Received: -1"),
    ],
)
def test_malformed_arguments(change, message):
    arguments = {"image": black(10, 10), "boxes": [[0, 0, 1, 1]], "labels": [0], "scores": [0.9]}
    arguments |= change
    with pytest.raises(ValueError, match=message):
        draw_detections(**arguments, class_names=["a", "b"])
    image, boxes, labels, scores = arguments.values()
    with pytest.raises(ValueError, match=message):
        detections = {"boxes": boxes, "labels": labels, "scores": scores}
        draw_panels(image, ["a", "b"], detections=detections)
