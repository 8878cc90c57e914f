"""Faster R-CNN for TensorFlow and Keras 3.

``FasterRCNN`` joins a backbone, a ``RegionProposalNetwork`` and a ``RoIHead`` to a detector, and
``load`` reads a trained one. Names are imported when they are first used, so that ``import
keras_frcnn`` and the help of the commands do not wait for TensorFlow.
"""

import importlib

__version__ = "0.2.0"

_HOMES = {
    "Config": "keras_frcnn.config",
    "FasterRCNN": "keras_frcnn.models.faster_rcnn",
    "ModelConfig": "keras_frcnn.config",
    "RegionProposalNetwork": "keras_frcnn.models.rpn",
    "RoIHead": "keras_frcnn.models.roi_head",
    "build_detector": "keras_frcnn.models.build",
    "load": "keras_frcnn.weights.checkpoint",
}
_ROOMS = ("backbones", "layers")
__all__ = sorted([*_HOMES, *_ROOMS, "__version__"])


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"keras_frcnn.{name}")
    raise AttributeError(f"module 'keras_frcnn' has no attribute {name!r}")


def __dir__():
    return __all__
