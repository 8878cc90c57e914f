"""Random flips, crops and sizes of an image and its boxes.

Boxes are as in ``transforms``. "targets" holds the "boxes", "labels" and "ignore" of one image.
"""

import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.data.augment import draws
from keras_frcnn.data.images import transforms
from keras_frcnn.ops import boxes as box_ops

_CROP_TRIES = 50
_SMALLEST_CROP = 32  # pixels a side: two cells of the features


def flip_and_crop(
    image: tf.Tensor, targets: dict[str, tf.Tensor], key: tf.Tensor, config: Config
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Mirrors and crops an image at random.

    Args:
        image: [H, W, 3].
        targets: the image's objects.
        key: the image's key, from ``image_key``.
        config: settings ``flip``, ``crop_*`` and ``scale_jitter``.

    Returns:
        ``(image, targets)``; see ``crop``.
    """
    flips = draw_flips(key, config.flip)
    image, boxes = transforms.flip(image, targets["boxes"], *flips)
    targets = {**targets, "boxes": boxes}
    if not _may_crop(config):
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
    """Moves other boxes of an image, such as proposals, in the same way as ``flip_and_crop``.

    Args:
        boxes: float32 [P, 4].
        image_shape: int32 [2], height and width of the image before ``flip_and_crop``.
        targets: see ``flip_and_crop``.
        key: see ``flip_and_crop``.
        config: see ``flip_and_crop``.

    Returns:
        float32 [P, 4], clipped to the new image; boxes outside it have no area.
    """
    flips = draw_flips(key, config.flip)
    boxes = transforms.flip_boxes(boxes, image_shape, *flips)
    if not _may_crop(config):
        return boxes
    objects = transforms.flip_boxes(targets["boxes"], image_shape, *flips)
    window = draw_window(key, config, image_shape, objects, ~targets["ignore"])
    return _into_window(boxes, window)


def _may_crop(config: Config) -> bool:
    return config.crop_probability > 0 or config.scale_jitter[1] > 1


def draw_flips(key: tf.Tensor, mode: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws whether to mirror, ``(horizontal, vertical)``; ``mode`` is the setting ``flip``."""
    # The key is used directly, without a purpose, to give the same flips as earlier versions.
    horizontal, vertical = tf.unstack(tf.random.stateless_uniform([2], key) < 0.5)
    return (
        horizontal & (mode in ("horizontal", "both")),
        vertical & (mode in ("vertical", "both")),
    )


def draw_window(
    key: tf.Tensor, config: Config, image_shape: tf.Tensor, boxes: tf.Tensor, is_object: tf.Tensor
) -> tf.Tensor:
    """Draws the part of an image to keep.

    The result is the first of 50 random windows that keeps an object, or the whole image if none
    does. If the image has no objects, the result is the first window.

    Args:
        key: the image's key, from ``image_key``.
        config: settings ``crop_*`` and ``scale_jitter``.
        image_shape: int32 [2], height and width.
        boxes: float32 [G, 4].
        is_object: bool [G], False for regions to ignore.

    Returns:
        int32 [4], yxyx pixels of the image. Each side has at least 32 pixels if the image has.
    """
    # tf.image.stateless_sample_distorted_bounding_box does not fit: its ranges must be constants
    # of the graph, and its aspect ratio is that of the crop, not relative to the image.
    shape = tf.cast(image_shape, tf.float32)
    windows = _draw_windows(key, config, shape)
    visible = box_ops.ioa(boxes, windows)
    is_kept = is_object[:, tf.newaxis] & (visible >= config.crop_min_visible) & (visible > 0)
    is_good = tf.reduce_any(is_kept, axis=0) | ~tf.reduce_any(is_object)
    whole = tf.concat([[0.0, 0.0], shape], axis=0)
    candidates = tf.concat([tf.boolean_mask(windows, is_good), whole[tf.newaxis]], axis=0)
    return tf.cast(candidates[0], tf.int32)


def _draw_windows(key: tf.Tensor, config: Config, shape: tf.Tensor) -> tf.Tensor:
    """Draws windows in an image of ``shape``, in whole pixels: float32 [50, 4].

    The height and width of a random crop are fractions of the image's height and width, each drawn
    from the range ``crop_sides``. The two fractions are swapped if the crop would turn a landscape
    into a portrait or vice versa, because a batch has one orientation. Both are divided by the
    scale jitter if this is above 1.
    """
    is_cropped = draws.uniform(key, draws.CROP, []) < config.crop_probability
    share_draws, start_draws = tf.unstack(draws.uniform(key, draws.WINDOW, [2, _CROP_TRIES, 2]))
    least, most = config.crop_sides
    shares = least + (most - least) * share_draws
    sides = shares * shape
    turns = (sides[:, :1] > sides[:, 1:]) != (shape[0] > shape[1])
    shares = tf.where(turns, tf.reverse(shares, [1]), shares)
    shares = tf.where(is_cropped, shares, 1.0) / tf.maximum(_draw_jitter(key, config), 1.0)
    sides = tf.maximum(tf.round(shares * shape), tf.minimum(shape, _SMALLEST_CROP))
    starts = tf.floor(start_draws * (shape - sides + 1))
    return tf.concat([starts, starts + sides], axis=1)


def crop(
    image: tf.Tensor, targets: dict[str, tf.Tensor], window: tf.Tensor, min_visible: float
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Crops an image and its objects.

    An object remains an object if at least ``min_visible`` of its area is left. Otherwise it
    becomes a region to ignore, because a part of an object is not background. Only objects that are
    completely outside the window are dropped.

    Args:
        image: [H, W, 3].
        targets: the image's objects.
        window: int32 [4], yxyx pixels of the image, inside the image.
        min_visible: the fraction of an object's area that must be left.

    Returns:
        ``(image, targets)``: the crop [h, w, 3], and the objects in its pixels, clipped to it, in
        their order.
    """
    y1, x1, y2, x2 = tf.unstack(window)
    visible = box_ops.ioa(targets["boxes"], tf.cast(window, tf.float32)[tf.newaxis])[:, 0]
    cropped = {
        **targets,
        "boxes": _into_window(targets["boxes"], window),
        "ignore": targets["ignore"] | (visible < min_visible),
    }
    cropped = {name: tf.boolean_mask(values, visible > 0) for name, values in cropped.items()}
    return image[y1:y2, x1:x2], cropped


def _into_window(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Returns boxes in the pixels of a window, clipped to it."""
    y1, x1, y2, x2 = tf.unstack(window)
    moved = boxes - tf.cast(tf.stack([y1, x1, y1, x1]), tf.float32)
    return box_ops.clip(moved, [y2 - y1, x2 - x1])


def draw_sides(key: tf.Tensor, config: Config) -> tuple[int | tf.Tensor, int | tf.Tensor]:
    """Draws the size to which an image is resized.

    Args:
        key: the image's key, from ``image_key``.
        config: settings ``shorter_side``, ``longer_side``, ``train_shorter_sides`` and
            ``scale_jitter``. Only a jitter below 1 matters here; a jitter above 1 crops the image.

    Returns:
        ``(shorter_side, longer_side)`` for ``transforms.resize``: int32 scalars, or the config's
        own numbers if only one size is possible.
    """
    table = config.sizes(config.train_shorter_sides)
    if len(table) == 1 and config.scale_jitter[0] >= 1:
        return table[0]
    number = tf.cast(draws.uniform(key, draws.SIZE, []) * len(table), tf.int32)
    sides = tf.constant(table, tf.float32)[number]
    sides = tf.round(sides * tf.minimum(_draw_jitter(key, config), 1.0))
    return tuple(tf.unstack(tf.maximum(tf.cast(sides, tf.int32), 1)))


def largest_sides(config: Config) -> tuple[int, int]:
    """Returns the largest ``(shorter_side, longer_side)`` that ``draw_sides`` can draw."""
    return max(config.sizes(config.train_shorter_sides))


def _draw_jitter(key: tf.Tensor, config: Config) -> tf.Tensor:
    """Draws the factor of ``scale_jitter``; the same key always gives the same factor."""
    low, high = config.scale_jitter
    return low + (high - low) * draws.uniform(key, draws.JITTER, [])
