"""Files of tensors: what is taken, what is refused, and that a small file stays small."""

import pickle
import sys
import zipfile
from types import SimpleNamespace
from unittest import mock

import keras
import numpy as np
import pytest

from keras_frcnn.weights.importers import tensor_file
from keras_frcnn.weights.importers.tensor_file import Tensors


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_tensor_is_taken_once_and_by_its_shape():
    tensors = Tensors("a.pth", {"w": numbers(2, 3), "n": np.arange(3)})
    with pytest.raises(ValueError) as caught:
        tensors.take("w", (3, 2))
    expected = "a.pth: the tensor w must have the shape (3, 2). Received: (2, 3)"
    assert str(caught.value) == expected
    np.testing.assert_array_equal(tensors.take("w", (2, 3)), numbers(2, 3))
    with pytest.raises(ValueError, match=r"a\.pth must hold the tensor w, which it lacks"):
        tensors.take("w", (2, 3))
    with pytest.raises(ValueError, match="holds the tensor n, which the detector has no place for"):
        tensors.check_all_taken()
    with pytest.raises(ValueError, match="the tensor n must hold floats. Received: int64"):
        tensors.take("n", (3,))
    tensors.check_all_taken()


def test_a_tensor_of_another_shape_is_never_copied():
    huge = mock.Mock(shape=(10**6, 10**6))
    with pytest.raises(ValueError, match=r"must have the shape \(2,\)"):
        Tensors("a.pth", {"w": huge}).take("w", (2,))
    huge.detach.assert_not_called()


def test_convolutions_and_dense_layers_compute_what_pytorch_does():
    x = numbers(1, 5, 6, 3)
    kernel, bias = numbers(4, 3, 3, 3), numbers(4)
    conv = keras.layers.Conv2D(4, 3)
    conv.build(x.shape)
    Tensors("a", {"c.weight": kernel, "c.bias": bias}).fill_conv(conv, "c")
    expected = np.zeros((3, 4, 4))
    for row, column, output in np.ndindex(expected.shape):
        patch = x[0, row : row + 3, column : column + 3].transpose(2, 0, 1)
        expected[row, column, output] = (patch * kernel[output]).sum() + bias[output]
    np.testing.assert_allclose(conv(x)[0], expected, atol=1e-5)

    depthwise = keras.layers.DepthwiseConv2D(3, use_bias=False)
    depthwise.build(x.shape)
    kernel = numbers(3, 1, 3, 3)
    Tensors("a", {"c.weight": kernel}).fill_conv(depthwise, "c")
    for row, column, channel in np.ndindex(3, 4, 3):
        patch = x[0, row : row + 3, column : column + 3, channel]
        value = float(depthwise(x)[0, row, column, channel])
        np.testing.assert_allclose(value, (patch * kernel[channel, 0]).sum(), atol=1e-5)

    dense = keras.layers.Dense(2)
    dense.build((None, 90))
    kernel, bias = numbers(2, 90), numbers(2)
    Tensors("a", {"d.weight": kernel, "d.bias": bias}).fill_dense(dense, "d", (5, 6, 3))
    expected = kernel @ x[0].transpose(2, 0, 1).reshape(-1) + bias
    np.testing.assert_allclose(dense(x.reshape(1, -1))[0], expected, atol=1e-5)


def test_a_missing_bias_is_zero():
    conv = keras.layers.Conv2D(4, 1, bias_initializer="ones")
    conv.build((None, 2, 2, 3))
    Tensors("a", {"c.weight": numbers(4, 3, 1, 1)}).fill_conv(conv, "c")
    np.testing.assert_array_equal(conv.bias, np.zeros(4))


@pytest.fixture
def torch(monkeypatch):
    """Stands for PyTorch, which tests may not need; ``content`` is what it finds in a file."""
    torch = SimpleNamespace(Tensor=np.ndarray, content=None, arguments=None, version="2.6.0")

    def load(path, **arguments):
        torch.arguments = arguments
        if isinstance(torch.content, Exception):
            raise torch.content
        return torch.content

    torch.load = load
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(tensor_file.importlib.metadata, "version", lambda _: torch.version)
    return torch


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"legacy")
    return path


def test_pytorch_reads_weights_only(torch, path):
    for torch.content in ({"w": numbers(2)}, {"model": {"w": numbers(2)}, "epoch": 3}):
        assert "w" in tensor_file.read(path)
        assert torch.arguments == {"map_location": "cpu", "weights_only": True}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (RuntimeError("bad\nadvice"), "a.pth is not a file of tensors alone: bad"),
        (
            pickle.UnpicklingError("set weights_only=False"),
            "a.pth holds objects that are no tensors, so it is not read: they could run code",
        ),
        ({}, "a.pth must hold a dict of tensors by name"),
        ({"w": 3}, "a.pth must hold nothing but tensors. Received: 'w'"),
    ],
)
def test_other_content_is_refused_in_one_sentence(torch, path, content, message):
    torch.content = content
    with pytest.raises(ValueError) as caught:
        tensor_file.read(path)
    assert str(caught.value) == f"{path.parent}/{message}"


def test_an_unsafe_version_of_pytorch_is_refused(torch, path):
    torch.version = "2.5.1+cpu"
    with pytest.raises(ValueError, match=r"PyTorch 2\.6 or later. Received: 2\.5\.1\+cpu"):
        tensor_file.read(path)
    assert torch.arguments is None


@pytest.mark.parametrize("name", ["torch", "safetensors.numpy"])
def test_a_library_that_is_missing_is_named(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / ("a.pth" if name == "torch" else "a.safetensors")
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match=r"pip install keras-frcnn\[zoo\] brings it"):
        tensor_file.read(path)


def test_an_archive_that_grows_is_refused_before_pytorch_sees_it(torch, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    with pytest.raises(ValueError, match="its parts are larger than the file itself"):
        tensor_file.read(path)
    assert torch.arguments is None


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match="There is no weights file"):
        tensor_file.read(tmp_path / "a.pth")
