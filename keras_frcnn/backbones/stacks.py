"""Stacks of layers that backbones are made of, run so that no image's padding matters."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Stack:
    """What a backbone is made of.

    Attributes:
        layers: in order. A layer's name ``block<n>_...`` (or ``conv<n>_...``, as keras.applications
            calls them in ResNets) says which block it can be frozen with.
        stride: pixels of the image a feature cell stands for.
        rpn_channels: width of the RPN's 3x3 convolution on it.
        make_head: makes the layer that takes pooled regions [N, p, p, C] to [N, q, q, D], in place
            of the box head's dense layers. None: the box head has dense layers.
    """

    layers: list[keras.layers.Layer]
    stride: int
    rpn_channels: int
    make_head: Callable[[], keras.layers.Layer] | None = None


class _Branches(keras.layers.Layer):
    """A layer made of lists of layers, each applied in order."""

    def __init__(self, *branches, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.branches = [list(branch) for branch in branches]

    def build(self, shape):
        for branch in self.branches:
            build(branch, shape)
        self.built = True

    def get_config(self):
        branches = [
            [keras.saving.serialize_keras_object(layer) for layer in branch]
            for branch in self.branches
        ]
        return {**super().get_config(), "branches": branches}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        branches = [
            [keras.saving.deserialize_keras_object(layer) for layer in branch]
            for branch in config.pop("branches")
        ]
        return cls(*branches, **config)


@keras.saving.register_keras_serializable("keras_frcnn")
class Residual(_Branches):
    """Adds what one list of layers makes of a map to what another makes of it, and a ReLU.

    Args:
        main: layers, in order.
        shortcut: likewise; empty for the map itself.
    """

    def __init__(self, main, shortcut=(), **kwargs):
        super().__init__(main, shortcut, **kwargs)

    def call(self, x):
        whole = tf.shape(x)[tf.newaxis, 1:3]
        return apply([self], x, whole, tf.constant(False))[0]

    def compute_output_shape(self, shape):
        return output_shape(self.branches[0], shape)


@keras.saving.register_keras_serializable("keras_frcnn")
class Stage(_Branches):
    """Layers in order, on maps without padding: [N, p, p, C] to [N, q, q, D].

    Args:
        layers: in order.
    """

    def __init__(self, layers, **kwargs):
        super().__init__(layers, **kwargs)

    def call(self, x):
        whole = tf.shape(x)[tf.newaxis, 1:3]
        return apply(self.branches[0], x, whole, tf.constant(False))[0]

    def compute_output_shape(self, shape):
        return output_shape(self.branches[0], shape)


def leaves(layers: Sequence[keras.layers.Layer]) -> Iterator[keras.layers.Layer]:
    """Yields the layers of a stack, those within others in their place."""
    for layer in layers:
        if isinstance(layer, _Branches):
            for branch in layer.branches:
                yield from leaves(branch)
        else:
            yield layer


def build(layers: Sequence[keras.layers.Layer], shape: tuple) -> tuple:
    """Makes the weights of layers applied in order to maps of ``shape``; returns the last shape."""
    for layer in layers:
        layer.build(shape)
        shape = layer.compute_output_shape(shape)
    return tuple(shape)


def output_shape(layers: Sequence[keras.layers.Layer], shape: tuple) -> tuple:
    """Returns the shape of what layers applied in order make of maps of ``shape``."""
    for layer in layers:
        shape = layer.compute_output_shape(shape)
    return tuple(shape)


def apply(
    layers: Sequence[keras.layers.Layer],
    x: tf.Tensor,
    shape: tf.Tensor,
    is_padded: tf.Tensor,
    before: keras.layers.Layer | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Applies layers in order, each map as if it were alone and without padding.

    A convolution at a map's border must read zeros, so whatever earlier layers (their biases) put
    into the padding is cleared before it.

    Args:
        layers: as in ``Stack``.
        x: [B, h, w, C].
        shape: [B, 2] int32 (or [1, 2] for all), true rows and columns of each map.
        is_padded: bool scalar; False spares the clearing.
        before: the layer that made ``x``; None: its padding is zero.

    Returns:
        ``(x, shape)`` after the last layer. The padding of ``x`` holds anything.
    """
    for layer in layers:
        if before is not None and _reads_border(before, layer):
            x = clear_padding(x, shape, is_padded)
        if isinstance(layer, Residual):
            (added, new_shape), (kept, _) = (
                apply(branch, x, shape, is_padded, before) for branch in layer.branches
            )
            x, shape = tf.nn.relu(added + kept), new_shape
        else:
            x = layer(x)
            shape = tf.maximum(_true_shape(layer, shape), 1)
        before = layer
    return x, shape


def true_shape(layers: Sequence[keras.layers.Layer], shape: tf.Tensor) -> tf.Tensor:
    """Computes the sizes of maps that ``apply`` makes, without any pixel.

    Args:
        layers: as in ``Stack``.
        shape: [B, 2] int32, true rows and columns (of images: heights and widths).

    Returns:
        [B, 2] int32, rows and columns after the last layer, at least 1.
    """
    for layer in layers:
        if isinstance(layer, Residual):
            shape = true_shape(layer.branches[0], shape)
        else:
            shape = tf.maximum(_true_shape(layer, shape), 1)
    return shape


def clear_padding(x: tf.Tensor, shape: tf.Tensor, is_padded: tf.Tensor) -> tf.Tensor:
    """Zeros what lies beyond each map's true ``shape`` [B, 2], if the batch has padding at all."""

    def clear():
        rows = tf.range(tf.shape(x)[1]) < shape[:, :1]
        columns = tf.range(tf.shape(x)[2]) < shape[:, 1:]
        true = rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]
        return x * tf.cast(true, x.dtype)[..., tf.newaxis]

    return tf.cond(is_padded, clear, lambda: x)


def _window(layer):
    """Cells a side that a layer's window spans, and its step; (1, 1) where it has none."""
    size = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", (1, 1))
    return size[0], getattr(layer, "strides", (1, 1))[0]


def _reads_border(before, layer):
    """Whether a layer can read cells beyond a map's border that the layer before may have
    filled.
    """
    if isinstance(layer, keras.layers.ZeroPadding2D) or getattr(layer, "reads_border", False):
        return True
    size, step = _window(layer)
    return size > step and not isinstance(before, keras.layers.ZeroPadding2D)


def _true_shape(layer, shape):
    """Rows and columns [B, 2] that a layer makes of true ``shape`` [B, 2]."""
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return shape + [sum(sides) for sides in layer.padding]
    size, step = _window(layer)
    return shape if getattr(layer, "padding", "same") == "same" else (shape - size) // step + 1
