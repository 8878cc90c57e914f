"""Rules that say how each Keras layer can be run so that an image's padding changes nothing.

A batch holds images of different sizes, so each of its maps has a true area in the upper left
corner and padding around it. The padding gets values as soon as a layer adds a bias. A rule states
whether a layer can read those values and how large the true area of its result is.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_frcnn.backbones.feature_pyramid import TopDown
from keras_frcnn.layers.frozen_normalization import FrozenNormalization


@dataclasses.dataclass(frozen=True)
class Rule:
    """How one layer treats the padding of its inputs.

    Attributes:
        reads_border: whether the layer reads cells outside the true area, which must be zero then.
        pads_zeros: whether the padding of the result is zero if that of the input is.
        skips_outside: whether the layer averages over windows and leaves out cells outside the map,
            so that it must leave out the padding, too.
        averages: whether the layer averages the whole true area, which leaves one vector per image.
        enlarges: whether the layer brings its first map, whose true size it is told, to the size of
            its second one.
        padding: rows and columns of zeros that the layer adds to the map.
        window: rows and columns that the layer reads for one cell of its result.
        stride: rows and columns from one window to the next.
        arguments: what the layer is called with besides its inputs.
    """

    reads_border: bool = False
    pads_zeros: bool = False
    skips_outside: bool = False
    averages: bool = False
    enlarges: bool = False
    padding: tuple[int, int] = (0, 0)
    window: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def needs_map(self) -> bool:
        """Whether the layer makes no sense on one vector per image."""
        return self != Rule(arguments=self.arguments)

    def size(self, size):
        """Returns the true rows and columns [..., 2] of the result for inputs of ``size`` [..., 2].

        Args:
            size: an integer tensor or NumPy array; the result is of the same kind, at least 1.
        """
        if (self.padding, self.window, self.stride) == ((0, 0), (1, 1), (1, 1)):
            return size
        maximum = tf.maximum if tf.is_tensor(size) else np.maximum
        change = np.subtract(self.padding, self.window).astype(np.int32)
        return maximum((size + change) // np.array(self.stride, np.int32) + 1, 1)


def rule_of(operation: keras.Operation, arguments: Mapping[str, Any]) -> Rule:
    """Finds the rule of one operation of a network.

    Args:
        operation: a layer or a ``keras.ops`` operation.
        arguments: the keyword arguments that the network calls it with.

    Returns:
        The rule.

    Raises:
        ValueError: naming the layer, if it cannot be run so that padding changes nothing.
    """
    kind = type(operation)
    if arguments.get("training"):
        raise refusal(
            operation, "the network calls it with training=True", "call it without this argument"
        )
    if hasattr(operation, "reads_border"):
        return Rule(reads_border=bool(operation.reads_border))
    if kind in _WINDOWS:
        return _window_rule(operation)
    if kind is keras.layers.ZeroPadding2D:
        _check_channels_last(operation)
        padding = tuple(sum(sides) for sides in operation.padding)
        return Rule(reads_border=True, pads_zeros=True, padding=padding)
    if kind is TopDown:
        return Rule(enlarges=True)
    if kind is keras.layers.GlobalAveragePooling2D:
        _check_channels_last(operation)
        if not operation.keepdims:
            raise refusal(operation, "it drops the rows and columns", "set keepdims=True")
        return Rule(reads_border=True, averages=True)
    if kind in _CHANNEL_AXIS and _axes(operation) != [3]:
        raise refusal(operation, f"its axis is {operation.axis}", "set axis=-1, the channels")
    if kind in _INFERENCE:
        return Rule(arguments={"training": False})
    if kind in _CELLWISE or (
        not isinstance(operation, keras.layers.Layer) and kind.__name__ in _CELLWISE_OPERATIONS
    ):
        return Rule()
    raise refusal(
        operation,
        "no rule is known for its class",
        "use another layer or, for a layer of your own that keeps the size of its map, set the "
        "class attribute reads_border to whether it reads neighbouring cells",
    )


def refusal(operation: keras.Operation, reason: str, remedy: str) -> ValueError:
    """Returns the error for a layer whose result would depend on an image's padding."""
    return ValueError(
        f"The layer {operation.name!r} ({type(operation).__name__}) cannot be used in a backbone, "
        f"whose features must not depend on padding: {reason}. Instead, {remedy}."
    )


