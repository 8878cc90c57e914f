"""RoIAlign: bilinear sampling of regions, without quantisation."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("keras_frcnn")
class RoIAlign(keras.layers.Layer):
    """Averages bilinear samples of each RoI over a fixed grid, without rounding anything.

    1. Divide the RoI by the stride and shift it by half a cell, since cell centres lie at whole
       numbers. Without ``half_pixel``, do not shift it, but enlarge it downwards and to the right
       to at least one cell. Cut it into p x p bins, each with ``sampling_ratio`` x
       ``sampling_ratio`` evenly spaced samples.
    2. Interpolate each sample from the four cells around it. Up to one cell outside the map, a
       sample has the value of the border; farther out, 0.
    3. Average the samples of each bin.

    Coordinates: yxyx pixels of the network's input. The layer computes in float32 and returns the
    type of the features. Gradient: flows to the features and to the RoIs. Randomness: none.

    Args:
        pool_size: p. Default 7.
        stride: pixels per cell. Default 16.
        sampling_ratio: samples per bin and axis. Default 2.
        supports_jit: compute with matrix products, which XLA compiles. They are equal up to
            rounding, but slower without XLA. Default False.
        sparse_gradient: without XLA, add the gradient of each sample to the cells around it, which
            suits the large maps of a feature pyramid. Otherwise it is computed with the matrix
            products, whose cost grows with the map. Default False.
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
        samples = self.pool_size * self.sampling_ratio
        shift = 0.5 if self.half_pixel else 0.0
        top_left = tf.cast(rois[..., :2], tf.float32) / self.stride - shift
        bottom_right = tf.cast(rois[..., 2:], tf.float32) / self.stride - shift
        if not self.half_pixel:
            bottom_right = tf.maximum(bottom_right, top_left + 1.0)
        half_step = (bottom_right - top_left) / (2 * samples)
        pool = self._by_products if self.supports_jit else self._by_crops
        pooled = pool(
            tf.cast(features, tf.float32),
            top_left + half_step,
            bottom_right - half_step,
            feature_shape,
        )
        return tf.cast(pooled, features.dtype)

    def _positions(self, first, last):
        """Where the samples lie, rows and columns apart: [B, R, 2, samples] cells."""
        # As tf.linspace does it, which holds an operation that ONNX lacks.
        steps = self.pool_size * self.sampling_ratio - 1
        if not steps:
            return first[..., tf.newaxis]
        step = (last - first) / steps
        before_last = first[..., tf.newaxis] + step[..., tf.newaxis] * tf.range(float(steps))
        return tf.concat([before_last, last[..., tf.newaxis]], axis=-1)

    def _neighbours(self, features, first, last, feature_shape):
        """Returns for each sample, rows and columns apart, the cell before it, the share of the
        cell after that one, and whether the sample counts: [B, R, 2, samples].
        """
        if feature_shape is None:
            feature_shape = tf.shape(features)[tf.newaxis, 1:3]
        position, limit = self._positions(first, last), _limit(feature_shape)
        is_inside = (position >= -1.0) & (position <= limit)
        position = tf.clip_by_value(position, 0.0, limit - 1.0)
        before = tf.minimum(tf.floor(position), tf.maximum(limit - 2.0, 0.0))
        return before, position - before, is_inside

    def _by_products(self, features, first, last, feature_shape):
        """Bilinear sampling and averaging as one weight of each cell for each bin, axis by axis."""
        before, share, is_inside = self._neighbours(features, first, last, feature_shape)

        def weights(axis):  # [B, R, p, cells]
            cells = tf.range(tf.shape(features)[axis + 1], dtype=tf.float32)
            cell = before[:, :, axis, :, tf.newaxis]
            after = share[:, :, axis, :, tf.newaxis]
            weight = tf.where(cells == cell, 1.0 - after, tf.where(cells == cell + 1.0, after, 0.0))
            weight = tf.where(is_inside[:, :, axis, :, tf.newaxis], weight, 0.0)
            shape = tf.shape(weight)
            bins = [shape[0], shape[1], self.pool_size, self.sampling_ratio, shape[3]]
            return tf.reduce_mean(tf.reshape(weight, bins), axis=3)

        # In this order, and as products of matrices, nothing has to be transposed.
        rows = tf.einsum("brph,bhwc->brpwc", weights(0), features)
        return tf.matmul(weights(1)[:, :, tf.newaxis], rows)

    def _by_cells(self, features, first, last, feature_shape):
        """As ``_by_products``, but each bin reads the cells around its samples alone."""
        before, share, is_inside = self._neighbours(features, first, last, feature_shape)
        cells = tf.stack([before, before + 1.0], axis=-1)
        weights = tf.stack([1.0 - share, share], axis=-1) / self.sampling_ratio
        weights = tf.where(is_inside[..., tf.newaxis], weights, 0.0)
        batch_size, h, w, _ = tf.unstack(tf.shape(features))
        extent = tf.stack([h, w])[:, tf.newaxis, tf.newaxis] - 1  # the weight past a map's end is 0
        cells = tf.clip_by_value(tf.cast(cells, tf.int32), 0, extent)

        def of_bins(values, axis):  # [B, R, p, cells that a bin reads]
            shape = [batch_size, tf.shape(first)[1], self.pool_size, 2 * self.sampling_ratio]
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

    def _by_crops(self, features, first, last, feature_shape):
        """As ``_by_products``, but forward with TensorFlow's kernel, which is several times faster.

        The kernel's own gradient is unusable. On CPUs its threads add to the same cells without
        a lock and lose values (tensorflow/tensorflow#42033), and on GPUs it refuses to be
        deterministic.
        """

        @tf.custom_gradient
        def pool(features, first, last):
            def gradient(upstream):
                with tf.GradientTape() as tape:
                    tape.watch((features, first, last))
                    pool = self._by_cells if self.sparse_gradient else self._by_products
                    pooled = pool(features, first, last, feature_shape)
                return tape.gradient(pooled, (features, first, last), upstream)

            return self._crop(features, first, last, feature_shape), gradient

        return pool(features, first, last)

    def _crop(self, features, first, last, feature_shape):
        """Sampling by ``crop_and_resize``, and averaging after it."""
        batch_size, num_rois = tf.unstack(tf.shape(first)[:2])
        size, samples = self.pool_size, self.pool_size * self.sampling_ratio
        # One more cell on each side holds the value of the border; crop_and_resize gives 0 beyond
        # it. Its coordinates run from 0 to 1 between the centres of the outermost cells.
        bordered = _repeat_border(features, feature_shape)
        extent = tf.cast(tf.shape(bordered)[1:3] - 1, tf.float32)
        crops = tf.image.crop_and_resize(
            bordered,
            tf.reshape(
                tf.concat([(first + 1.0) / extent, (last + 1.0) / extent], axis=-1), [-1, 4]
            ),
            tf.repeat(tf.range(batch_size), num_rois),
            [samples, samples],
        )
        if feature_shape is not None:
            crops = self._drop_outside(crops, first, last, feature_shape)
        pooled = tf.nn.avg_pool2d(crops, self.sampling_ratio, self.sampling_ratio, "VALID")
        return tf.reshape(pooled, [batch_size, num_rois, size, size, features.shape[-1]])

    def _drop_outside(self, crops, first, last, feature_shape):
        """Zeros samples more than a cell outside their own map, because crop_and_resize knows only
        the size of the batch.
        """
        outside = self._positions(first, last) > _limit(feature_shape)
        outside = tf.reshape(outside, [-1, 2, self.pool_size * self.sampling_ratio])

        def drop():
            drop_cell = outside[:, 0, :, tf.newaxis] | outside[:, 1, tf.newaxis, :]
            return tf.where(drop_cell[..., tf.newaxis], 0.0, crops)

        return tf.cond(tf.reduce_any(outside), drop, lambda: crops)

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
