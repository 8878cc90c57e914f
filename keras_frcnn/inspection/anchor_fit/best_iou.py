"""Computes each object's best IoU with the anchors of each shape without creating all anchors.

The result is exact. All anchors of one shape are one box, moved over the grid of a feature level.
Their overlap with an object is the product of an overlap along y and one along x, and each of these
is largest where the centre of the anchor is nearest to that of the object. So the best one is found
by rounding to the nearest row and column among all of them, or among those at which the anchor lies
inside the image. Only for anchors that are clipped to the image, as proposals are, all rows and
columns must be tried.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_frcnn.config import ModelConfig
from keras_frcnn.data.dataset import Record
from keras_frcnn.data.images import transforms
from keras_frcnn.layers.anchor_generator import AnchorGenerator
from keras_frcnn.models.anchors import anchor_generators
from keras_frcnn.ops import boxes as box_ops

KINDS = ("inside", "all", "clipped")
"""Which anchors count: those inside the image, all, or all after clipping to the image."""

PAIRS_AT_ONCE = 2**18  # of rows and columns: a few MB, which stay in the CPU's cache

LevelShapes = Callable[[tf.Tensor], Sequence[tf.Tensor]]
"""Gives the rows and columns [B, 2] of each feature level for heights and widths [B, 2]."""

Scales = Sequence[float] | Sequence[Sequence[float]]
"""The scales of the anchors: one list for all levels, or one list per level."""


@dataclasses.dataclass(frozen=True, eq=False)
class Objects:
    """Objects in the resized images that the network receives.

    Attributes:
        boxes: float64 [N, 4], yxyx pixels of the resized image.
        labels: int32 [N].
        original_sides: float64 [N, 2], heights and widths in pixels of the original image.
        image_shape: int32 [N, 2], height and width of the resized image that holds the object.
        level_shapes: int32 [N, L, 2], rows and columns of that image's feature levels.
        pixels: mean number of pixels of a resized image.
    """

    boxes: np.ndarray
    labels: np.ndarray
    original_sides: np.ndarray
    image_shape: np.ndarray
    level_shapes: np.ndarray
    pixels: float

    @property
    def sides(self) -> np.ndarray:
        """float64 [N, 2], heights and widths in pixels of the resized image."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    def take(self, rows: np.ndarray) -> "Objects":
        """Returns the chosen objects."""
        columns = ("boxes", "labels", "original_sides", "image_shape", "level_shapes")
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in columns})


@dataclasses.dataclass(frozen=True, eq=False)
class AnchorGrid:
    """The anchors of one feature level: their shapes, and where their centres lie.

    Attributes:
        level: index of the level.
        sides: float64 [A, 2], heights and widths, in the order of ``AnchorGenerator``.
        first: centre of the first row and column, pixels.
        stride: pixels from one row or column to the next.
    """

    level: int
    sides: np.ndarray
    first: float
    stride: int


def are_by_level(scales: Scales) -> bool:
    """Whether each feature level has its own scales."""
    return bool(scales) and isinstance(scales[0], Sequence)


def layout_of(config: ModelConfig) -> dict[str, Any]:
    """Returns the settings that say where anchors lie, as ``anchor_grids`` takes them."""
    return {"offset": config.anchor_offset, "rounding": config.anchor_rounding}


def anchor_grids(
    scales: Scales,
    ratios: Sequence[float],
    strides: Sequence[int],
    offset: float = 0.5,
    rounding: bool = False,
) -> list[AnchorGrid]:
    """Takes the anchors of each level from the layers of the model.

    Args:
        scales: square roots of the anchors' areas, for all levels, or one list per level.
        ratios: heights over widths.
        strides: the stride of each level.
        offset, rounding: see ``AnchorGenerator``.

    Returns:
        One grid for each level.

    Raises:
        ValueError: if the scales are neither shared nor one list for each level.
    """

    cell = tf.zeros([1, 1, 1, 1])
    grids = []
    layout = {"offset": offset, "rounding": rounding}
    for level, generator in enumerate(anchor_generators(scales, ratios, strides, **layout)):
        boxes = generator(cell).numpy().astype(np.float64)
        # The centre of a square with integer sides is exact. With the centre of another anchor, the
        # last bit would decide whether an anchor that just fits is inside.
        square = AnchorGenerator((generator.stride,), (1.0,), generator.stride, offset)
        (square,) = square(cell).numpy()
        first = float(square[0] + square[2]) / 2
        grids.append(AnchorGrid(level, boxes[:, 2:] - boxes[:, :2], first, generator.stride))
    return grids


