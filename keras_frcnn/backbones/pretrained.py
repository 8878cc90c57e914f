"""Loads ImageNet weights of keras.applications into a backbone."""

import os
import warnings
from collections.abc import Sequence

import keras

from keras_frcnn.backbones.backbone import Backbone
from keras_frcnn.ops.finite import first_not_finite

KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications"
_DOWNLOAD_HELP = """ImageNet weights could not be downloaded: {error}
Without a network, do one of these:
  - fetch on another machine
      {url}
    and pass --backbone_weights=/path/to/that/file (or put it into ~/.keras/models/);
  - train from random weights: --backbone_weights=none{scale}"""


def load_pretrained(
    backbone: Backbone, source: str, extra_layers: Sequence[keras.layers.Layer] = ()
) -> list[str]:
    """Loads pretrained weights into the layers that have the same name and shapes.

    If the backbone has a head network, the copies that ``make_head`` makes from now on start from
    these weights too.

    Args:
        backbone: changed in place.
        source: "imagenet", which downloads the weights, or a weights file in keras.applications'
            format, with or without the network's top.
        extra_layers: further layers to load, such as VGG16's ``fc1`` and ``fc2`` or the layers of
            a head that was made before.

    Returns:
        The names of the layers that were loaded, in the network's order.

    Raises:
        ValueError: if keras.applications has no such network; if the download fails, with advice;
            or if a file is missing, does not fit or is not finite, with its name.
    """
    if backbone.pretrained is None:
        raise ValueError(
            f"keras.applications has no pretrained weights for the backbone "
            f"{backbone.network.name!r}, so its weights must be None. Received: {source!r}"
        )
    top = {layer.name: layer for layer in extra_layers}
    include_top = bool(backbone.pretrained.top_layers) and all(
        name in top and tuple(top[name].kernel.shape) == tuple(shape)
        for name, shape in backbone.pretrained.top_layers
    )
    if source == "imagenet":
        original = _download(backbone, include_top)
    else:
        original = _read(backbone.pretrained, source, include_top)
    head = backbone.make_head()
    if head is not None:
        _copy(original, head.layers)
        backbone.set_head_weights(head.get_weights())
    return _copy(original, [*backbone.leaf_layers(), *extra_layers])


def _copy(original, layers):
    """Copies weights to layers of the same names and shapes; returns the names."""
    targets = {layer.name: layer for layer in layers}
    loaded = []
    for layer in original.layers:
        target = targets.get(layer.name)
        if target is None or not layer.weights:
            continue
        if [w.shape for w in layer.weights] == [w.shape for w in target.weights]:
            target.set_weights(layer.get_weights())
            loaded.append(layer.name)
    return loaded


def _download(backbone, include_top):
    try:
        return _network(backbone.pretrained, include_top=include_top, weights="imagenet")
    except Exception as error:  # a failed download raises many kinds of errors
        # Random weights need pixels of about unit size.
        scale = " --pixel_std=58" if max(backbone.preprocessing.scale) == 1 else ""
        help_text = _DOWNLOAD_HELP.format(error=error, url=backbone.pretrained.url, scale=scale)
        raise ValueError(help_text) from error


def _read(pretrained, path, include_top):
    if not os.path.isfile(path):
        raise ValueError(
            f"--backbone_weights must be 'imagenet', 'none' or a weights file. Received: {path}"
        )
    problems = []
    for with_top in (include_top, not include_top):  # the file may be of either form
        original = _network(pretrained, include_top=with_top, weights=None)
        try:
            original.load_weights(path)
        except Exception as error:  # h5py and Keras raise nearly anything on other files
            problems.append(str(error))
        else:
            name = first_not_finite(original.weights)
            if name:
                raise ValueError(f"{path} has weights that are not finite. The first one is {name}")
            return original
    raise ValueError(
        f"{path} holds no weights of keras.applications.{pretrained.application}: {problems[0]}"
    )


def _network(pretrained, **kwargs):
    with warnings.catch_warnings():  # MobileNetV3 warns where its input has no fixed size
        warnings.filterwarnings("ignore", message="`input_shape` is undefined")
        return getattr(keras.applications, pretrained.application)(**kwargs)
