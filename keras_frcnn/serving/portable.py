"""Exports a detector to ONNX, which runs without TensorFlow: in ONNX Runtime, Triton and others.

The exported graph consists of plain arithmetic, loops and sorting: the operations that XLA compiles
in training. TensorFlow's own kernel for suppression, which the SavedModel uses, has no equal in
ONNX. Both find the same detections.
"""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_frcnn import files
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.ops.finite import check_finite
from keras_frcnn.serving import model_card
from keras_frcnn.serving.folder import publish, version_folder
from keras_frcnn.serving.verify import check_found

FILE = "model.onnx"
OPSET = 18

_PACKAGES = "tf2onnx", "onnx", "onnxruntime"
_SPEC = tf.TensorSpec([None, None, None, 3], tf.uint8, "input_tensor")

_HOW_TO = """\
It accepts N images of one size
  input_tensor: uint8 [N, H, W, 3], RGB from 0 to 255
and returns K rows per image, best first
  detection_boxes [N, K, 4]: y1, x1, y2, x2 as fractions of height and width
  detection_boxes_pixels [N, K, 4]: the same in pixels
  detection_scores [N, K], detection_classes [N, K] (from 1; their names are in labels.txt)
  num_detections [N]; rows past it are padding

Run it in Python:
  import onnxruntime
  session = onnxruntime.InferenceSession("{file}")
  answer = session.run(None, {{"input_tensor": images}})
Triton serves the folder {base} as a model of its ONNX Runtime backend."""


def export(
    model: FasterRCNN,
    output_dir: str | Path,
    images: Sequence[np.ndarray],
    version: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    card: Mapping[str, str] | None = None,
) -> Path:
    """Writes ``model.onnx`` to a numbered folder, as Triton expects it, after verifying it.

    Args:
        model: the detector.
        output_dir: the folder for the versions of the model.
        images: images on which it is verified in ONNX Runtime, uint8 [H, W, 3].
        version: as for ``export.export``.
        say: called with a line of text at each stage.
        card: further sections of the model card, by title.

    Returns:
        The folder, ``output_dir/version``.

    Raises:
        ValueError: If a package is missing, the model does not compute in float32, a weight is not
            finite, or the answers differ by more than 0.5 pixels or 0.001 in score.
    """
    check_packages()
    check_finite(model.weights)
    if model.backbone.compute_dtype != "float32":
        raise ValueError(
            "ONNX is written in float32, because ONNX Runtime cannot compute convolutions in "
            f"bfloat16 on processors. Received a detector in {model.backbone.compute_dtype}"
        )

    def write(folder):
        say("Converting to ONNX ...")
        convert(model, folder / FILE)
        files.write_text(folder / "labels.txt", "".join(f"{name}\n" for name in model.class_names))
        target = version_folder(output_dir, version)
        text = model_card.text(model, target, card or {}, how_to_call(target))
        files.write_text(folder / model_card.FILE, text)
        say(f"Comparing it with the model in ONNX Runtime, on {len(images)} image(s) ...")
        count = verify(folder / FILE, model, images)
        say(f"Their answers agree, with {count} detections.")

    return publish(write, output_dir, version)


def how_to_call(folder: Path) -> str:
    """Returns the text that says how to run the model in a folder."""
    return _HOW_TO.format(file=folder / FILE, base=folder.resolve().parent)


def check_packages() -> None:
    """Raises a ValueError if a package that the conversion needs is missing."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"ONNX needs {', '.join(missing)}. To install what is missing: "
            "pip install 'keras-frcnn[onnx]'"
        )


def make_function(model: FasterRCNN) -> tf.types.experimental.GenericFunction:
    """Returns the function that is converted, from ``input_tensor`` to the answers by their names.

    Its operations have equals elsewhere: no kernel of TensorFlow's own, no text, no bfloat16.
    """

    @tf.function(input_signature=[_SPEC])
    def detect(images):
        # As floats from the start: ONNX has no bilinear resizing of integers.
        found = model.detect_batch(tf.cast(images, tf.float32))
        size = tf.tile(tf.cast(tf.shape(images)[1:3], tf.float32), [2])
        return {
            "detection_boxes": tf.clip_by_value(found["boxes"] / size, 0.0, 1.0),
            "detection_boxes_pixels": found["boxes"],
            "detection_scores": found["scores"],
            "detection_classes": tf.cast(found["labels"] + 1, tf.float32),
            "num_detections": tf.cast(found["num_detections"], tf.float32),
        }

    with _plain_operations(model):
        detect.get_concrete_function()  # traced here, once
    return detect


def convert(model: FasterRCNN, path: Path) -> None:
    """Writes the detector as an ONNX file."""
    import onnx
    import tf2onnx

    converted, _ = tf2onnx.convert.from_function(
        make_function(model), input_signature=[_SPEC], opset=OPSET
    )
    onnx.checker.check_model(converted)
    with files.replacing(path) as part:
        onnx.save(converted, str(part))


def verify(path: Path, model: FasterRCNN, images: Sequence[np.ndarray]) -> int:
    """Runs an ONNX file in ONNX Runtime, and compares its answers with those of the model.

    Each image is sent alone, and the first one together with its mirror image.

    Args:
        path: the file.
        model: the detector that it was made from.
        images: uint8 [H, W, 3].

    Returns:
        The number of detections that were compared.

    Raises:
        ValueError: If an answer differs.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    threshold = model.roi_head.detection_decoder.score_threshold
    groups = [*([image] for image in images), [images[0], images[0][:, ::-1]]]
    count = 0
    for group in groups:
        batch = np.stack(group)
        answer = dict(zip(names, session.run(None, {_SPEC.name: batch}), strict=True))
        expected = {name: value.numpy() for name, value in model.detect_batch(batch).items()}
        count += check_found(f"{path} on {len(group)} image(s)", answer, expected, threshold)
    return count


@contextlib.contextmanager
def _plain_operations(model: FasterRCNN) -> Iterator[None]:
    """Lets a model trace operations that XLA compiles, which exporters know too."""
    before = model.roi_head.detection_decoder.supports_jit
    try:
        model.rpn.use_xla(True)
        model.roi_head.use_xla(True)
        yield
    finally:
        model.rpn.use_xla(before)
        model.roi_head.use_xla(before)
