"""Faster R-CNN for TensorFlow and Keras 3.

``FasterRCNN`` is the detector, ``load`` reads a trained one, ``Config`` is its settings, ``layers``
are its parts. They are imported when first used, so that ``import keras_frcnn`` and the command
line's help do not wait for TensorFlow.
"""

import importlib

__version__ = "0.1.0"
__all__ = ["Config", "FasterRCNN", "__version__", "layers", "load"]

_HOMES = {
    "Config": "keras_frcnn.config",
    "FasterRCNN": "keras_frcnn.models.faster_rcnn",
    "load": "keras_frcnn.weights.checkpoint",
}


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "layers":
        return importlib.import_module("keras_frcnn.layers")
    raise AttributeError(f"module 'keras_frcnn' has no attribute {name!r}")
