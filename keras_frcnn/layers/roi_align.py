"""RoIAlign: bilinear sampling of regions, without quantisation."""

import keras
import tensorflow as tf

# Of the values that are sampled at once where the RoIs have unequal numbers of samples: 256 MiB.
_MOST_SAMPLES = 2**26


@keras.saving.register_keras_serializable("keras_frcnn")
class RoIAlign(keras.layers.Layer):
    """Averages bilinear samples of each RoI over a fixed grid, without rounding anything.

    1. Divide the RoI by the stride and shift it by half a cell, since cell centres lie at whole
       numbers. Without ``half_pixel``, do not shift it, but enlarge it downwards and to the right
       to at least one cell. Cut it into p x p bins, each with ``sampling_ratio`` x
       ``sampling_ratio`` evenly spaced samples. If ``sampling_ratio`` is 0, each RoI has its own
       numbers of rows and columns: those of the cells that a bin covers, rounded up.
    2. Interpolate each sample from the four cells around it. Up to one cell outside the map, a
       sample has the value of the border; farther out, 0.
    3. Average the samples of each bin.

    Coordinates: yxyx pixels of the network's input. The layer computes in float32 and returns the
    type of the features. Gradient: flows to the features and to the RoIs. Randomness: none.

    Args:
        pool_size: p. Default 7.
        stride: pixels per cell. Default 16.
        sampling_ratio: samples per bin and axis, or 0, see step 1. Then an RoI without area, or an
            inverted one, gives zeros. Default 2.
        supports_jit: compute with matrix products, which XLA compiles. They are equal up to
            rounding, but slower without XLA. If ``sampling_ratio`` is 0, an RoI must not be larger
            than the map. Default False.
        sparse_gradient: without XLA, add the gradient of each sample to the cells around it, which
            suits the large maps of a feature pyramid. Otherwise, and if ``sampling_ratio`` is 0, it
            is computed with the matrix products, whose cost grows with the map. Default False.
        half_pixel: see step 1. Default True.

    Call arguments:
        features: [B, h, w, C], any float type.
        rois: [B, R, 4].
        feature_shape: [B, 2] int32, true rows and columns of each map. None: all of them.

    Returns:
        [B, R, p, p, C] of the features' type.

    Differences from the paper: not in the paper. Equal to
    ``torchvision.ops.roi_align`` with ``aligned=half_pixel``.

    Reference: He et al. 2017 (Mask R-CNN), section 3.
    """

    def __init__(
        self,
        pool_size=7,
        stride=16,
        sampling_ratio=2,
        supports_jit=False,
        sparse_gradient=False,
        half_pixel=True,
        **kwargs,
    ):
        # Keras would cast the regions' coordinates to a mixed policy's 8 or 11 bits.
        super().__init__(autocast=False, **kwargs)
        self.pool_size = pool_size
        self.stride = stride
        self.sampling_ratio = sampling_ratio
        self.supports_jit = supports_jit
        self.sparse_gradient = sparse_gradient
        self.half_pixel = half_pixel

    def call(self, features, rois, feature_shape=None):
        shift = 0.5 if self.half_pixel else 0.0
        top_left = tf.cast(rois[..., :2], tf.float32) / self.stride - shift
        bottom_right = tf.cast(rois[..., 2:], tf.float32) / self.stride - shift
        if not self.half_pixel:
            bottom_right = tf.maximum(bottom_right, top_left + 1.0)
        pool = self._by_products if self.supports_jit else self._by_crops
        pooled = pool(tf.cast(features, tf.float32), top_left, bottom_right, feature_shape)
        return tf.cast(pooled, features.dtype)

    def _counts(self, start, end):
        """The samples of a bin along each axis, [B, R, 2] int32, of RoIs that each have their own;
        0 where an RoI has no extent.
        """
        return tf.maximum(tf.cast(tf.math.ceil((end - start) / self.pool_size), tf.int32), 0)

    def _ends(self, start, end, counts):
        """The first and the last sample along each axis."""
        half_step = (end - start) / (2 * self.pool_size * counts)
        return start + half_step, end - half_step

    def _samples(self, features, start, end):
        """Returns where the samples lie, [B, R, 2, p * n] cells, rows and columns apart; n; and the
        weight of each in its bin, which broadcasts against [B, R, 2, p * n].
        """
        if self.sampling_ratio:
            first, last = self._ends(start, end, self.sampling_ratio)
            count = self.pool_size * self.sampling_ratio
            positions = _positions(first, last, count)
            return positions, self.sampling_ratio, 1.0 / self.sampling_ratio
        counts = self._counts(start, end)
        if self.supports_jit:  # XLA must know the number before it sees an RoI
            n = (tf.reduce_max(tf.shape(features)[1:3]) + self.pool_size) // self.pool_size
        else:
            n = tf.maximum(tf.reduce_max(counts), 1)
        places = tf.range(n, dtype=tf.float32)
        share = 1.0 / tf.cast(tf.maximum(counts, 1), tf.float32)[..., tf.newaxis, tf.newaxis]
        bins = tf.range(self.pool_size, dtype=tf.float32)[:, tf.newaxis] + (places + 0.5) * share
        size = ((end - start) / self.pool_size)[..., tf.newaxis, tf.newaxis]
        positions = start[..., tf.newaxis, tf.newaxis] + bins * size
        is_sample = tf.range(n) < counts[..., tf.newaxis, tf.newaxis]
        shape = tf.concat([tf.shape(start), [self.pool_size * n]], axis=0)
        weights = tf.broadcast_to(tf.where(is_sample, share, 0.0), tf.shape(positions))
        return tf.reshape(positions, shape), n, tf.reshape(weights, shape)

    def _neighbours(self, features, start, end, feature_shape):
        """Returns for each sample, rows and columns apart, [B, R, 2, p * n]: the cell before it,
        the share of the cell after that one, and its weight in its bin, 0 if it does not count;
        and n.
        """
        if feature_shape is None:
            feature_shape = tf.shape(features)[tf.newaxis, 1:3]
        position, n, weight = self._samples(features, start, end)
        limit = _limit(feature_shape)
        weight = tf.where((position >= -1.0) & (position <= limit), weight, 0.0)
        position = tf.clip_by_value(position, 0.0, limit - 1.0)
        before = tf.minimum(tf.floor(position), tf.maximum(limit - 2.0, 0.0))
        return before, position - before, weight, n

    def _by_products(self, features, start, end, feature_shape):
        """Bilinear sampling and averaging as one weight of each cell for each bin, axis by axis."""
        before, share, factor, n = self._neighbours(features, start, end, feature_shape)

        def weights(axis):  # [B, R, p, cells]
            cells = tf.range(tf.shape(features)[axis + 1], dtype=tf.float32)
            cell = before[:, :, axis, :, tf.newaxis]
            after = share[:, :, axis, :, tf.newaxis]
            weight = tf.where(cells == cell, 1.0 - after, tf.where(cells == cell + 1.0, after, 0.0))
            weight *= factor[:, :, axis, :, tf.newaxis]
            shape = tf.shape(weight)
            bins = [shape[0], shape[1], self.pool_size, n, shape[3]]
            return tf.reduce_sum(tf.reshape(weight, bins), axis=3)

        # In this order, and as products of matrices, nothing has to be transposed.
        rows = tf.einsum("brph,bhwc->brpwc", weights(0), features)
        return tf.matmul(weights(1)[:, :, tf.newaxis], rows)

    def _by_cells(self, features, start, end, feature_shape):
        """As ``_by_products``, but each bin reads the cells around its samples alone."""
        before, share, factor, n = self._neighbours(features, start, end, feature_shape)
        cells = tf.stack([before, before + 1.0], axis=-1)
        weights = tf.stack([1.0 - share, share], axis=-1) * factor[..., tf.newaxis]
        batch_size, h, w, _ = tf.unstack(tf.shape(features))
        extent = tf.stack([h, w])[:, tf.newaxis, tf.newaxis] - 1  # the weight past a map's end is 0
        cells = tf.clip_by_value(tf.cast(cells, tf.int32), 0, extent)

        def of_bins(values, axis):  # [B, R, p, cells that a bin reads]
            shape = [batch_size, tf.shape(start)[1], self.pool_size, 2 * n]
            return tf.reshape(values[:, :, axis], shape)

        def pairs(of_rows, of_columns):  # [B, R, p, p, rows, columns]
            return of_rows[:, :, :, tf.newaxis, :, tf.newaxis], (
                of_columns[:, :, tf.newaxis, :, tf.newaxis, :]
            )

        rows, columns = pairs(of_bins(cells, 0) * w, of_bins(cells, 1))
        row_weights, column_weights = pairs(of_bins(weights, 0), of_bins(weights, 1))
        flat = tf.reshape(features, [batch_size, h * w, features.shape[-1]])
        values = tf.gather(flat, rows + columns, batch_dims=1)
        return tf.einsum("brpqyx,brpqyxc->brpqc", row_weights * column_weights, values)

    def _by_crops(self, features, start, end, feature_shape):
        """As ``_by_products``, but forward with TensorFlow's kernel, which is several times faster.

        The kernel's own gradient is unusable. On CPUs its threads add to the same cells without
        a lock and lose values (tensorflow/tensorflow#42033), and on GPUs it refuses to be
        deterministic.
        """
        is_sparse = self.sparse_gradient and self.sampling_ratio > 0

        @tf.custom_gradient
        def pool(features, start, end):
            def gradient(upstream):
                with tf.GradientTape() as tape:
                    tape.watch((features, start, end))
                    pool = self._by_cells if is_sparse else self._by_products
                    pooled = pool(features, start, end, feature_shape)
                return tape.gradient(pooled, (features, start, end), upstream)

            crop = self._crop if self.sampling_ratio else self._crop_by_size
            return crop(features, start, end, feature_shape), gradient

        return pool(features, start, end)

    def _crop(self, features, start, end, feature_shape):
        """Sampling by ``crop_and_resize``, and averaging after it."""
        batch_size, num_rois = tf.unstack(tf.shape(start)[:2])
        size, samples = self.pool_size, self.pool_size * self.sampling_ratio
        ends = tf.concat(self._ends(start, end, self.sampling_ratio), axis=-1)
        crops = _crops(
            _repeat_border(features, feature_shape),
            tf.reshape(ends, [-1, 4]),
            tf.repeat(tf.range(batch_size), num_rois),
            [samples, samples],
            feature_shape,
        )
        pooled = tf.nn.avg_pool2d(crops, self.sampling_ratio, self.sampling_ratio, "VALID")
        return tf.reshape(pooled, [batch_size, num_rois, size, size, features.shape[-1]])

    def _crop_by_size(self, features, start, end, feature_shape):
        """As ``_crop``, in groups of RoIs that have equal numbers of samples."""
        batch_size, num_rois = tf.unstack(tf.shape(start)[:2])
        size, channels = self.pool_size, features.shape[-1]
        counts = tf.reshape(self._counts(start, end), [-1, 2])
        at_least_one = tf.maximum(counts, 1)
        divisors = tf.cast(tf.reshape(at_least_one, tf.shape(start)), tf.float32)
        ends = tf.reshape(tf.concat(self._ends(start, end, divisors), axis=-1), [-1, 4])
        groups = at_least_one[:, 0] * (tf.reduce_max(at_least_one) + 1) + at_least_one[:, 1]
        order = tf.argsort(groups, stable=True)
        groups = tf.gather(groups, order)
        bordered = _repeat_border(features, feature_shape)
        total = batch_size * num_rois

        def pool(at, number, parts):
            count = at_least_one[order[at]]
            after = tf.searchsorted(groups, groups[at, tf.newaxis], side="right")[0]
            fitting = _MOST_SAMPLES // (tf.reduce_prod(count) * size**2 * channels)
            chosen = order[at : tf.minimum(after, at + tf.maximum(fitting, 1))]
            images = chosen // num_rois
            crops = _crops(
                bordered, tf.gather(ends, chosen), images, tf.unstack(size * count), feature_shape
            )
            bins = tf.reshape(crops, [-1, size, count[0], size, count[1], channels])
            part = tf.reduce_mean(bins, axis=[2, 4])
            is_empty = tf.reduce_any(tf.gather(counts, chosen) < 1, axis=1)
            part = tf.where(is_empty[:, tf.newaxis, tf.newaxis, tf.newaxis], 0.0, part)
            return at + tf.size(chosen), number + 1, parts.write(number, part)

        parts = tf.TensorArray(
            tf.float32,
            size=0,
            dynamic_size=True,
            infer_shape=False,
            element_shape=[None, size, size, channels],
        )
        parts = parts.write(0, tf.zeros([0, size, size, channels]))  # for a batch without RoIs
        *_, parts = tf.while_loop(lambda at, *_: at < total, pool, (0, 1, parts))
        pooled = tf.gather(parts.concat(), tf.math.invert_permutation(order))
        return tf.reshape(pooled, [batch_size, num_rois, size, size, channels])

    def get_config(self):
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "stride": self.stride,
            "sampling_ratio": self.sampling_ratio,
            "supports_jit": self.supports_jit,
            "sparse_gradient": self.sparse_gradient,
            "half_pixel": self.half_pixel,
        }


