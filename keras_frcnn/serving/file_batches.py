"""Detects on image files of unlike sizes several at once, padded into batches of bounded size."""

import tensorflow as tf

from keras_frcnn.data.images import graph_decoder, transforms
from keras_frcnn.models.detections import NAMES


def detect(model, contents: tf.Tensor, max_pixels: int) -> tuple[dict, tf.Tensor, tf.Tensor]:
    """Detects on image files.

    1. Read the sizes of all files from their headers.
    2. Order the files by the size that the network sees, so that images of like sizes meet.
    3. Cut the order into batches: the padded images of a batch have at most ``max_pixels`` pixels
       together. An image with more makes a batch of its own.
    4. Decode, resize, pad and detect batch by batch. The network's results do not depend on the
       padding, up to the rounding of sums.

    Args:
        model: the ``FasterRCNN``.
        contents: string [N], JPEG or PNG files.
        max_pixels: the number of pixels of the network's input that bounds a batch.

    Returns:
        ``(detections, sizes, problems)``: the arrays of ``FasterRCNN.detect_batch`` by their names,
        with N rows; int32 [N, 2], the images' heights and widths; and string [N], why a file cannot
        be read, or empty. Such a file has no detections.
    """
    sizes, problems = tf.map_fn(
        graph_decoder.read_header,
        contents,
        parallel_iterations=1,
        fn_output_signature=(tf.TensorSpec([2], tf.int32), tf.TensorSpec([], tf.string)),
    )
    sides = tf.maximum(tf.cast(sizes, tf.int64), 1)
    shapes = tf.stack(
        transforms.target_shape(sides[:, 0], sides[:, 1], *model.resizing[:3]), axis=1
    )
    readable = tf.where(problems == "")[:, 0]
    place = tf.gather(tf.cast(shapes, tf.int64), readable)
    order = tf.gather(readable, tf.argsort(place[:, 0] * 2**31 + place[:, 1], stable=True))
    total = tf.size(order, tf.int64)

    def pixels(first, end):
        shape = tf.reduce_max(tf.gather(shapes, order[first:end]), axis=0)
        return tf.reduce_prod(tf.cast(shape, tf.int64)) * (end - first)

    def end_of_batch(first):
        def fits(end):
            # tf.minimum, because both sides of "&" are computed.
            return (end < total) & (pixels(first, tf.minimum(end + 1, total)) <= max_pixels)

        return tf.while_loop(fits, lambda end: (end + 1,), (first + 1,))[0]

    def read(row, shape):
        image, problem = graph_decoder.decode_upright(contents[row])
        empty = tf.zeros([*tf.unstack(shape), 3])

        def prepare():
            prepared = model.make_inputs(image[tf.newaxis])["images"][0]
            missing = shape - tf.shape(prepared)[:2]
            return tf.pad(prepared, [[0, missing[0]], [0, missing[1]], [0, 0]])

        return tf.cond(problem == "", prepare, lambda: empty), problem

    def detect_some(first, problems, detections):
        end = end_of_batch(first)
        rows = order[first:end]
        image_shape = tf.gather(shapes, rows)
        shape = tf.reduce_max(image_shape, axis=0)
        specs = tf.TensorSpec([None, None, 3], tf.float32), tf.TensorSpec([], tf.string)
        images, found_problems = tf.map_fn(
            lambda row: read(row, shape), rows, parallel_iterations=1, fn_output_signature=specs
        )
        original_shape = tf.gather(sizes, rows)
        found = model.predict_step(
            {"images": images, "image_shape": image_shape, "original_shape": original_shape}
        )
        is_sound = found_problems == ""
        rows, sound_rows = rows[:, tf.newaxis], rows[is_sound][:, tf.newaxis]
        detections = {
            name: tf.tensor_scatter_nd_update(value, sound_rows, found[name][is_sound])
            for name, value in detections.items()
        }
        return end, tf.tensor_scatter_nd_update(problems, rows, found_problems), detections

    none = _nothing(tf.size(contents), model.roi_head.detection_decoder.max_detections)
    _, problems, detections = tf.while_loop(
        lambda first, *_: first < total,
        detect_some,
        (tf.constant(0, tf.int64), problems, none),
        parallel_iterations=1,
    )
    return detections, sizes, problems


def _nothing(num_images, max_detections):
    """Returns the detections of images on which nothing is found."""
    boxes = tf.zeros([num_images, max_detections, 4])
    labels = tf.fill([num_images, max_detections], -1)
    values = boxes, boxes[..., 0], labels, tf.zeros([num_images], tf.int32)
    return dict(zip(NAMES, values, strict=True))
