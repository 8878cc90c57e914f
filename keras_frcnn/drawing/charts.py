"""Charts as SVG inside HTML: drawn from plain numbers, colored by the page's style, no library.

A chart says in words what it shows, for those who do not see it, and tells its numbers under the
pointer. Colors are CSS classes that set ``color``.
"""

import dataclasses
import math
from collections.abc import Sequence

from keras_frcnn.drawing import page

STYLE = """
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font: 12px system-ui, sans-serif; fill: var(--dim); }
svg .grid { stroke: var(--line); } svg .line { fill: none; stroke: currentColor; stroke-width: 2;
  stroke-linejoin: round; } svg .dashed { stroke-dasharray: 4 4; stroke-width: 1; }
svg .mark { stroke: var(--ink); stroke-width: 2; }
svg .area { fill: currentColor; opacity: .15; } svg .dot, svg .block { fill: currentColor; }
.stack { display: flex; height: .8rem; min-width: 6rem; } .stack span { background: currentColor; }
.legend { display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; margin: .5rem 0; font-size: .85rem; }
.legend i { display: inline-block; width: .7rem; height: .7rem; margin-right: .4rem;
  background: currentColor; } .legend b { font-weight: 400; color: var(--ink); }
"""
WIDTH, HEIGHT = 480, 300
LEFT, TOP, RIGHT, BOTTOM = 40, 10, 472, 256  # of the area between the axes
NUM_SHADES = 5
_MOST_DOTS = 20
_BAR = 18  # height of a horizontal bar, its space included
SMALL = 100  # side of a small chart's area


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis: from where to where, its name, and where it has marks."""

    name: str
    start: float = 0.0
    end: float = 1.0
    ticks: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a chart; points that are NaN are left out."""

    name: str
    color: str
    xs: Sequence[float]
    ys: Sequence[float]
    dashed: bool = False


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a bar: how long it is, its color, and words for the pointer."""

    name: str
    color: str
    value: float


def lines(words: str, x: Axis, y: Axis, drawn: Sequence[Line]) -> str:
    """Returns a chart of lines with axes; ``legend`` names the lines.

    Args:
        words: plain text, what the chart shows.
        x: horizontal axis.
        y: vertical axis.
        drawn: the lines, the last on top.
    """
    return _chart(words, x, y, [_line(line, x, y) for line in drawn])


def columns(
    words: str, x: Axis, y: Axis, stacks: Sequence[Sequence[Part]], drawn: Sequence[Line] = ()
) -> str:
    """Returns a chart of stacked columns of equal width that fill the horizontal axis.

    Args:
        words: plain text, what the chart shows.
        x: horizontal axis.
        y: vertical axis, from 0.
        stacks: the parts of each column, from the bottom.
        drawn: lines over them.
    """
    width = (RIGHT - LEFT) / len(stacks)
    shapes = []
    for column, parts in enumerate(stacks):
        below = 0.0
        for part in parts:
            if part.value > 0:
                top, foot = (_place(y, BOTTOM, TOP, v) for v in (below + part.value, below))
                shapes.append(
                    f'<rect class="block {part.color}" x="{LEFT + column * width + 0.5:.1f}" '
                    f'y="{top:.1f}" width="{width - 1:.1f}" height="{foot - top:.1f}">'
                    f"<title>{page.text(part.name)}</title></rect>"
                )
            below += part.value
    return _chart(words, x, y, [*shapes, *(_line(line, x, y) for line in drawn)])


def bars(words: str, x: Axis, drawn: Sequence[tuple[Part, float | None]]) -> str:
    """Returns a chart of horizontal bars, each with its name before it and a mark to compare it
    with.

    Args:
        words: plain text, what the chart shows.
        x: horizontal axis, from 0.
        drawn: for each bar, from the top, the part that it is of, and the value of its mark; None:
            without a mark.
    """
    left, height = 2 * LEFT, _BAR * len(drawn)
    shapes = []
    for tick in x.ticks:
        at = _place(x, left, RIGHT, tick)
        shapes.append(
            f'<path class="grid" d="M{at:.1f} 0v{height}"/><text x="{at:.1f}" y="{height + 16}" '
            f'text-anchor="middle">{_number(tick)}</text>'
        )
    for row, (part, mark) in enumerate(drawn):
        top = row * _BAR
        name = page.text(part.name)
        shapes.append(f'<text x="{left - 6}" y="{top + 13}" text-anchor="end">{name}</text>')
        if part.value > 0:
            width = _place(x, left, RIGHT, part.value) - left
            shapes.append(
                f'<rect class="block {part.color}" x="{left}" y="{top + 3}" width="{width:.1f}" '
                f'height="{_BAR - 6}"><title>{name}: {part.value:g}</title></rect>'
            )
        if mark is not None:
            at = _place(x, left, RIGHT, mark)
            shapes.append(
                f'<path class="mark" d="M{at:.1f} {top + 1}v{_BAR - 2}"><title>{name}: {mark:g}'
                "</title></path>"
            )
    shapes.append(
        f'<text x="{RIGHT}" y="{height + 32}" text-anchor="end">{page.text(x.name)}</text>'
    )
    return _svg(words, f"0 -4 {WIDTH + 8} {height + 40}", "".join(shapes))


def small(
    words: str,
    color: str,
    xs: Sequence[float],
    ys: Sequence[float],
    mark: tuple[float, float] | None = None,
) -> str:
    """Returns a small chart of one line over the area below it, both axes from 0 to 1.

    Args:
        words: plain text, what the chart shows.
        color: of the line.
        xs: where its points are, rising.
        ys: how high they are.
        mark: a point to mark.
    """
    points = [(SMALL * x, SMALL * (1 - y)) for x, y in zip(xs, ys, strict=True)]
    shapes = "".join(
        f'<path class="grid" d="M0 {at}H{SMALL}M{at} 0V{SMALL}"/>' for at in (0, 50, SMALL)
    )
    if points:
        area = [(points[0][0], SMALL), *points, (points[-1][0], SMALL)]
        shapes += (
            f'<g class="{color}"><polygon class="area" points="{_points(area)}"/>'
            f'<polyline class="line" points="{_points(points)}"/>'
        )
        if mark is not None:
            shapes += (
                f'<circle class="dot" cx="{SMALL * mark[0]:.1f}" '
                f'cy="{SMALL * (1 - mark[1]):.1f}" r="3.5"/>'
            )
        shapes += "</g>"
    return _svg(words, f"-2 -4 {SMALL + 4} {SMALL + 8}", shapes)


def stack(parts: Sequence[Part], whole: float) -> str:
    """Returns a horizontal bar of parts; it is as long as the place it is given if full.

    Args:
        parts: from the left.
        whole: sum of the parts of a bar that is full.
    """
    spans = "".join(
        f'<span class="{part.color}" style="width:{100 * part.value / whole:.2f}%" '
        f'title="{page.text(part.name)}"></span>'
        for part in parts
        if part.value > 0
    )
    return f'<div class="stack">{spans}</div>'


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Returns the names of colors, from pairs (color, plain text)."""
    spans = "".join(
        f'<span class="{color}"><i></i><b>{page.text(words)}</b></span>' for color, words in entries
    )
    return f'<div class="legend">{spans}</div>'


