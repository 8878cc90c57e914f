"""Drawing boxes into pictures: detections for users, the stages of the model for TensorBoard."""

import colorsys
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
Place = tuple[int, int, int, int]  # x1, y1, x2, y2 of the outermost pixels

# Distinct in hue or in lightness, and bright enough to stand out in photographs.
_PALETTE = (
    (255, 82, 82), (64, 196, 255), (118, 255, 3), (255, 171, 64), (224, 64, 251),
    (255, 234, 0), (29, 233, 182), (255, 128, 171), (83, 109, 254), (188, 143, 102),
    (0, 200, 83), (179, 136, 255), (255, 110, 199), (0, 172, 193), (205, 220, 57),
    (216, 67, 21), (128, 203, 196), (160, 82, 255), (139, 195, 74), (144, 164, 174),
)  # fmt: skip
# Scores from 0 to 1: dark violet, magenta, orange, light yellow.
_SCORE_COLORS = ((72, 24, 140), (177, 42, 144), (252, 128, 72), (252, 253, 150))
_BLACK, _WHITE, _BAR_COLOR = (0, 0, 0), (255, 255, 255), (32, 33, 36)
_BAR_HEIGHT = 28  # of the strip above a panel that holds its title
_BAR_FONT_SIZE = 15
_GAP = 6  # between panels
_PANEL_WIDTH = 240  # at least, so that titles can be read
_PANEL_SHORTER_SIDE, _PANEL_LONGER_SIDE = 300, 800  # small pictures grow to, large ones shrink to


def class_color(label: int) -> Color:
    """Returns the RGB color of a class, 0 to 255: always the same for the same label."""
    if label < len(_PALETTE):
        return _PALETTE[label]
    # Steps of the golden ratio spread evenly over the hues and never come back to one.
    hue = label * 0.618034 % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.5 + 0.15 * (label % 3), 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def score_color(score: float) -> Color:
    """Returns the RGB color of a score, 0 to 255: from dark violet at 0 to light yellow at 1."""
    knots = np.linspace(0, 1, len(_SCORE_COLORS))
    red, green, blue = (np.interp(score, knots, c) for c in zip(*_SCORE_COLORS, strict=True))
    return round(red), round(green), round(blue)


def draw_detections(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    class_names: Sequence[str],
    score_threshold: float = 0.5,
) -> np.ndarray:
    """Draws detections into a picture, each with the name of its class and its score.

    Args:
        image: [H, W, 3] uint8 RGB; is not changed.
        boxes: [K, 4] yxyx pixels of the picture, far edge exclusive. They may lie outside.
        labels: [K] integers below the number of class names.
        scores: [K].
        class_names: names of the labels.
        score_threshold: detections scored lower are not drawn.

    Returns:
        [H, W, 3] uint8 RGB.

    Raises:
        ValueError: if a shape, type or label is wrong, or a box is not finite.
    """
    canvas = Canvas(image)
    _draw_scored(canvas, boxes, labels, scores, class_names, score_threshold)
    return np.array(canvas.finish())


def draw_panels(
    image: np.ndarray,
    class_names: Sequence[str],
    gt: Mapping[str, Any] | None = None,
    proposals: Mapping[str, Any] | None = None,
    detections: Mapping[str, Any] | None = None,
    num_proposals: int = 50,
    score_threshold: float = 0.5,
) -> np.ndarray:
    """Draws the stages of the model side by side: ground truth, best proposals, detections.

    The picture is scaled to a size that is good to look at. What is None gets no panel.

    Args:
        image: [H, W, 3] uint8 RGB.
        class_names: names of the labels.
        gt: ``{"boxes": [G, 4], "labels": [G]}`` and, if known, ``"difficult": [G]``; difficult
            objects are dashed. All boxes are yxyx pixels of the picture, far edge exclusive.
        proposals: ``{"boxes": [P, 4], "scores": [P]}``, drawn in the color of their score.
        detections: ``{"boxes": [K, 4], "labels": [K], "scores": [K]}``.
        num_proposals: number of best proposals to draw.
        score_threshold: detections scored lower are not drawn.

    Returns:
        [H', W', 3] uint8 RGB.

    Raises:
        ValueError: if a shape, type or label is wrong, a box is not finite, or all three are None.
    """
    panels = []
    if gt is not None:
        panels.append(_gt_panel(image, gt, class_names))
    if proposals is not None:
        panels.append(_proposals_panel(image, proposals, num_proposals))
    if detections is not None:
        canvas = Canvas(image, for_panel=True)
        values = (detections[name] for name in ("boxes", "labels", "scores"))
        shown = _draw_scored(canvas, *values, class_names, score_threshold)
        title = f"detections: {shown} (score >= {score_threshold:g})"
        panels.append(_with_title(canvas.finish(), title))
    if not panels:
        raise ValueError("Expected at least one of gt, proposals and detections. Received: none")
    width, height = panels[0].size
    sheet = Image.new("RGB", ((width + _GAP) * len(panels) - _GAP, height), _BAR_COLOR)
    for index, panel in enumerate(panels):
        sheet.paste(panel, ((width + _GAP) * index, 0))
    return np.array(sheet)


