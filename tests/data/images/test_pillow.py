"""Images opened by Pillow show what the decoder shows."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.data.images import headers, pillow
from keras_frcnn.data.images.files import to_image
from tests.data.images import image_forms
from tests.data.images.image_forms import FORMS, READ, exif_of

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.outcome == READ])
def test_what_is_shown_is_what_is_decoded(tmp_path, name):
    path = tmp_path / "a"
    path.write_bytes(FORMS[name].content)
    *_, orientation = headers.image_header(path)
    with Image.open(path) as image:
        shown = pillow.with_8_bits(pillow.upright(image, orientation)).convert("RGB")
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
