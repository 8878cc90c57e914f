"""Arithmetic of the detector, counted from its layers' real shapes.

Convolutions and dense layers alone: 2 operations for each multiply-add. The way back is counted as
it is computed: a gradient for the weights of trained layers, and one for the inputs of layers that
have a trained one before them. Sampling, pooling, suppression and losses are left out; they are
memory's work.
"""

import dataclasses
import math
from collections.abc import Iterable

from keras_frcnn.backbones import stacks

_GIGA = 1e9


@dataclasses.dataclass(frozen=True)
class Count:
    """GFLOP of a way through some layers, ``forward`` and ``backward``."""

    forward: float
    backward: float

    @property
    def total(self) -> float:
        """Both ways."""
        return self.forward + self.backward

    def __add__(self, other: "Count") -> "Count":
        return Count(self.forward + other.forward, self.backward + other.backward)


def backbone(layer, size: tuple[int, int], batch: int) -> Count:
    """Counts a ``Backbone`` on images of one size.

    Args:
        layer: the backbone.
        size: height and width of the images.
        batch: number of images.
    """
    return chain(_convolutions(layer.stack, (batch, *size, 3)), gradient_before=False)


def rpn_head(layer, feature_shape: tuple[int, int], batch: int, gradient_before: bool) -> Count:
    """Counts an ``RPNHead`` on maps of ``feature_shape`` rows and columns."""
    cells = batch * math.prod(feature_shape)
    count = chain([(layer.conv, cells)], gradient_before)
    for sibling in (layer.objectness, layer.deltas):
        count += chain([(sibling, cells)], gradient_before=True)
    return count


def box_head(layer, num_rois: int, gradient_before: bool) -> Count:
    """Counts a ``BoxHead`` on so many regions of all images together."""
    count = chain([(hidden, num_rois) for hidden in layer.hidden], gradient_before)
    if layer.stage is not None:
        convolutions = _convolutions(layer.stage.branches[0], (num_rois, *layer.pooled_shape))
        count += chain(convolutions, gradient_before)
    for sibling in (layer.classes, layer.boxes):
        count += chain([(sibling, num_rois)], gradient_before=True)
    return count


def detector(model, size: tuple[int, int], batch: int, rois_per_image: int) -> Count:
    """Counts a ``FasterRCNN``: all layers, on images of one size."""
    feature_shape = features_shape(model.backbone, size)
    trained = any(part.trainable and part.weights for part in model.backbone.stack)
    return (
        backbone(model.backbone, size, batch)
        + rpn_head(model.rpn_head, feature_shape, batch, trained)
        + box_head(model.box_head, batch * rois_per_image, trained)
    )


def features_shape(layer, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a ``Backbone``'s maps."""
    return stacks.output_shape(layer.stack, (1, *size, 3))[1:3]


def _convolutions(layers, shape):
    """Pairs of each layer with a kernel and its places, on maps of ``shape``."""
    for layer in layers:
        if isinstance(layer, stacks.Residual):
            for branch in layer.branches:
                yield from _convolutions(branch, shape)
        shape = layer.compute_output_shape(shape)
        if hasattr(layer, "kernel"):
            yield layer, math.prod(shape[:3])


def chain(stack: Iterable, gradient_before: bool) -> Count:
    """Counts layers that follow each other.

    Args:
        stack: pairs of a layer with a ``kernel`` and the number of places that it is applied at.
        gradient_before: whether something before the first layer is trained.
    """
    count = Count(0.0, 0.0)
    for layer, places in stack:
        once = 2 * math.prod(layer.kernel.shape) * places / _GIGA
        count += Count(once, once * (bool(layer.trainable) + bool(gradient_before)))
        gradient_before = gradient_before or layer.trainable
    return count
