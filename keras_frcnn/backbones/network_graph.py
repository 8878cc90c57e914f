"""Reads the graph of a Keras network, as its public configuration describes it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_frcnn.backbones.layer_rules import refusal

IMAGES = ("images",)
"""The key of the tensor that is the network's input."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """Stands for a tensor of the network in the arguments of a call."""

    key: tuple


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of an operation.

    Attributes:
        operation: a layer or a ``keras.ops`` operation.
        args: its positional arguments, nested lists with a ``Tensor`` for each tensor.
        kwargs: its keyword arguments, in the same form.
        key: the key of its result.
    """

    operation: keras.Operation
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    key: tuple

    @property
    def inputs(self) -> list[tuple]:
        """The keys of the tensors that it is called with."""
        return [tensor.key for tensor in _tensors((self.args, self.kwargs))]

    def run(self, values: Mapping[tuple, Any], **kwargs):
        """Calls the operation with the value of each tensor by its key, and with ``kwargs``."""
        args, own = _with_values(self.args, values), _with_values(self.kwargs, values)
        return self.operation(*args, **{**own, **kwargs})


def read_graph(network: keras.Model) -> tuple[list[Call], list[tuple]]:
    """Reads the calls of a network's operations.

    Args:
        network: a Functional or Sequential model with one input. Calls of such models within it are
            replaced by the calls of their layers.

    Returns:
        ``(calls, outputs)``: the calls in an order in which they can run; the keys of the outputs.

    Raises:
        ValueError: if the network is not such a model or contains a model that is not.
    """
    return _read(network, IMAGES, ())


def _read(network, source, path):
    """Reads a network whose input has the key ``source``; all other keys start with ``path``.

    The path differs between calls of the same network.
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
    keys = {inputs[0]: source}  # of tensors, by the (layer, call, output) of the configuration
    calls = []
    waiting = [
        ((layer["name"], index, 0), call)
        for layer in config["layers"]
        for index, call in enumerate(layer["inbound_nodes"])
    ]
    while waiting:  # one round, unless layers are shared
        later = []
        for triple, call in waiting:
            if not all(one in keys for one in _triples_within(call)):
                later.append((triple, call))
                continue
            operation = operations[triple[0]]
            args = _with_tensors(operation, call["args"], keys)
            kwargs = _with_tensors(operation, call["kwargs"], keys)
            new_calls, results = _read_call(operation, args, kwargs, (*path, *triple))
            calls += new_calls
            keys |= {(*triple[:2], i): key for i, key in enumerate(results)}
        if len(later) == len(waiting):
            raise ValueError(f"The layers of the network {network.name!r} form a cycle")
        waiting = later
    # Keras counts the calls of a contained Functional model from 1 here, though from 0 elsewhere.
    outputs = [(name, call - _is_functional(operations[name]), i) for name, call, i in outputs]
    return calls, [keys[triple] for triple in outputs]


def _read_sequential(network, source, path):
    calls, key = [], source
    for layer in network.layers:
        new_calls, (key,) = _read_call(layer, [Tensor(key)], {}, (*path, layer.name, 0, 0))
        calls += new_calls
    return calls, [key]


def _read_call(operation, args, kwargs, key):
    """Reads one call of an operation, which may be a network; returns as ``read_graph`` does."""
    if isinstance(operation, keras.Model):
        (tensor,) = _tensors((args, kwargs))
        return _read(operation, tensor.key, key)
    return [Call(operation, args, kwargs, key)], [key]


def _is_functional(operation):
    return isinstance(operation, keras.Model) and not isinstance(operation, keras.Sequential)


def _triples(config):
    """Lists the (layer, call, output) triples of a network's inputs or outputs."""
    if isinstance(config, Mapping):
        config = [config[name] for name in sorted(config)]
    if isinstance(config[0], str):
        return [tuple(config)]
    return [triple for one in config for triple in _triples(one)]


def _triples_within(arguments):
    """Lists the (layer, call, output) triples of the tensors in the configuration of a call."""
    if _is_tensor(arguments):
        return [tuple(arguments["config"]["keras_history"])]
    return [triple for value in _elements(arguments) for triple in _triples_within(value)]


def _with_tensors(operation, arguments, keys):
    """Returns the configuration of a call with each tensor replaced by a ``Tensor``."""
    if _is_tensor(arguments):
        return Tensor(keys[tuple(arguments["config"]["keras_history"])])
    if isinstance(arguments, Mapping):
        if "class_name" in arguments:
            raise refusal(
                operation, "the network calls it with an array", "use a layer such as Rescaling"
            )
        return {name: _with_tensors(operation, value, keys) for name, value in arguments.items()}
    if isinstance(arguments, list | tuple):
        return [_with_tensors(operation, value, keys) for value in arguments]
    return arguments


def _is_tensor(config):
    return isinstance(config, Mapping) and config.get("class_name") == "__keras_tensor__"


def _tensors(arguments):
    """Lists the ``Tensor``s in nested arguments."""
    if isinstance(arguments, Tensor):
        return [arguments]
    return [tensor for value in _elements(arguments) for tensor in _tensors(value)]


def _with_values(arguments, values):
    """Returns nested arguments with each ``Tensor`` replaced by its value."""
    if isinstance(arguments, Tensor):
        return values[arguments.key]
    if isinstance(arguments, Mapping):
        return {name: _with_values(value, values) for name, value in arguments.items()}
    if isinstance(arguments, list | tuple):
        return [_with_values(value, values) for value in arguments]
    return arguments


def _elements(arguments):
    if isinstance(arguments, Mapping):
        return list(arguments.values())
    return arguments if isinstance(arguments, list | tuple) else []
