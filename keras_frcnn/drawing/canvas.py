"""Draws boxes and tags on an image, and puts titles, legends and several panels around it."""

import colorsys
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_frcnn.console import plain

Color = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]  # x1, y1, x2, y2 of the outermost pixels

# The colors differ in hue or lightness and are bright enough to stand out in photographs.
_PALETTE = (
    (255, 82, 82), (64, 196, 255), (118, 255, 3), (255, 171, 64), (224, 64, 251),
    (255, 234, 0), (29, 233, 182), (255, 128, 171), (83, 109, 254), (188, 143, 102),
    (0, 200, 83), (179, 136, 255), (255, 110, 199), (0, 172, 193), (205, 220, 57),
    (216, 67, 21), (128, 203, 196), (160, 82, 255), (139, 195, 74), (144, 164, 174),
)  # fmt: skip
# For scores from 0 to 1: dark violet, magenta, orange, light yellow.
_SCORE_COLORS = ((72, 24, 140), (177, 42, 144), (252, 128, 72), (252, 253, 150))
_BLACK, _WHITE, _BAR_COLOR = (0, 0, 0), (255, 255, 255), (32, 33, 36)
_BAR_HEIGHT = 28  # of the title bar above a panel, and of each line of the legend
_BAR_FONT_SIZE = 15
_BAR_MARGIN = 8
_SWATCH = 22  # width of a mark in a legend
_GAP = 6  # between panels
_PANEL_WIDTH = 240  # the least width, so that titles can be read


def class_color(label: int) -> Color:
    """Returns the RGB color of a class, 0 to 255. A label always has the same color."""
    if label < len(_PALETTE):
        return _PALETTE[label]
    # Steps of the golden ratio spread evenly over the hues and never repeat one.
    hue = label * 0.618034 % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.5 + 0.15 * (label % 3), 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def score_color(score: float) -> Color:
    """Returns the RGB color of a score, 0 to 255: from dark violet at 0 to light yellow at 1."""
    knots = np.linspace(0, 1, len(_SCORE_COLORS))
    red, green, blue = (np.interp(score, knots, c) for c in zip(*_SCORE_COLORS, strict=True))
    return round(red), round(green), round(blue)


