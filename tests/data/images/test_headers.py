"""Headers: sizes as displayed, and files that are cut off, huge or something else."""

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.data.images import headers


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_image_header_finds_any_cut(tmp_path, suffix):
    whole = tmp_path / f"whole{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    Image.fromarray(noise).save(whole)
    content = whole.read_bytes()
    assert headers.image_header(whole) == (30, 50, 1)
    cut = tmp_path / f"cut{suffix}"
    for length in (0, 1, 20, len(content) // 2, len(content) - 20, len(content) - 1):
        cut.write_bytes(content[:length])
        with pytest.raises(ValueError, match=f"cut{suffix}: unreadable"):
            headers.image_header(cut)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_image_header_accepts_bytes_after_the_end(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.new("RGB", (50, 30)).save(path)
    path.write_bytes(path.read_bytes() + b"\0" * 5000)
    assert headers.image_header(path) == (30, 50, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_header_gives_the_displayed_size(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (50, 30)).save(tmp_path / "a.jpg", exif=exif)
    size = (30, 50) if orientation < 5 else (50, 30)
    assert headers.image_header(tmp_path / "a.jpg") == (*size, orientation)


def test_image_header_refuses_other_formats_and_missing_files(tmp_path):
    Image.new("RGB", (5, 5)).save(tmp_path / "a.gif")
    with pytest.raises(ValueError, match="a.gif: .*expected JPEG or PNG, found GIF"):
        headers.image_header(tmp_path / "a.gif")
    with pytest.raises(ValueError, match="none.jpg"):
        headers.image_header(tmp_path / "none.jpg")


def test_image_header_refuses_huge_images_undecoded(tmp_path, monkeypatch):
    Image.new("RGB", (50, 30)).save(tmp_path / "a.png")
    monkeypatch.setattr(headers, "MAX_PIXELS", 1499)
    with pytest.raises(ValueError, match="a.png: .*50 x 30 pixels"):
        headers.image_header(tmp_path / "a.png")
    monkeypatch.setattr(headers, "MAX_PIXELS", 1500)
    assert headers.image_header(tmp_path / "a.png") == (30, 50, 1)


def test_image_header_refuses_a_decompression_bomb(tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("RGB", (50, 30)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (100_000).to_bytes(4, "big") * 2
    path.write_bytes(content)
    with pytest.raises(ValueError, match="bomb.png: unreadable"):
        headers.image_header(path)