class Canvas:
    """A picture with boxes and tags drawn into it; lines and letters grow with the picture."""

    def __init__(self, image: np.ndarray, for_panel: bool = False):
        if np.ndim(image) != 3 or np.shape(image)[2] != 3 or not np.size(image):
            raise ValueError(f"image must have shape [H, W, 3]. Received: {np.shape(image)}")
        image = np.asarray(image)
        if image.dtype != np.uint8:
            raise ValueError(f"image must be uint8. Received: {image.dtype}")
        scale = 1.0
        if for_panel:
            shorter, longer = sorted(image.shape[:2])
            scale = min(max(1.0, _PANEL_SHORTER_SIDE / shorter), _PANEL_LONGER_SIDE / longer)
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        self._picture = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
        self._scale = np.array([height, width]) / image.shape[:2]
        self._draw = ImageDraw.Draw(self._picture)
        self._line_width = math.ceil(max(width, height) / 250)
        self._font = ImageFont.load_default(min(max(11, round(max(width, height) / 36)), 48))
        self._text_margin = 2 + self._font.size // 8
        self._tags: list[tuple[Place, str, Color]] = []

    def box(self, box: np.ndarray, color: Color, dashed: bool = False) -> None:
        """Draws the outermost pixels of a box; what lies outside the picture is not seen."""
        x1, y1, x2, y2 = self._corners(box)
        width = min(self._line_width, (x2 - x1 + 2) // 2, (y2 - y1 + 2) // 2)
        dash, period = (4 * width, 7 * width) if dashed else (x2 - x1 + y2 - y1 + 1,) * 2
        for x in range(x1, x2 + 1, period):
            end = min(x + dash - 1, x2)
            self._draw.rectangle((x, y1, end, y1 + width - 1), fill=color)
            self._draw.rectangle((x, y2 - width + 1, end, y2), fill=color)
        for y in range(y1, y2 + 1, period):
            end = min(y + dash - 1, y2)
            self._draw.rectangle((x1, y, x1 + width - 1, end), fill=color)
            self._draw.rectangle((x2 - width + 1, y, x2, end), fill=color)

    def tag(self, box: np.ndarray, text: str, color: Color) -> None:
        """Finds a text a place at a box, above, inside or below, where no tag is hidden."""
        x1, y1, x2, y2 = self._corners(box)
        if x2 < 0 or y2 < 0 or x1 >= self._picture.width or y1 >= self._picture.height:
            return
        width = round(self._font.getlength(text)) + 2 * self._text_margin
        height = sum(self._font.getmetrics())
        rightmost, lowest = (
            max(0, self._picture.width - width),
            max(0, self._picture.height - height),
        )
        inside = min(max(0, y1), lowest)
        places = [
            (left, top, left + width - 1, top + height - 1)
            for top in (y1 - height, inside, y2 + 1, y2 + 1 - height)
            for left in (min(max(0, x1), rightmost), min(max(0, x2 + 1 - width), rightmost))
            if 0 <= top <= lowest
        ]
        free = [p for p in places if not any(_overlap(p, other) for other, _, _ in self._tags)]
        self._tags.append(((free or places)[0], text, color))

    def finish(self) -> Image.Image:
        """Draws the tags, the first on top, and returns the picture."""
        for place, text, color in reversed(self._tags):
            self._draw.rectangle(place, fill=color)
            at = (place[0] + self._text_margin, place[1])
            self._draw.text(at, text, fill=_text_color(color), font=self._font)
        return self._picture

    def _corners(self, box: np.ndarray) -> Place:
        """Returns where a box lies; what is far outside the picture is moved closer to it."""
        margin = 2 * self._line_width
        limit = np.array([self._picture.height, self._picture.width]) + margin
        near, far = np.floor(np.reshape(box, (2, 2)) * self._scale + 0.5)
        y1, x1 = np.clip(near, -margin, limit).astype(int).tolist()
        y2, x2 = np.clip(far - 1, -margin, limit).astype(int).tolist()
        return x1, y1, max(x1, x2), max(y1, y2)


def _draw_scored(
    canvas: Canvas,
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    class_names: Sequence[str],
    score_threshold: float,
) -> int:
    """Draws detections and returns how many reach the threshold."""
    boxes, labels, scores = _checked(boxes, len(class_names), labels=labels, scores=scores)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= score_threshold]
    for index in order[::-1]:  # the best ends on top
        canvas.box(boxes[index], class_color(int(labels[index])))
    for index in order:  # the best chooses its place first
        text = f"{class_names[labels[index]]} {scores[index]:.2f}"
        canvas.tag(boxes[index], text, class_color(int(labels[index])))
    return len(order)


