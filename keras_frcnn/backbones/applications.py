"""Rebuilds networks of keras.applications and KerasHub: number format, initialisers, norms."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_frcnn.backbones import feature_pyramid
from keras_frcnn.backbones.backbone import Backbone
from keras_frcnn.backbones.network_graph import read_graph
from keras_frcnn.data.images.preprocessing import Preprocessing
from keras_frcnn.layers.frozen_normalization import FrozenNormalization


def rebuild(
    network: keras.Model,
    dtype=None,
    change: Callable[[dict], dict] = lambda settings: settings,
    call: Callable | None = None,
) -> keras.Model:
    """Builds a network like one of keras.applications, with new random weights.

    1. Every layer computes in the number format ``dtype``.
    2. Kernels are drawn with He initialisation, since the detector may train them from scratch.
    3. Batch normalisation is frozen: a detector's batch is too small for statistics of its own.

    Args:
        network: a Functional model, from its input to the last map that is needed.
        dtype: a Keras dtype policy or its name. None: the global policy.
        change: maps a layer's settings to those of the new layer.
        call: as ``call_function`` of ``keras.models.clone_model``.

    Returns:
        The new model, its layers named as in ``network``.
    """
    policy = keras.dtype_policies.get(dtype)

    def clone(operation):
        settings = operation.get_config()
        if not isinstance(operation, keras.layers.Layer):
            return type(operation).from_config(settings)
        settings["dtype"] = policy
        if "kernel_initializer" in settings:
            settings["kernel_initializer"] = "he_normal"
        if "depthwise_initializer" in settings:  # Keras would count all channels as its inputs
            stddev = math.sqrt(2 / math.prod(settings["kernel_size"]))
            settings["depthwise_initializer"] = keras.initializers.RandomNormal(stddev=stddev)
        frozen = type(operation) is keras.layers.BatchNormalization
        kind = FrozenNormalization if frozen else type(operation)
        return kind.from_config(change(settings))

    image = keras.Input(network.input.shape[1:], dtype=policy.compute_dtype, name="images")
    return keras.models.clone_model(
        network, input_tensors=image, clone_function=clone, call_function=call
    )


def groups_by_prefix(network: keras.Model, prefixes: list[str]) -> tuple[tuple[str, ...], ...]:
    """Lists the names of a network's layers by the first of ``prefixes`` that they start with."""
    names = [layer.name for layer in network.layers]
    return tuple(tuple(name for name in names if name.startswith(prefix)) for prefix in prefixes)


def from_keras_hub(
    hub_backbone: keras.Model,
    image_converter: Any,
    pyramid: bool = True,
    frozen_blocks: int = 0,
    dtype=None,
    name: str = "backbone",
) -> Backbone:
    """Makes a backbone of a convolutional one of KerasHub, with its weights.

    The result consists of layers of Keras alone, so that a saved detector needs no KerasHub.

    Args:
        hub_backbone: a ``keras_hub.models.ResNetBackbone`` or another backbone of KerasHub with
            ``pyramid_outputs``, such as ``from_preset("resnet_vd_50_ssld_imagenet")`` returns.
        image_converter: the ``keras_hub.layers.ImageConverter`` of the same preset, which knows how
            its pixels are normalised.
        pyramid: whether a feature pyramid is put on the maps of strides 4 to 32. Otherwise the map
            of stride 16 is the only level.
        frozen_blocks: how many stages are not trained, counted from the image, the layers before
            the first stage being one.
        dtype: a Keras dtype policy or its name. None: the global policy.
        name: the name of the layer.

    Returns:
        A ``Backbone``.

    Raises:
        ValueError: naming a layer whose result would depend on the padding of a batch, or saying
            what the network lacks.
    """
    maps = getattr(hub_backbone, "pyramid_outputs", {})
    names = ["P2", "P3", "P4", "P5"] if pyramid else ["P4"]
    missing = [one for one in names if one not in maps]
    if missing:
        raise ValueError(
            f"{hub_backbone.name} has no maps {', '.join(missing)}, whose strides are powers of 2: "
            f"its pyramid_outputs are {', '.join(maps) or 'missing'}"
        )
    outputs = [maps[one] for one in names]
    original = keras.Model(hub_backbone.input, outputs, name=hub_backbone.name)
    network = rebuild(original, dtype)
    network.set_weights(original.get_weights())
    groups = _stages(network, keras.Model(hub_backbone.input, list(maps.values())))
    if pyramid:
        network = feature_pyramid.with_pyramid(network, dtype=dtype)
        arguments = feature_pyramid.BACKBONE_ARGUMENTS
    else:
        arguments = {"strides": 16}
    return Backbone(
        network,
        preprocessing=_preprocessing_of(image_converter),
        freeze_groups=groups,
        frozen_blocks=frozen_blocks,
        name=name,
        dtype=dtype,
        **arguments,
    )


def _stages(network, whole):
    """Lists the names of a network's layers by stage. The first stage ends with max pooling, and
    each of the others with a map of the whole network.
    """
    _, keys = read_graph(whole)
    last = [key[-3] for key in keys]
    stages = [[]]
    for layer in network.layers[1:]:
        stages[-1].append(layer.name)
        if layer.name in last or isinstance(layer, keras.layers.MaxPooling2D):
            stages.append([])
    return tuple(map(tuple, filter(None, stages)))


def _preprocessing_of(image_converter):
    """Returns what a converter of KerasHub does to RGB pixels, ``pixel * scale + offset``."""
    scale, offset = (
        np.broadcast_to(default if value is None else value, 3).astype(float)
        for value, default in ((image_converter.scale, 1.0), (image_converter.offset, 0.0))
    )
    return Preprocessing("rgb", tuple(0.0 - offset / scale), tuple(1 / scale))
