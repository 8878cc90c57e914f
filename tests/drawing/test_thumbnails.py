"""Thumbnails: what is read of sound and damaged files, and how images stand in pages."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.data.images import headers
from keras_frcnn.drawing import thumbnails


@pytest.fixture
def jpeg(tmp_path):
    """A JPEG of 80 x 40 pixels, left half red, with the EXIF orientation 6."""
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :40, 0] = 255
    exif = Image.Exif()
    exif[0x112] = 6
    path = tmp_path / "image.jpg"
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    return path


def test_an_image_is_shrunk_and_turned(jpeg):
    upright = np.asarray(thumbnails.read(jpeg, 40)).astype(int)
    assert upright.shape == (40, 20, 3)
    assert upright[5, 10, 0] > 200 and upright[35, 10, 0] < 50  # red at the top
    stored = np.asarray(thumbnails.read(jpeg, 40, upright=False)).astype(int)
    assert stored.shape == (20, 40, 3)
    assert stored[10, 5, 0] > 200 and stored[10, 35, 0] < 50


def test_a_small_image_keeps_its_size(jpeg):
    assert thumbnails.read(jpeg, 500).size == (40, 80)


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff"])
def test_a_file_without_an_image_is_named(tmp_path, content):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="broken.jpg: unreadable image"):
        thumbnails.read(path, 40)


def test_a_large_image_is_refused(jpeg, monkeypatch):
    monkeypatch.setattr(thumbnails, "MAX_PIXELS", 3199)
    assert headers.MAX_PIXELS > 3200
    with pytest.raises(ValueError, match="expected at most 3199 pixels. Received: 80 x 40"):
        thumbnails.read(jpeg, 40)


def test_an_image_stands_in_its_url():
    image = Image.new("RGB", (8, 6), (200, 100, 50))
    kind, data = thumbnails.data_url(image).split(",")
    assert kind == "data:image/jpeg;base64"
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
    assert decoded.shape == (6, 8, 3)
    assert np.abs(decoded - (200, 100, 50)).max() <= 3
