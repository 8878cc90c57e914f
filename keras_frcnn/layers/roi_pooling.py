"""Quantised max pooling of regions: step 5 of the way, the paper's form."""

import keras
import numpy as np
import tensorflow as tf

# Regions of up to so many cells find their bins in a table; longer ones, far outside any picture,
# compute them.
_LONGEST_TABULATED_SPAN = 2048

# Corners are moved into +-this before they become integers, so that infinite coordinates stay
# defined.
_FARTHEST_CELL = 2.0**28


@keras.saving.register_keras_serializable("keras_frcnn")
class RoIPooling(keras.layers.Layer):
    """Max-pools the window of each region to a fixed grid, exactly as Fast R-CNN does.

    1. Corners are divided by the stride and rounded, halves away from zero; the far cell is
       included, so a region spans at least one cell.
    2. The span is cut into p x p bins from floor(i * bin) to ceil((i + 1) * bin), cut off at the
       map's border.
    3. Each bin gives its maximum, for each channel; an empty bin (outside the map) gives 0.

    Coordinates: yxyx pixels of the network's input. Gradient flows to the features, to the first
    maximum of a bin in row order; there is none to the regions (rounding has none: non-approximate
    joint training needs ``RoIAlign``). The maxima are exact in every precision. No randomness.

    How: maxima over windows of 2^k x 2^l cells are tabulated once for the whole map; any bin is
    then covered by four (overlapping) windows, whatever its size.

    Args:
        pool_size: p. Default 7.
        stride: pixels of a cell. Default 16.

    Call arguments:
        features: [B, h, w, C], any float type.
        rois: [B, R, 4]; zero boxes pool the first cell.
        feature_shape: [B, 2] int32, true rows and columns of each map. None: all of them.

    Returns:
        [B, R, p, p, C] of the features' type.

    Differences from the paper: none. Equal to ``torchvision.ops.roi_pool(spatial_scale=1 /
    stride)``.

    Reference: Girshick 2015 (Fast R-CNN), section 2.1.
    """

    def __init__(self, pool_size=7, stride=16, **kwargs):
        # Keras would cast the regions' coordinates to a mixed policy's 8 or 11 bits.
        super().__init__(autocast=False, **kwargs)
        self.pool_size = pool_size
        self.stride = stride
        self.supports_jit = False

    def call(self, features, rois, feature_shape=None):
        shape = tf.shape(features)
        if feature_shape is None:
            feature_shape = tf.broadcast_to(shape[1:3], [shape[0], 2])
        y_bins = _bins(rois[..., 0::2], feature_shape[:, 0], self.pool_size, self.stride)
        x_bins = _bins(rois[..., 1::2], feature_shape[:, 1], self.pool_size, self.stride)
        return _max_of_bins(features, y_bins, x_bins)

    def get_config(self):
        return {**super().get_config(), "pool_size": self.pool_size, "stride": self.stride}


def _round(x):
    """Rounds halves away from zero, as C does; ``tf.round`` rounds them to even."""
    whole = tf.floor(tf.abs(x))
    return tf.sign(x) * (whole + tf.cast(tf.abs(x) - whole >= 0.5, x.dtype))


