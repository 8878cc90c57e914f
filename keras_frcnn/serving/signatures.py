"""The signatures of a served detector: TensorFlow functions from requests to answers.

The signatures that detect return K = ``max_detections`` rows per image, best first. Rows after
``num_detections`` are padding. The names are those that clients of TensorFlow's detection models
expect:

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

from keras_frcnn.data.images import attempt
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.serving import extra_signatures, file_batches, requests

INPUTS = {
    "serving_default": "input_tensor",
    "serve_bytes": "image_bytes",
    "serve_bytes_strict": "image_bytes",
    "serve_examples": "examples",
    "serve_examples_strict": "examples",
}
"""The signatures that detect and take images alone, with the name of their input."""


def make_signatures(model: FasterRCNN, batch_pixels: int = 0) -> dict[str, Callable]:
    """Makes the functions that ``tf.saved_model.save`` stores.

    Args:
        model: the detector.
        batch_pixels: how many pixels of the network's input are detected on at once in files, with
            padding. 0: one file after the other, which gives the same bits as each file alone.

    Returns:
        ``serving_default``, ``serve_bytes`` and ``serve_examples``; ``serve_bytes_strict`` and
        ``serve_examples_strict``, for which a file that cannot be read is an error; ``describe``,
        which takes nothing and returns the ``class_names`` [C], the ``settings`` of the model as
        JSON and the training ``step``; and those of ``extra_signatures.make``.
    """
    class_names = tf.constant(["", *model.class_names])

    images_spec = tf.TensorSpec([None, None, None, 3], tf.uint8, INPUTS["serving_default"])

    def as_answer(detections, sizes):
        """Names the detections of images of some sizes, int32 [N, 2], as clients know them."""
        boxes, classes = detections["boxes"], detections["labels"] + 1
        size = tf.tile(tf.cast(sizes, tf.float32), [1, 2])[:, tf.newaxis]
        return {
            # The size is 0 for a file that cannot be read.
            "detection_boxes": tf.clip_by_value(tf.math.divide_no_nan(boxes, size), 0.0, 1.0),
            "detection_boxes_pixels": boxes,
            "detection_scores": detections["scores"],
            "detection_classes": tf.cast(classes, tf.float32),
            "detection_class_names": tf.gather(class_names, classes),
            "num_detections": tf.cast(detections["num_detections"], tf.float32),
        }

    @tf.function(input_signature=[images_spec])
    def detect(images):
        shape = tf.shape(images)
        sizes = tf.broadcast_to(shape[1:3], [shape[0], 2])
        return as_answer(model.detect_batch(images), sizes)

    outputs = detect.get_concrete_function().structured_outputs

    def nothing(num_images):
        return {
            name: tf.zeros([num_images, *spec.shape[1:]], spec.dtype)
            for name, spec in outputs.items()
        }

    def serve_images(images):
        images = requests.checked_images(images)
        num_images = tf.shape(images)[0]
        found = tf.cond(num_images > 0, lambda: detect(images), lambda: nothing(0))
        return found | {"status": tf.fill([num_images], "")}

    def serve_file(content):
        return requests.answer_file(content, lambda image: detect(image[tf.newaxis]), nothing)

    row = {name: tf.TensorSpec(spec.shape[1:], spec.dtype) for name, spec in outputs.items()}
    row["status"] = tf.TensorSpec([], tf.string)

    def serve_bytes(contents):
        if batch_pixels:
            detections, sizes, problems = file_batches.detect(model, contents, batch_pixels)
            return as_answer(detections, sizes) | {"status": problems}
        # One image at a time, so that the memory does not depend on the number of images.
        return tf.map_fn(serve_file, contents, parallel_iterations=1, fn_output_signature=row)

    def serve_examples(examples):
        contents = tf.map_fn(
            lambda example: attempt.or_else(
                requests.file_of, (example,), otherwise=tf.constant("")
            ),
            examples,
            parallel_iterations=1,
        )
        answer = serve_bytes(contents)
        return answer | {"status": tf.where(contents == "", requests.NO_EXAMPLE, answer["status"])}

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

    signatures = {
        "serving_default": tf.function(serve_images, input_signature=[images_spec]),
        "describe": describe,
    }
    for name, serve in (("serve_bytes", serve_bytes), ("serve_examples", serve_examples)):
        strict = f"{name}_strict"
        signatures[name] = of_strings(name, serve)
        signatures[strict] = of_strings(strict, _strict(signatures[name]))
    return signatures | extra_signatures.make(model, as_answer)


def _strict(serve: Callable) -> Callable:
    """Returns a function that answers as another one, but raises an error for the first status."""

    def serve_or_fail(values):
        answer = serve(values)
        row = tf.where(answer["status"] != "")[:1, 0]
        words = [tf.gather(answer["status"], row), "row", row]
        with tf.control_dependencies([tf.debugging.Assert(tf.size(row) == 0, words)]):
            return {name: tf.identity(value) for name, value in answer.items()}

    return serve_or_fail
