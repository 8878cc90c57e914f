"""Decodes, resizes, normalises and flips an image with pure TensorFlow functions.

They run in tf.data, eagerly and in served models. Boxes are float32 [G, 4], yxyx pixels with the
far edge exclusive, without padding rows: images are flipped and resized before they are padded.
"""

import tensorflow as tf

from keras_frcnn.data.images import exif
from keras_frcnn.data.images.preprocessing import Preprocessing

_LARGE_VALUES = 3 * 2**23  # number of values in a large image, twice that of most cameras
_PILLOW_BITS = 22


def decode(image_bytes: tf.Tensor, orientation: int | tf.Tensor = 1) -> tf.Tensor:
    """Decodes a JPEG or PNG and turns it upright.

    Args:
        image_bytes: string scalar, the file's content.
        orientation: EXIF orientation of the stored pixels, 1 to 8; see ``exif``.

    Returns:
        uint8 [H, W, 3], RGB, as a viewer displays it. Transparency is dropped. Of 16 bits, the
        upper 8 are kept.
    """
    # This operation decodes PNG too. The accurate transform gives the same pixels as Pillow and
    # OpenCV. It is as fast as TensorFlow's default, which differs by up to 20 levels.
    image = tf.io.decode_jpeg(image_bytes, channels=3, dct_method="INTEGER_ACCURATE")
    swapped, mirrored, upside_down = tf.unstack(tf.constant(exif.TURNS)[orientation - 1])
    image = tf.cond(swapped, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    return _flip_image(image, mirrored, upside_down)


def target_shape(
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    shorter_side: int | tf.Tensor,
    longer_side: int | tf.Tensor,
    rounding: str = "nearest",
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the size to which an image is resized.

    The shorter side becomes ``shorter_side``, unless the longer side would exceed ``longer_side``:
    both are scaled by ``min(shorter_side / min(height, width), longer_side / max(height, width))``
    and rounded half up. Integer arithmetic gives the same result on every machine.

    With ``rounding="down"``, the factor is a float64 number and the product is rounded down, as in
    torchvision's ``GeneralizedRCNNTransform``. A side may then have a pixel less than it should.

    Args:
        height: the image's height in pixels.
        width: the image's width in pixels.
        shorter_side: the length of the shorter side after resizing.
        longer_side: the upper bound of the longer side after resizing.
        rounding: "nearest" or "down".

    Returns:
        ``(height, width)``: int32 scalars, at least 1.
    """
    height, width = tf.cast(height, tf.int64), tf.cast(width, tf.int64)
    shorter_side, longer_side = tf.cast(shorter_side, tf.int64), tf.cast(longer_side, tf.int64)
    shorter, longer = tf.minimum(height, width), tf.maximum(height, width)
    fits = shorter_side * longer <= longer_side * shorter
    numerator = tf.where(fits, shorter_side, longer_side)
    denominator = tf.where(fits, shorter, longer)

    def scaled(side):
        if rounding == "down":
            factor = tf.cast(numerator, tf.float64) / tf.cast(denominator, tf.float64)
            product = tf.cast(side, tf.float64) * factor
            return tf.cast(tf.maximum(tf.floor(product), 1.0), tf.int32)
        rounded = (2 * side * numerator + denominator) // (2 * denominator)
        return tf.cast(tf.maximum(rounded, 1), tf.int32)

    return scaled(height), scaled(width)


def resize(
    image: tf.Tensor,
    shorter_side: int | tf.Tensor,
    longer_side: int | tf.Tensor,
    rounding: str = "nearest",
    method: str = "bilinear",
) -> tf.Tensor:
    """Resizes an image to ``target_shape``, bilinearly with half-pixel centres.

    With ``method="pillow"``, every pixel of the result is that of Pillow's ``Image.resize`` with
    its bilinear filter: where an image becomes smaller, the filter covers all of its pixels; and
    the result has whole numbers.

    Args:
        image: [H, W, 3] or [B, H, W, 3], any number type; whole numbers from 0 to 255 for "pillow".
        shorter_side: see ``target_shape``.
        longer_side: see ``target_shape``.
        rounding: see ``target_shape``.
        method: "bilinear" or "pillow".

    Returns:
        float32 with the same rank and range of values.
    """
    shape = tf.shape(image)[-3:]
    size = target_shape(shape[0], shape[1], shorter_side, longer_side, rounding)
    if method == "pillow":
        return _resize_as_pillow(image, *size)
    size = tf.stack(size)

    def with_copy():  # takes half the time, with the same result
        return tf.image.resize(tf.cast(image, tf.float32), size, "bilinear", antialias=False)

    def without_copy():  # a float32 copy of a large image would take a gigabyte
        with tf.device("CPU:0"):  # GPUs have no kernel for integers
            return tf.image.resize(image, size, "bilinear", antialias=False)

    return tf.cond(tf.size(image) <= _LARGE_VALUES, with_copy, without_copy)


def _resize_as_pillow(image, height, width):
    with tf.device("CPU:0"):  # GPUs lack kernels for integers
        for axis, length in ((-2, width), (-3, height)):
            image = _resample(image, axis, length)
        return tf.cast(image, tf.float32)


def _resample(image, axis, length):
    """Resizes along one axis with Pillow's bilinear filter, in its arithmetic: weights of 22 bits.

    Source: Pillow's src/libImaging/Resample.c.
    """
    old = tf.shape(image)[axis]
    ratio = tf.cast(old, tf.float64) / tf.cast(length, tf.float64)
    support = tf.maximum(ratio, 1.0)
    centres = (tf.range(tf.cast(length, tf.float64), dtype=tf.float64) + 0.5) * ratio
    first = tf.maximum(tf.cast(centres - support + 0.5, tf.int32), 0)
    after = tf.minimum(tf.cast(centres + support + 0.5, tf.int32), old)
    count = 2 * tf.cast(tf.math.ceil(support), tf.int32) + 1
    places = first + tf.range(count)[:, tf.newaxis]  # [count, length]
    distances = tf.abs(tf.cast(places, tf.float64) - centres + 0.5) / support
    weights = tf.where(places < after, tf.maximum(1.0 - distances, 0.0), 0.0)
    weights /= tf.reduce_sum(weights, axis=0)
    weights = tf.cast(weights * 2.0**_PILLOW_BITS + 0.5, tf.int32)
    places = tf.minimum(places, old - 1)
    along = [-1, 1, 1] if axis == -3 else [-1, 1]

    def add(number, total):
        pixels = tf.cast(tf.gather(image, places[number], axis=axis), tf.int32)
        return number + 1, total + pixels * tf.reshape(weights[number], along)

    _, total = add(0, 2 ** (_PILLOW_BITS - 1))
    _, total = tf.while_loop(lambda number, _: number < count, add, (1, total))
    return tf.clip_by_value(total // 2**_PILLOW_BITS, 0, 255)


def normalize(image: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Converts RGB pixels to a network input.

    Args:
        image: [..., W, 3], RGB from 0 to 255, any number type.
        preprocessing: the preprocessing of the backbone.

    Returns:
        float32 of the same shape, in the backbone's colour order. It is padded with zeros later.
    """
    image = tf.cast(image, tf.float32)
    if preprocessing.color_order == "bgr":
        image = tf.reverse(image, [-1])
    shape = tf.shape(image)

    def along_a_row(values):
        if len(set(values)) == 1:
            return values[0]
        return tf.tile(tf.constant(values, tf.float32), shape[-2:-1])

    # Works on whole rows, because operations along an axis of length 3 are slow.
    rows = tf.reshape(image, [-1, 3 * shape[-2]]) - along_a_row(preprocessing.mean)
    return tf.reshape(rows / along_a_row(preprocessing.scale), shape)


def denormalize(image: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Converts a network input back to an image for display: the inverse of ``normalize``.

    Args:
        image: float32 [..., W, 3].
        preprocessing: the preprocessing that ``normalize`` used.

    Returns:
        uint8 of the same shape, RGB; rounded, and clipped to 0 to 255.
    """
    image = image * tf.constant(preprocessing.scale) + tf.constant(preprocessing.mean)
    if preprocessing.color_order == "bgr":
        image = tf.reverse(image, [-1])
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)


def flip(
    image: tf.Tensor, boxes: tf.Tensor, horizontal: bool | tf.Tensor, vertical: bool | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mirrors an image together with its boxes.

    Args:
        image: [H, W, 3].
        boxes: float32 [G, 4], yxyx pixels of this image.
        horizontal: whether left and right are swapped.
        vertical: whether top and bottom are swapped.

    Returns:
        ``(image, boxes)`` with the same shapes and types.
    """
    flipped_boxes = flip_boxes(boxes, tf.shape(image)[:2], horizontal, vertical)
    return _flip_image(image, horizontal, vertical), flipped_boxes


def flip_boxes(
    boxes: tf.Tensor,
    image_shape: tf.Tensor,
    horizontal: bool | tf.Tensor,
    vertical: bool | tf.Tensor,
) -> tf.Tensor:
    """Mirrors boxes: ``(x1, x2)`` becomes ``(W - x2, W - x1)``, and y changes in the same way.

    Args:
        boxes: float32 [G, 4], yxyx pixels.
        image_shape: [2], height and width of their image.
        horizontal: whether left and right are swapped.
        vertical: whether top and bottom are swapped.

    Returns:
        float32 [G, 4].
    """
    height, width = tf.unstack(tf.cast(image_shape, boxes.dtype))
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    x1, x2 = tf.where(horizontal, width - x2, x1), tf.where(horizontal, width - x1, x2)
    y1, y2 = tf.where(vertical, height - y2, y1), tf.where(vertical, height - y1, y2)
    return tf.stack([y1, x1, y2, x2], axis=-1)


def _flip_image(
    image: tf.Tensor, horizontal: bool | tf.Tensor, vertical: bool | tf.Tensor
) -> tf.Tensor:
    horizontal, vertical = tf.convert_to_tensor(horizontal), tf.convert_to_tensor(vertical)
    image = tf.cond(horizontal, lambda: tf.reverse(image, [1]), lambda: image)
    return tf.cond(vertical, lambda: tf.reverse(image, [0]), lambda: image)
