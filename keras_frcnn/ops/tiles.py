"""Cuts large images into overlapping tiles, and joins the detections of the tiles."""

import tensorflow as tf

from keras_frcnn.ops import boxes as box_ops

_AGREEMENT = 0.5  # IoU, in what two tiles share, above which two boxes are one object
_SEAM = 0.02  # of a tile's side: boxes that come so close to the seam are taken as cut by it


def corners(height, width, tile, overlap):
    """Returns the upper left corners of the tiles that cover an image.

    The tiles of an image have one size: ``min(height, tile)`` by ``min(width, tile)``. They are
    spread evenly, and neighbours share at least ``overlap`` of a tile's side. An object no larger
    than the overlap is therefore whole in at least one tile.

    Args:
        height: the image's height, an int32 scalar.
        width: the image's width, an int32 scalar.
        tile: the side of a tile in pixels, an int32 scalar.
        overlap: the fraction of a tile's side that neighbours share, from 0 to below 1.

    Returns:
        int32 [T, 2], y and x, row by row.
    """

    def starts(length):
        rest = tf.maximum(length - tile, 0)
        step = tf.cast(tile, tf.float32) * (1.0 - overlap)
        step = tf.maximum(tf.cast(tf.math.floor(step + 1e-3), tf.int32), 1)
        gaps = (rest + step - 1) // step
        return tf.range(gaps + 1) * rest // tf.maximum(gaps, 1)

    rows, columns = tf.meshgrid(starts(height), starts(width), indexing="ij")
    return tf.reshape(tf.stack([rows, columns], axis=-1), [-1, 2])


def join(boxes, scores, labels, areas, image_size, max_detections):
    """Joins the detections of the tiles of an image into those of the image.

    1. Take the best box that is left. It starts a group.
    2. Add each box of the same class and another tile that agrees with a box of the group: in the
       area that both tiles show, their IoU is above 0.5, or a box that is cut by a seam lies there
       by more than half in the other one. Repeat this until none is added.
    3. The group becomes one detection with the best box's score. Where a side of the best box lies
       at a seam, it moves out to the outermost such side of the group.
    4. Go on with step 1, until ``max_detections`` are found or no box is left.

    Args:
        boxes: [N, 4], yxyx pixels of the image.
        scores: [N].
        labels: [N] integers; negative for padding.
        areas: [N, 4], the tile of each box, yxyx pixels of the image.
        image_size: [2], the image's height and width.
        max_detections: K, the number of detections at most, a scalar.

    Returns:
        ``(boxes [M, 4], scores [M], rows [M])``, best first, M at most K; rows are those of the
        best boxes.
    """
    boxes, areas = tf.cast(boxes, tf.float32), tf.cast(areas, tf.float32)
    scores = tf.cast(scores, tf.float32)
    border = tf.concat([tf.zeros([2]), tf.cast(image_size, tf.float32)], axis=0)
    tolerance = _SEAM * tf.tile(areas[:, 2:] - areas[:, :2], [1, 2])
    cut = (tf.abs(boxes - areas) <= tolerance) & (areas != border)  # [N, 4], for each side
    is_cut = tf.reduce_any(cut, axis=1)
    outward = tf.constant([-1.0, -1.0, 1.0, 1.0])
    numbers = tf.range(tf.size(scores))

    def agreeing(row):
        shared = _common(areas[row], areas)
        one, others = _common(boxes[row], shared), _common(boxes, shared)
        common = box_ops.area(_common(one, others))
        first, second = box_ops.area(one), box_ops.area(others)
        is_same = common > _AGREEMENT * (first + second - common)
        is_part = is_cut & (common > _AGREEMENT * second)
        is_part |= is_cut[row] & (common > _AGREEMENT * first)
        is_other_tile = tf.reduce_any(areas != areas[row], axis=1)
        return (is_same | is_part) & is_other_tile & (labels == labels[row])

    def add_one(members, pending, left):
        row = tf.argmax(tf.cast(pending, tf.int32), output_type=tf.int32)
        new = agreeing(row) & left & ~members
        return members | new, (pending & (numbers != row)) | new, left

    def join_one(left, count, found, rows):
        best = tf.argmax(tf.where(left, scores, -1.0), output_type=tf.int32)
        start = numbers == best
        members, _, _ = tf.while_loop(
            lambda members, pending, left: tf.reduce_any(pending), add_one, (start, start, left)
        )
        sides = tf.where(members[:, tf.newaxis], boxes * outward, tf.float32.min)
        box = tf.where(cut[best], tf.reduce_max(sides, axis=0) * outward, boxes[best])
        return left & ~members, count + 1, found.write(count, box), rows.write(count, best)

    found = tf.TensorArray(tf.float32, 0, dynamic_size=True, element_shape=[4])
    rows = tf.TensorArray(tf.int32, 0, dynamic_size=True, element_shape=[])
    _, _, found, rows = tf.while_loop(
        lambda left, count, found, rows: tf.reduce_any(left) & (count < max_detections),
        join_one,
        (labels >= 0, 0, found, rows),
    )
    rows = rows.stack()
    return found.stack(), tf.gather(scores, rows), rows


def _common(a, b):
    """Returns what boxes [..., 4] of two lists share, row by row; inverted if nothing."""
    corners = tf.maximum(a[..., :2], b[..., :2]), tf.minimum(a[..., 2:], b[..., 2:])
    return tf.concat(corners, axis=-1)
