"""Augmentation: images changed at random, their boxes with them, for training only.

What is drawn is a function of the image's key, that is of seed, epoch and row, whatever the
batch, the thread and the step that a run was resumed at. Each kind of change draws for itself: to
switch one on changes no other. A change that no setting asks for adds nothing to the graph.

Boxes are as in ``transforms``; "targets" are one image's "boxes", "labels" and "ignore".
"""

import colorsys
import math

import numpy as np
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.data.images import transforms
from keras_frcnn.ops import boxes as box_ops

_SIZE, _JITTER, _CROP, _WINDOW, _COLORS = range(5)  # kinds of draws, each with a key of its own
_CROP_TRIES = 50
_SMALLEST_CROP = 32  # pixels a side: two cells of the features

# Brightness, and two axes of colour around grey (YIQ). Unlike in HSV all that is done with them is
# linear: one small matrix for all, at a tenth of the time of tf.image's adjust_hue and
# adjust_saturation, and a turned hue stays as bright as it was.
_TO_YIQ = np.array([colorsys.rgb_to_yiq(*unit) for unit in np.eye(3)])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


def image_key(seed: int, epoch: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
    """Returns the key that everything about an image is drawn from, int64 [2].

    Args:
        seed: the run's.
        epoch: int64 scalar.
        row: int64 scalar, the image's.
    """
    return tf.random.fold_in(tf.stack([tf.constant(seed, tf.int64), epoch]), row)


def flip_and_crop(
    image: tf.Tensor, targets: dict[str, tf.Tensor], key: tf.Tensor, config: Config
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Mirrors an image at random and cuts a part out at random, as the config says.

    Args:
        image: [H, W, 3].
        targets: its objects.
        key: of ``image_key``.
        config: settings ``flip``, ``crop_*`` and ``scale_jitter``.

    Returns:
        ``(image, targets)``; see ``crop``.
    """
    flips = draw_flips(key, config.flip)
    image, boxes = transforms.flip(image, targets["boxes"], *flips)
    targets = {**targets, "boxes": boxes}
    if not _crops(config):
        return image, targets
    window = draw_window(key, config, tf.shape(image)[:2], boxes, ~targets["ignore"])
    return crop(image, targets, window, config.crop_min_visible)


def move_boxes(
    boxes: tf.Tensor,
    image_shape: tf.Tensor,
    targets: dict[str, tf.Tensor],
    key: tf.Tensor,
    config: Config,
) -> tf.Tensor:
    """Carries other boxes of an image, such as proposals, where ``flip_and_crop`` puts it.

    Args:
        boxes: float32 [P, 4].
        image_shape: int32 [2], height and width of the image before.
        targets, key, config: as ``flip_and_crop`` is given them.

    Returns:
        float32 [P, 4], cut at the border; what lies outside has no area.
    """
    flips = draw_flips(key, config.flip)
    boxes = transforms.flip_boxes(boxes, image_shape, *flips)
    if not _crops(config):
        return boxes
    objects = transforms.flip_boxes(targets["boxes"], image_shape, *flips)
    return _into(boxes, draw_window(key, config, image_shape, objects, ~targets["ignore"]))


def _crops(config: Config) -> bool:
    return config.crop_probability > 0 or config.scale_jitter[1] > 1


def draw_flips(key: tf.Tensor, mode: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws ``(horizontal, vertical)``, whether to mirror; ``mode`` is the setting ``flip``."""
    horizontal, vertical = tf.unstack(tf.random.stateless_uniform([2], key) < 0.5)
    return (
        horizontal & (mode in ("horizontal", "both")),
        vertical & (mode in ("vertical", "both")),
    )


def draw_window(
    key: tf.Tensor, config: Config, image_shape: tf.Tensor, boxes: tf.Tensor, is_object: tf.Tensor
) -> tf.Tensor:
    """Draws the part of an image to keep.

    The first of 50 windows that keeps an object is taken, the whole image if none does. Without
    an object to keep the first is taken.

    Args:
        key: of ``image_key``.
        config: settings ``crop_*`` and ``scale_jitter``.
        image_shape: int32 [2], height and width.
        boxes: float32 [G, 4].
        is_object: bool [G], False for regions to ignore.

    Returns:
        int32 [4], yxyx pixels of the image, sides of at least 32 pixels where it has them.
    """
    # Not tf.image.stateless_sample_distorted_bounding_box: its ranges are constants of the graph,
    # and its aspect is the crop's, not relative to the image's.
    shape = tf.cast(image_shape, tf.float32)
    windows = _draw_windows(key, config, shape)
    visible = box_ops.ioa(boxes, windows)
    is_kept = is_object[:, tf.newaxis] & (visible >= config.crop_min_visible) & (visible > 0)
    is_good = tf.reduce_any(is_kept, axis=0) | ~tf.reduce_any(is_object)
    whole = tf.concat([[0.0, 0.0], shape], axis=0)
    candidates = tf.concat([tf.boolean_mask(windows, is_good), whole[tf.newaxis]], axis=0)
    return tf.cast(candidates[0], tf.int32)


def _draw_windows(key: tf.Tensor, config: Config, shape: tf.Tensor) -> tf.Tensor:
    """Draws sides and places of windows in an image of ``shape``: whole pixels, float32 [50, 4].

    A random crop's height and width are shares of the image's, each drawn from ``crop_sides``; if
    they would make a portrait of a landscape, or the other way round, they change places, as
    batches are of one orientation. A scale jitter above 1 divides both by it.
    """
    is_cropped = _draw(key, _CROP, []) < config.crop_probability
    share_draws, place_draws = tf.unstack(_draw(key, _WINDOW, [2, _CROP_TRIES, 2]))
    least, most = config.crop_sides
    shares = least + (most - least) * share_draws
    sides = shares * shape
    turns = (sides[:, :1] > sides[:, 1:]) != (shape[0] > shape[1])
    shares = tf.where(turns, tf.reverse(shares, [1]), shares)
    shares = tf.where(is_cropped, shares, 1.0) / tf.maximum(_draw_jitter(key, config), 1.0)
    sides = tf.maximum(tf.round(shares * shape), tf.minimum(shape, _SMALLEST_CROP))
    starts = tf.floor(place_draws * (shape - sides + 1))
    return tf.concat([starts, starts + sides], axis=1)


def crop(
    image: tf.Tensor, targets: dict[str, tf.Tensor], window: tf.Tensor, min_visible: float
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Cuts a part out of an image, and its objects with it.

    What a cut leaves of an object is no background: it stays an object if at least ``min_visible``
    of its area is left, and is a region to ignore otherwise. Only what lies wholly outside is gone.

    Args:
        image: [H, W, 3].
        targets: its objects.
        window: int32 [4], yxyx pixels of the image, inside it.
        min_visible: see above.

    Returns:
        ``(image, targets)``: [h, w, 3], and the objects in its pixels, cut at its border, in order.
    """
    y1, x1, y2, x2 = tf.unstack(window)
    visible = box_ops.ioa(targets["boxes"], tf.cast(window, tf.float32)[tf.newaxis])[:, 0]
    cut = {
        **targets,
        "boxes": _into(targets["boxes"], window),
        "ignore": targets["ignore"] | (visible < min_visible),
    }
    cut = {name: tf.boolean_mask(values, visible > 0) for name, values in cut.items()}
    return image[y1:y2, x1:x2], cut


def _into(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Boxes in the pixels of a window, cut at its border."""
    y1, x1, y2, x2 = tf.unstack(window)
    moved = boxes - tf.cast(tf.stack([y1, x1, y1, x1]), tf.float32)
    return box_ops.clip(moved, [y2 - y1, x2 - x1])


def draw_sides(key: tf.Tensor, config: Config) -> tuple[int | tf.Tensor, int | tf.Tensor]:
    """Draws the size that an image is resized to.

    Args:
        key: of ``image_key``.
        config: settings ``shorter_side``, ``longer_side``, ``train_shorter_sides`` and
            ``scale_jitter``, which counts here if it is below 1; above, it crops.

    Returns:
        ``(shorter_side, longer_side)`` for ``transforms.resize``: of the config if it asks for no
        other, else int32 scalars.
    """
    table = config.sizes(config.train_shorter_sides)
    if len(table) == 1 and config.scale_jitter[0] >= 1:
        return table[0]
    number = tf.cast(_draw(key, _SIZE, []) * len(table), tf.int32)
    sides = tf.constant(table, tf.float32)[number]
    sides = tf.round(sides * tf.minimum(_draw_jitter(key, config), 1.0))
    return tuple(tf.unstack(tf.maximum(tf.cast(sides, tf.int32), 1)))


def largest_sides(config: Config) -> tuple[int, int]:
    """Returns the largest ``(shorter_side, longer_side)`` that ``draw_sides`` may draw."""
    return max(config.sizes(config.train_shorter_sides))


def change_colors(image: tf.Tensor, key: tf.Tensor, config: Config) -> tf.Tensor:
    """Changes contrast, brightness, saturation and hue at random, in this order.

    Args:
        image: float32 [H, W, 3], RGB in 0..255.
        key: of ``image_key``.
        config: settings ``brightness``, ``contrast``, ``saturation``, ``hue`` and
            ``grey_probability``.

    Returns:
        Same type, shape and range; the image itself if the config asks for no change.
    """
    spans = (config.contrast, config.brightness, config.saturation, config.hue)
    if not any((*spans, config.grey_probability)):
        return image
    *draws, grey = tf.unstack(_draw(key, _COLORS, [5]))
    contrast, brightness, saturation, hue = (
        span * (2 * draw - 1) for span, draw in zip(spans, draws, strict=True)
    )
    if config.contrast:
        image = tf.image.adjust_contrast(image, 1 + contrast)
    saturation = tf.where(grey < config.grey_probability, 0.0, 1 + saturation)
    matrix = color_matrix(1 + brightness, saturation, hue)
    colors = tf.reshape(image, [-1, 3]) @ matrix
    return tf.reshape(tf.clip_by_value(colors, 0.0, 255.0), tf.shape(image))


def color_matrix(brightness: tf.Tensor, saturation: tf.Tensor, hue: tf.Tensor) -> tf.Tensor:
    """Makes the matrix that changes a row (R, G, B) when multiplied from the right.

    Args:
        brightness: factor of all three; 1 leaves them.
        saturation: factor of the distance to grey of the same brightness; 1 leaves it, 0 is grey.
        hue: share of the circle of colours to turn by; 0 leaves it.

    Returns:
        float32 [3, 3]; exactly the unit matrix for (1, 1, 0).
    """
    brightness, saturation, hue = (tf.cast(v, tf.float64) for v in (brightness, saturation, hue))
    cos = saturation * tf.cos(2 * math.pi * hue)
    sin = saturation * tf.sin(2 * math.pi * hue)
    zero = tf.zeros_like(cos)
    # As a change of the unit matrix, so that no change is none to the last bit.
    change = tf.stack([[zero, zero, zero], [zero, cos - 1, sin], [zero, -sin, cos - 1]])
    return tf.cast(brightness * (np.eye(3) + _TO_YIQ @ change @ _FROM_YIQ), tf.float32)


def _draw_jitter(key: tf.Tensor, config: Config) -> tf.Tensor:
    """Draws the factor of ``scale_jitter``: always the same from the same key."""
    low, high = config.scale_jitter
    return low + (high - low) * _draw(key, _JITTER, [])


def _draw(key: tf.Tensor, kind: int, shape: list[int]) -> tf.Tensor:
    """Draws float32 numbers, at least 0 and below 1, of a kind of their own."""
    kind_key = tf.random.fold_in(key, tf.constant(kind, tf.int64))
    return tf.random.stateless_uniform(shape, kind_key)
