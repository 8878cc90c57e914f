"""Images opened by Pillow show what the decoder shows."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps

from keras_frcnn.data.images import headers, pillow
from keras_frcnn.data.images.files import to_image
from tests.data.images import image_forms
from tests.data.images.image_forms import BROKEN, FORMS, READ, SKIPPED, exif_of

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.outcome == READ])
def test_what_is_shown_is_what_is_decoded(tmp_path, name):
    path = tmp_path / "a"
    path.write_bytes(FORMS[name].content)
    *_, orientation = headers.image_header(path)
    with Image.open(path) as image:
        shown = pillow.to_rgb(pillow.upright(image, orientation))
    expected = to_image(path).astype(int)
    assert shown.size == expected.shape[1::-1]
    np.testing.assert_allclose(np.asarray(shown), expected, atol=2)  # of CMYK's rounding


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_turned_image_is_saved_without_its_orientation(tmp_path, form):
    content = image_forms.saved(image_forms.pixels(3), form, exif=exif_of(6)[6:])
    with Image.open(io.BytesIO(content)) as image:
        pillow.upright(image, 6).save(tmp_path / "a", form)
    assert headers.image_header(tmp_path / "a") == (36, 24, 1)
    with Image.open(tmp_path / "a") as image:
        assert pillow.upright(image, 1) is image


# --- images that a user hands over ----------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.outcome == READ])
def test_an_opened_image_has_the_pixels_of_its_file(tmp_path, name):
    path = tmp_path / "a"
    path.write_bytes(FORMS[name].content)
    expected = to_image(path)
    with Image.open(path) as image:
        pixels = to_image(image)
    assert (pixels.shape, pixels.dtype) == (expected.shape, np.uint8)
    tolerance = 2 if "cmyk" in name or "ycck" in name else 0
    assert np.abs(pixels.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_an_image_of_any_mode_has_the_pixels_of_its_file(tmp_path, mode, orientation):
    blocks = image_forms.pixels(4).astype(np.uint8)
    image = Image.fromarray(blocks)  # RGBA
    if mode == "I;16":
        image = Image.fromarray(image_forms.pixels(1, 65536)[..., 0].astype(np.uint16))
    elif mode == "P":
        image = image.convert("P")
        image.info["transparency"] = bytes(range(256))
    else:
        image = image.convert(mode)
    assert image.mode == mode
    image.info["exif"] = exif_of(orientation)
    options = {"format": "JPEG", "quality": 100} if mode == "CMYK" else {"format": "PNG"}
    before = image.tobytes()
    image.save(tmp_path / "a", exif=image.info["exif"], **options)
    expected = to_image(tmp_path / "a")
    with warnings.catch_warnings(action="error"):
        pixels = to_image(image)
    assert pixels.shape == expected.shape == ((24, 36, 3) if orientation == 1 else (36, 24, 3))
    tolerance = 12 if mode == "CMYK" else 0  # of JPEG
    assert np.abs(pixels.astype(int) - expected).max() <= tolerance
    assert np.ptp(pixels) > 100
    assert image.mode == mode and image.tobytes() == before  # it is the user's


@pytest.mark.parametrize("mode", ["PA", "La", "RGBa", "RGBX", "YCbCr", "HSV"])
def test_modes_without_a_file_are_read_as_rgb(mode):
    image = Image.new("RGB", (3, 2), (200, 100, 50))
    if mode in ("La", "RGBa", "PA"):
        image = image.convert({"La": "LA", "RGBa": "RGBA", "PA": "P"}[mode])
    image = image.convert(mode)
    assert image.mode == mode
    expected = (124, 124, 124) if mode == "La" else (200, 100, 50)
    if mode == "PA":
        expected = image.convert("RGBA").getpixel((0, 0))[:3]
    np.testing.assert_allclose(to_image(image), np.full((2, 3, 3), expected), atol=3)


@pytest.mark.parametrize("dtype", ["int32", ">u2", "<u2"])
def test_of_16_bits_in_any_order_the_upper_8_are_kept(dtype):
    values = image_forms.pixels(1, 65536)
    image = Image.fromarray(values[..., 0].astype(dtype))
    assert image.mode == {"int32": "I", ">u2": "I;16B", "<u2": "I;16"}[dtype]
    np.testing.assert_array_equal(to_image(image), np.repeat(values // 256, 3, axis=2))


def test_an_image_turned_by_the_user_is_not_turned_again():
    image = Image.fromarray(image_forms.pixels(3).astype(np.uint8))
    image.info["exif"] = exif_of(6)
    assert to_image(image).shape == (36, 24, 3)
    turned = ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(to_image(turned), to_image(image))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image.new("F", (2, 2)), "a PIL image of mode F: unreadable image: its mode F has"),
        (Image.new("I", (2, 2), 70000), "a PIL image of mode I: unreadable image: its mode I has"),
        (Image.new("I", (2, 2), -1), "whole numbers of 16 bits; convert it to mode RGB"),
        (Image.new("RGB", (0, 2)), r"Received: uint8 \[2, 0, 3\]"),
    ],
)
def test_pixels_without_a_rule_are_refused(image, words):
    with pytest.raises(ValueError, match=words):
        to_image(image)


@pytest.mark.parametrize(
    "name", ["jpeg cmyk of no program", "jpeg of half the pixels", "png with damaged pixels"]
)
def test_an_opened_image_that_is_refused_as_a_file_is_refused_by_its_name(tmp_path, name):
    assert FORMS[name].outcome in (SKIPPED, BROKEN)
    path = tmp_path / "a"
    path.write_bytes(FORMS[name].content)
    with (
        Image.open(path) as image,
        pytest.raises(ValueError, match=f"{path}: unreadable image: {FORMS[name].words[:4]}|a"),
    ):
        to_image(image)
