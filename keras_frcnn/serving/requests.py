"""Reads the requests to a served detector: arrays, image files and tf.Examples."""

from collections.abc import Callable

import tensorflow as tf

from keras_frcnn.data.images import graph_decoder

_FEATURE = "image/encoded"
NO_EXAMPLE = f"unreadable example: expected a tf.Example with one image file as {_FEATURE}"
_NO_IMAGES = (
    "input_tensor must be images [N, height, width, 3], colours last, of at least one pixel. "
    "Received the shape"
)


def answer_file(
    content: tf.Tensor, answer: Callable, nothing: Callable, fault: Callable | None = None
) -> dict[str, tf.Tensor]:
    """Returns the answer for one image file, with its ``status``.

    Args:
        content: string scalar, the file's bytes.
        answer: takes the image [H, W, 3] and returns a batch of one.
        nothing: takes a number and returns as many answers for images that cannot be read.
        fault: takes the image and returns a sentence that says why it is not answered, or "".
    """
    image, problem = graph_decoder.decode_upright(content)
    if fault:
        problem = tf.where(problem == "", fault(image), problem)
    found = tf.cond(problem == "", lambda: answer(image), lambda: nothing(1))
    return {name: value[0] for name, value in found.items()} | {"status": problem}


def checked_images(images: tf.Tensor) -> tf.Tensor:
    """Refuses arrays of another shape. Servers do not compare it with the signature's."""
    # Without this operation, TensorFlow would take the shape for granted and leave the check out.
    images = tf.raw_ops.PlaceholderWithDefault(input=images, shape=None)
    shape = tf.shape(images)
    has_pixels = tf.reduce_all(shape[1:3] > 0) | tf.reduce_all(shape[:1] == 0)
    is_batch = tf.equal(tf.size(shape), 4) & tf.reduce_all(shape[3:] == 3) & has_pixels
    words = [_NO_IMAGES, shape]
    with tf.control_dependencies([tf.debugging.Assert(is_batch, words, summarize=8)]):
        return tf.ensure_shape(images, [None, None, None, 3])


def file_of(example: tf.Tensor) -> tf.Tensor:
    """Returns the image file in a serialized ``tf.Example``."""
    feature = {_FEATURE: tf.io.FixedLenFeature([], tf.string)}
    return tf.io.parse_single_example(example, feature)[_FEATURE]