class Canvas:
    """An image on which boxes and tags are drawn. Lines and letters grow with the image.

    Args:
        image: [H, W, 3] uint8 RGB. It is not changed.
        sides: The smallest shorter side and the largest longer side in pixels. The image is scaled
            to fit both; the latter takes precedence. None keeps the size.
        letters: The size of the letters of tags, relative to the usual size.

    Raises:
        ValueError: If the image has another shape or type.
    """

    def __init__(
        self, image: np.ndarray, sides: tuple[int, int] | None = None, letters: float = 1.0
    ):
        if np.ndim(image) != 3 or np.shape(image)[2] != 3 or not np.size(image):
            raise ValueError(f"image must have shape [H, W, 3]. Received: {np.shape(image)}")
        image = np.asarray(image)
        if image.dtype != np.uint8:
            raise ValueError(f"image must be uint8. Received: {image.dtype}")
        scale = 1.0
        if sides is not None:
            shorter, longer = sorted(image.shape[:2])
            scale = min(max(1.0, sides[0] / shorter), sides[1] / longer)
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        self._image = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
        self._scale = np.array([height, width]) / image.shape[:2]
        self._draw = ImageDraw.Draw(self._image)
        self._line_width = math.ceil(max(width, height) / 250)
        letter_size = round(letters * max(width, height) / 36)
        self._font = ImageFont.load_default(min(max(11, letter_size), 48))
        self._text_margin = 2 + self._font.size // 8
        self._tags: list[tuple[Rectangle, str, Color]] = []

    def box(self, box: np.ndarray, color: Color, dashed: bool = False, thin: bool = False) -> None:
        """Draws the outermost pixels inside a box. Parts outside the image are cut off."""
        x1, y1, x2, y2 = self._corners(box)
        width = math.ceil(self._line_width / 2) if thin else self._line_width
        width = min(width, (x2 - x1 + 2) // 2, (y2 - y1 + 2) // 2)
        dash, period = (4 * width, 7 * width) if dashed else (x2 - x1 + y2 - y1 + 1,) * 2
        for x in range(x1, x2 + 1, period):
            end = min(x + dash - 1, x2)
            self._draw.rectangle((x, y1, end, y1 + width - 1), fill=color)
            self._draw.rectangle((x, y2 - width + 1, end, y2), fill=color)
        for y in range(y1, y2 + 1, period):
            end = min(y + dash - 1, y2)
            self._draw.rectangle((x1, y, x1 + width - 1, end), fill=color)
            self._draw.rectangle((x2 - width + 1, y, x2, end), fill=color)

    def dot(self, point: np.ndarray, color: Color) -> None:
        """Draws a dot with a dark rim at a point ``(y, x)``."""
        y, x = np.asarray(point) * self._scale
        radius = 1 + self._line_width / 2
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), color, _BLACK)

    def ring(self, point: np.ndarray, color: Color) -> None:
        """Draws a ring around a point ``(y, x)``, or around the nearest point of the image."""
        y, x = np.clip(np.asarray(point) * self._scale, 0, self._image.size[::-1])
        radius, width = 5 * self._line_width, self._line_width
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), None, color, width)

    def tag(self, box: np.ndarray, text: str, color: Color) -> None:
        """Adds a text above, inside or below a box, where it hides no earlier tag if possible."""
        x1, y1, x2, y2 = self._corners(box)
        if x2 < 0 or y2 < 0 or x1 >= self._image.width or y1 >= self._image.height:
            return
        text = plain(text)
        width = round(self._font.getlength(text)) + 2 * self._text_margin
        height = sum(self._font.getmetrics())
        rightmost = max(0, self._image.width - width)
        lowest = max(0, self._image.height - height)
        inside = min(max(0, y1), lowest)
        at_the_box = (y1 - height, inside, y2 + 1, y2 + 1 - height)
        candidates = [
            (left, top, left + width - 1, top + height - 1)
            for top in (*at_the_box, y1 - 2 * height, y2 + 1 + height)
            for left in (min(max(0, x1), rightmost), min(max(0, x2 + 1 - width), rightmost))
            if 0 <= top <= lowest
        ]
        free = [
            candidate
            for candidate in candidates
            if not any(_overlap(candidate, other) for other, _, _ in self._tags)
        ]
        self._tags.append(((free or candidates)[0], text, color))

    def finish(self) -> Image.Image:
        """Draws the tags, the first one on top, and returns the image."""
        for rectangle, text, color in reversed(self._tags):
            self._draw.rectangle(rectangle, fill=color)
            corner = (rectangle[0] + self._text_margin, rectangle[1])
            self._draw.text(corner, text, fill=_text_color(color), font=self._font)
        return self._image

    def _corners(self, box: np.ndarray) -> Rectangle:
        """Returns the pixels of a box. Edges far outside the image are moved closer to it."""
        margin = 2 * self._line_width
        limit = np.array([self._image.height, self._image.width]) + margin
        near, far = np.floor(np.reshape(box, (2, 2)) * self._scale + 0.5)
        y1, x1 = np.clip(near, -margin, limit).astype(int).tolist()
        y2, x2 = np.clip(far - 1, -margin, limit).astype(int).tolist()
        return x1, y1, max(x1, x2), max(y1, y2)


def with_title(
    image: Image.Image,
    title: str,
    legend: Sequence[tuple[str, str, Color]] = (),
    has_scores: bool = False,
) -> Image.Image:
    """Puts an image below a bar with its title.

    Args:
        image: The image.
        title: The title.
        legend: What the colors mean: entries of a mark ("line", "dashed", "dot" or "" for none), a
            text and a color. They stand below the title, on as many lines as they need.
        has_scores: Whether the bar shows the colors of scores.

    Returns:
        The panel.
    """
    width = max(image.width, _PANEL_WIDTH)
    lines = _legend_lines(legend, width)
    top = _BAR_HEIGHT * (1 + len(lines))
    panel = Image.new("RGB", (width, top + image.height), _BAR_COLOR)
    panel.paste(image, (0, top))
    _write(panel, title, _BAR_MARGIN, 0)
    if has_scores:
        _draw_score_scale(panel)
    for number, line in enumerate(lines, start=1):
        for left, mark, text, color in line:
            _draw_mark(panel, mark, color, left, number)
            _write(panel, text, left + _mark_width(mark), number)
    return panel


