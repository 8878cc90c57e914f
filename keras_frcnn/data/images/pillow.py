"""Images that Pillow has opened, turned into what ``transforms.decode`` would show.

Training, detection and serving decode with TensorFlow. Pillow is for what TensorFlow cannot do:
thumbnails and hashes also of damaged files, and files that are written anew.
"""

import numpy as np
from PIL import Image

from keras_frcnn.data.images import exif

_METADATA = ("exif", "xmp")  # what a saved file would carry on and be turned by once more


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turns an image as viewers show it.

    Args:
        image: the stored pixels.
        orientation: their EXIF orientation, 1 to 8. It is an argument because Pillow, once it has
            loaded a PNG, also knows EXIF data that the rule in ``exif`` ignores.

    Returns:
        The turned image without metadata that state an orientation; the image itself for 1.
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
    """Takes the upper 8 of 16 bits, as TensorFlow does; Pillow itself would clip the values.

    Args:
        image: an opened image in any mode.

    Returns:
        An image with 8 bits a channel; the same one unless it is grey with 16 bits.
    """
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image