def _gt_panel(image: np.ndarray, gt: Mapping[str, Any], class_names: Sequence[str]) -> Image.Image:
    difficult = gt.get("difficult", np.zeros(len(gt["boxes"]), bool))
    columns = {"labels": gt["labels"], "difficult": difficult}
    boxes, labels, difficult = _checked(gt["boxes"], len(class_names), **columns)
    canvas = Canvas(image, for_panel=True)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    order = np.argsort(-areas, kind="stable")  # small objects end on top
    for index in order:
        canvas.box(boxes[index], class_color(int(labels[index])), dashed=bool(difficult[index]))
    for index in order:
        canvas.tag(boxes[index], class_names[labels[index]], class_color(int(labels[index])))
    hint = f" ({np.sum(difficult)} difficult)" if np.any(difficult) else ""
    return _with_title(canvas.finish(), f"ground truth: {len(boxes)}{hint}")


def _proposals_panel(
    image: np.ndarray, proposals: Mapping[str, Any], num_proposals: int
) -> Image.Image:
    boxes, scores = _checked(proposals["boxes"], 0, scores=proposals["scores"])
    canvas = Canvas(image, for_panel=True)
    best = np.argsort(-scores, kind="stable")[:num_proposals]
    for index in best[::-1]:
        canvas.box(boxes[index], score_color(scores[index]))
    panel = _with_title(canvas.finish(), f"proposals: {len(best)} of {len(boxes)}")
    _draw_score_scale(panel)
    return panel


def _with_title(picture: Image.Image, title: str) -> Image.Image:
    size = (max(picture.width, _PANEL_WIDTH), picture.height + _BAR_HEIGHT)
    panel = Image.new("RGB", size, _BAR_COLOR)
    panel.paste(picture, (0, _BAR_HEIGHT))
    _write(panel, title, left=8)
    return panel


def _write(panel: Image.Image, text: str, left: int) -> None:
    """Writes into the title bar."""
    font = ImageFont.load_default(_BAR_FONT_SIZE)
    ImageDraw.Draw(panel).text((left, _BAR_HEIGHT // 2), text, fill=_WHITE, font=font, anchor="lm")


def _draw_score_scale(panel: Image.Image) -> None:
    """Draws the colors of the scores 0 to 1 at the right of the title bar."""
    width, top, bottom = 48, 9, _BAR_HEIGHT - 10
    left = panel.width - width - 20
    draw = ImageDraw.Draw(panel)
    for x in range(width):
        draw.line((left + x, top, left + x, bottom), fill=score_color(x / (width - 1)))
    _write(panel, "0", left - 12)
    _write(panel, "1", left + width + 5)


def _text_color(background: Color) -> Color:
    """Returns black or white, whichever is easier to read on a color."""
    red, green, blue = background
    return _BLACK if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else _WHITE


def _overlap(a: Place, b: Place) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _checked(boxes: np.ndarray, num_classes: int, **columns: np.ndarray) -> list[np.ndarray]:
    """Returns boxes and their columns as arrays, after a check."""
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
