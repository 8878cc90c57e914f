"""Runs a Keras network on a padded batch so that each image's result is what it would be alone."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_frcnn.backbones.layer_rules import Rule, refusal, rule_of

_PROBED_SIZES = np.arange(1, 2049, dtype=np.int32)  # of images, to compare the sizes of maps


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """Stands for a tensor of the network: where it comes from."""

    key: tuple


@dataclasses.dataclass(frozen=True)
class _Step:
    """One call of an operation: its arguments, which hold ``_Tensor``s, and its result's key."""

    operation: keras.Operation
    rule: Rule
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    key: tuple

    @property
    def inputs(self) -> list[tuple]:
        return [tensor.key for tensor in _tensors((self.args, self.kwargs))]


class PaddingExactNetwork:
    """Runs a network on images of different sizes, padded to one batch.

    1. The network's graph is read once, from its configuration, as a list of steps.
    2. Each step runs the network's own layer on the whole batch.
    3. Before a step that reads cells outside an image's true area, these cells are set to zero,
       unless they are known to be zero. A batch without padding skips this.
    4. The true rows and columns of every map follow from those of the image.

    Args:
        network: a Functional or Sequential Keras model that makes one map or a list of maps of
            images [B, H, W, 3]. It may contain other such models.

    Raises:
        ValueError: naming a layer that cannot be run in this way.
    """

    def __init__(self, network: keras.Model):
        self._images = ("images",)
        self._steps, self._outputs = _read(network, self._images, ())
        self._check()

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The layers in the order in which they run, those of contained models in their place."""
        operations = dict.fromkeys(step.operation for step in self._steps)
        return [one for one in operations if isinstance(one, keras.layers.Layer)]

    def __call__(
        self, images: tf.Tensor, image_shape: tf.Tensor, is_padded: tf.Tensor
    ) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Runs the network.

        Args:
            images: [B, H, W, 3], zero outside each image.
            image_shape: [B, 2] int32, the true height and width of each image.
            is_padded: bool scalar, whether any image is smaller than H x W.

        Returns:
            ``(map [B, h, w, C], shape [B, 2] int32)`` for each output of the network; the map is
            zero outside its true ``shape``.
        """
        shapes = self._shapes(image_shape)
        maps, zero_padded = {self._images: images}, {self._images}

        def clear(key):
            if key not in zero_padded:
                maps[key] = clear_padding(maps[key], shapes[key], is_padded)
                zero_padded.add(key)

        for step in self._steps:
            if step.rule.reads_border:
                for key in step.inputs:
                    clear(key)
            if step.rule.averages:
                (key,) = step.inputs
                maps[step.key] = _mean(maps[key], shapes[key])
                continue
            maps[step.key] = step.operation(
                *_with_maps(step.args, maps), **_with_maps(step.kwargs, maps)
            )
            if step.rule.pads_zeros:
                zero_padded.add(step.key)
        for key in self._outputs:
            clear(key)
        return [(maps[key], shapes[key]) for key in self._outputs]

    def output_shapes(self, image_shape: tf.Tensor) -> list[tf.Tensor]:
        """Computes the true sizes of the network's maps without any pixel.

        Args:
            image_shape: [..., 2] integers, true heights and widths of images.

        Returns:
            [..., 2] integers of the same kind for each output, rows and columns, at least 1.
        """
        shapes = self._shapes(image_shape)
        return [shapes[key] for key in self._outputs]

    def _shapes(self, image_shape):
        """Computes the true size of every map; None for results of one vector an image."""
        shapes = {self._images: image_shape}
        for step in self._steps:
            maps = [shapes[key] for key in step.inputs if shapes[key] is not None]
            shapes[step.key] = step.rule.size(maps[0]) if maps and not step.rule.averages else None
        return shapes

    def _check(self):
        """Refuses steps whose inputs do not fit together, whatever the size of the image."""
        shapes = self._shapes(np.stack([_PROBED_SIZES, _PROBED_SIZES[::-1]], axis=1))
        for step in self._steps:
            maps = [shapes[key] for key in step.inputs if shapes[key] is not None]
            if not maps and step.rule.needs_map:
                raise refusal(
                    step.operation,
                    "it reads neighbouring cells of what is one vector for each image",
                    "give it a map of the image",
                )
            if not all(np.array_equal(maps[0], one) for one in maps[1:]):
                raise refusal(
                    step.operation,
                    "the true sizes of its inputs differ for some sizes of images",
                    "make the padding and strides of its branches agree",
                )
        for key in self._outputs:
            if shapes[key] is None:
                raise ValueError(
                    f"The network must give maps [B, h, w, C]. Received: an output of {key[-3]!r}, "
                    "which is one vector for each image"
                )


def clear_padding(x: tf.Tensor, shape: tf.Tensor, is_padded: tf.Tensor) -> tf.Tensor:
    """Sets the cells outside each map's true ``shape`` [B, 2] to zero if the batch has padding."""

    def clear():
        rows = tf.range(tf.shape(x)[1]) < shape[:, :1]
        columns = tf.range(tf.shape(x)[2]) < shape[:, 1:]
        true = rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]
        return x * tf.cast(true, x.dtype)[..., tf.newaxis]

    return tf.cond(is_padded, clear, lambda: x)


