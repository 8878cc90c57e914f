"""Converts images opened by Pillow, so that they look as ``transforms.decode`` decodes them.

Training, detection and serving decode images with TensorFlow. Pillow is used for what TensorFlow
cannot do: thumbnails and hashes of damaged files, writing images, and images that a user hands over
as Pillow's.
"""

import numpy as np
from PIL import Image

from keras_frcnn.data.images import exif

_METADATA = ("exif", "xmp")  # a saved file would keep these and be turned a second time


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turns an image upright, as viewers show it.

    Args:
        image: the stored pixels.
        orientation: their EXIF orientation, 1 to 8. It is an argument because Pillow also returns
            EXIF data of a loaded PNG that the rule in ``exif`` ignores.

    Returns:
        The turned image without metadata that contain an orientation; the same image for 1.
    """
    if orientation == 1:
        return image
    methods = (
        Image.Transpose.TRANSPOSE,
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.FLIP_TOP_BOTTOM,
    )
    for method, applies in zip(methods, exif.TURNS[orientation - 1], strict=True):
        image = image.transpose(method) if applies else image
    image.info = {name: value for name, value in image.info.items() if name not in _METADATA}
    return image


def with_8_bits(image: Image.Image) -> Image.Image:
    """Keeps the upper 8 of 16 bits, as TensorFlow does, while Pillow would clip the values.

    Args:
        image: an opened image in any mode.

    Returns:
        An image with 8 bits per channel; the same image unless it is grey with 16 bits.

    Raises:
        ValueError: If the pixels have more than 16 bits or are not whole numbers. There is no rule
            that makes colours of them.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F" or np.any((values < 0) | (values > 0xFFFF)):
        raise ValueError(
            f"its mode {image.mode} has pixels that are not whole numbers of 16 bits; convert it "
            "to mode RGB"
        )
    return Image.fromarray((values >> 8).astype(np.uint8))


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image to RGB. Transparency is dropped, and the colours underneath are kept.

    Args:
        image: an opened image in any mode.

    Returns:
        An image in mode RGB, which is not turned; see ``upright``.

    Raises:
        ValueError: See ``with_8_bits``.
    """
    image = with_8_bits(image)
    # From these modes, Pillow cannot convert to RGB directly, or warns about transparency.
    step = {"La": "LA", "RGBa": "RGBA", "P": "RGBA", "PA": "RGBA"}.get(image.mode)
    return (image.convert(step) if step else image).convert("RGB")


def check_colors(image: Image.Image) -> None:
    """Refuses a JPEG whose colours programs do not agree on.

    Raises:
        ValueError: If it is CMYK without Adobe's marker.
    """
    is_jpeg = image.format in ("JPEG", "MPO")
    if is_jpeg and image.mode == "CMYK" and "adobe" not in image.info:
        raise ValueError(
            "it is CMYK without Adobe's marker, which programs decode to different colours; save "
            "it as RGB"
        )
