"""The canvas: colors, boxes, dots, tags, legends and sheets."""

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.drawing import canvas

BAR, GAP = 28, 6
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
GROUND = (32, 33, 36)


def black(height, width):
    return np.zeros((height, width, 3), np.uint8)


def is_color(image, color):
    return np.all(np.asarray(image) == color, axis=-1)


def test_class_colors_are_stable_and_different():
    assert canvas.class_color(0) == (255, 82, 82)
    assert canvas.class_color(1) == (64, 196, 255)
    assert canvas.class_color(20) == canvas.class_color(20)
    colors = [canvas.class_color(label) for label in range(90)]
    assert len(set(colors)) == 90
    assert all(0 <= channel <= 255 for color in colors for channel in color)
    assert all(max(color) >= 140 for color in colors)  # none is lost in the dark


def test_score_colors_go_from_dark_to_light():
    assert canvas.score_color(0) == canvas.score_color(-1) == (72, 24, 140)
    assert canvas.score_color(1) == canvas.score_color(2) == (252, 253, 150)
    assert canvas.score_color(1 / 3) == (177, 42, 144)
    lightness = [sum(canvas.score_color(s)) for s in np.linspace(0, 1, 20)]
    assert lightness == sorted(lightness)


def test_a_thin_box_is_half_as_wide():
    for side, width in ((250, 1), (1000, 2)):  # usual lines are 1 and 4 wide
        drawing = canvas.Canvas(black(side, side))
        drawing.box([0.2 * side, 0.2 * side, 0.8 * side, 0.8 * side], RED, thin=True)
        assert is_color(drawing.finish(), RED)[side // 2].sum() == 2 * width


def test_a_dot_is_around_its_point():
    drawing = canvas.Canvas(black(100, 200))
    drawing.dot([40, 150], RED)
    red = is_color(drawing.finish(), RED)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert red[40, 150]
    assert 39 <= rows[0] <= rows[-1] <= 41 and 149 <= columns[0] <= columns[-1] <= 151


@pytest.mark.parametrize(
    ("point", "rows", "columns"),
    [
        ([40, 150], (35, 45), (145, 155)),
        ([40, 900], (35, 45), (195, 199)),  # beyond the edge: at it
        ([-9, -9], (0, 5), (0, 5)),
    ],
)
def test_a_ring_is_around_its_point_and_seen_wherever_that_is(point, rows, columns):
    drawing = canvas.Canvas(black(100, 200))  # lines are 1 wide
    drawing.ring(point, RED)
    red = is_color(drawing.finish(), RED)
    assert not red[40, 150]
    for axis, ends in ((1, rows), (0, columns)):
        places = np.flatnonzero(red.any(axis=axis))
        assert (places[0], places[-1]) == ends


def test_points_are_scaled_with_the_image():
    drawing = canvas.Canvas(black(100, 200), (400, 400))
    drawing.dot([40, 150], RED)
    image = drawing.finish()
    assert image.size == (400, 200)
    assert is_color(image, RED)[80, 300]
    assert not is_color(image, RED)[:, :290].any()


@pytest.mark.parametrize(
    ("shape", "sides", "size"),
    [
        ((60, 40), (800, 800), (800, 533)),  # the longer side, whatever it was
        ((600, 1000), (800, 800), (480, 800)),
        ((60, 40), None, (60, 40)),
        ((1, 300), (800, 800), (3, 800)),
    ],
)
def test_images_are_scaled_to_sides(shape, sides, size):
    image = canvas.Canvas(black(*shape), sides).finish()
    assert image.size == size[::-1]


def test_letters_can_be_smaller():
    heights = []
    for letters in (1.0, 0.5):
        drawing = canvas.Canvas(black(400, 800), letters=letters)
        drawing.tag([200, 100, 300, 700], "cat", RED)
        heights.append(is_color(drawing.finish(), RED).any(axis=1).sum())
    assert 0.4 < heights[1] / heights[0] < 0.65


def test_tags_hold_one_line_of_whatever_text():
    one, other = (canvas.Canvas(black(100, 200)) for _ in range(2))
    one.tag([50, 10, 80, 150], "a\nb\x1b\udce4", RED)
    other.tag([50, 10, 80, 150], "a\\nb\\x1b\\udce4", RED)
    np.testing.assert_array_equal(np.asarray(one.finish()), np.asarray(other.finish()))


def titled(legend=(), size=(400, 100), **options):
    image = Image.new("RGB", size, BLUE)
    return canvas.with_title(image, "title", legend, **options)


def test_the_image_is_below_its_title():
    panel = titled()
    assert panel.size == (400, 100 + BAR)
    assert is_color(panel, BLUE)[BAR:].all() and not is_color(panel, BLUE)[:BAR].any()
    assert is_color(panel, WHITE)[:BAR, :60].any()
    assert not is_color(panel, WHITE)[:BAR, 100:].any()


def test_small_images_have_room_for_their_title():
    assert titled(size=(20, 10)).size == (240, 10 + BAR)


def test_a_legend_shows_colors_and_words():
    legend = [("line", "a", RED), ("dot", "b", (0, 255, 0)), ("dashed", "c", (9, 9, 255))]
    panel = titled(legend)
    assert panel.size == (400, 100 + 2 * BAR)
    line = np.asarray(panel)[BAR : 2 * BAR]
    counts = [is_color(line, color).sum() for _, _, color in legend]
    # A line is 23 x 3 pixels, dashes are of two thirds of it; a dot has 9 across.
    assert counts[0] == 23 * 3 and 30 < counts[1] < 80 and 23 * 3 / 2 < counts[2] < 23 * 3
    lefts = [np.flatnonzero(is_color(line, color).any(axis=0))[0] for _, _, color in legend]
    assert lefts == sorted(lefts)
    assert is_color(line, WHITE)[:, lefts[0] + 23 : lefts[1]].any()  # its words


def test_a_legend_without_marks_is_text():
    panel = np.asarray(titled([("", "words", RED)]))[BAR : 2 * BAR]
    assert not is_color(panel, RED).any()
    assert is_color(panel, WHITE)[:, 8:40].any()


def test_a_long_legend_takes_more_lines():
    legend = [("line", "some words", RED)] * 8
    panel = titled(legend)
    lines = (panel.height - 100) // BAR - 1
    assert lines > 2
    rows = [is_color(panel, RED)[BAR * (1 + i) : BAR * (2 + i)].sum() for i in range(lines)]
    assert sum(rows) == 8 * 23 * 3 and all(rows)


def test_scores_have_a_scale():
    panel = np.asarray(titled(has_scores=True))[:BAR]
    assert is_color(panel, canvas.score_color(0)).any()
    assert is_color(panel, canvas.score_color(1)).any()


def test_a_sheet_lays_panels_out_in_rows():
    colors = [RED, BLUE, (0, 255, 0), (255, 255, 0), (0, 255, 255)]
    sizes = [(30, 20), (40, 50), (10, 10), (35, 15), (5, 5)]
    panels = [Image.new("RGB", size, color) for size, color in zip(sizes, colors, strict=True)]
    sheet = canvas.sheet(panels, 3)
    # Columns are 35, 40 and 10 wide, rows 50 and 15 high; all stand on their row's line.
    assert sheet.size == (35 + GAP + 40 + GAP + 10, 50 + GAP + 15)
    expected = [
        (0, 30, 30, 50),
        (41, 0, 81, 50),
        (87, 40, 97, 50),
        (0, 56, 35, 71),
        (41, 66, 46, 71),
    ]
    for color, (left, top, right, bottom) in zip(colors, expected, strict=True):
        mask = is_color(sheet, color)
        assert mask[top:bottom, left:right].all()
        assert mask.sum() == (bottom - top) * (right - left)
    assert is_color(sheet, GROUND)[:30, :30].all()


def test_a_sheet_can_have_a_title():
    panels = [Image.new("RGB", (300, 20), RED)]
    sheet = canvas.sheet(panels, 3, "title")
    assert sheet.size == (300, BAR + GAP + 20)
    assert is_color(sheet, RED)[BAR + GAP :].all()
    assert is_color(sheet, WHITE)[:BAR].any()
