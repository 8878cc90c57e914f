"""Exports a detector as a SavedModel, which TensorFlow Serving runs without this package.

Every signature returns K = ``max_detections`` rows per image, best first. Rows after
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
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_frcnn.data.images import graph_decoder
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.ops.finite import first_not_finite
from keras_frcnn.serving.folder import replacing, version_folder
from keras_frcnn.serving.verify import verify

_SYNTHETIC_SIZES = ((120, 160), (160, 120), (97, 131))


def export(
    model: FasterRCNN,
    output_dir: str | Path,
    images: Sequence[np.ndarray] | None = None,
    version: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Writes a SavedModel to a temporary folder, verifies it, and then moves it to its folder.

    Args:
        model: the detector.
        output_dir: the folder that TensorFlow Serving watches (``--model_base_path``).
        images: images on which it is verified, uint8 [H, W, 3]; by default synthetic images.
        version: number of the folder inside ``output_dir``. TensorFlow Serving uses the highest.
        say: called with a line of text at each stage.

    Returns:
        The SavedModel's folder, ``output_dir/version``. An earlier SavedModel in it is replaced.

    Raises:
        ValueError: If the folder holds something else, if a weight is not finite, or if the
            SavedModel's answers differ from those of the model.
    """
    target = version_folder(output_dir, version)
    images = synthetic_images() if images is None else images
    with replacing(target) as folder:
        say("Writing the SavedModel ...")
        save(model, folder)
        say(f"Comparing it with the model in a fresh Python process, on {len(images)} image(s) ...")
        count = verify(folder, model, images)
        say(f"Their answers are equal, with {count} detections.")
    if not count:
        say("This proves little: give --images with objects, so that detections are compared.")
    return target


def save(model: FasterRCNN, folder: str | Path) -> None:
    """Writes a SavedModel with ``serving_default``, ``serve_bytes`` and ``serve_examples``.

    The class names are also stored in ``assets/labels.txt``, one per line.

    Args:
        model: the detector.
        folder: the folder to write to; it is created.

    Raises:
        ValueError: If a weight is not finite.
    """
    name = first_not_finite(model.weights)
    if name:
        raise ValueError(f"the detector has weights that are not finite. The first is {name}")
    module = tf.Module(name="keras_frcnn")
    # Only the weights are stored: loading the Keras model itself would need Keras and our classes.
    module.weights = [weight.value for weight in model.weights]
    with tempfile.TemporaryDirectory() as scratch:
        labels = Path(scratch) / "labels.txt"
        labels.write_text("".join(f"{name}\n" for name in model.class_names), encoding="utf-8")
        module.labels = tf.saved_model.Asset(str(labels))
        tf.saved_model.save(module, str(folder), signatures=_signatures(model))


def synthetic_images() -> list[np.ndarray]:
    """Returns a few images of smooth random blobs, uint8 [H, W, 3], of different sizes."""
    rng = np.random.default_rng(0)
    blobs = [tf.image.resize(rng.uniform(0, 255, (6, 6, 3)), size) for size in _SYNTHETIC_SIZES]
    return [blob.numpy().astype(np.uint8) for blob in blobs]


def _signatures(model: FasterRCNN) -> dict[str, Callable]:
    class_names = tf.constant(["", *model.class_names])

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "input_tensor")])
    def serve_images(images):
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

    batch_spec = serve_images.get_concrete_function().structured_outputs
    image_spec = {
        name: tf.TensorSpec(spec.shape[1:], spec.dtype) for name, spec in batch_spec.items()
    }

    def serve_file(content):
        answer = serve_images(graph_decoder.decode_upright(content)[tf.newaxis])
        return {name: value[0] for name, value in answer.items()}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def serve_bytes(contents):
        # The detector runs on each image at its own size, so an answer does not depend on the other
        # images of the request. It runs on one image at a time, so that the memory does not depend
        # on the number of images.
        return tf.map_fn(
            serve_file, contents, parallel_iterations=1, fn_output_signature=image_spec
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serve_examples(examples):
        feature = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
        return serve_bytes(tf.io.parse_example(examples, feature)["image/encoded"])

    return {
        "serving_default": serve_images,
        "serve_bytes": serve_bytes,
        "serve_examples": serve_examples,
    }
