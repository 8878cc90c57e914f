"""The anchors of all feature levels, and numbers for them that do not depend on padding."""

from typing import NamedTuple

import tensorflow as tf

from keras_frcnn import layers

_MOST_COLUMNS = 2**13  # of a feature map; beyond it two cells of one map would share a number


class Anchors(NamedTuple):
    """The anchors of all feature levels, one level after the other.

    Attributes:
        boxes: [N, 4], yxyx pixels of the network's input; [B, N, 4] if they differ between images.
        valid: [B, N] bool, False for anchors in the padding of the batch.
        ids: [N] int32, numbers that follow from level, cell and shape, so that an anchor has the
            same number however the maps are padded.
        level_sizes: the number of anchors of each level.
        num_positions: [B, 1] int32, the number of cells of an image's own maps on all levels.
    """

    boxes: tf.Tensor
    valid: tf.Tensor
    ids: tf.Tensor
    level_sizes: list
    num_positions: tf.Tensor


def anchor_generators(scales, ratios, strides, **options):
    """Returns an ``AnchorGenerator`` for each feature level.

    Args:
        scales: numbers for all levels, or one list of numbers per level.
        ratios: numbers, for all levels.
        strides: the stride of each level.
        **options: further arguments of every ``AnchorGenerator``.

    Raises:
        ValueError: if there is not one list per level, or the lists differ in length.
    """
    per_level = list(scales) if isinstance(scales[0], list | tuple) else [scales] * len(strides)
    if len(per_level) != len(strides) or len(set(map(len, per_level))) != 1:
        raise ValueError(
            f"scales must be numbers, or one list per level, all of one length, for "
            f"{len(strides)} levels. Received: {scales}"
        )
    return [
        layers.AnchorGenerator(level_scales, ratios, stride, **options)
        for level_scales, stride in zip(per_level, strides, strict=True)
    ]


def lay_anchors(generators, levels, measured=False):
    """Lays anchors over feature levels.

    Args:
        generators: an ``AnchorGenerator`` for each level.
        levels: list of ``FeatureLevel``; of the features only the shape is read.
        measured: whether the stride of each level is the size of each image, as the finest map
            covers it, divided by that of the map and rounded down.

    Returns:
        ``Anchors``.
    """
    num_anchors = generators[0].num_anchors
    covered = levels[0].shape * levels[0].stride
    boxes = [
        make(level.features, covered // level.shape if measured else None)
        for make, level in zip(generators, levels, strict=True)
    ]
    valid, ids = [], []
    for number, level in enumerate(levels):
        own, cells = _cells(level)
        valid.append(tf.repeat(own, num_anchors, axis=1))
        numbers = cells[:, tf.newaxis] * num_anchors + tf.range(num_anchors)
        ids.append(tf.reshape(numbers, [-1]) * len(levels) + number)
    return Anchors(
        joined(boxes, axis=-2),
        joined(valid, axis=1),
        joined(ids, axis=0),
        [tf.shape(level_boxes)[-2] for level_boxes in boxes],
        tf.add_n([tf.reduce_prod(level.shape, axis=1, keepdims=True) for level in levels]),
    )


def _cells(level):
    """Returns which cells of a level are an image's own, [B, h * w] bool, and their numbers, [h *
    w] int32, which follow from row and column alone.
    """
    shape = tf.shape(level.features)
    rows, columns = tf.range(shape[1]), tf.range(shape[2])
    own_rows, own_columns = rows < level.shape[:, :1], columns < level.shape[:, 1:]
    own = own_rows[:, :, tf.newaxis] & own_columns[:, tf.newaxis, :]
    numbers = rows[:, tf.newaxis] * _MOST_COLUMNS + columns
    return tf.reshape(own, [shape[0], -1]), tf.reshape(numbers, [-1])


def joined(values, axis):
    """Concatenates the values of all levels; one level stays as it is."""
    return values[0] if len(values) == 1 else tf.concat(values, axis=axis)
