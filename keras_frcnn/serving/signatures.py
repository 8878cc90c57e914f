"""The signatures of a served detector: TensorFlow functions from requests to answers.

Every signature but ``describe`` returns K = ``max_detections`` rows per image, best first. Rows
after ``num_detections`` are padding. The names are those that clients of TensorFlow's detection
models expect:

- ``detection_boxes`` [N, K, 4] float32: yxyx, as fractions of the image's height and width;
  padding 0.
- ``detection_boxes_pixels`` [N, K, 4] float32: yxyx pixels of the image, far edge exclusive;
  padding 0.
- ``detection_scores`` [N, K] float32: padding 0.
- ``detection_classes`` [N, K] float32: the first class is 1; padding 0.
- ``detection_class_names`` [N, K] string: padding "".
- ``num_detections`` [N] float32.
- ``status`` [N] string: empty, or a sentence that says why a file could not be read. Such a file
  has no detections, and the other files of the request are answered as without it.
"""

import json
from collections.abc import Callable

import tensorflow as tf

from keras_frcnn.data.images import attempt, graph_decoder
from keras_frcnn.models.faster_rcnn import FasterRCNN

INPUTS = {
    "serving_default": "input_tensor",
    "serve_bytes": "image_bytes",
    "serve_bytes_strict": "image_bytes",
    "serve_examples": "examples",
    "serve_examples_strict": "examples",
}
"""The signatures that answer images, with the name of their input."""

_FEATURE = "image/encoded"
_NO_EXAMPLE = f"unreadable example: expected a tf.Example with one image file as {_FEATURE}"
_NO_IMAGES = (
    "input_tensor must be images [N, height, width, 3], colours last, of at least one pixel. "
    "Received the shape"
)


def make_signatures(model: FasterRCNN) -> dict[str, Callable]:
    """Makes the functions that ``tf.saved_model.save`` stores.

    Args:
        model: the detector.

    Returns:
        ``serving_default``, ``serve_bytes`` and ``serve_examples``; ``serve_bytes_strict`` and
        ``serve_examples_strict``, for which a file that cannot be read is an error; and
        ``describe``, which takes nothing and returns the ``class_names`` [C], the ``settings`` of
        the model as JSON and the training ``step``.
    """
    class_names = tf.constant(["", *model.class_names])

    images_spec = tf.TensorSpec([None, None, None, 3], tf.uint8, INPUTS["serving_default"])

    @tf.function(input_signature=[images_spec])
    def detect(images):
        detections = model.detect_batch(images)
        boxes, classes = detections["boxes"], detections["labels"] + 1
        size = tf.tile(tf.cast(tf.shape(images)[1:3], tf.float32), [2])
        return {
            "detection_boxes": tf.clip_by_value(boxes / size, 0.0, 1.0),
            "detection_boxes_pixels": boxes,
            "detection_scores": detections["scores"],
            "detection_classes": tf.cast(classes, tf.float32),
            "detection_class_names": tf.gather(class_names, classes),
            "num_detections": tf.cast(detections["num_detections"], tf.float32),
        }

    outputs = detect.get_concrete_function().structured_outputs

    def nothing(num_images):
        return {
            name: tf.zeros([num_images, *spec.shape[1:]], spec.dtype)
            for name, spec in outputs.items()
        }

    @tf.function(input_signature=[images_spec])
    def serve_images(images):
        images = _checked(images)
        num_images = tf.shape(images)[0]
        found = tf.cond(num_images > 0, lambda: detect(images), lambda: nothing(0))
        return found | {"status": tf.fill([num_images], "")}

    def serve_file(content):
        image, problem = graph_decoder.decode_upright(content)
        found = tf.cond(problem == "", lambda: detect(image[tf.newaxis]), lambda: nothing(1))
        return {name: value[0] for name, value in found.items()} | {"status": problem}

    def serve_example(example):
        content = attempt.or_else(_file_of, (example,), otherwise=tf.constant(""))
        answer = serve_file(content)
        return answer | {"status": tf.where(content == "", _NO_EXAMPLE, answer["status"])}

    row = {name: tf.TensorSpec(spec.shape[1:], spec.dtype) for name, spec in outputs.items()}
    row["status"] = tf.TensorSpec([], tf.string)

    def of_each(serve_one):
        # The detector runs on each image at its own size, so an answer does not depend on the other
        # images of the request. It runs on one image at a time, so that the memory does not depend
        # on the number of images.
        return lambda values: tf.map_fn(
            serve_one, values, parallel_iterations=1, fn_output_signature=row
        )

    settings = model.config.model_config().to_dict() if model.config else {}
    description = {
        "class_names": class_names[1:],
        "settings": tf.constant(json.dumps(settings)),
        "step": tf.constant(int(model.step), tf.int64),
    }

    @tf.function(input_signature=[])
    def describe():
        return {name: tf.identity(value) for name, value in description.items()}

    def of_strings(name, serve):
        spec = tf.TensorSpec([None], tf.string, INPUTS[name])
        return tf.function(serve, input_signature=[spec])

    signatures = {"serving_default": serve_images, "describe": describe}
    for name, serve_one in (("serve_bytes", serve_file), ("serve_examples", serve_example)):
        strict = f"{name}_strict"
        signatures[name] = of_strings(name, of_each(serve_one))
        signatures[strict] = of_strings(strict, _strict(signatures[name]))
    return signatures


def _checked(images: tf.Tensor) -> tf.Tensor:
    """Refuses arrays of another shape. Servers do not compare it with the signature's."""
    # Without this operation, TensorFlow would take the shape for granted and leave the check out.
    images = tf.raw_ops.PlaceholderWithDefault(input=images, shape=None)
    shape = tf.shape(images)
    has_pixels = tf.reduce_all(shape[1:3] > 0) | tf.reduce_all(shape[:1] == 0)
    is_batch = tf.equal(tf.size(shape), 4) & tf.reduce_all(shape[3:] == 3) & has_pixels
    words = [_NO_IMAGES, shape]
    with tf.control_dependencies([tf.debugging.Assert(is_batch, words, summarize=8)]):
        return tf.ensure_shape(images, [None, None, None, 3])


def _file_of(example: tf.Tensor) -> tf.Tensor:
    """Returns the image file in a serialized ``tf.Example``."""
    feature = {_FEATURE: tf.io.FixedLenFeature([], tf.string)}
    return tf.io.parse_single_example(example, feature)[_FEATURE]


def _strict(serve: Callable) -> Callable:
    """Returns a function that answers as another one, but raises an error for the first status."""

    def serve_or_fail(values):
        answer = serve(values)
        row = tf.where(answer["status"] != "")[:1, 0]
        words = [tf.gather(answer["status"], row), "row", row]
        with tf.control_dependencies([tf.debugging.Assert(tf.size(row) == 0, words)]):
            return {name: tf.identity(value) for name, value in answer.items()}

    return serve_or_fail
