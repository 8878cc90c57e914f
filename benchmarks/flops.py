"""The arithmetic of the detector, counted from the real shapes of its layers.

Only convolutions and dense layers are counted: 2 operations for each multiply-add. The backward
pass has a gradient for the weights of each trained layer, and one for the inputs of each layer that
has a trained layer before it. Sampling, pooling, suppression and losses are limited by memory, not
by arithmetic, and are left out.
"""

import dataclasses
import math
from collections.abc import Iterable

import keras

_GIGA = 1e9


@dataclasses.dataclass(frozen=True)
class Count:
    """GFLOP of some layers, ``forward`` and ``backward``."""

    forward: float
    backward: float

    @property
    def total(self) -> float:
        """Both directions."""
        return self.forward + self.backward

    def __add__(self, other: "Count") -> "Count":
        return Count(self.forward + other.forward, self.backward + other.backward)


def backbone(layer, size: tuple[int, int], batch: int) -> Count:
    """Counts a ``Backbone``.

    Args:
        layer: the backbone.
        size: height and width of the images.
        batch: number of images.
    """
    return chain(_positions(layer.network, (batch, *size, 3)), gradient_before=False)


def rpn_head(layer, feature_shape: tuple[int, int], batch: int, gradient_before: bool) -> Count:
    """Counts an ``RPNHead`` on feature maps of ``feature_shape`` rows and columns."""
    cells = batch * math.prod(feature_shape)
    convs = (layer.conv, *layer.further_convs)
    count = chain([(conv, cells) for conv in convs], gradient_before)
    for sibling in (layer.objectness, layer.deltas):
        count += chain([(sibling, cells)], gradient_before=True)
    return count


def box_head(layer, num_rois: int, gradient_before: bool) -> Count:
    """Counts a ``BoxHead`` on the regions of all images together."""
    cells = num_rois * math.prod(layer.pooled_shape[:2])
    layers = [(conv, cells) for conv in layer.convs]
    layers += [(hidden, num_rois) for hidden in layer.hidden]
    count = chain(layers, gradient_before)
    if layer.stage is not None:
        count += chain(_positions(layer.stage, (num_rois, *layer.pooled_shape)), gradient_before)
    for sibling in (layer.classes, layer.boxes):
        count += chain([(sibling, num_rois)], gradient_before=True)
    return count


def detector(model, size: tuple[int, int], batch: int, rois_per_image: int) -> Count:
    """Counts all layers of a ``FasterRCNN`` on images of one size."""
    is_trained = bool(model.backbone.trainable_weights)
    count = backbone(model.backbone, size, batch)
    for feature_shape in level_shapes(model.backbone, size):
        count += rpn_head(model.rpn.head, feature_shape, batch, is_trained)
    return count + box_head(model.roi_head.box_head, batch * rois_per_image, is_trained)


def level_shapes(layer, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Returns the rows and columns of each feature level of a ``Backbone``."""
    return [tuple(shape.numpy()[0].tolist()) for shape in layer.level_shapes([size])]


def chain(layers: Iterable, gradient_before: bool) -> Count:
    """Counts layers that follow each other.

    Args:
        layers: pairs of a layer with a ``kernel`` and the number of positions it is applied at.
        gradient_before: whether anything before the first layer is trained.
    """
    count = Count(0.0, 0.0)
    for layer, positions in layers:
        once = 2 * math.prod(layer.kernel.shape) * positions / _GIGA
        count += Count(once, once * (bool(layer.trainable) + bool(gradient_before)))
        gradient_before = gradient_before or layer.trainable
    return count


def _positions(network, shape):
    """Returns pairs of each layer with a kernel and the number of positions it is applied at, for
    an input of ``shape`` [B, h, w, C].
    """
    layers = [layer for layer in network.layers if hasattr(layer, "kernel")]
    outputs = keras.Model(network.inputs, [layer.output for layer in layers])
    results = outputs(keras.KerasTensor(shape, network.inputs[0].dtype))
    return [
        (layer, math.prod(result.shape[:3]))
        for layer, result in zip(layers, keras.tree.flatten(results), strict=True)
    ]
