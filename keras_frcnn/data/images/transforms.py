"""Pure TensorFlow functions on one image and its boxes: in tf.data, eagerly, and when served.

Boxes are float32 [G, 4], yxyx pixels with the far edge exclusive, without padding rows: images
are flipped and resized before they are padded.
"""

import tensorflow as tf

BGR_MEAN = (103.939, 116.779, 123.68)
"""ImageNet's mean as the Caffe weights expect it, which ``keras.applications.VGG16`` carries."""

_LARGE_VALUES = 3 * 2**23  # of an image: twice those that most cameras give


def decode(image_bytes: tf.Tensor, orientation: int | tf.Tensor = 1) -> tf.Tensor:
    """Decodes a JPEG or PNG and turns it upright.

    Args:
        image_bytes: string scalar, the file's content.
        orientation: EXIF orientation, 1 to 8, of the stored pixels.

    Returns:
        uint8 [H, W, 3], RGB, as a viewer displays it. Transparency is dropped, of 16 bits the upper
        8 are taken.
    """
    # PNG too. The accurate transform gives the pixels that Pillow and OpenCV give, and is
    # as fast as TensorFlow's own choice, which differs by up to 20 levels.
    image = tf.io.decode_jpeg(image_bytes, channels=3, dct_method="INTEGER_ACCURATE")
    orientation = tf.convert_to_tensor(orientation)
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    mirrored = _is_any(orientation, (2, 3, 6, 7))
    upside_down = _is_any(orientation, (3, 4, 7, 8))
    return _flip_image(image, mirrored, upside_down)


def target_shape(
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    shorter_side: int | tf.Tensor,
    longer_side: int | tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the size to resize to: the shorter side as given, unless the longer gets too long.

    Both sides are scaled by ``min(shorter_side / min(height, width), longer_side / max(height,
    width))`` and rounded half up. All in whole numbers, so that every machine agrees.

    Args:
        height: pixels of the image.
        width: likewise.
        shorter_side: pixels wanted for the shorter side.
        longer_side: the most pixels for the longer side.

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
        rounded = (2 * side * numerator + denominator) // (2 * denominator)
        return tf.cast(tf.maximum(rounded, 1), tf.int32)

    return scaled(height), scaled(width)


def resize(
    image: tf.Tensor, shorter_side: int | tf.Tensor, longer_side: int | tf.Tensor
) -> tf.Tensor:
    """Resizes an image to ``target_shape``, bilinear with half-pixel centres.

    Args:
        image: [H, W, 3], any number type.
        shorter_side: see ``target_shape``.
        longer_side: likewise.

    Returns:
        float32 [h, w, 3] in the same range.
    """
    shape = tf.shape(image)[-3:]
    size = target_shape(shape[0], shape[1], shorter_side, longer_side)
    size = tf.stack(size)

    def with_copy():  # the same result in half the time
        return tf.image.resize(tf.cast(image, tf.float32), size, "bilinear", antialias=False)

    def without_copy():  # which of a large image would take a gigabyte
        with tf.device("CPU:0"):  # GPUs lack the kernel of whole numbers
            return tf.image.resize(image, size, "bilinear", antialias=False)

    return tf.cond(tf.size(image) <= _LARGE_VALUES, with_copy, without_copy)


def normalize(image: tf.Tensor, pixel_std: float = 1.0) -> tf.Tensor:
    """Turns RGB in 0..255 into the backbone's BGR minus ImageNet's mean, over ``pixel_std``.

    Args:
        image: [..., W, 3], RGB, any number type.
        pixel_std: divisor.

    Returns:
        float32 of the same shape. Padding with zeros comes after this.
    """
    bgr = tf.reverse(tf.cast(image, tf.float32), [-1])
    shape = tf.shape(bgr)
    # Whole rows at once: an axis of 3 is slow to work along.
    rows = tf.reshape(bgr, [-1, 3 * shape[-2]]) - tf.tile(tf.constant(BGR_MEAN), shape[-2:-1])
    return tf.reshape(rows / pixel_std, shape)


def denormalize(image: tf.Tensor, pixel_std: float = 1.0) -> tf.Tensor:
    """Makes an image to look at of a normalised one, the inverse of ``normalize``.

    Args:
        image: float32 [..., W, 3], BGR minus the mean, over ``pixel_std``.
        pixel_std: divisor that was used.

    Returns:
        uint8 of the same shape, RGB.
    """
    bgr = image * pixel_std + tf.constant(BGR_MEAN)
    return tf.cast(tf.clip_by_value(tf.round(tf.reverse(bgr, [-1])), 0, 255), tf.uint8)


def flip(
    image: tf.Tensor, boxes: tf.Tensor, horizontal: bool | tf.Tensor, vertical: bool | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mirrors an image together with its boxes.

    Args:
        image: [H, W, 3].
        boxes: float32 [G, 4], yxyx pixels of this image.
        horizontal: whether left and right change places.
        vertical: whether top and bottom do.

    Returns:
        ``(image, boxes)``, same shapes and types.
    """
    flipped_boxes = flip_boxes(boxes, tf.shape(image)[:2], horizontal, vertical)
    return _flip_image(image, horizontal, vertical), flipped_boxes


def flip_boxes(
    boxes: tf.Tensor,
    image_shape: tf.Tensor,
    horizontal: bool | tf.Tensor,
    vertical: bool | tf.Tensor,
) -> tf.Tensor:
    """Mirrors boxes: ``(x1, x2)`` becomes ``(W - x2, W - x1)``, and likewise for y.

    Args:
        boxes: float32 [G, 4], yxyx pixels.
        image_shape: [2], height and width of the image that they lie in.
        horizontal: whether left and right change places.
        vertical: whether top and bottom do.

    Returns:
        float32 [G, 4].
    """
    height, width = tf.unstack(tf.cast(image_shape, boxes.dtype))
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    x1, x2 = tf.where(horizontal, width - x2, x1), tf.where(horizontal, width - x1, x2)
    y1, y2 = tf.where(vertical, height - y2, y1), tf.where(vertical, height - y1, y2)
    return tf.stack([y1, x1, y2, x2], axis=-1)


def scale_boxes(boxes: tf.Tensor, old_shape: tf.Tensor, new_shape: tf.Tensor) -> tf.Tensor:
    """Carries boxes from an image to its resized copy, or back.

    Each axis has its own factor, from the true sizes: rounding makes them differ slightly.

    Args:
        boxes: float32 [..., 4], yxyx pixels of an image of ``old_shape``.
        old_shape: [2], height and width, or [..., 2], those of each box's image.
        new_shape: likewise.

    Returns:
        float32 [..., 4], pixels of the image of ``new_shape``.
    """
    old, new = (tf.cast(shape, tf.float32) for shape in (old_shape, new_shape))
    old, new = (tf.concat([shape, shape], axis=-1) for shape in (old, new))
    return boxes * new / old  # in this order a box at the border stays there exactly


def _is_any(value: tf.Tensor, choices: tuple[int, ...]) -> tf.Tensor:
    return tf.reduce_any(tf.equal(value, tf.constant(choices, value.dtype)))


def _flip_image(
    image: tf.Tensor, horizontal: bool | tf.Tensor, vertical: bool | tf.Tensor
) -> tf.Tensor:
    horizontal, vertical = tf.convert_to_tensor(horizontal), tf.convert_to_tensor(vertical)
    image = tf.cond(horizontal, lambda: tf.reverse(image, [1]), lambda: image)
    return tf.cond(vertical, lambda: tf.reverse(image, [0]), lambda: image)
