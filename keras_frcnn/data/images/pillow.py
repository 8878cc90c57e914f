"""Converts images opened by Pillow, so that they look as ``transforms.decode`` decodes them.

Training, detection and serving decode images with TensorFlow. Pillow is used for what TensorFlow
cannot do: thumbnails and hashes of damaged files, and writing images.
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
    """
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image
