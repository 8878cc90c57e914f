"""Rebuilds networks of keras.applications for detection: number format, initialisers, norms."""

import math
from collections.abc import Callable

import keras

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
