"""Images without annotations: found where the user points, read as viewers display them."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from keras_frcnn.data.dataset import Record
from keras_frcnn.data.images.files import find_images, to_image
from keras_frcnn.data.images.spans import Span


@pytest.fixture
def image():
    """Coloured blocks, no two corners alike: survives JPEG, shows every turn."""
    blocks = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)
    return np.kron(blocks, np.ones((16, 16, 1), np.uint8))


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jpg", "a.PNG", "c.jpeg", "notes.txt", "deep/d.png", "e.png/f.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(paths, folder):
    return [path.relative_to(folder).as_posix() for path in paths]


# --- finding --------------------------------------------------------------------------------------


def test_a_folder_gives_its_own_images_by_name(folder):
    assert names(find_images([str(folder)]), folder) == ["a.PNG", "b.jpg", "c.jpeg"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jp*g", ["b.jpg", "c.jpeg"]),
        ("?.jpg", ["b.jpg"]),
        ("**/*.png", ["deep/d.png"]),
        ("*", ["a.PNG", "b.jpg", "c.jpeg", "notes.txt"]),
    ],
)
def test_a_pattern_gives_the_files_that_match(folder, pattern, expected):
    assert names(find_images([str(folder / pattern)]), folder) == expected


def test_places_keep_their_order_and_files_come_once(folder):
    places = [str(folder / "notes.txt"), str(folder / "c*"), str(folder), str(folder / "b.jpg")]
    expected = ["notes.txt", "c.jpeg", "a.PNG", "b.jpg"]
    assert names(find_images(places), folder) == expected


def test_a_file_may_be_named_like_a_pattern(tmp_path):
    (tmp_path / "a[1].jpg").touch()
    assert names(find_images([str(tmp_path / "a[1].jpg")]), tmp_path) == ["a[1].jpg"]


def test_a_tilde_is_the_home(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert find_images(["~/b.jpg"]) == [folder / "b.jpg"]


@pytest.mark.parametrize("place", ["missing.jpg", "*.gif", "deep/../nothing"])
def test_a_place_without_images_is_named(folder, place):
    with pytest.raises(ValueError, match="Found no image at: ") as caught:
        find_images([str(folder), str(folder / place)])
    assert str(caught.value).endswith(str(folder / place))


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="Found no image at: "):
        find_images([str(tmp_path)])


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_png_is_read_exactly(image, tmp_path, as_type):
    Image.fromarray(image).save(tmp_path / "a.png")
    read = to_image(as_type(tmp_path / "a.png"))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_read_as_displayed(image, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(tmp_path / "a.jpg", quality=95, exif=exif)
    with Image.open(tmp_path / "a.jpg") as image:
        displayed = np.array(ImageOps.exif_transpose(image)).astype(int)
    read = to_image(tmp_path / "a.jpg")
    assert read.shape == ((64, 48, 3) if orientation >= 5 else (48, 64, 3))
    np.testing.assert_allclose(read, displayed, atol=3)


def test_grey_and_transparent_files_become_rgb(image, tmp_path):
    grey = image[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(to_image(tmp_path / "grey.png"), np.stack([grey] * 3, -1))
    Image.fromarray(np.dstack([image, grey])).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(to_image(tmp_path / "rgba.png"), image)


def test_arrays_become_rgb(image):
    grey = image[..., 0]
    expected = np.stack([grey] * 3, axis=-1)
    np.testing.assert_array_equal(to_image(image), image)
    np.testing.assert_array_equal(to_image(np.dstack([image, grey])), image)
    np.testing.assert_array_equal(to_image(grey), expected)
    np.testing.assert_array_equal(to_image(grey[..., np.newaxis]), expected)


@pytest.mark.parametrize(
    ("array", "received"),
    [
        (np.zeros((4, 5, 3), np.float32), "float32 [4, 5, 3]"),
        (np.zeros((4, 5, 2), np.uint8), "uint8 [4, 5, 2]"),
        (np.zeros((4, 5, 6), np.uint8), "uint8 [4, 5, 6]"),
        (np.zeros((3, 40, 50), np.uint8), "uint8 [3, 40, 50]"),
        (np.zeros((2, 1, 4, 5, 3), np.uint8), "uint8 [2, 1, 4, 5, 3]"),
        (np.zeros((1, 4, 5, 3), np.uint8), "uint8 [1, 4, 5, 3]"),
        (np.zeros((5,), np.uint8), "uint8 [5]"),
        (np.zeros((0, 5, 3), np.uint8), "uint8 [0, 5, 3]"),
        (None, "object []"),
        (b"bytes of a file", "|S15 []"),
    ],
)
def test_other_arrays_are_refused(array, received):
    with pytest.raises(ValueError, match="must be a file name or a uint8 array") as caught:
        to_image(array)
    assert str(caught.value).endswith(f"Received: {received}")


def test_unreadable_files_are_named(image, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    Image.fromarray(image).save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 255  # the end marker is still there
    (tmp_path / "damaged.png").write_bytes(damaged)
    for name in ("text.jpg", "cut.png", "damaged.png", "missing.png"):
        path = os.path.join(tmp_path, name)
        with pytest.raises(ValueError, match="unreadable image") as caught:
            to_image(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_a_records_image_is_read_from_inside_a_file(image, tmp_path):
    Image.fromarray(image).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "many").write_bytes(b"12345" + content)
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool)
    record = Record("x", str(tmp_path / "many"), 48, 64, *nothing, span=Span(0, 5, len(content)))
    np.testing.assert_array_equal(to_image(record), image)
    whole = Record("x", str(tmp_path / "a.png"), 48, 64, *nothing)
    np.testing.assert_array_equal(to_image(whole), image)
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 255
    (tmp_path / "many").write_bytes(b"12345" + damaged)
    with pytest.raises(ValueError, match="many: image x: unreadable image"):
        to_image(record)
