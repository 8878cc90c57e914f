"""Backbones that several test modules share. No test may change their weights."""

import keras
import pytest

from keras_frcnn import backbones
from tests import fakes
from tests.backbones import padding


@pytest.fixture(scope="session")
def small():
    """Two convolutions, each with a pooling by four."""
    keras.utils.set_random_seed(0)
    backbone = fakes.small_vgg16(dtype="float32")
    padding.randomize(backbone)
    return backbone


@pytest.fixture(scope="session")
def vgg16():
    keras.utils.set_random_seed(0)
    backbone = backbones.VGG16(dtype="float32")
    padding.randomize(backbone)
    return backbone


@pytest.fixture(scope="session")
def zf():
    keras.utils.set_random_seed(0)
    backbone = backbones.ZF(dtype="float32")
    padding.randomize(backbone)
    return backbone