def sheet(panels: Sequence[Image.Image], columns: int, title: str = "") -> Image.Image:
    """Lays panels out in rows.

    Args:
        panels: The panels, at least one.
        columns: The number of panels in a row.
        title: The title above all panels; empty for none.

    Returns:
        The sheet. Each row is as high, and each column as wide, as its largest panel. The panels of
        a row are aligned at the bottom, so that their images stand side by side however high their
        legends are.
    """
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    widths = [max(row[i].width for row in rows if i < len(row)) for i in range(len(rows[0]))]
    heights = [max(panel.height for panel in row) for row in rows]
    top = _BAR_HEIGHT + _GAP if title else 0
    size = sum(widths) + _GAP * (len(widths) - 1), top + sum(heights) + _GAP * (len(heights) - 1)
    whole = Image.new("RGB", size, _BAR_COLOR)
    if title:
        _write(whole, title, _BAR_MARGIN, 0)
    for row, y, height in zip(rows, _starts(heights, top), heights, strict=True):
        for panel, x in zip(row, _starts(widths, 0), strict=False):
            whole.paste(panel, (x, y + height - panel.height))
    return whole


def checked(boxes: np.ndarray, num_classes: int, **columns: np.ndarray) -> list[np.ndarray]:
    """Checks boxes and the values that belong to them.

    Args:
        boxes: [K, 4].
        num_classes: One more than the highest label.
        **columns: Values of the boxes, [K] each, by name. Those named "labels" must be labels.

    Returns:
        The boxes as float64, and the columns as arrays.

    Raises:
        ValueError: If a shape or a label is wrong, or a box is not finite.
    """
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must have shape [K, 4]. Received: {boxes.shape}")
    if not np.all(np.isfinite(boxes)):
        raise ValueError("boxes must be finite. Received NaN or infinity")
    for name, column in columns.items():
        if np.shape(column) != (len(boxes),):
            expected = f"one value for each of {len(boxes)} boxes"
            raise ValueError(f"{name} must have {expected}. Received shape: {np.shape(column)}")
    for label in columns.get("labels", ()):
        if not 0 <= label < num_classes:
            raise ValueError(f"labels must be between 0 and {num_classes - 1}. Received: {label}")
    return [boxes, *(np.asarray(column) for column in columns.values())]


def _starts(sizes: list[int], first: int) -> list[int]:
    return [first + sum(sizes[:i]) + _GAP * i for i in range(len(sizes))]


def _legend_lines(
    legend: Sequence[tuple[str, str, Color]], width: int
) -> list[list[tuple[int, str, str, Color]]]:
    """Breaks a legend into lines whose entries start with their left edge."""
    font = ImageFont.load_default(_BAR_FONT_SIZE)
    lines: list[list[tuple[int, str, str, Color]]] = []
    left = width
    for mark, text, color in legend:
        length = _mark_width(mark) + round(font.getlength(plain(text))) + 2 * _BAR_MARGIN
        if left + length > width:
            lines.append([])
            left = _BAR_MARGIN
        lines[-1].append((left, mark, text, color))
        left += length
    return lines


def _mark_width(mark: str) -> int:
    return _SWATCH + 6 if mark else 0


def _draw_mark(panel: Image.Image, mark: str, color: Color, left: int, line: int) -> None:
    draw, middle = ImageDraw.Draw(panel), _BAR_HEIGHT * line + _BAR_HEIGHT // 2
    if mark == "dot":
        x = left + _SWATCH // 2
        draw.ellipse((x - 4, middle - 4, x + 4, middle + 4), color, _BLACK)
    elif mark == "dashed":
        for x in range(left, left + _SWATCH, 9):
            draw.rectangle((x, middle - 1, min(x + 5, left + _SWATCH), middle + 1), color)
    elif mark == "line":
        draw.rectangle((left, middle - 1, left + _SWATCH, middle + 1), color)


def _write(panel: Image.Image, text: str, left: int, line: int) -> None:
    """Writes a text into a line of the bar."""
    font = ImageFont.load_default(_BAR_FONT_SIZE)
    middle = (left, _BAR_HEIGHT * line + _BAR_HEIGHT // 2)
    ImageDraw.Draw(panel).text(middle, plain(text), fill=_WHITE, font=font, anchor="lm")


def _draw_score_scale(panel: Image.Image) -> None:
    """Draws the colors of the scores from 0 to 1 at the right of the title bar."""
    width, top, bottom = 48, 9, _BAR_HEIGHT - 10
    left = panel.width - width - 20
    draw = ImageDraw.Draw(panel)
    for x in range(width):
        draw.line((left + x, top, left + x, bottom), fill=score_color(x / (width - 1)))
    _write(panel, "0", left - 12, 0)
    _write(panel, "1", left + width + 5, 0)


def _text_color(background: Color) -> Color:
    """Returns black or white, whichever is easier to read on the background."""
    red, green, blue = background
    return _BLACK if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else _WHITE


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]