def objects_of(
    records: Sequence[Record],
    shorter_side: int,
    longer_side: int,
    level_shapes: LevelShapes,
    with_difficult: bool = False,
    rounding: str = "nearest",
) -> Objects:
    """Scales the objects of records to the resized images.

    Args:
        records: the images.
        shorter_side: the setting of this name.
        longer_side: the setting of this name.
        level_shapes: the backbone's method of this name.
        with_difficult: whether to include objects marked difficult.
        rounding: the setting ``resize_rounding``.

    Returns:
        The objects, in the order of the records.
    """
    original = np.array([(r.height, r.width) for r in records], np.int32).reshape(-1, 2)
    resized = transforms.target_shape(*original.T, shorter_side, longer_side, rounding)
    resized = tf.stack(resized, axis=1).numpy()
    cells = np.stack([np.asarray(shape) for shape in level_shapes(tf.constant(resized))], axis=1)
    kept = [np.ones_like(r.difficult) if with_difficult else ~r.difficult for r in records]
    owner = np.repeat(np.arange(len(records)), [np.sum(k) for k in kept])
    pairs = list(zip(records, kept, strict=True))
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(r.boxes[k] for r, k in pairs)])
    labels = np.concatenate([np.zeros(0, np.int32), *(r.labels[k] for r, k in pairs)])
    shapes = original[owner], resized[owner]
    scaled = box_ops.rescale(boxes[:, np.newaxis], *shapes)[:, 0].numpy()
    return Objects(
        boxes=scaled.astype(np.float64),
        labels=labels,
        original_sides=(boxes[:, 2:] - boxes[:, :2]).astype(np.float64),
        image_shape=resized[owner],
        level_shapes=cells[owner],
        pixels=float(np.mean(np.prod(resized, axis=1, dtype=np.float64))) if len(records) else 0.0,
    )


def best_iou(objects: Objects, grids: Sequence[AnchorGrid], kind: str) -> np.ndarray:
    """Computes the best IoU of each object with any anchor of any level.

    Args:
        objects: N objects.
        grids: the anchors.
        kind: one of ``KINDS``.

    Returns:
        float64 [N]; 0 where no anchor touches the object.
    """
    return np.max([np.max(shape_ious(objects, grid, kind), axis=1) for grid in grids], axis=0)


def shape_ious(objects: Objects, grid: AnchorGrid, kind: str) -> np.ndarray:
    """Computes the best IoU of each object with the anchors of each shape of one level.

    Args:
        objects: N objects.
        grid: the anchors of the level, of A shapes.
        kind: one of ``KINDS``.

    Returns:
        float64 [N, A]; 0 where no anchor of the shape touches the object, or none is inside.
    """
    if kind == "clipped":
        columns = [_best_clipped(objects, grid, sides) for sides in grid.sides]
        return np.stack(columns, axis=1)
    shared = np.ones([len(objects.boxes), len(grid.sides)])
    for axis in (0, 1):
        near, far = objects.boxes[:, [axis]], objects.boxes[:, [axis + 2]]
        half = grid.sides[:, axis] / 2
        first, last = _range(objects, grid, axis, half if kind == "inside" else None)
        nearest = np.rint(((near + far) / 2 - grid.first) / grid.stride)
        centre = np.clip(nearest, first, last) * grid.stride + grid.first
        overlap = np.minimum(far, centre + half) - np.maximum(near, centre - half)
        shared *= np.where(first <= last, np.maximum(overlap, 0.0), 0.0)
    areas = np.prod(objects.sides, axis=1)[:, np.newaxis] + np.prod(grid.sides, axis=1)
    return shared / (areas - shared)


def _range(
    objects: Objects, grid: AnchorGrid, axis: int, half: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first and the last row (or column) that count, [N, A] or [N, 1].

    Without ``half`` all of them count. With ``half`` [A], half the sides of the anchors, only those
    count at which an anchor is inside the image.
    """
    last = objects.level_shapes[:, grid.level, [axis]] - 1
    if half is None:
        return np.zeros_like(last), last
    lowest = np.ceil((half - grid.first) / grid.stride)
    highest = (objects.image_shape[:, [axis]] - half - grid.first) // grid.stride
    return np.maximum(lowest, 0), np.minimum(highest, last)


def _best_clipped(objects: Objects, grid: AnchorGrid, sides: np.ndarray) -> np.ndarray:
    """Returns float64 [N], the best IoU with the clipped anchors of one shape.

    A clipped anchor is smaller near the border, so the nearest centre need not be the best: every
    row is tried with every column.
    """
    best = np.zeros(len(objects.boxes))
    if not len(best):
        return best
    feature_shape = objects.level_shapes[:, grid.level]
    num_pairs = np.prod(np.max(feature_shape, axis=0))
    chunk = max(1, PAIRS_AT_ONCE // int(num_pairs))
    order = np.lexsort(feature_shape.T)  # groups objects by the size of their image, to save work
    for rows in np.split(order, np.arange(chunk, len(order), chunk)):
        some = objects.take(rows)
        (shared_y, length_y), (shared_x, length_x) = (
            _along(some, grid, axis, sides[axis]) for axis in (0, 1)
        )
        shared = shared_y[:, :, np.newaxis] * shared_x[:, np.newaxis, :]
        areas = length_y[:, :, np.newaxis] * length_x[:, np.newaxis, :]
        areas += np.prod(some.sides, axis=1)[:, np.newaxis, np.newaxis]
        best[rows] = np.max(shared / (areas - shared), axis=(1, 2))
    return best


def _along(
    objects: Objects, grid: AnchorGrid, axis: int, side: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the overlap of anchors with objects along an axis, and the clipped sides: [N, n]."""
    counts = objects.level_shapes[:, grid.level, [axis]]
    indices = np.arange(np.max(counts))
    centres = indices * grid.stride + grid.first
    top = np.maximum(centres - side / 2, 0.0)
    bottom = np.minimum(centres + side / 2, objects.image_shape[:, [axis]])
    shared = np.minimum(objects.boxes[:, [axis + 2]], bottom)
    shared = np.maximum(shared - np.maximum(objects.boxes[:, [axis]], top), 0.0)
    return np.where(indices < counts, shared, 0.0), np.maximum(bottom - top, 0.0)
