"""The best IoU of every object with the anchors of every shape, exactly, without laying them all.

All anchors of one shape are one box, moved over a grid of rows and columns. Their overlap with an
object is the product of an overlap along y and one along x, and each of these is largest where the
anchor's centre is nearest to the object's. So the best of thousands of anchors is found by rounding
to the nearest row and column: of all, or of those at which the anchor lies inside the image.
Only where anchors are clipped to the image, as proposals are, must rows and columns be tried.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_frcnn.data.dataset import Record
from keras_frcnn.data.images import transforms
from keras_frcnn.layers.anchor_generator import AnchorGenerator
from keras_frcnn.ops import boxes as box_ops

KINDS = ("inside", "all", "clipped")
"""Which anchors count: those inside the image, all, or all after clipping to the image."""

_PAIRS_AT_ONCE = 2**18  # of rows and columns, a few MB: what stays in a processor's cache

FeatureShape = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Objects:
    """Objects as the network sees them.

    Attributes:
        boxes: float64 [N, 4], yxyx pixels of the resized image.
        labels: int32 [N].
        original_sides: float64 [N, 2], height and width in pixels of the original image.
        image_shape: int32 [N, 2], height and width of the resized image that holds the object.
        feature_shape: int32 [N, 2], rows and columns of its feature map.
        pixels: mean number of pixels of a resized image.
    """

    boxes: np.ndarray
    labels: np.ndarray
    original_sides: np.ndarray
    image_shape: np.ndarray
    feature_shape: np.ndarray
    pixels: float

    @property
    def sides(self) -> np.ndarray:
        """float64 [N, 2], heights and widths in pixels of the resized image."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    def take(self, rows: np.ndarray) -> "Objects":
        """Returns some of the objects."""
        columns = ("boxes", "labels", "original_sides", "image_shape", "feature_shape")
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in columns})


@dataclasses.dataclass(frozen=True, eq=False)
class Shapes:
    """The anchors of a cell, and where the cells lie.

    Attributes:
        sides: float64 [A, 2], heights and widths, in the order of ``AnchorGenerator``.
        first: centre of the first row and column, pixels.
        stride: pixels between neighbours.
    """

    sides: np.ndarray
    first: float
    stride: int


def shapes_of(scales: Sequence[float], ratios: Sequence[float], stride: int) -> Shapes:
    """Asks the layer of the model for the anchors of its first cell."""

    def anchors(scales: Sequence[float], ratios: Sequence[float]) -> np.ndarray:
        boxes = AnchorGenerator(scales, ratios, stride)(tf.zeros([1, 1, 1, 1]))
        return boxes.numpy().astype(np.float64)

    boxes, (square,) = anchors(scales, ratios), anchors((stride,), (1.0,))
    # The centre of a square in whole pixels is exact; of other anchors the last bit would decide
    # whether one that just fits is inside.
    return Shapes(boxes[:, 2:] - boxes[:, :2], float(square[0] + square[2]) / 2, stride)


def objects_of(
    records: Sequence[Record],
    shorter_side: int,
    longer_side: int,
    feature_shape: FeatureShape,
    with_difficult: bool = False,
) -> Objects:
    """Carries the objects of records into their images as the network sees them.

    Args:
        records: the images.
        shorter_side: the setting of this name.
        longer_side: likewise.
        feature_shape: gives the rows and columns [B, 2] of the feature maps of images whose
            heights and widths are [B, 2].
        with_difficult: whether objects marked difficult are taken too.

    Returns:
        The objects, in the order of the records.
    """
    original = np.array([(r.height, r.width) for r in records], np.int32).reshape(-1, 2)
    resized = transforms.target_shape(*original.T, shorter_side, longer_side)
    resized = tf.stack(resized, axis=1).numpy()
    cells = np.asarray(feature_shape(tf.constant(resized)))
    wanted = [np.ones_like(r.difficult) if with_difficult else ~r.difficult for r in records]
    owner = np.repeat(np.arange(len(records)), [np.sum(w) for w in wanted])
    pairs = list(zip(records, wanted, strict=True))
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(r.boxes[w] for r, w in pairs)])
    labels = np.concatenate([np.zeros(0, np.int32), *(r.labels[w] for r, w in pairs)])
    shapes = original[owner], resized[owner]
    scaled = box_ops.rescale(boxes[:, np.newaxis], *shapes)[:, 0].numpy()
    return Objects(
        boxes=scaled.astype(np.float64),
        labels=labels,
        original_sides=(boxes[:, 2:] - boxes[:, :2]).astype(np.float64),
        image_shape=resized[owner],
        feature_shape=cells[owner],
        pixels=float(np.mean(np.prod(resized, axis=1, dtype=np.float64))) if len(records) else 0.0,
    )


