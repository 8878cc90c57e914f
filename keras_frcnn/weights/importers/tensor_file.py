"""Reads the tensors in weights files of PyTorch and safetensors, and in pickles of NumPy arrays.

Such a file may come from anywhere. Nothing in it is executed, and nothing larger than the file is
made from it: a tensor is copied only after its shape has been found right.
"""

import hashlib
import importlib.metadata
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_frcnn.weights.importers import array_pickle

_SAFE_TORCH = (2, 6)  # earlier versions could be made to run code in spite of weights_only
_HELP = "pip install keras-frcnn[zoo] brings it"


class Tensors:
    """The tensors of a file, by name. Each is taken once.

    Args:
        path: the file, for messages.
        values: arrays of NumPy or tensors of PyTorch, by name.
    """

    def __init__(self, path: str | os.PathLike, values: Mapping[str, Any]):
        self.path = str(path)
        self._values = dict(values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of a tensor that is still there.

        Raises:
            ValueError: if it is not, naming it and the file.
        """
        if name not in self._values:
            raise ValueError(f"{self.path} must hold the tensor {name}, which it lacks")
        return tuple(self._values[name].shape)

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Takes a tensor as a float32 array.

        Raises:
            ValueError: if it is missing or has another shape or type, naming it and the file.
        """
        if self.shape(name) != tuple(shape):
            raise ValueError(
                f"{self.path}: the tensor {name} must have the shape {tuple(shape)}. Received: "
                f"{self.shape(name)}"
            )
        value = self._values.pop(name)
        if not isinstance(value, np.ndarray):
            value = value.detach().float().numpy()  # NumPy lacks bfloat16
        if value.dtype.kind != "f":
            raise ValueError(
                f"{self.path}: the tensor {name} must hold floats. Received: {value.dtype}"
            )
        return value.astype(np.float32)

    def rename(self, name_of) -> None:
        """Renames all tensors; drops those for which ``name_of`` returns None."""
        names = {name: name_of(name) for name in self._values}
        self._values = {new: self._values[old] for old, new in names.items() if new is not None}

    def check_all_taken(self) -> None:
        """Checks that nothing is left.

        Raises:
            ValueError: naming the first tensor that was not taken, and the file.
        """
        for name in self._values:
            raise ValueError(
                f"{self.path} holds the tensor {name}, which the detector has no place for"
            )

    # --- what a layer needs

    def fill_conv(self, layer: keras.layers.Layer, name: str) -> None:
        """Gives a convolution (of any kind) its weights; a bias that the file lacks is 0."""
        is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        height, width, inputs, outputs = layer.kernel.shape
        shape = (inputs, outputs) if is_depthwise else (outputs, inputs)
        kernel = self.take(f"{name}.weight", (*shape, height, width))
        order = (2, 3, 0, 1) if is_depthwise else (2, 3, 1, 0)
        values = [kernel.transpose(order)]
        if layer.use_bias:
            has_bias = f"{name}.bias" in self
            size = tuple(layer.bias.shape)
            values.append(self.take(f"{name}.bias", size) if has_bias else np.zeros(size))
        layer.set_weights(values)

    def fill_norm(self, layer: keras.layers.BatchNormalization, name: str) -> None:
        """Gives batch normalisation its scale, offset and statistics."""
        parts = "weight", "bias", "running_mean", "running_var"
        layer.set_weights([self.take(f"{name}.{part}", tuple(layer.gamma.shape)) for part in parts])

    def fill_dense(self, layer: keras.layers.Dense, name: str, map_shape=None) -> None:
        """Gives a dense layer its weights.

        Args:
            layer: the layer.
            name: the name of the tensors without ".weight" and ".bias".
            map_shape: (rows, columns, channels) of the map that the layer reads, which PyTorch
                flattens by channels first. Default None: it reads no map.
        """
        inputs, outputs = layer.kernel.shape
        kernel = self.take(f"{name}.weight", (outputs, inputs))
        if map_shape is not None:
            rows, columns, channels = map_shape
            kernel = kernel.reshape(outputs, channels, rows, columns).transpose(0, 2, 3, 1)
        kernel = kernel.reshape(outputs, inputs).T
        layer.set_weights([kernel, self.take(f"{name}.bias", (outputs,))])


def read(path: str | os.PathLike) -> Tensors:
    """Reads a file of tensors.

    Args:
        path: a file of ``torch.save`` (``.pth``, ``.pt``), which needs PyTorch; a ``.safetensors``
            file, which needs safetensors; or a ``.pkl`` of NumPy arrays, which needs neither.

    Raises:
        ValueError: naming the file, if it is missing or damaged, or holds anything but tensors; or
            the library that is needed.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no weights file {path}")
    if path.suffix == ".pkl":
        return Tensors(path, array_pickle.read(path))
    return Tensors(path, _with_safetensors(path) if path.suffix == ".safetensors" else _torch(path))


def sha256(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _with_safetensors(path):
    try:
        from safetensors.numpy import load_file
    except ImportError:
        raise ValueError(f"{path} can only be read with safetensors: {_HELP}") from None
    try:
        return load_file(path)
    except Exception as error:  # the library raises its own errors, and others on damaged files
        raise ValueError(f"{path} is not a file of safetensors: {error}") from error


def _torch(path):
    _check_archive(path)
    try:
        import torch
    except ImportError:
        raise ValueError(f"{path} can only be read with PyTorch: {_HELP}") from None
    version = importlib.metadata.version("torch")
    if tuple(int(part) for part in version.split(".")[:2]) < _SAFE_TORCH:
        raise ValueError(
            f"{path} can only be read safely with PyTorch 2.6 or later. Received: {version}"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its text advises to run what is in the file
        raise ValueError(
            f"{path} holds objects that are no tensors, so it is not read: they could run code"
        ) from error
    except Exception as error:  # torch raises nearly anything on damaged files
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} is not a file of tensors alone: {reason}") from error
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]  # of a training script: beside it is the optimizer
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path} must hold a dict of tensors by name")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise ValueError(f"{path} must hold nothing but tensors. Received: {name!r}")
    return content


def _check_archive(path):
    """Refuses an archive that would grow when it is read; ``torch.save`` never compresses."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile raises nearly anything on damaged files
        raise ValueError(f"{path} is a damaged archive: {error}") from error
    is_compressed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if is_compressed or sum(member.file_size for member in members) > os.path.getsize(path):
        raise ValueError(
            f"{path} is not a file of torch.save: its parts are larger than the file itself"
        )
