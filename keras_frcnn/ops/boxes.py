"""Box operations: area, IoU, deltas, clipping and rescaling.

Boxes are ``yxyx`` in absolute pixels, float32, with an exclusive far edge: the height is
``y2 - y1``, without "+1". Deltas are ``(ty, tx, th, tw)`` in centre form (Ren et al. 2015, section
3.1.2). Every function casts to float32, so that a mixed precision policy never affects a
coordinate. Leading dimensions broadcast.
"""

import math

import tensorflow as tf

# The exponent of a regressed log-size is bounded, so that one extreme delta cannot make an infinite
# box, whose gradient through the clip would be 0 * inf = NaN. A 16-pixel anchor may still grow to
# 1000 pixels, the longest side of an image.
MAX_LOG_SIZE_DELTA = math.log(1000 / 16)

# Keeps encode() finite for degenerate boxes; below any size that survives min_size or a data check.
_SMALLEST_SIDE = 1e-6


def area(boxes):
    """Returns the areas [..., N] of boxes [..., N, 4] in square pixels; 0 for inverted boxes."""
    y1, x1, y2, x2 = tf.unstack(tf.cast(boxes, tf.float32), axis=-1)
    return tf.maximum(y2 - y1, 0.0) * tf.maximum(x2 - x1, 0.0)


def intersection(a, b):
    """Returns the shared area of every pair: [..., N, M] for boxes [..., N, 4] and [..., M, 4]."""
    # One tensor per coordinate is four times as fast as y and x together in a last axis of two.
    top, left, bottom, right = tf.unstack(tf.cast(a, tf.float32)[..., :, tf.newaxis, :], axis=-1)
    y1, x1, y2, x2 = tf.unstack(tf.cast(b, tf.float32)[..., tf.newaxis, :, :], axis=-1)
    height = tf.minimum(bottom, y2) - tf.maximum(top, y1)
    width = tf.minimum(right, x2) - tf.maximum(left, x1)
    return tf.maximum(height, 0.0) * tf.maximum(width, 0.0)


def iou(a, b):
    """Computes the intersection over union of every pair.

    Args:
        a: boxes [..., N, 4].
        b: boxes [..., M, 4].

    Returns:
        [..., N, M] float32 in [0, 1]; 0 where the union is empty.
    """
    shared = intersection(a, b)
    union = area(a)[..., :, tf.newaxis] + area(b)[..., tf.newaxis, :] - shared
    return tf.math.divide_no_nan(shared, union)


def ioa(a, b):
    """Computes the share of each box of ``a`` that lies in each of ``b``; shapes as in ``iou``."""
    return tf.math.divide_no_nan(intersection(a, b), area(a)[..., :, tf.newaxis])


def _centre_form(boxes):
    y1, x1, y2, x2 = tf.unstack(tf.cast(boxes, tf.float32), axis=-1)
    return (y1 + y2) / 2, (x1 + x2) / 2, y2 - y1, x2 - x1


def encode(anchors, gt_boxes, std=(1.0, 1.0, 1.0, 1.0)):
    """Computes the deltas that move anchors (or proposals) onto boxes.

    Args:
        anchors: reference boxes [..., 4].
        gt_boxes: boxes to reach [..., 4].
        std: divisors of (ty, tx, th, tw); Fast R-CNN uses (0.1, 0.1, 0.2, 0.2) for its head.

    Returns:
        Deltas [..., 4] float32, finite also for boxes without area.
    """
    ya, xa, ha, wa = _centre_form(anchors)
    y, x, h, w = _centre_form(gt_boxes)
    ha, wa, h, w = (tf.maximum(side, _SMALLEST_SIDE) for side in (ha, wa, h, w))
    deltas = tf.stack(
        [(y - ya) / ha, (x - xa) / wa, tf.math.log(h / ha), tf.math.log(w / wa)], axis=-1
    )
    return deltas / tf.constant(std, tf.float32)


def decode(anchors, deltas, std=(1.0, 1.0, 1.0, 1.0)):
    """Applies deltas to anchors: the inverse of ``encode``, except that ``MAX_LOG_SIZE_DELTA``
    bounds the growth.

    Args:
        anchors: reference boxes [..., 4].
        deltas: [..., 4], broadcast against the anchors.
        std: the divisors that ``encode`` was given.

    Returns:
        Boxes [..., 4] float32, not clipped.
    """
    ya, xa, ha, wa = _centre_form(anchors)
    deltas = tf.cast(deltas, tf.float32) * tf.constant(std, tf.float32)
    ty, tx, th, tw = tf.unstack(deltas, axis=-1)
    y, x = ya + ty * ha, xa + tx * wa
    h = ha * tf.exp(tf.minimum(th, MAX_LOG_SIZE_DELTA))
    w = wa * tf.exp(tf.minimum(tw, MAX_LOG_SIZE_DELTA))
    return tf.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], axis=-1)


def clip(boxes, image_shape):
    """Moves corners that lie outside an image onto its border.

    Args:
        boxes: [..., N, 4].
        image_shape: heights and widths [..., 2] of the images, any number type.

    Returns:
        Boxes of the same shape with 0 <= y <= height and 0 <= x <= width.
    """
    limits = tf.cast(image_shape, tf.float32)[..., tf.newaxis, :]
    return tf.clip_by_value(tf.cast(boxes, tf.float32), 0.0, tf.concat([limits, limits], axis=-1))


def rescale(boxes, old_shape, new_shape):
    """Carries boxes from an image to its resized copy, or back.

    Each axis has its own factor, which is computed from the true sizes: rounding a resized image to
    whole pixels makes the two differ slightly. A box on the image's border stays exactly on it.

    Args:
        boxes: [..., N, 4], pixels of images of ``old_shape``.
        old_shape: heights and widths [..., 2] of the images that the boxes refer to.
        new_shape: heights and widths [..., 2] of the images that the result refers to.

    Returns:
        Boxes of the same shape, float32.
    """
    old, new = (tf.cast(shape, tf.float32)[..., tf.newaxis, :] for shape in (old_shape, new_shape))
    old, new = (tf.concat([shape, shape], axis=-1) for shape in (old, new))
    # The product comes first: (old * new) / old is exact at the border, old * (new / old) is not.
    return tf.cast(boxes, tf.float32) * new / old


def inside(boxes, image_shape):
    """Tells which boxes [..., N, 4] lie wholly inside images of ``image_shape`` [..., 2].

    Returns:
        bool [..., N]; a box on the border is inside.
    """
    limits = tf.cast(image_shape, tf.float32)[..., tf.newaxis, :]
    boxes = tf.cast(boxes, tf.float32)
    return tf.reduce_all(boxes[..., :2] >= 0, axis=-1) & tf.reduce_all(
        boxes[..., 2:] <= limits, axis=-1
    )


def rows_of(boxes, indices):
    """Returns the boxes [B, M, 4] with indices [B, M] of boxes [N, 4], or of those [B, N, 4] of
    each image.
    """
    return tf.gather(boxes, indices, batch_dims=boxes.shape.rank - 2, axis=-2)