def best_iou(objects: Objects, shapes: Shapes, kind: str) -> np.ndarray:
    """Computes each object's best IoU with the anchors of each shape.

    Args:
        objects: N objects.
        shapes: A shapes.
        kind: one of ``KINDS``.

    Returns:
        float64 [N, A]; 0 where no anchor of the shape touches the object, or none is inside.
    """
    if kind == "clipped":
        columns = [_best_clipped(objects, shapes, sides) for sides in shapes.sides]
        return np.stack(columns, axis=1)
    shared = np.ones([len(objects.boxes), len(shapes.sides)])
    for axis in (0, 1):
        near, far = objects.boxes[:, [axis]], objects.boxes[:, [axis + 2]]
        half = shapes.sides[:, axis] / 2
        first, last = _places(objects, shapes, axis, half if kind == "inside" else None)
        place = np.rint(((near + far) / 2 - shapes.first) / shapes.stride)
        centre = np.clip(place, first, last) * shapes.stride + shapes.first
        overlap = np.minimum(far, centre + half) - np.maximum(near, centre - half)
        shared *= np.where(first <= last, np.maximum(overlap, 0.0), 0.0)
    areas = np.prod(objects.sides, axis=1)[:, np.newaxis] + np.prod(shapes.sides, axis=1)
    return shared / (areas - shared)


def _places(
    objects: Objects, shapes: Shapes, axis: int, half: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first and last row (or column) that counts, [N, A] or [N, 1].

    Where there is ``half`` [A], half the anchors' sides, those at which an anchor is inside count.
    """
    last = objects.feature_shape[:, [axis]] - 1
    if half is None:
        return np.zeros_like(last), last
    lowest = np.ceil((half - shapes.first) / shapes.stride)
    highest = (objects.image_shape[:, [axis]] - half - shapes.first) // shapes.stride
    return np.maximum(lowest, 0), np.minimum(highest, last)


def _best_clipped(objects: Objects, shapes: Shapes, sides: np.ndarray) -> np.ndarray:
    """Returns float64 [N], the best IoU with the clipped anchors of one shape.

    Nearer to the border a clipped anchor is smaller, so the nearest centre need not be the best:
    every row is tried with every column.
    """
    best = np.zeros(len(objects.boxes))
    if not len(best):
        return best
    num_pairs = np.prod(np.max(objects.feature_shape, axis=0))
    chunk = max(1, _PAIRS_AT_ONCE // int(num_pairs))
    order = np.lexsort(objects.feature_shape.T)  # like sizes together: little is tried in vain
    for rows in np.split(order, np.arange(chunk, len(order), chunk)):
        some = objects.take(rows)
        (shared_y, length_y), (shared_x, length_x) = (
            _along(some, shapes, axis, sides[axis]) for axis in (0, 1)
        )
        shared = shared_y[:, :, np.newaxis] * shared_x[:, np.newaxis, :]
        areas = length_y[:, :, np.newaxis] * length_x[:, np.newaxis, :]
        areas += np.prod(some.sides, axis=1)[:, np.newaxis, np.newaxis]
        best[rows] = np.max(shared / (areas - shared), axis=(1, 2))
    return best


def _along(
    objects: Objects, shapes: Shapes, axis: int, side: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what anchors share with objects along an axis, and their clipped sides: [N, n]."""
    places = np.arange(np.max(objects.feature_shape[:, axis]))
    centres = places * shapes.stride + shapes.first
    top = np.maximum(centres - side / 2, 0.0)
    bottom = np.minimum(centres + side / 2, objects.image_shape[:, [axis]])
    shared = np.minimum(objects.boxes[:, [axis + 2]], bottom)
    shared = np.maximum(shared - np.maximum(objects.boxes[:, [axis]], top), 0.0)
    exists = places < objects.feature_shape[:, [axis]]
    return np.where(exists, shared, 0.0), np.maximum(bottom - top, 0.0)
