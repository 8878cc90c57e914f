"""Backbones: the shared convolutions, step 1 of the way.

A backbone is a ``Stack``; ``BACKBONES`` maps its name to the function that makes it. To add one,
write such a function and add a line to the table (and to ``Config.backbone``'s choices).
"""

import functools
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_frcnn.backbones import stacks
from keras_frcnn.backbones.stacks import Residual, Stack, Stage


def vgg16(dtype) -> Stack:
    """VGG16 of keras.applications up to conv5_3, with He initialisation (Simonyan & Zisserman
    2014).
    """
    template = _template(keras.applications.VGG16)
    names = list(template)
    layers = [_copy(template[name], dtype) for name in names[1 : names.index("block5_conv3") + 1]]
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


def resnet(application, dtype) -> Stack:
    """A ResNet of keras.applications up to its fourth stage (C4), the fifth being the box head's
    (He et al. 2016, "Deep Residual Learning", section 4 and its appendix on detection).

    Its normalisations keep what ImageNet taught them: a batch is far too small for its own. The
    fifth stage has no stride: it sees in 7 x 7 pooled cells what others see of 14 x 14 with one.
    """
    template = _template(application)

    def branch(prefix, numbers, **changes):
        names = [f"{prefix}_{n}_{part}" for n in numbers for part in ("conv", "bn", "relu")]
        return [_copy(template[name], dtype, **changes) for name in names if name in template]

    def stage(number, **changes):
        names = [name.removesuffix("_1_conv") for name in template if name.endswith("_1_conv")]
        return [
            Residual(
                branch(name, (1, 2, 3), **changes),
                branch(name, (0,), **changes),
                name=name,
                dtype=dtype,
            )
            for name in names
            if name.startswith(f"conv{number}_")
        ]

    stem = ("conv1_pad", "conv1_conv", "conv1_bn", "conv1_relu", "pool1_pad", "pool1_pool")
    layers = [_copy(template[name], dtype) for name in stem]
    layers += [block for number in (2, 3, 4) for block in stage(number)]

    def make_head():
        return Stage(stage(5, strides=(1, 1)), name="stage5", dtype=dtype)

    return Stack(layers, stride=16, rpn_channels=512, make_head=make_head)


_BLOCK_WORDS = ("block", "conv")  # of layers' names, by which blocks are frozen


def _template(application) -> dict[str, tuple[type, dict]]:
    """The class and the settings of every layer of a network of keras.applications, by name."""
    network = application(include_top=False, weights=None)
    return {layer.name: (type(layer), layer.get_config()) for layer in network.layers}


def _copy(template, dtype, **changes):
    """Makes a layer like one of a template, He-initialised, its settings changed if it has them."""
    kind, settings = template
    settings = {name: changes.get(name, value) for name, value in settings.items()}
    settings["dtype"] = dtype
    if "kernel_initializer" in settings:
        settings["kernel_initializer"] = "he_normal"
    if kind is keras.layers.BatchNormalization:
        kind = FrozenNormalization
    if settings["name"].endswith("_3_bn"):  # lest activations grow with depth from random weights
        settings["gamma_initializer"] = keras.initializers.Constant(0.25)
    return kind.from_config(settings)


@keras.saving.register_keras_serializable("keras_frcnn")
class FrozenNormalization(keras.layers.BatchNormalization):
    """Batch normalisation by statistics, scales and shifts that nothing ever trains."""

    trainable = property(lambda self: False, lambda self, value: None)

    def build(self, input_shape):
        super().build(input_shape)
        for weight in self.weights:
            weight.trainable = False


@keras.saving.register_keras_serializable("keras_frcnn")
class WithinChannelNormalization(keras.layers.Layer):
    """Divides by a local mean square: ``x / (1 + 5e-5 mean of x^2 over 3 x 3 cells) ^ 0.75``.

    Caffe's LRN layer with WITHIN_CHANNEL and the constants of the released ZF. Borders count zeros.
    """

    alpha, size, reads_border = 5e-5, 3, True

    def call(self, x):
        border = self.size // 2
        squares = tf.pad(tf.square(x), [[0, 0], [border, border], [border, border], [0, 0]])
        scale = tf.math.rsqrt(1.0 + self.alpha * tf.nn.avg_pool2d(squares, self.size, 1, "VALID"))
        return x * scale * tf.sqrt(scale)

    def compute_output_shape(self, input_shape):
        return input_shape


BACKBONES: dict[str, Callable[..., Stack]] = {
    "vgg16": vgg16,
    "zf": zf,
    "resnet50": functools.partial(resnet, keras.applications.ResNet50),
    "resnet101": functools.partial(resnet, keras.applications.ResNet101),
}


class Backbone(keras.layers.Layer):
    """Computes the feature maps of a batch of images of different sizes.

    Each image's features equal those it would have alone, see ``stacks.apply``. Batches without
    padding pay nothing for it.

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
        self.make_head = stack.make_head
        for layer in self.stack:
            layer.trainable = not layer.name.startswith(
                tuple(f"{word}{n + 1}_" for n in range(frozen_blocks) for word in _BLOCK_WORDS)
            )
        self.channels = stacks.build(self.stack, (None, None, None, 3))[-1]
        self.built = True

    @property
    def frozen(self) -> list[str]:
        """What of it does not train: blocks by name, then batch normalisation, which never does."""
        fixed = [part for part in stacks.leaves(self.stack) if part.weights and not part.trainable]
        kept = [part for part in fixed if not isinstance(part, FrozenNormalization)]
        blocks = list(dict.fromkeys(part.name.partition("_")[0] for part in kept))
        return blocks if kept == fixed else [*blocks, "batch normalisation"]

    def call(self, images, image_shape):
        images = tf.cast(images, self.compute_dtype)
        is_padded = tf.reduce_any(image_shape < tf.shape(images)[1:3])
        features, shape = stacks.apply(self.stack, images, image_shape, is_padded)
        return stacks.clear_padding(features, shape, is_padded), shape
