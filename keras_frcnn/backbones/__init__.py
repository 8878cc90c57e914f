"""Backbones: the shared convolutions that turn images into feature maps, one file per family.

They are imported when first used, so that other commands do not wait for TensorFlow.
"""

import importlib

from keras_frcnn.config.network import BACKBONES, PYRAMIDS
from keras_frcnn.data.images.preprocessing import CHOICES, Preprocessing

_HOMES = {
    "Backbone": "keras_frcnn.backbones.backbone:Backbone",
    "FeatureLevel": "keras_frcnn.backbones.backbone:FeatureLevel",
    "PretrainedWeights": "keras_frcnn.backbones.backbone:PretrainedWeights",
    "from_keras_hub": "keras_frcnn.backbones.applications:from_keras_hub",
    "load_pretrained": "keras_frcnn.backbones.pretrained:load_pretrained",
    "with_pyramid": "keras_frcnn.backbones.feature_pyramid:with_pyramid",
    **{path.partition(":")[2]: path for path in BACKBONES.values()},
}
__all__ = [*_HOMES, "BACKBONES", "make", "preprocessing_of", "strides_of"]


def make(name: str, /, **kwargs):
    """Makes the backbone that has a name in the settings.

    Args:
        name: a key of ``BACKBONES``.
        **kwargs: arguments of its function: ``weights``, ``frozen_blocks``, ``dtype``, ``name``
            and others that only some have.

    Returns:
        A ``Backbone``.
    """
    return _find(BACKBONES[name])(**kwargs)


def preprocessing_of(
    name: str, pixel_std: float = 1.0, preprocessing: str = "backbone"
) -> Preprocessing:
    """Returns the preprocessing of a backbone without building it.

    Args:
        name: a key of ``BACKBONES``.
        pixel_std: a further divisor of every channel.
        preprocessing: "backbone", or the name of another normalisation; see the setting.
    """
    own = CHOICES.get(preprocessing) or _module(BACKBONES[name]).PREPROCESSING
    return own.divided_by(pixel_std)


def strides_of(name: str) -> tuple[int, ...]:
    """Returns the stride of each level of a backbone without building it."""
    return PYRAMIDS.get(name) or _module(BACKBONES[name]).STRIDES


def _module(path):
    return importlib.import_module(path.partition(":")[0])


def _find(path):
    return getattr(_module(path), path.partition(":")[2])


def __getattr__(name):
    if name in _HOMES:
        return _find(_HOMES[name])
    raise AttributeError(f"module 'keras_frcnn.backbones' has no attribute {name!r}")
