"""Runs a Keras network on a padded batch so that each image has the same result as alone."""

import keras
import numpy as np
import tensorflow as tf

from keras_frcnn.backbones.layer_rules import refusal, rule_of
from keras_frcnn.backbones.network_graph import IMAGES, read_graph
from keras_frcnn.ops.padding import clear_padding

_PROBED_SIZES = np.arange(1, 2049, dtype=np.int32)  # of images, to compare the sizes of maps


class PaddingExactNetwork:
    """Runs a network on images of different sizes, padded to one batch.

    1. The network's graph is read once, from its configuration, as a list of calls of its layers.
    2. Each call runs the network's own layer on the whole batch.
    3. Before a layer that reads cells outside an image's true area, these cells are set to zero,
       unless they are known to be zero. A batch without padding skips this. Windows of an average
       with "same" padding leave these cells out, as they leave out cells outside the map.
    4. The true rows and columns of every map follow from those of the image.

    Args:
        network: a Functional or Sequential Keras model that makes one map or a list of maps of
            images [B, H, W, 3]. It may contain other such models.

    Raises:
        ValueError: naming a layer that cannot be run in this way.
    """

    def __init__(self, network: keras.Model):
        calls, self._outputs = read_graph(network)
        self._steps = [(call, rule_of(call.operation, call.kwargs)) for call in calls]
        self._check()

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The layers in the order in which they run, including those of nested models."""
        operations = dict.fromkeys(call.operation for call, _ in self._steps)
        return [one for one in operations if isinstance(one, keras.layers.Layer)]

    def __call__(
        self, images: tf.Tensor, image_shape: tf.Tensor, is_padded: tf.Tensor
    ) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Runs the network.

        Args:
            images: [B, H, W, 3], zero outside each image.
            image_shape: [B, 2] int32, the true height and width of each image.
            is_padded: bool scalar, whether any image is smaller than H x W.

        Returns:
            ``(map [B, h, w, C], shape [B, 2] int32)`` for each output of the network; the map is
            zero outside its true ``shape``.
        """
        shapes = self._shapes(image_shape)
        maps, zero_padded = {IMAGES: images}, {IMAGES}

        def clear(key):
            if key not in zero_padded:
                maps[key] = clear_padding(maps[key], shapes[key], is_padded)
                zero_padded.add(key)

        for call, rule in self._steps:
            if rule.reads_border or rule.skips_outside:
                for key in call.inputs:
                    clear(key)
            if rule.averages:
                (key,) = call.inputs
                maps[call.key] = _mean(maps[key], shapes[key])
            elif rule.skips_outside:
                (key,) = call.inputs
                maps[call.key] = _mean_of_windows(call.operation, maps[key], shapes[key])
            else:
                known = {"coarse_shape": shapes[call.inputs[0]]} if rule.enlarges else {}
                maps[call.key] = call.run(maps, **rule.arguments, **known)
            if rule.pads_zeros:
                zero_padded.add(call.key)
        for key in self._outputs:
            clear(key)
        return [(maps[key], shapes[key]) for key in self._outputs]

    def output_shapes(self, image_shape: tf.Tensor) -> list[tf.Tensor]:
        """Computes the true sizes of the network's maps from those of the images alone.

        Args:
            image_shape: [..., 2] integers, true heights and widths of images.

        Returns:
            [..., 2] integers of the same kind for each output, rows and columns, at least 1.
        """
        shapes = self._shapes(image_shape)
        return [shapes[key] for key in self._outputs]

    def _shapes(self, image_shape):
        """Computes the true size of every map; None for results of one vector per image."""
        shapes = {IMAGES: image_shape}
        for call, rule in self._steps:
            maps = [shapes[key] for key in call.inputs if shapes[key] is not None]
            shapes[call.key] = rule.size(maps[-1]) if maps and not rule.averages else None
        return shapes

    def _check(self):
        """Refuses layers whose inputs do not fit together for every size of an image."""
        shapes = self._shapes(np.stack([_PROBED_SIZES, _PROBED_SIZES[::-1]], axis=1))
        for call, rule in self._steps:
            maps = [shapes[key] for key in call.inputs if shapes[key] is not None]
            if not maps and rule.needs_map:
                raise refusal(
                    call.operation,
                    "it reads neighbouring cells, but its input is one vector for each image",
                    "give it a map of the image",
                )
            if rule.enlarges:
                fits = len(maps) == 2 and np.all(np.abs(2 * maps[0] - maps[1]) <= 1)
            else:
                fits = all(np.array_equal(maps[0], one) for one in maps[1:])
            if not fits:
                raise refusal(
                    call.operation,
                    "the true sizes of its inputs differ for some image sizes",
                    "make the padding and strides of its branches agree",
                )
        for key in self._outputs:
            if shapes[key] is None:
                raise ValueError(
                    "The network must give maps [B, h, w, C]. Received: one vector "
                    f"for each image, of the layer {key[-3]!r}"
                )


def _mean(x, shape):
    """Averages each map, zero in its padding, over its true area: [B, 1, 1, C]."""
    area = tf.cast(tf.reduce_prod(shape, axis=1), tf.float32)[:, tf.newaxis, tf.newaxis, tf.newaxis]
    total = tf.reduce_sum(tf.cast(x, tf.float32), axis=[1, 2], keepdims=True)
    return tf.cast(total / area, x.dtype)


def _mean_of_windows(pooling, x, shape):
    """Averages each window of maps, zero in their padding, over its cells in the true area.

    The shares of such cells are 1, 1/2 and 1/4, so that no number format rounds them.
    """
    true = clear_padding(tf.ones_like(x[..., :1]), shape, tf.constant(True))
    return tf.math.divide_no_nan(pooling(x), pooling(true))
