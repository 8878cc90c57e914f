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

from keras_frcnn.models.faster_rcnn import FasterRCNN

_BLOCK_LAYER = re.compile(r"(conv\d_block\d+)_(\d)_(conv|bn)")
_CLASSES = {"conv": "conv2d", "bn": "frozen_normalization"}


def load(model: FasterRCNN, path: str) -> None:
    """Loads weights and step, and the optimizer's state if the model has an optimizer.

    Raises:
        KeyError, ValueError, OSError: if the file lacks weights of the model or holds others.
    """
    with (
        zipfile.ZipFile(path) as archive,
        archive.open("model.weights.h5") as content,
        h5py.File(content) as file,
    ):
        for name, layer in _layers(model):
            _assign(layer.weights, file[f"{name}/vars"])
        _assign([model.step], file["vars"])
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None:
            _assign_optimizer(optimizer, file["optimizer"])


def _layers(model: FasterRCNN) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields every layer with weights, and its name in the file."""
    yield from _stack("backbone/stack", model.backbone.network)
    if model.rpn_backbone is not None:
        yield from _stack("layers/backbone_1/stack", model.rpn_backbone.network)
    for name in ("conv", "objectness", "deltas"):
        yield f"layers/rpn_head/{name}", getattr(model.rpn.head, name)
    head = model.roi_head.box_head
    if head.stage:
        yield from _stack("box_head/stage/branches/container", head.stage)
    for number, layer in enumerate(head.hidden):
        yield f"box_head/hidden/{_numbered('dense', number)}", layer
    for name in ("classes", "boxes"):
        yield f"box_head/{name}", getattr(head, name)


def _stack(prefix: str, network: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields the layers of a network as a stack: plain layers numbered by class, and residual
    blocks, each with a main branch (layers 1 to 3) and a shortcut (layer 0).
    """
    counts, blocks = {}, []
    for layer in network.layers:
        if not layer.weights:
            continue
        match = _BLOCK_LAYER.fullmatch(layer.name)
        if match is None:
            kind = "frozen_normalization" if "normalization" in type(layer).__name__.lower() else ""
            kind = kind or "conv2d"
            yield f"{prefix}/{_numbered(kind, counts.setdefault(kind, 0))}", layer
            counts[kind] += 1
            continue
        block, number, suffix = match.group(1), int(match.group(2)), match.group(3)
        if block not in blocks:
            blocks.append(block)
        residual = _numbered("residual", blocks.index(block))
        branch = "container" if number else "container_1"
        kind = _numbered(_CLASSES[suffix], max(number - 1, 0))
        yield f"{prefix}/{residual}/branches/{branch}/{kind}", layer


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _assign(weights, group):
    if len(group) != len(weights):
        raise ValueError(f"{group.name} holds {len(group)} weights, {len(weights)} were expected")
    for number, weight in enumerate(weights):
        value = group[str(number)]
        if tuple(value.shape) != tuple(weight.shape):
            raise ValueError(
                f"{group.name}/{number} has shape {tuple(value.shape)}, expected "
                f"{tuple(weight.shape)}"
            )
        weight.assign(value[()])


def _assign_optimizer(optimizer, group):
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is None:
        _assign(optimizer.variables, group["vars"])
        return
    own = [v for v in optimizer.variables if not any(v is other for other in inner.variables)]
    _assign(own, group["vars"])
    _assign_optimizer(inner, group["inner_optimizer"])
