"""Writes a data set of drawn shapes in VOC's layout, which needs no download.

Circles, squares, stars and triangles lie on textured backgrounds. They partly cover each other or
extend beyond the image. Each class has a typical hue, so that a detector learns it within minutes,
but the hues overlap, so that only the shape determines the class.
"""

import colorsys
import dataclasses
import json
import math
import pathlib

import numpy as np
from PIL import Image, ImageDraw

from keras_frcnn import files
from keras_frcnn.console import with_progress
from keras_frcnn.data.writers import voc

CLASS_NAMES = ("circle", "square", "star", "triangle")

_MARK = "shapes.json"  # marks a folder that this module has written and may overwrite
_OVERSAMPLING = 4
_DIAMETERS = (40.0, 120.0)
_MOST_OBJECTS = 5
_HUES = dict(zip(CLASS_NAMES, (0.0, 0.25, 0.5, 0.75), strict=True))
_HUE_SPREAD = 0.05  # standard deviation, of the circle of hues
_EMPTY_SHARE = 0.06
_PORTRAIT_SHARE = 0.3
_LEAST_SHOWN = 0.7  # least visible fraction of an object's area
_CLEARLY_SHOWN = 0.8  # objects with a smaller visible fraction are difficult ...
_CLEARLY_LARGE = 18  # ... and so are objects with a shorter side, in pixels


@dataclasses.dataclass(frozen=True)
class Object:
    """One object: the tight box around its visible pixels, far edge exclusive."""

    name: str
    ymin: int
    xmin: int
    ymax: int
    xmax: int
    truncated: bool
    difficult: bool


def make(
    output_dir: str,
    num_train: int,
    num_val: int,
    num_test: int,
    seed: int = 0,
    shorter_side: tuple[int, int] = (140, 180),
    longer_side: tuple[int, int] = (190, 250),
) -> pathlib.Path:
    """Writes a data set with the splits train, val, trainval and test.

    Args:
        output_dir: a new or empty folder, or one that this function has written before.
        num_train: number of images in the split train.
        num_val: number of images in the split val.
        num_test: number of images in the split test.
        seed: seed of the random numbers.
        shorter_side: smallest and largest length of the shorter side in pixels.
        longer_side: smallest and largest length of the longer side; some images are portraits.

    Returns:
        The folder, which can be used as ``data_dir``.

    Raises:
        ValueError: If the folder holds something that this function has not written.
    """
    folder = pathlib.Path(output_dir)
    if folder.exists() and not (folder / _MARK).is_file() and any(folder.iterdir()):
        raise ValueError(
            "--output_dir must be a new or empty folder, or one of drawn shapes. "
            f"Received: {folder}"
        )
    counts = {"train": num_train, "val": num_val, "test": num_test}
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / _MARK, json.dumps({"seed": seed, **counts}) + "\n")
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / name).mkdir(parents=True, exist_ok=True)

    splits = {
        split: [f"{split}_{number:05d}" for number in range(1, count + 1)]
        for split, count in counts.items()
    }
    names = splits["train"] + splits["val"] + splits["test"]
    for number, name in enumerate(with_progress(names, "Drawing", len(names))):
        rng = np.random.default_rng([seed, number])
        height = int(rng.integers(*shorter_side, endpoint=True))
        width = int(rng.integers(*longer_side, endpoint=True))
        if rng.random() < _PORTRAIT_SHARE:
            height, width = width, height
        image, objects = compose(rng, height, width)
        with files.replacing(folder / "JPEGImages" / f"{name}.jpg") as part:
            Image.fromarray(image).save(part, "JPEG", quality=92)
        _write_annotation(folder, name, height, width, objects)
    splits["trainval"] = splits["train"] + splits["val"]
    for split, names in splits.items():
        text = "".join(f"{name}\n" for name in names)
        files.write_text(folder / "ImageSets" / "Main" / f"{split}.txt", text)
    return folder


def compose(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, list[Object]]:
    """Makes one image.

    Args:
        rng: the source of all random numbers.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Returns:
        ``(image, objects)``: uint8 [height, width, 3], RGB; and its objects, from back to front.
    """
    image = _background(rng, height, width)
    owners = np.full((height, width), -1)  # the object that is visible at each pixel
    names, outlines = [], []
    tries = 0 if rng.random() < _EMPTY_SHARE else rng.integers(1, _MOST_OBJECTS, endpoint=True)
    for _ in range(tries):
        name = str(rng.choice(CLASS_NAMES))
        outline = _random_outline(rng, name, height, width)
        cover = coverage(outline, height, width)
        covered = np.where(cover >= 0.5, len(names), owners)
        if np.min(_shown(covered, [*outlines, outline])) < _LEAST_SHOWN:
            continue
        owners = covered
        image = _paint(rng, image, cover, name)
        names.append(name)
        outlines.append(outline)
    noise = rng.normal(0, rng.uniform(2, 8), image.shape)
    image = np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
    return image, _describe(names, outlines, owners)