def _crops(bordered, ends, images, size, feature_shape):
    """Samples RoIs at ``size`` points a side with ``crop_and_resize``.

    Args:
        bordered: [B, h + 2, w + 2, C], maps with a border of one more cell, which holds the value
            of the cell beside it. Beyond it, ``crop_and_resize`` gives 0.
        ends: [N, 4], first row and column, last row and column, in cells of the maps.
        images: [N], the map of each RoI.
        size: the number of rows and of columns.
        feature_shape: as for a call.
    """
    # crop_and_resize's coordinates run from 0 to 1 between the centres of the outermost cells.
    extent = tf.cast(tf.shape(bordered)[1:3] - 1, tf.float32)
    crops = tf.image.crop_and_resize(
        bordered, (ends + 1.0) / tf.concat([extent, extent], axis=0), images, size
    )
    if feature_shape is None:
        return crops
    # Samples more than a cell outside their own map are 0: the kernel knows only the batch's size.
    limit = tf.gather(tf.cast(feature_shape, tf.float32), images)
    outside = [
        tf.linspace(ends[:, axis], ends[:, axis + 2], size[axis], axis=-1)
        > limit[:, axis, tf.newaxis]
        for axis in (0, 1)
    ]

    def drop():
        drop_cell = outside[0][:, :, tf.newaxis] | outside[1][:, tf.newaxis, :]
        return tf.where(drop_cell[..., tf.newaxis], 0.0, crops)

    any_outside = tf.reduce_any(outside[0]) | tf.reduce_any(outside[1])
    return tf.cond(any_outside, drop, lambda: crops)