def round_axis(name: str, largest: float, num_ticks: int = 4) -> Axis:
    """Returns an axis from 0 to a round number that is not below the largest value."""
    rough = max(largest, 1) / num_ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * (1 - 1e-9))
    step = max(1.0, step)
    ticks = tuple(step * i for i in range(math.ceil(max(largest, 1) / step - 1e-9) + 1))
    return Axis(name, 0.0, ticks[-1], ticks)


def _chart(words: str, x: Axis, y: Axis, shapes: Sequence[str]) -> str:
    marks = []
    for tick in y.ticks:
        at = _place(y, BOTTOM, TOP, tick)
        marks.append(
            f'<path class="grid" d="M{LEFT} {at:.1f}H{RIGHT}"/>'
            f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_number(tick)}</text>'
        )
    for tick in x.ticks:
        at = _place(x, LEFT, RIGHT, tick)
        marks.append(
            f'<path class="grid" d="M{at:.1f} {BOTTOM}v4"/>'
            f'<text x="{at:.1f}" y="{BOTTOM + 18}" text-anchor="middle">{_number(tick)}</text>'
        )
    names = (
        f'<text x="{RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{page.text(x.name)}</text>'
        f'<text x="{LEFT}" y="{TOP - 12}">{page.text(y.name)}</text>'
    )
    return _svg(words, f"0 -18 {WIDTH} {HEIGHT + 18}", "".join([*marks, *shapes, names]))


def _line(line: Line, x: Axis, y: Axis) -> str:
    points = [
        (_place(x, LEFT, RIGHT, a), _place(y, BOTTOM, TOP, b))
        for a, b in zip(line.xs, line.ys, strict=True)
        if math.isfinite(a) and math.isfinite(b)
    ]
    dots = (
        ""
        if line.dashed or len(points) > _MOST_DOTS
        else "".join(f'<circle class="dot" cx="{a:.1f}" cy="{b:.1f}" r="2.5"/>' for a, b in points)
    )
    return (
        f'<g class="{line.color}"><title>{page.text(line.name)}</title><polyline '
        f'class="line{" dashed" * line.dashed}" points="{_points(points)}"/>{dots}</g>'
    )


def _svg(words: str, box: str, shapes: str) -> str:
    return f'<svg viewBox="{box}" role="img" aria-label="{page.text(words)}">{shapes}</svg>'


def _place(axis: Axis, near: float, far: float, value: float) -> float:
    return near + (far - near) * (value - axis.start) / (axis.end - axis.start)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _number(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10000 else f"{value:g}"