def coverage(outline: np.ndarray, height: int, width: int) -> np.ndarray:
    """Draws a polygon with smooth edges.

    Args:
        outline: float [n, 2], corners (x, y) in pixels; the first pixel reaches from 0 to 1. Edges
            must not cross.
        height: height of the drawing in pixels.
        width: width of the drawing in pixels.

    Returns:
        float [height, width], the fraction of each pixel that lies inside.
    """
    rows = (np.arange(height * _OVERSAMPLING) + 0.5) / _OVERSAMPLING
    inside = np.zeros((len(rows), width))
    for (x1, y1), (x2, y2) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        crossed = (rows >= min(y1, y2)) & (rows < max(y1, y2))
        x = x1 + (rows[crossed] - y1) * (x2 - x1) / ((y2 - y1) or 1.0)
        # Add the area to the left of each downward edge, and subtract that of each upward edge.
        inside[crossed] += np.sign(y2 - y1) * np.clip(x[:, None] - np.arange(width), 0, 1)
    return np.abs(inside).reshape(height, _OVERSAMPLING, width).mean(axis=1)


def _random_outline(rng: np.random.Generator, name: str, height: int, width: int) -> np.ndarray:
    """Draws the size, proportions, rotation and position of a shape; returns its corners (x, y)."""
    points = {"circle": 64, "square": 4, "star": 10, "triangle": 3}[name]
    angles = 2 * math.pi * (np.arange(points) + 0.5) / points
    # A triangle fills only a small part of its circle, so it is enlarged.
    radii = np.full(points, 1.15 if name == "triangle" else 1.0)
    radii[1::2] *= 0.42 if name == "star" else 1.0
    outline = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)

    largest = min(_DIAMETERS[1], 0.75 * min(height, width))
    radius = 0.5 * math.exp(rng.uniform(math.log(_DIAMETERS[0]), math.log(largest)))
    stretch = math.exp(rng.uniform(-0.1, 0.1))
    turn = math.radians(rng.uniform(-15, 15)) if name == "square" else rng.uniform(0, 2 * math.pi)
    rotation = [[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]
    center = [rng.uniform(0, width), rng.uniform(0, height)]
    return radius * (outline * [stretch, 1 / stretch]) @ np.array(rotation) + center


def _background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Makes a background of soft blotches and lines; returns float [height, width, 3]."""
    cells = rng.integers(2, 10, size=2)
    blotches = rng.uniform(0, 255) + rng.uniform(5, 30) * rng.normal(size=(*cells, 3))
    size = (width * _OVERSAMPLING, height * _OVERSAMPLING)
    fine = Image.fromarray(np.clip(blotches, 0, 255).astype(np.uint8)).resize(size)
    draw = ImageDraw.Draw(fine)
    for _ in range(rng.integers(0, 6)):
        ends = rng.uniform(-0.2, 1.2, size=(2, 2)) * size
        color = tuple(rng.integers(0, 256, size=3).tolist())
        draw.line(ends.ravel().tolist(), color, width=int(rng.integers(2, 10)))
    return np.asarray(fine.reduce(_OVERSAMPLING), np.float64)


def _paint(rng: np.random.Generator, image: np.ndarray, cover: np.ndarray, name: str) -> np.ndarray:
    """Fills a shape with a shaded colour near its class's hue that contrasts with the image."""
    beneath = np.average(image.reshape(-1, 3), axis=0, weights=cover.ravel())
    hue = rng.normal(_HUES[name], _HUE_SPREAD) % 1.0
    colors = [
        colorsys.hsv_to_rgb(hue, saturation, value)
        for saturation, value in rng.uniform((0.5, 0.35), (1.0, 1.0), size=(4, 2))
    ]
    colors = 255 * np.array(colors)
    color = colors[np.argmax(np.linalg.norm(colors - beneath, axis=1))]
    shade = 1 + rng.uniform(-0.3, 0.3) * np.linspace(-1, 1, image.shape[1])
    return image + cover[..., None] * (np.multiply.outer(shade, color) - image)


def _shown(owners: np.ndarray, outlines: list[np.ndarray]) -> np.ndarray:
    """Returns the visible fraction of each outline's area."""
    seen = np.bincount(owners[owners >= 0], minlength=len(outlines))
    return seen / [_area(outline) for outline in outlines]


def _area(outline: np.ndarray) -> float:
    x, y = outline.T
    return 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def _describe(names: list[str], outlines: list[np.ndarray], owners: np.ndarray) -> list[Object]:
    """Measures the visible part of each object."""
    if not names:
        return []
    objects = []
    limits = owners.shape[::-1]
    for number, shown in enumerate(_shown(owners, outlines)):
        rows, columns = np.nonzero(owners == number)
        ymin, xmin, ymax, xmax = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
        cut = np.any(outlines[number] < 0) or np.any(outlines[number] > limits)
        small = min(ymax - ymin, xmax - xmin) < _CLEARLY_LARGE
        corners = (int(ymin), int(xmin), int(ymax), int(xmax))
        objects.append(
            Object(names[number], *corners, bool(cut), bool(small or shown < _CLEARLY_SHOWN))
        )
    return objects


def _write_annotation(
    folder: pathlib.Path, name: str, height: int, width: int, objects: list[Object]
) -> None:
    """Writes an annotation in VOC's format."""
    described = [
        (
            {
                "name": item.name,
                "pose": "Unspecified",
                "truncated": int(item.truncated),
                "difficult": int(item.difficult),
            },
            (item.ymin, item.xmin, item.ymax, item.xmax),
        )
        for item in objects
    ]
    database, size = "keras_frcnn made shapes", (height, width)
    text = voc.annotation(folder.name, f"{name}.jpg", database, size, described)
    files.write_text(folder / "Annotations" / f"{name}.xml", text)