def _positions(first, last, count):
    """Returns ``count`` places from ``first`` [...] to ``last`` [...]: [..., count].

    As ``tf.linspace`` does it, which holds an operation that ONNX lacks.
    """
    steps = count - 1
    if not steps:
        return first[..., tf.newaxis]
    step = (last - first) / steps
    before_last = first[..., tf.newaxis] + step[..., tf.newaxis] * tf.range(float(steps))
    return tf.concat([before_last, last[..., tf.newaxis]], axis=-1)


def _limit(feature_shape):
    """True rows and columns as floats that broadcast against positions."""
    return tf.cast(feature_shape, tf.float32)[:, tf.newaxis, :, tf.newaxis]


def _repeat_border(features, feature_shape):
    """Surrounds each map with a copy of its border cells; past a map's true size the last cell is
    repeated too.
    """
    if feature_shape is None:
        return tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    shape = tf.shape(features)
    rows, columns = (
        tf.maximum(
            tf.minimum(tf.range(-1, shape[axis] + 1), feature_shape[:, axis - 1, tf.newaxis] - 1), 0
        )
        for axis in (1, 2)
    )
    features = tf.gather(features, rows, axis=1, batch_dims=1)
    columns = tf.repeat(columns[:, tf.newaxis], shape[1] + 2, axis=1)
    return tf.gather(features, columns, axis=2, batch_dims=2)
