"""Reads the weights of checkpoints of version 0.1, whose detector was built from other parts.

Keras names what it stores after the attributes and classes of a model. In version 0.1 the backbone
was a list of layers, ``stack``, with residual blocks as containers in it, and the heads were
attributes of the model.
"""

import re
import zipfile
from collections.abc import Iterator

import h5py
import keras
import ml_dtypes

from keras_frcnn.models.faster_rcnn import FasterRCNN

_BLOCK_LAYER = re.compile(r"(conv\d_block\d+)_(\d)_(conv|bn)")
_CLASSES = {"conv": "conv2d", "bn": "frozen_normalization"}


def load(model: FasterRCNN, path: str) -> None:
    """Loads weights and step, and the optimizer's state if the model has an optimizer.

    Raises:
        KeyError, ValueError, OSError: if the file is damaged, lacks weights of the model or holds
            other weights.
    """
    with (
        zipfile.ZipFile(path) as archive,
        archive.open("model.weights.h5") as content,
        h5py.File(content) as file,
    ):
        layers = list(_layers(model))
        for name, layer in layers:
            _assign(layer.weights, file, f"{name}/vars")
        _assign([model.step], file, "vars")
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None and "optimizer" in file:
            trained = [weight for _, layer in layers for weight in layer.trainable_weights]
            _assign_optimizer(optimizer, trained, file)


def _layers(model: FasterRCNN) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields every layer with weights and its name in the file, in the order of version 0.1."""
    yield from _stack("backbone/stack", model.backbone.network)
    for name in ("conv", "objectness", "deltas"):
        yield f"layers/rpn_head/{name}", getattr(model.rpn.head, name)
    head = model.roi_head.box_head
    if head.stage:
        yield from _stack("box_head/stage/branches/container", head.stage)
    for number, layer in enumerate(head.hidden):
        yield f"box_head/hidden/{_numbered('dense', number)}", layer
    for name in ("classes", "boxes"):
        yield f"box_head/{name}", getattr(head, name)
    if model.rpn_backbone is not None:
        yield from _stack("layers/backbone_1/stack", model.rpn_backbone.network)


def _stack(prefix: str, network: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields the layers of a network as a stack: plain layers, then residual blocks, each with a
    main branch (layers 1 to 3) and a shortcut (layer 0).
    """
    counts, blocks = {}, {}
    for layer in network.layers:
        match = _BLOCK_LAYER.fullmatch(layer.name)
        if not layer.weights:
            continue
        if match:
            branch = blocks.setdefault(match.group(1), ({}, {}))[match.group(2) == "0"]
            branch[match.group(2), match.group(3)] = layer
            continue
        kind = _CLASSES["bn" if layer.name.endswith("_bn") else "conv"]
        number = counts.setdefault(kind, 0)
        counts[kind] += 1
        yield f"{prefix}/{_numbered(kind, number)}", layer
    for index, branches in enumerate(blocks.values()):
        residual = f"{prefix}/{_numbered('residual', index)}/branches"
        for container, branch in zip(("container", "container_1"), branches, strict=True):
            for (number, suffix), layer in sorted(branch.items(), key=_rank):
                kind = _numbered(_CLASSES[suffix], max(int(number) - 1, 0))
                yield f"{residual}/{container}/{kind}", layer


def _rank(item):
    """Sorts layers by number, and a convolution before its normalisation."""
    (number, suffix), _ = item
    return number, suffix == "bn"


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _assign(weights, file, name):
    """Assigns the arrays of a group to weights."""
    if name not in file:
        raise ValueError(f"it has no group {name}")
    group = file[name]
    if len(group) != len(weights):
        raise ValueError(f"{name} must hold {len(weights)} arrays. Received: {len(group)}")
    for number, weight in enumerate(weights):
        value = group[str(number)]
        if tuple(value.shape) != tuple(weight.shape):
            raise ValueError(
                f"{name}/{number} must have the shape {tuple(weight.shape)}. Received: "
                f"{tuple(value.shape)}"
            )
        weight.assign(_array(value))


def _array(value):
    """Returns a stored array. Keras stores bfloat16, which HDF5 lacks, as raw bytes."""
    is_bfloat16 = value.attrs.get("dtype") == "bfloat16"
    return value[()].view(ml_dtypes.bfloat16) if is_bfloat16 else value[()]


def _assign_optimizer(optimizer, trained, file):
    """Assigns an optimizer's state, whose order is that of the trained weights in version 0.1."""
    in_old_order = type(optimizer).from_config(optimizer.get_config())
    in_old_order.build(trained)
    _assign(in_old_order.variables, file, "optimizer/vars")
    values = {variable.path: variable for variable in in_old_order.variables}
    for variable in optimizer.variables:
        variable.assign(values[variable.path])