def _mean(x, shape):
    """Averages each map, zero in its padding, over its true area: [B, 1, 1, C]."""
    area = tf.cast(tf.reduce_prod(shape, axis=1), tf.float32)[:, tf.newaxis, tf.newaxis, tf.newaxis]
    total = tf.reduce_sum(tf.cast(x, tf.float32), axis=[1, 2], keepdims=True)
    return tf.cast(total / area, x.dtype)


def _read(network, source, path):
    """Reads a network's graph.

    Args:
        network: a Functional or Sequential model.
        source: the key of the tensor that is its input.
        path: what the keys of its other tensors start with, different for each call of a model.

    Returns:
        ``(steps, outputs)``: ``_Step``s in an order that can be run; the keys of the outputs.
    """
    if isinstance(network, keras.Sequential) and network.built:
        return _read_sequential(network, source, path)
    config = network.get_config() if isinstance(network, keras.Model) else {}
    if "output_layers" not in config:
        raise ValueError(
            "The network must be a Functional Keras model, or a Sequential one that starts with "
            f"an Input. Received: {type(network).__name__}"
        )
    operations = {operation.name: operation for operation in network.operations}
    inputs, outputs = (_triples(config[name]) for name in ("input_layers", "output_layers"))
    if len(inputs) != 1:
        raise ValueError(
            f"The network {network.name!r} must have one input, the images. Received: "
            f"{[name for name, *_ in inputs]}"
        )
    keys = {inputs[0]: source}  # of tensors, by the history that the configuration gives
    steps = []
    waiting = [
        ((layer["name"], index, 0), call)
        for layer in config["layers"]
        for index, call in enumerate(layer["inbound_nodes"])
    ]
    while waiting:  # once, unless layers are shared
        later = []
        for history, call in waiting:
            if not all(one in keys for one in _histories(call)):
                later.append((history, call))
                continue
            operation = operations[history[0]]
            args = _with_tensors(operation, call["args"], keys)
            kwargs = _with_tensors(operation, call["kwargs"], keys)
            new_steps, results = _read_call(operation, args, kwargs, (*path, *history))
            steps += new_steps
            keys |= {(*history[:2], i): key for i, key in enumerate(results)}
        if len(later) == len(waiting):
            raise ValueError(f"The layers of the network {network.name!r} form a circle")
        waiting = later
    # Keras counts the calls of a contained Functional model from 1 here, though from 0 elsewhere.
    outputs = [(name, index - _is_functional(operations[name]), i) for name, index, i in outputs]
    return steps, [keys[history] for history in outputs]


def _is_functional(operation):
    return isinstance(operation, keras.Model) and not isinstance(operation, keras.Sequential)


def _read_sequential(network, source, path):
    steps, key = [], source
    for layer in network.layers:
        new_steps, (key,) = _read_call(layer, [_Tensor(key)], {}, (*path, layer.name, 0, 0))
        steps += new_steps
    return steps, [key]


def _read_call(operation, args, kwargs, key):
    """Reads one call of an operation, itself a network or not; returns as ``_read`` does."""
    if isinstance(operation, keras.Model):
        (tensor,) = _tensors((args, kwargs))
        return _read(operation, tensor.key, key)
    rule = rule_of(operation, kwargs)
    kwargs = {name: value for name, value in kwargs.items() if name not in ("mask", "training")}
    return [_Step(operation, rule, args, {**kwargs, **rule.arguments}, key)], [key]


def _histories(arguments):
    """Lists the (layer, call, output) triples of the tensors that a call's configuration holds."""
    if isinstance(arguments, Mapping):
        if arguments.get("class_name") == "__keras_tensor__":
            return [tuple(arguments["config"]["keras_history"])]
        arguments = arguments.values()
    elif not isinstance(arguments, list | tuple):
        return []
    return [history for value in arguments for history in _histories(value)]


def _triples(config):
    """Lists the (layer, call, output) triples of a network's inputs or outputs."""
    if isinstance(config, Mapping):
        config = [config[name] for name in sorted(config)]
    if isinstance(config[0], str):
        return [tuple(config)]
    return [triple for one in config for triple in _triples(one)]


def _with_tensors(operation, config, keys):
    """Returns arguments of a call with a ``_Tensor`` for each tensor that they mention."""
    if isinstance(config, Mapping):
        if config.get("class_name") == "__keras_tensor__":
            return _Tensor(keys[tuple(config["config"]["keras_history"])])
        if "class_name" in config:
            raise refusal(
                operation, "the network calls it with an array", "use a layer, such as Rescaling"
            )
        return {name: _with_tensors(operation, value, keys) for name, value in config.items()}
    if isinstance(config, list | tuple):
        return [_with_tensors(operation, value, keys) for value in config]
    return config


def _tensors(arguments):
    """Lists the ``_Tensor``s in nested arguments."""
    if isinstance(arguments, _Tensor):
        return [arguments]
    if isinstance(arguments, Mapping):
        arguments = arguments.values()
    elif not isinstance(arguments, list | tuple):
        return []
    return [tensor for value in arguments for tensor in _tensors(value)]


def _with_maps(arguments, maps):
    """Returns nested arguments with the map of each ``_Tensor`` in its place."""
    if isinstance(arguments, _Tensor):
        return maps[arguments.key]
    if isinstance(arguments, Mapping):
        return {name: _with_maps(value, maps) for name, value in arguments.items()}
    if isinstance(arguments, list | tuple):
        return [_with_maps(value, maps) for value in arguments]
    return arguments
