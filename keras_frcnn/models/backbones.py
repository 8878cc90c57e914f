"""Backbones: the shared convolutions, step 1 of the way.

A backbone is a stack of layers and two numbers; ``BACKBONES`` maps its name to the function that
makes it. To add one, write such a function and add a line to the table.
"""

import dataclasses
import functools
from collections.abc import Callable

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Stack:
    """What a backbone is made of.

    Attributes:
        layers: in order. A layer's name ``block<n>_...`` says which block it can be frozen with.
        stride: pixels of the picture a feature cell stands for.
        rpn_channels: width of the RPN's 3x3 convolution on it.
    """

    layers: list[keras.layers.Layer]
    stride: int
    rpn_channels: int


def vgg16(dtype) -> Stack:
    """VGG16 of keras.applications up to conv5_3, with He initialisation (Simonyan & Zisserman
    2014).
    """
    template = keras.applications.VGG16(include_top=False, weights=None)
    last = [layer.name for layer in template.layers].index("block5_conv3")
    layers = []
    for layer in template.layers[1 : last + 1]:
        settings = {**layer.get_config(), "dtype": dtype}
        if "kernel_initializer" in settings:
            settings["kernel_initializer"] = "he_normal"
        layers.append(type(layer).from_config(settings))
    return Stack(layers, stride=16, rpn_channels=512)


def zf(dtype) -> Stack:
    """ZF's five convolutions with He initialisation (Zeiler & Fergus 2014, as the released code has
    it).
    """
    conv = functools.partial(
        keras.layers.Conv2D, activation="relu", kernel_initializer="he_normal", dtype=dtype
    )
    pad = functools.partial(keras.layers.ZeroPadding2D, dtype=dtype)
    pool = functools.partial(keras.layers.MaxPooling2D, 3, 2, dtype=dtype)
    return Stack(
        [
            pad(3, name="block1_pad"),
            conv(96, 7, 2, name="block1_conv"),
            WithinChannelNormalization(name="block1_norm", dtype=dtype),
            pad(1, name="block1_pool_pad"),
            pool(name="block1_pool"),
            pad(2, name="block2_pad"),
            conv(256, 5, 2, name="block2_conv"),
            WithinChannelNormalization(name="block2_norm", dtype=dtype),
            pad(1, name="block2_pool_pad"),
            pool(name="block2_pool"),
            conv(384, 3, padding="same", name="block3_conv"),
            conv(384, 3, padding="same", name="block4_conv"),
            conv(256, 3, padding="same", name="block5_conv"),
        ],
        stride=16,
        rpn_channels=256,
    )


@keras.saving.register_keras_serializable("keras_frcnn")
class WithinChannelNormalization(keras.layers.Layer):
    """Divides by a local mean square: ``x / (1 + 5e-5 mean of x^2 over 3 x 3 cells) ^ 0.75``.

    Caffe's LRN layer with WITHIN_CHANNEL and the constants of the released ZF. Borders count zeros.
    """

    alpha, size = 5e-5, 3

    def call(self, x):
        border = self.size // 2
        squares = tf.pad(tf.square(x), [[0, 0], [border, border], [border, border], [0, 0]])
        scale = tf.math.rsqrt(1.0 + self.alpha * tf.nn.avg_pool2d(squares, self.size, 1, "VALID"))
        return x * scale * tf.sqrt(scale)

    def compute_output_shape(self, input_shape):
        return input_shape


BACKBONES: dict[str, Callable[..., Stack]] = {"vgg16": vgg16, "zf": zf}


class Backbone(keras.layers.Layer):
    """Computes the feature maps of a batch of pictures of different sizes.

    Each picture's features equal those it would have alone: a convolution at a picture's border
    must read zeros, so whatever earlier layers (their biases) put into the padding is cleared
    before it. Batches without padding pay nothing for it.

    Args:
        name: a key of ``BACKBONES``.
        frozen_blocks: how many first blocks are not trained. Default 0.

    Call arguments:
        images: [B, H, W, 3] normalised, 0 in the padding; H and W at least the stride.
        image_shape: [B, 2] int32, true heights and widths.

    Returns:
        ``(features [B, h, w, C], feature_shape [B, 2] int32)``: the maps, 0 in the padding, and
        their true sizes, at least one cell.
    """

    def __init__(self, name, frozen_blocks=0, **kwargs):
        super().__init__(name=name, autocast=False, **kwargs)
        stack = BACKBONES[name](self.dtype_policy)
        self.stack, self.stride, self.rpn_channels = stack.layers, stack.stride, stack.rpn_channels
        shape = (None, None, None, 3)
        for layer in self.stack:
            layer.trainable = not any(
                layer.name.startswith(f"block{n + 1}_") for n in range(frozen_blocks)
            )
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.channels = shape[-1]
        self.built = True

    def call(self, images, image_shape):
        x, shape = tf.cast(images, self.compute_dtype), image_shape
        is_padded = tf.reduce_any(image_shape < tf.shape(images)[1:3])
        for before, layer in zip([None, *self.stack], self.stack, strict=False):
            if before is not None and _reads_border(before, layer):
                x = _clear_padding(x, shape, is_padded)
            x = layer(x)
            shape = tf.maximum(_output_shape(layer, shape), 1)
        return _clear_padding(x, shape, is_padded), shape


def _window(layer):
    """Cells a side that a layer's window spans, and its step; (1, 1) where it has none."""
    size = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", (1, 1))
    return size[0], getattr(layer, "strides", (1, 1))[0]


def _reads_border(before, layer):
    """Whether a layer can read cells beyond a picture's border that the layer before may have
    filled.
    """
    if isinstance(layer, (keras.layers.ZeroPadding2D, WithinChannelNormalization)):
        return True
    size, step = _window(layer)
    return size > step and not isinstance(before, keras.layers.ZeroPadding2D)


def _output_shape(layer, shape):
    """Rows and columns [B, 2] that a layer makes of true ``shape`` [B, 2]."""
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return shape + [sum(sides) for sides in layer.padding]
    size, step = _window(layer)
    return shape if getattr(layer, "padding", "same") == "same" else (shape - size) // step + 1


def _clear_padding(x, shape, is_padded):
    """Zeros what lies beyond each picture's true ``shape`` [B, 2] in its map, if the batch has
    padding at all.
    """

    def clear():
        rows = tf.range(tf.shape(x)[1]) < shape[:, :1]
        columns = tf.range(tf.shape(x)[2]) < shape[:, 1:]
        true = rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]
        return x * tf.cast(true, x.dtype)[..., tf.newaxis]

    return tf.cond(is_padded, clear, lambda: x)
