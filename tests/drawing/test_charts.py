"""Charts: shapes lie where their numbers say, names are text, and files are complete."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from markupsafe import escape

from keras_frcnn.drawing import charts, page
from keras_frcnn.drawing.charts import Axis, Line, Part

UNIT = Axis("", 0, 1, (0, 1))
MACROS = page.macros(charts.TEMPLATE)


def parse(chart):
    """Returns the SVG element that a template would show."""
    return ElementTree.fromstring(escape(chart))


def points(element):
    return [tuple(map(float, pair.split(","))) for pair in element.get("points").split()]


def test_a_line_lies_where_its_numbers_are():
    line = Line("a & b", "blue", (0, 0.5, float("nan"), 1), (0, 1, 0.5, 0.25))
    drawn = parse(charts.lines("words <b>", UNIT, UNIT, [line]))
    assert drawn.get("aria-label") == "words <b>"
    (group,) = drawn.findall("g")
    assert group.get("class") == "blue" and group.find("title").text == "a & b"
    # 40 to 472 across, 256 up to 10.
    assert points(group.find("polyline")) == [(40, 256), (256, 10), (472, 194.5)]
    assert [float(dot.get("cy")) for dot in group.findall("circle")] == [256, 10, 194.5]


def test_a_dashed_line_and_one_of_many_points_have_no_dots():
    many = [i / 30 for i in range(31)]
    drawn = [Line("", "a", (0, 1), (0, 1), dashed=True), Line("", "b", many, many)]
    markup = escape(charts.lines("", UNIT, UNIT, drawn))
    assert "circle" not in markup and markup.count("dashed") == 1


def test_ticks_are_named_at_their_places():
    x = Axis("across", 0.5, 1, (0.5, 0.75, 1))
    y = Axis("up", 0, 20000, (0, 20000))
    texts = {
        t.text: (float(t.get("x")), float(t.get("y")))
        for t in parse(charts.lines("", x, y, [])).iter("text")
    }
    assert [texts[name][0] for name in ("0.5", "0.75", "1")] == [40, 256, 472]
    assert [texts[name][1] for name in ("0", "20k")] == [260, 14]
    assert {"across", "up"} <= texts.keys()


def test_columns_are_stacked_from_below():
    y = Axis("", 0, 10, (0, 10))
    stacks = [[Part("one", "a", 5), Part("none", "b", 0), Part("two", "c", 5)], []]
    rects = parse(charts.columns("", UNIT, y, stacks)).findall("rect")
    assert [rect.find("title").text for rect in rects] == ["one", "two"]
    keys = ("x", "y", "width", "height")
    assert [[float(rect.get(key)) for key in keys] for rect in rects] == [
        [40.5, 133, 215, 123],
        [40.5, 10, 215, 123],
    ]


def test_a_small_chart_has_line_area_and_mark():
    drawn = parse(charts.small("AP", "blue", (0, 0.5), (1, 0.25), (0.5, 0.25)))
    group = drawn.find("g")
    assert points(group.find("polyline")) == [(0, 0), (50, 75)]
    assert points(group.find("polygon")) == [(0, 100), (0, 0), (50, 75), (50, 100)]
    assert (group.find("circle").get("cx"), group.find("circle").get("cy")) == ("50.0", "75.0")
    assert parse(charts.small("AP", "blue", (), ())).find("g") is None


def test_a_bar_is_divided_by_its_parts():
    markup = MACROS.stack([Part("2 right", "a", 2), Part("", "b", 0), Part('"x"', "c", 1)], 4)
    assert re.findall(r'class="(\w)" style="width:([\d.]+)%"', markup) == [
        ("a", "50.00"),
        ("c", "25.00"),
    ]
    titles = [span.get("title") for span in ElementTree.fromstring(markup)]
    assert titles == ["2 right", '"x"']
    assert MACROS.stack([], 0) == '<div class="stack"></div>'


@pytest.mark.parametrize(
    ("largest", "ticks"),
    [
        (0, (0, 1)),
        (1, (0, 1)),
        (3, (0, 1, 2, 3)),
        (4, (0, 1, 2, 3, 4)),
        (5, (0, 2, 4, 6)),
        (97, (0, 50, 100)),
        (100, (0, 50, 100)),
        (101, (0, 50, 100, 150)),
        (12345, (0, 5000, 10000, 15000)),
    ],
)
def test_an_axis_of_counts_ends_at_a_round_number(largest, ticks):
    axis = charts.round_axis("n", largest)
    assert axis.ticks == ticks and axis.end == ticks[-1] and axis.start == 0


def test_names_of_colors_are_no_markup():
    assert "<b>&lt;i&gt;</b>" in MACROS.legend([("red", "<i>")])


def test_bars_have_names_and_marks():
    x = Axis("percent", 0, 10, (0, 10))
    drawn = [(Part("a & b", "blue", 5), 10.0), (Part("c", "red", 0), None)]
    svg = parse(charts.bars("words", x, drawn))
    (bar,) = svg.findall("rect")
    assert [bar.get(key) for key in ("x", "y", "width", "class")] == [
        "80",
        "3",
        "196.0",
        "block blue",
    ]
    assert bar.find("title").text == "a & b: 5"
    (mark,) = [path for path in svg.findall("path") if path.get("class") == "mark"]
    assert mark.get("d") == "M472.0 1v16" and mark.find("title").text == "a & b: 10"
    names = {text.text: (text.get("x"), text.get("y")) for text in svg.findall("text")}
    assert names["a & b"] == ("74", "13") and names["c"] == ("74", "31")
    assert names["10"] == ("472.0", "52")


def test_a_file_is_complete_in_itself(tmp_path):
    chart = charts.lines("words", UNIT, UNIT, [Line("a", "red", (0, 1), (0, 1))])
    path = tmp_path / "chart.svg"
    charts.write_svg(chart, path, [("red", "<a>"), ("red", "b")], {"red": "#f00"})
    svg = ElementTree.parse(path).getroot()
    name = "{http://www.w3.org/2000/svg}"
    assert svg.tag == f"{name}svg" and svg.get("aria-label") == "words"
    assert svg.get("viewBox") == "0 -18 480 360"  # 318, two lines of 18, and 6 below them
    assert ".red { color: #f00; }" in svg.find(f"{name}style").text
    texts = [(t.text, t.get("x"), t.get("y")) for t in svg.findall(f"{name}text")[-2:]]
    assert texts == [("<a>", "56", "314"), ("b", "56", "332")]


def test_a_logarithmic_axis_gives_each_doubling_the_same_width():
    x = Axis("", 25, 400, (25, 50, 400), is_log=True)
    drawn = parse(charts.lines("", x, UNIT, [Line("", "a", (25, 50, 100, 400), (0, 0, 0, 0))]))
    xs = [x for x, _ in points(drawn.find("g").find("polyline"))]
    assert xs == [40, 148, 256, 472]