def _bins(spans, limit, pool_size, stride):
    """Cells of each bin along one axis.

    Args:
        spans: [B, R, 2] first and last pixel.
        limit: [B] int32 cells of the map.

    Returns:
        ``(start [B, R, p], end [B, R, p])`` int32, end exclusive, both within the map.
    """
    cells = tf.cast(tf.stop_gradient(spans), tf.float32) * tf.constant(1 / stride, tf.float32)
    cells = tf.where(tf.math.is_nan(cells), 0.0, cells)
    cells = _round(tf.clip_by_value(cells, -_FARTHEST_CELL, _FARTHEST_CELL))
    first, last = tf.unstack(tf.cast(cells, tf.int64), axis=-1)
    span = tf.maximum(last - first + 1, 1)
    row = tf.minimum(span, _LONGEST_TABULATED_SPAN)
    is_long = (span > _LONGEST_TABULATED_SPAN)[..., tf.newaxis]
    i, n = tf.range(pool_size, dtype=tf.int64), span[..., tf.newaxis]
    limit = tf.cast(limit, tf.int64)[:, tf.newaxis, tf.newaxis]

    def within(offset):
        return tf.cast(tf.clip_by_value(first[..., tf.newaxis] + offset, 0, limit), tf.int32)

    starts, ends = _bin_table(pool_size)
    start = tf.where(is_long, i * n // pool_size, tf.gather(starts, row))
    end = tf.where(is_long, -(-(i + 1) * n // pool_size), tf.gather(ends, row))
    return within(start), within(end)


def _bin_table(pool_size):
    """First and last cell (exclusive) of each bin, for spans of 0, 1, 2, ... cells: two [spans, p]
    int64 arrays.

    In NumPy's float32, because the reference operators divide in float32, which now and then takes
    in one cell more than whole numbers would (from 57 cells on for p = 7), and because a compiler
    may turn that division into a multiplication, which is wrong far more often.
    """
    bin_size = np.arange(_LONGEST_TABULATED_SPAN + 1, dtype=np.float32)[:, np.newaxis] / np.float32(
        pool_size
    )
    i = np.arange(pool_size, dtype=np.float32)
    return np.floor(i * bin_size).astype(np.int64), np.ceil((i + np.float32(1)) * bin_size).astype(
        np.int64
    )


def _levels(start, end):
    """Largest k with 2^k <= end - start (0 for empty bins), and how many levels that makes in
    all.
    """
    powers = 2 ** tf.range(1, 29)
    levels = tf.reduce_sum(tf.cast((end - start)[..., tf.newaxis] >= powers, tf.int32), axis=-1)
    return levels, tf.reduce_max(tf.concat([tf.reshape(levels, [-1]), [0]], axis=0)) + 1


def _max_of_bins(features, y_bins, x_bins):
    """Maximum of every bin: features [B, h, w, C], bins of ``_bins`` -> [B, R, p, p, C]."""
    cover = _Cover(features, y_bins, x_bins)

    @tf.custom_gradient
    def pool(features):
        (values,) = cover.tables((features,), lambda a, b: (tf.maximum(a[0], b[0]),))
        corners = [tf.gather(values, rows) for rows in cover.corner_rows]
        best = tf.maximum(tf.maximum(corners[0], corners[1]), tf.maximum(corners[2], corners[3]))
        output = tf.where(cover.empty, tf.zeros([], best.dtype), best)

        def gradient(upstream):
            return cover.scatter(upstream, cover.argmax(features), features)

        return output, gradient

    return pool(features)


class _Cover:
    """The four windows that cover each bin, as rows of tables of window maxima."""

    def __init__(self, features, y_bins, x_bins):
        self.batch_size, self.h, self.w, self.channels = tf.unstack(tf.shape(features))
        (y1, y_end), (x1, x_end) = y_bins, x_bins
        y_level, self.num_y_levels = _levels(y1, y_end)
        x_level, self.num_x_levels = _levels(x1, x_end)
        is_empty = (y_end <= y1)[..., :, tf.newaxis] | (x_end <= x1)[..., tf.newaxis, :]
        self.empty = is_empty[..., tf.newaxis]

        # Rows of the table [x level, y level, picture, y, x] laid flat.
        picture = tf.range(self.batch_size)[:, tf.newaxis, tf.newaxis, tf.newaxis]
        table = x_level[..., tf.newaxis, :] * self.num_y_levels + y_level[..., :, tf.newaxis]
        base = (table * self.batch_size + picture) * self.h
        ys = (y1, y_end - 2**y_level)
        xs = (x1, x_end - 2**x_level)
        self.corner_rows = [
            tf.where(is_empty, 0, (base + y[..., :, tf.newaxis]) * self.w + x[..., tf.newaxis, :])
            for y in ys
            for x in xs
        ]

    def tables(self, start, combine):
        """Folds windows of 1, 2, 4, ... cells in both axes.

        Widths grow in the outer loop, heights in the inner one, so that of two windows joined the
        first always holds the earlier cells in row order among equal maxima.

        Args:
            start: tuple of [B, h, w, C] tensors.
            combine: function of two such tuples, the earlier window first.

        Returns:
            Tuple of tables [levels * B * h * w, C].
        """
        size = self.num_x_levels * self.num_y_levels
        arrays = tuple(tf.TensorArray(t.dtype, size, element_shape=t.shape) for t in start)
        shapes = tuple(tf.TensorShape([None, None, None, t.shape[-1]]) for t in start)

        def grow(windows, level, axis):
            # The tail of a shifted map repeats windows that no bin reads.
            shift = 2 ** (level - 1)
            length = tf.shape(windows[0])[axis]
            cells = tf.minimum(tf.range(length) + shift, length - 1)
            return combine(windows, tuple(tf.gather(t, cells, axis=axis) for t in windows))

        def x_body(x_level, windows, arrays):
            windows = tf.cond(x_level > 0, lambda: grow(windows, x_level, 2), lambda: windows)

            def y_body(y_level, windows, arrays):
                windows = tf.cond(y_level > 0, lambda: grow(windows, y_level, 1), lambda: windows)
                row = x_level * self.num_y_levels + y_level
                arrays = tuple(a.write(row, t) for a, t in zip(arrays, windows, strict=True))
                return y_level + 1, windows, arrays

            _, _, arrays = tf.while_loop(
                lambda y_level, *_: y_level < self.num_y_levels,
                y_body,
                (0, windows, arrays),
                shape_invariants=(tf.TensorShape([]), shapes, tuple(None for _ in arrays)),
            )
            return x_level + 1, windows, arrays

        _, _, arrays = tf.while_loop(
            lambda x_level, *_: x_level < self.num_x_levels,
            x_body,
            (0, start, arrays),
            shape_invariants=(tf.TensorShape([]), shapes, tuple(None for _ in arrays)),
        )
        return tuple(tf.reshape(a.stack(), [-1, self.channels]) for a in arrays)

    def argmax(self, features):
        """Row ``(picture, y, x)`` laid flat of the first maximum of each bin and channel; -1 in
        empty bins.
        """
        cells = tf.reshape(
            tf.range(self.batch_size * self.h * self.w), [self.batch_size, self.h, self.w, 1]
        )
        cells = tf.broadcast_to(cells, tf.shape(features))

        def combine(first, second):
            later = second[0] > first[0]
            return tf.where(later, second[0], first[0]), tf.where(later, second[1], first[1])

        values, cells = self.tables((features, cells), combine)
        best, best_cell = (
            tf.gather(values, self.corner_rows[0]),
            tf.gather(cells, self.corner_rows[0]),
        )
        for rows in self.corner_rows[1:]:
            value, cell = tf.gather(values, rows), tf.gather(cells, rows)
            # The four windows overlap, so equal maxima may come in any order.
            wins = (value > best) | ((value == best) & (cell < best_cell))
            best, best_cell = tf.where(wins, value, best), tf.where(wins, cell, best_cell)
        return tf.where(self.empty, -1, best_cell)

    def scatter(self, upstream, cells, features):
        """Adds the gradient [B, R, p, p, C] of each bin onto its cell of the features, summed in
        float32.
        """
        channel = tf.range(self.channels)
        targets = tf.where(cells < 0, -1, cells * self.channels + channel)
        summed = tf.math.unsorted_segment_sum(
            tf.reshape(tf.cast(upstream, tf.float32), [-1]),
            tf.reshape(targets, [-1]),
            tf.size(features),
        )
        return tf.cast(tf.reshape(summed, tf.shape(features)), features.dtype)
