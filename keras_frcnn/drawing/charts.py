"""Charts as SVG for pages and files: lines, stacked columns, horizontal bars, small multiples.

The charts are drawn here, without a plotting library, because a page is a single offline file
whose charts follow its light or dark style through CSS variables, stay sharp at every width and
show their numbers under the pointer. matplotlib would add about 60 MB to the installation for
images that can do none of that; libraries that draw in the browser would add megabytes of script
to every page. The few kinds of charts that are needed fit into this module and its template.

This module computes where everything lies; ``templates/charts.html`` holds the markup. Colors are
names of CSS classes that set ``color``. Each chart carries a description for people who cannot see
it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from markupsafe import Markup

from keras_frcnn import files
from keras_frcnn.drawing import page

TEMPLATE = "drawing/templates/charts.html"
COLORS = {
    **{"blue": "#2f7fc4", "orange": "#d9822b", "green": "#3a9a5b", "purple": "#8a5bb5"},
    **{"red": "#c0453c", "grey": "#7a828c"},
}
"""Colors for things that have no order, with their CSS values."""

NUM_SHADES = 5
"""The number of shades, the colors "step0" (palest) to "step4", for lines that form a series."""

_WIDTH = 480
_AREA = SimpleNamespace(left=40, top=10, right=472, bottom=256)  # between the axes
_MAX_DOTS = 20  # a line of more points has no dots
_BAR_HEIGHT = 18  # of a horizontal bar with the space around it
_SMALL = 100  # side of a small chart
_LEGEND_LINE = 18  # height of a line of a file's legend


@dataclasses.dataclass(frozen=True)
class Axis:
    """An axis of a chart: its name, its range, where it has ticks, and whether its scale is
    logarithmic.
    """

    name: str
    start: float = 0.0
    end: float = 1.0
    ticks: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    is_log: bool = False


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a chart. Points that are not finite are left out."""

    name: str
    color: str
    xs: Sequence[float]
    ys: Sequence[float]
    dashed: bool = False


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a bar or column: the text under the pointer, the color and the length."""

    name: str
    color: str
    value: float


@dataclasses.dataclass(frozen=True)
class Chart:
    """A finished chart. In a template it stands for its SVG element.

    Attributes:
        description: Plain text that says what the chart shows.
        box: Left, top, width and height of the chart in its own units.
        shapes: The markup inside the SVG element.
    """

    description: str
    box: tuple[int, int, int, int]
    shapes: Markup

    @property
    def view_box(self) -> str:
        """The box as an attribute of the SVG element."""
        return " ".join(map(str, self.box))

    def __html__(self) -> str:
        return page.macros(TEMPLATE).svg(self)


def lines(description: str, x: Axis, y: Axis, drawn: Sequence[Line]) -> Chart:
    """Draws lines over two axes.

    Args:
        description: What the chart shows.
        x: The horizontal axis.
        y: The vertical axis.
        drawn: The lines; later ones are drawn over earlier ones.

    Returns:
        The chart. It does not name its lines: a legend does.
    """
    return _plot(description, x, y, [], drawn)


def columns(
    description: str, x: Axis, y: Axis, stacks: Sequence[Sequence[Part]], drawn: Sequence[Line] = ()
) -> Chart:
    """Draws stacked columns of equal width that fill the horizontal axis.

    Args:
        description: What the chart shows.
        x: The horizontal axis.
        y: The vertical axis, which starts at 0.
        stacks: The parts of each column, from the bottom up.
        drawn: Lines over the columns.

    Returns:
        The chart.
    """
    width = (_AREA.right - _AREA.left) / len(stacks)
    blocks = []
    for column, parts in enumerate(stacks):
        below = 0.0
        for part in parts:
            top, foot = (
                _position(y, _AREA.bottom, _AREA.top, value)
                for value in (below + part.value, below)
            )
            below += part.value
            if part.value > 0:
                blocks.append(
                    {
                        "name": part.name,
                        "color": part.color,
                        "x": round(_AREA.left + column * width + 0.5, 1),
                        "y": round(top, 1),
                        "width": round(width - 1, 1),
                        "height": round(foot - top, 1),
                    }
                )
    return _plot(description, x, y, blocks, drawn)


def bars(description: str, x: Axis, drawn: Sequence[tuple[Part, float | None]]) -> Chart:
    """Draws horizontal bars, each with its name on the left.

    Args:
        description: What the chart shows.
        x: The horizontal axis, which starts at 0.
        drawn: The bars from the top down, each with a value to mark beside it, or None.

    Returns:
        The chart.
    """
    left, height = 2 * _AREA.left, _BAR_HEIGHT * len(drawn)

    def across(value: float) -> float:
        return round(_position(x, left, _AREA.right, value), 1)

    shapes = page.macros(TEMPLATE).bars(
        left=left,
        right=_AREA.right,
        height=height,
        bar_height=_BAR_HEIGHT,
        x_name=x.name,
        ticks=[(across(tick), _number(tick)) for tick in x.ticks],
        bars=[
            {
                "name": part.name,
                "color": part.color,
                "value": f"{part.value:g}",
                "width": round(across(part.value) - left, 1),
                "mark": None if mark is None else {"x": across(mark), "value": f"{mark:g}"},
            }
            for part, mark in drawn
        ],
    )
    return Chart(description, (0, -4, _WIDTH + 8, height + 40), shapes)


def small(
    description: str,
    color: str,
    xs: Sequence[float],
    ys: Sequence[float],
    mark: tuple[float, float] | None = None,
) -> Chart:
    """Draws one line over the area below it, with both axes from 0 to 1, to show many side by side.

    Args:
        description: What the chart shows.
        color: The color of the line.
        xs: The horizontal positions of its points, ascending.
        ys: Their heights.
        mark: A point ``(x, y)`` to mark.

    Returns:
        The chart.
    """
    points = [_small_point(x, y) for x, y in zip(xs, ys, strict=True)]
    area = [(points[0][0], _SMALL), *points, (points[-1][0], _SMALL)] if points else []
    shapes = page.macros(TEMPLATE).small(
        side=_SMALL,
        color=color,
        line=_points(points),
        area=_points(area),
        mark=mark and [round(value, 1) for value in _small_point(*mark)],
    )
    return Chart(description, (-2, -4, _SMALL + 4, _SMALL + 8), shapes)


def round_axis(name: str, largest: float, num_ticks: int = 4) -> Axis:
    """Returns an axis from 0 to a round number that is at least the largest value."""
    rough = max(largest, 1) / num_ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * (1 - 1e-9))
    step = max(1.0, step)
    ticks = tuple(step * i for i in range(math.ceil(max(largest, 1) / step - 1e-9) + 1))
    return Axis(name, 0.0, ticks[-1], ticks)


def write_svg(
    chart: Chart, path: Path, legend: Sequence[tuple[str, str]], colors: Mapping[str, str]
) -> None:
    """Writes a chart as an SVG file of its own, with a legend below it.

    Args:
        chart: The chart.
        path: The file to write.
        legend: Pairs of a color and the text that explains it.
        colors: The CSS value of each color.
    """
    left, top, width, height = chart.box
    entries = [
        (left + _AREA.left, top + height + row * _LEGEND_LINE - 4, color, text)
        for row, (color, text) in enumerate(legend, start=1)
    ]
    taller = dataclasses.replace(
        chart, box=(left, top, width, height + _LEGEND_LINE * len(legend) + 6)
    )
    files.write_text(path, page.macros(TEMPLATE).file(taller, entries, colors))


def _plot(description: str, x: Axis, y: Axis, blocks: list[dict], drawn: Sequence[Line]) -> Chart:
    def across(value: float) -> float:
        return round(_position(x, _AREA.left, _AREA.right, value), 1)

    def up(value: float) -> float:
        return round(_position(y, _AREA.bottom, _AREA.top, value), 1)

    shapes = page.macros(TEMPLATE).plot(
        area=_AREA,
        x_name=x.name,
        y_name=y.name,
        x_ticks=[(across(tick), _number(tick)) for tick in x.ticks],
        y_ticks=[(up(tick), _number(tick)) for tick in y.ticks],
        blocks=blocks,
        lines=[_shape_of(line, across, up) for line in drawn],
    )
    return Chart(description, (0, -18, _WIDTH, _AREA.bottom + 62), shapes)


def _shape_of(line: Line, across, up) -> dict:
    points = [
        (across(x), up(y))
        for x, y in zip(line.xs, line.ys, strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    return {
        "name": line.name,
        "color": line.color,
        "dashed": line.dashed,
        "points": _points(points),
        "dots": [] if line.dashed or len(points) > _MAX_DOTS else points,
    }


def _position(axis: Axis, near: float, far: float, value: float) -> float:
    scale = math.log if axis.is_log else float
    start, end, value = map(scale, (axis.start, axis.end, value))
    return near + (far - near) * (value - start) / (end - start)


def _small_point(x: float, y: float) -> tuple[float, float]:
    return _SMALL * x, _SMALL * (1 - y)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _number(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10000 else f"{value:g}"
