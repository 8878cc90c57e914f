"""RoI pooling: quantised max pooling of regions, as in the paper."""

import keras
import numpy as np
import tensorflow as tf

# RoIs of up to this many cells look up their bins in a table. Longer ones, which reach far outside
# any image, compute them.
_LONGEST_TABULATED_SPAN = 2048

# Corners are clipped to plus or minus this before they become integers, so that infinite
# coordinates have a defined result.
_FARTHEST_CELL = 2.0**28


@keras.saving.register_keras_serializable("keras_frcnn")
class RoIPooling(keras.layers.Layer):
    """Max-pools the window of each RoI to a fixed grid, exactly as Fast R-CNN does.

    1. Divide the corners by the stride and round them, halves away from zero. The far cell is
       included, so that an RoI spans at least one cell.
    2. Cut the span into p x p bins, from floor(i * bin) to ceil((i + 1) * bin), and cut them off at
       the border of the map.
    3. Take the maximum of each bin and channel. An empty bin, outside the map, gives 0.

    Coordinates: yxyx pixels of the network's input. Gradient: flows to the features, namely to the
    first maximum of a bin in row order. There is none to the RoIs, since rounding has none:
    non-approximate joint training needs ``RoIAlign``. Randomness: none. The maxima are exact in
    every precision.

    The maxima over windows of 2^k x 2^l cells are tabulated once for the whole map. Four
    overlapping windows then cover any bin, whatever its size.

    Args:
        pool_size: p. Default 7.
        stride: pixels per cell. Default 16.
        supports_jit: compute with operations that XLA compiles, which tabulate windows of every
            size that fits into the map, not only of those that the RoIs need. Default False. The
            maxima are the same.

    Call arguments:
        features: [B, h, w, C] float32, bfloat16 or float16.
        rois: [B, R, 4]; zero boxes pool the first cell.
        feature_shape: [B, 2] int32, true rows and columns of each map. None: all of them.

    Returns:
        [B, R, p, p, C] of the features' type.

    Differences from the paper: none. Equal to ``torchvision.ops.roi_pool(spatial_scale=1 /
    stride)``.

    Reference: Girshick 2015 (Fast R-CNN), section 2.1.
    """

    def __init__(self, pool_size=7, stride=16, supports_jit=False, **kwargs):
        # Keras would cast the regions' coordinates to a mixed policy's 8 or 11 bits.
        super().__init__(autocast=False, **kwargs)
        self.pool_size = pool_size
        self.stride = stride
        self.supports_jit = supports_jit

    def call(self, features, rois, feature_shape=None):
        shape = tf.shape(features)
        if feature_shape is None:
            feature_shape = tf.broadcast_to(shape[1:3], [shape[0], 2])
        y_bins = _bins(rois[..., 0::2], feature_shape[:, 0], self.pool_size, self.stride)
        x_bins = _bins(rois[..., 1::2], feature_shape[:, 1], self.pool_size, self.stride)
        return _max_of_bins(features, y_bins, x_bins, self.supports_jit)

    def get_config(self):
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "stride": self.stride,
            "supports_jit": self.supports_jit,
        }


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
    end = tf.where(is_long, ((i + 1) * n + pool_size - 1) // pool_size, tf.gather(ends, row))
    return within(start), within(end)


def _bin_table(pool_size):
    """First and last cell (exclusive) of each bin, for spans of 0, 1, 2, ... cells: two [spans, p]
    int64 arrays.

    This is computed in NumPy's float32 for two reasons. The reference operators divide in float32,
    which sometimes includes one cell more than exact arithmetic would (from 57 cells on for p = 7).
    And a compiler may turn that division into a multiplication, which is wrong far more often.
    """
    bin_size = np.arange(_LONGEST_TABULATED_SPAN + 1, dtype=np.float32)[:, np.newaxis] / np.float32(
        pool_size
    )
    i = np.arange(pool_size, dtype=np.float32)
    return np.floor(i * bin_size).astype(np.int64), np.ceil((i + np.float32(1)) * bin_size).astype(
        np.int64
    )


def _level(length):
    """Largest k with 2^k <= length; 0 for a length below 1."""
    powers = tf.constant([2**i for i in range(1, 29)])
    return tf.reduce_sum(tf.cast(length[..., tf.newaxis] >= powers, tf.int32), axis=-1)


def _max_of_bins(features, y_bins, x_bins, supports_jit):
    """Maximum of every bin: features [B, h, w, C], bins of ``_bins`` -> [B, R, p, p, C]."""
    cover = _Cover(tf.shape(features), y_bins, x_bins, supports_jit)

    @tf.custom_gradient
    def pool(features):
        output = tf.where(cover.empty, tf.zeros([], features.dtype), cover.maximum(features))

        def gradient(upstream):
            return cover.scatter(upstream, cover.argmax(features))

        return output, gradient

    return pool(features)


def _largest(levels):
    """The largest level, 0 if there is none."""
    return tf.reduce_max(tf.concat([tf.reshape(levels, [-1]), [0]], axis=0))


class _Cover:
    """The four windows that cover each bin, as rows of tables of window maxima."""

    def __init__(self, shape, y_bins, x_bins, supports_jit):
        self.batch_size, self.h, self.w, self.channels = tf.unstack(shape)
        (y1, y_end), (x1, x_end) = y_bins, x_bins
        y_level, x_level = _level(y_end - y1), _level(x_end - x1)
        # XLA must know the number of tables before it sees a region.
        y_levels = _level(shape[1:2]) if supports_jit else y_level
        x_levels = _level(shape[2:3]) if supports_jit else x_level
        self.num_y_levels = _largest(y_levels) + 1
        self.num_x_levels = _largest(x_levels) + 1
        is_empty = (y_end <= y1)[..., :, tf.newaxis] | (x_end <= x1)[..., tf.newaxis, :]
        self.empty = is_empty[..., tf.newaxis]

        # Rows of the table [x level, y level, image, y, x] laid flat.
        image = tf.range(self.batch_size)[:, tf.newaxis, tf.newaxis, tf.newaxis]
        table = x_level[..., tf.newaxis, :] * self.num_y_levels + y_level[..., :, tf.newaxis]
        base = (table * self.batch_size + image) * self.h
        ys = (y1, y_end - tf.bitwise.left_shift(1, y_level))
        xs = (x1, x_end - tf.bitwise.left_shift(1, x_level))
        self.corner_rows = [
            tf.where(is_empty, 0, (base + y[..., :, tf.newaxis]) * self.w + x[..., tf.newaxis, :])
            for y in ys
            for x in xs
        ]

    def maximum(self, cells):
        """Maximum of each bin of [B, h, w, C] numbers: [B, R, p, p, C]; arbitrary in empty bins."""
        table = self._table(cells)
        corners = [tf.gather(table, rows) for rows in self.corner_rows]
        return tf.maximum(tf.maximum(corners[0], corners[1]), tf.maximum(corners[2], corners[3]))

    def _table(self, cells):
        """Maxima of the windows of 1, 2, 4, ... cells in both axes: [levels * B * h * w, C]."""
        size = self.num_x_levels * self.num_y_levels
        array = tf.TensorArray(cells.dtype, size, element_shape=cells.shape)
        shape = tf.TensorShape([None, None, None, cells.shape[-1]])

        def grow(windows, level, axis):
            # The tail of a shifted map repeats windows that no bin reads.
            length = tf.shape(windows)[axis]
            shifted = tf.minimum(tf.range(length) + tf.bitwise.left_shift(1, level - 1), length - 1)
            return tf.maximum(windows, tf.gather(windows, shifted, axis=axis))

        # One loop, because exporters to ONNX cannot write to an array in a loop inside a loop.
        def body(row, start, windows, array):
            x_level, y_level = row // self.num_y_levels, row % self.num_y_levels
            is_start = y_level == 0
            start = tf.cond(
                is_start & (x_level > 0), lambda: grow(start, x_level, 2), lambda: start
            )
            windows = tf.cond(is_start, lambda: start, lambda: grow(windows, y_level, 1))
            return row + 1, start, windows, array.write(row, windows)

        _, _, _, array = tf.while_loop(
            lambda row, *_: row < size,
            body,
            (0, cells, cells, array),
            shape_invariants=(tf.TensorShape([]), shape, shape, None),
        )
        return tf.reshape(array.stack(), [-1, self.channels])

    def argmax(self, features):
        """Cell ``y * w + x`` of the first maximum of each bin and channel, int32; arbitrary in
        empty bins.
        """
        if features.dtype.size == 4 or _has_gpu():
            return self._argmax(features, tf.int64)
        # int32 needs half the bytes, and suffices for images of up to 4096 x 4096 pixels.
        return tf.cond(
            self.h * self.w <= 2**16,
            lambda: self._argmax(features, tf.int32),
            lambda: self._argmax(features, tf.int64),
        )

    def _argmax(self, features, key):
        """Packs each value and its cell into one integer, with the value in the upper half of its
        bits. The largest integer is then the largest value and, among equals, the first cell.
        """
        shift, mask = 2 ** (4 * key.size), tf.constant(2 ** (4 * key.size) - 1, key)
        bits_type = tf.int16 if features.dtype.size == 2 else tf.int32
        bits = tf.cast(tf.bitcast(features, bits_type), key)
        magnitude = tf.bitwise.bitwise_and(bits, bits_type.max)
        order = tf.where(bits < 0, -magnitude, magnitude)  # both zeros are 0
        cells = tf.reshape(tf.range(tf.cast(self.h * self.w, key)), [1, self.h, self.w, 1])
        keys = self.maximum(order * shift + (mask - cells))
        return tf.cast(mask - tf.bitwise.bitwise_and(keys, mask), tf.int32)

    def scatter(self, upstream, cells):
        """Adds the gradient [B, R, p, p, C] of each bin onto its cell of the map, in float32:
        [B, h, w, C] of the gradient's type.
        """
        whole = tf.int64 if _has_gpu() else tf.int32
        shape = tf.stack([self.batch_size, self.h, self.w, self.channels])
        image = tf.range(self.batch_size)[:, tf.newaxis, tf.newaxis, tf.newaxis, tf.newaxis]
        offset = image * (self.h * self.w * self.channels) + tf.range(self.channels)
        places = tf.cast(cells, whole) * tf.cast(self.channels, whole) + tf.cast(offset, whole)
        places = tf.where(self.empty, tf.constant(-1, whole), places)
        # A single thread computes a sum, so one sum for each row of bins keeps all threads busy.
        rows = [
            _sum_at(places[:, :, i], upstream[:, :, i], tf.reduce_prod(shape))
            for i in range(upstream.shape[2])
        ]
        summed = tf.add_n(rows)
        return tf.cast(tf.reshape(summed, shape), upstream.dtype)


def _sum_at(places, values, size):
    """Adds values to their cells of a flat map, in float32; values of cell -1 are dropped."""
    return tf.math.unsorted_segment_sum(
        tf.reshape(tf.cast(values, tf.float32), [-1]), tf.reshape(places, [-1]), size
    )


def _has_gpu():
    """Says whether there is a GPU, beside which TensorFlow still computes int32 on the CPU."""
    return bool(tf.config.list_logical_devices("GPU"))
