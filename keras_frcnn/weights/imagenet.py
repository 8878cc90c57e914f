"""Pretrained weights for the backbone and the box head."""

import os

import keras

from keras_frcnn.backbones import stacks
from keras_frcnn.config import Config
from keras_frcnn.models.faster_rcnn import FasterRCNN

_APPLICATIONS = {"vgg16": "VGG16", "resnet50": "ResNet50", "resnet101": "ResNet101"}
_WEIGHTS_URLS = {
    name: f"https://storage.googleapis.com/tensorflow/keras-applications/{file}"
    for name, file in {
        "vgg16": "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5",
        "resnet50": "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "resnet101": "resnet/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
    }.items()
}
_DOWNLOAD_HELP = """ImageNet weights could not be downloaded: {error}
Without a network, do one of these:
  - fetch on another machine
      {url}
    and pass --backbone_weights=/path/to/that/file (or put it into ~/.keras/models/);
  - train from random weights: --backbone_weights=none --pixel_std=58"""


def load_pretrained(model: FasterRCNN, config: Config) -> list[str]:
    """Starts a detector from the weights that ``config.backbone_weights`` names.

    Keras' VGG16 weights are the authors' Caffe weights. With ``head_units`` of VGG16's own widths
    its ``fc1`` and ``fc2`` start the box head too; a ResNet's fifth stage always does. Where the
    RPN has convolutions of its own, they start as the detector's do, random ones too.

    Args:
        model: the detector, changed in place.
        config: ``backbone_weights`` is read: 'imagenet', 'none', or a weights file in
            keras.applications' form.

    Returns:
        Names of the layers that were loaded; empty for 'none'.

    Raises:
        ValueError: saying what to do if there is no network, or naming a file that is missing or
            does not fit.
    """
    source, loaded = config.backbone_weights, []
    if source != "none":
        donor = _imagenet(config) if source == "imagenet" else _from_file(source, config.backbone)
        stage = [model.box_head.stage] if model.box_head.stage else []
        layers = [*stacks.leaves([*model.backbone.stack, *stage]), *model.box_head.hidden]
        loaded = _copy(donor, layers)
    if model.rpn_backbone is not None:
        model.rpn_backbone.set_weights(model.backbone.get_weights())
    return loaded


def _copy(donor, layers):
    """Copies the weights of a model to layers of the same names and shapes; returns the names."""
    targets = {layer.name: layer for layer in layers}
    loaded = []
    for layer in donor.layers:
        target = targets.get(layer.name)
        if target is None or not layer.weights:
            continue
        if [w.shape for w in layer.weights] == [w.shape for w in target.weights]:
            target.set_weights(layer.get_weights())
            loaded.append(layer.name)
    return loaded


def _imagenet(config):
    fits_fc = config.head_units == (4096, 4096) and config.pool_size == 7
    wants_top = config.backbone == "vgg16" and fits_fc
    try:
        return _network(config.backbone, include_top=wants_top, weights="imagenet")
    except Exception as error:  # whatever the network layer raises
        url = _WEIGHTS_URLS[config.backbone]
        raise ValueError(_DOWNLOAD_HELP.format(error=error, url=url)) from error


def _from_file(path, backbone):
    if not os.path.isfile(path):
        raise ValueError(
            f"--backbone_weights must be 'imagenet', 'none' or a weights file. Received: {path}"
        )
    problems = []
    for include_top in (False, True):
        donor = _network(backbone, include_top=include_top, weights=None)
        try:
            donor.load_weights(path)
        except Exception as error:  # h5py and Keras raise nearly anything on a file of another form
            problems.append(str(error))
        else:
            return donor
    raise ValueError(
        f"{path} holds no weights of keras.applications.{_APPLICATIONS[backbone]}: {problems[0]}"
    )


def _network(backbone, **kwargs):
    return getattr(keras.applications, _APPLICATIONS[backbone])(**kwargs)