def _window_rule(layer):
    """Returns the rule of a convolution or pooling."""
    _check_channels_last(layer)
    pools = hasattr(layer, "pool_size")
    dilation = getattr(layer, "dilation_rate", (1, 1))
    sides = layer.pool_size if pools else layer.kernel_size
    window = tuple((side - 1) * rate + 1 for side, rate in zip(sides, dilation, strict=True))
    stride = tuple(layer.strides)
    if layer.padding == "valid":
        return Rule(window=window, stride=stride)
    if type(layer) is _layers.AveragePooling2D and window == stride == (2, 2):
        # Windows start at even rows and columns, however large the batch. The last may be cut.
        return Rule(skips_outside=True, padding=(1, 1), window=window, stride=stride)
    if any(side > 1 and step > 1 for side, step in zip(window, stride, strict=True)):
        raise refusal(
            layer,
            f"with strides={stride} and padding='same', the position of its windows depends on "
            "the size of the padded batch",
            "put a ZeroPadding2D layer before it and set padding='valid'",
        )
    if pools and window != (1, 1):
        raise refusal(
            layer,
            "with padding='same', it ignores cells outside the map instead of reading zeros",
            "put a ZeroPadding2D layer before it and set padding='valid'",
        )
    # A window of one cell reads the same cells under both paddings.
    return Rule(reads_border=window != (1, 1), stride=stride)


def _check_channels_last(layer):
    if layer.data_format != "channels_last":
        raise refusal(
            layer, f"its data_format is {layer.data_format!r}", "set data_format='channels_last'"
        )


def _axes(layer):
    """Returns the axes that a layer works along, counted from the front of a map's four."""
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    return [axis % 4 for axis in axes]


_layers = keras.layers
_WINDOWS = {
    _layers.AveragePooling2D,
    _layers.Conv2D,
    _layers.DepthwiseConv2D,
    _layers.MaxPooling2D,
    _layers.SeparableConv2D,
}
# Layers that differ between training and inference, and act on each cell alone in inference.
_INFERENCE = {
    FrozenNormalization,
    _layers.BatchNormalization,
    _layers.Dropout,
    _layers.GaussianDropout,
    _layers.GaussianNoise,
    _layers.SpatialDropout2D,
}
# Layers that would mix cells along any axis but the channels'.
_CHANNEL_AXIS = {
    FrozenNormalization,
    _layers.BatchNormalization,
    _layers.Concatenate,
    _layers.LayerNormalization,
    _layers.Softmax,
}
_CELLWISE = {
    _layers.Activation,
    _layers.Add,
    _layers.Average,
    _layers.Concatenate,
    _layers.Dense,
    _layers.ELU,
    _layers.Identity,
    _layers.LayerNormalization,
    _layers.LeakyReLU,
    _layers.Maximum,
    _layers.Minimum,
    _layers.Multiply,
    _layers.ReLU,
    _layers.Rescaling,
    _layers.Softmax,
    _layers.Subtract,
}
# Classes of keras.ops operations, which Keras names in configurations but does not export.
_CELLWISE_OPERATIONS = {
    "Absolute",
    "Add",
    "Clip",
    "Divide",
    "Elu",
    "Exp",
    "Gelu",
    "HardSigmoid",
    "HardSilu",
    "LeakyRelu",
    "Maximum",
    "Minimum",
    "Multiply",
    "Negative",
    "Power",
    "Relu",
    "Relu6",
    "Sigmoid",
    "Silu",
    "Softplus",
    "Sqrt",
    "Square",
    "Subtract",
    "Tanh",
    "TrueDivide",
}
