"""Exports a detector to formats that run without TensorFlow: ONNX and OpenVINO.

The exported graph consists of plain arithmetic, loops and sorting: the operations that XLA compiles
in training. TensorFlow's own kernel for suppression, which the SavedModel uses, has no equal
elsewhere. Both find the same detections.
"""

import contextlib
import importlib.util
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_frcnn import files
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.ops.finite import check_finite
from keras_frcnn.serving import model_card
from keras_frcnn.serving.folder import publish, version_folder
from keras_frcnn.serving.verify import check_found

OPSET = 18

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
  {run}
{server} serves the folder {base} as a model."""


class Format(NamedTuple):
    """A format and the runtime that reads it.

    Attributes:
        title: its name in sentences.
        file: the name of its file in the numbered folder.
        packages: what the conversion and the comparison import.
        runtime: the runtime in which it is verified.
        server: a server for the folder.
        convert: writes a detector to a file: ``convert(model, path)``.
        load: ``load(path)`` returns a function from uint8 [N, H, W, 3] to the outputs by name.
        run: lines of Python that load and ask the file.
    """

    title: str
    file: str
    packages: tuple[str, ...]
    runtime: str
    server: str
    convert: Callable
    load: Callable
    run: str


def export(
    name: str,
    model: FasterRCNN,
    output_dir: str | Path,
    images: Sequence[np.ndarray],
    version: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    card: Mapping[str, str] | None = None,
) -> Path:
    """Writes a detector to a numbered folder, as servers expect it, after verifying it.

    Args:
        name: one of ``FORMATS``.
        model: the detector.
        output_dir: the folder for the versions of the model.
        images: images on which it is verified in the format's own runtime, uint8 [H, W, 3].
        version: as for ``export.export``.
        say: called with a line of text at each stage.
        card: further sections of the model card, by title.

    Returns:
        The folder, ``output_dir/version``.

    Raises:
        ValueError: If a package is missing, the model does not compute in float32, a weight is not
            finite, the model detects nothing in the images, or the answers differ by more than 0.5
            pixels or 0.001 in score.
    """
    form = FORMATS[name]
    check_packages(name)
    check_finite(model.weights)
    if model.backbone.compute_dtype != "float32":
        raise ValueError(
            f"{form.title} is written in float32, because its runtime may have no convolutions in "
            f"shorter numbers. Received a detector in {model.backbone.compute_dtype}"
        )

    def write(folder):
        say(f"Converting to {form.title} ...")
        form.convert(model, folder / form.file)
        files.write_text(folder / "labels.txt", "".join(f"{name}\n" for name in model.class_names))
        target = version_folder(output_dir, version)
        text = model_card.text(model, target, card or {}, how_to_call(name, target))
        files.write_text(folder / model_card.FILE, text)
        say(f"Comparing it with the model in {form.runtime}, on {len(images)} image(s) ...")
        count = verify(name, folder / form.file, model, images)
        if not count:
            raise ValueError(
                f"The {form.title} file cannot be compared with the model, which detects nothing "
                "in these images. Give --images in which it detects objects"
            )
        say(f"Their answers agree, with {count} detections.")

    return publish(write, output_dir, version)


def how_to_call(name: str, folder: Path) -> str:
    """Returns the text that says how to run the model of a format in a folder."""
    form = FORMATS[name]
    run = form.run.format(file=folder / form.file)
    base = folder.resolve().parent
    return _HOW_TO.format(run=run.replace("\n", "\n  "), server=form.server, base=base)


def check_packages(name: str) -> None:
    """Raises a ValueError if a package that a format needs is missing."""
    form = FORMATS[name]
    missing = [package for package in form.packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(
            f"{form.title} needs {', '.join(missing)}. To install what is missing: "
            f"pip install 'keras-frcnn[{name}]'"
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


def verify(name: str, path: Path, model: FasterRCNN, images: Sequence[np.ndarray]) -> int:
    """Runs a file in its own runtime, and compares its answers with those of the model.

    Each image is sent alone, and the first one together with its mirror image.

    Args:
        name: the format, one of ``FORMATS``.
        path: the file.
        model: the detector that it was made from.
        images: uint8 [H, W, 3].

    Returns:
        The number of detections that were compared.

    Raises:
        ValueError: If an answer differs.
    """
    ask = FORMATS[name].load(path)
    threshold = model.roi_head.detection_decoder.score_threshold
    groups = [*([image] for image in images), [images[0], images[0][:, ::-1]]]
    count = 0
    for group in groups:
        batch = np.stack(group)
        expected = {name: value.numpy() for name, value in model.detect_batch(batch).items()}
        what = f"{path} on {len(group)} image(s)"
        count += check_found(what, ask(batch), expected, threshold)
    return count


def _write_onnx(model, path):
    import onnx
    import tf2onnx

    converted, _ = tf2onnx.convert.from_function(
        make_function(model), input_signature=[_SPEC], opset=OPSET
    )
    onnx.checker.check_model(converted)
    with files.replacing(path) as part:
        onnx.save(converted, str(part))


def _load_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(None, {_SPEC.name: images}), strict=True))


def _write_openvino(model, path):
    import openvino

    # From a SavedModel, because OpenVINO's reader of ONNX takes no loops that use values from
    # outside the loop.
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    signature = make_function(model).get_concrete_function()
    with tempfile.TemporaryDirectory() as scratch:
        tf.saved_model.save(module, scratch, signatures=signature)
        converted = openvino.convert_model(scratch)
        openvino.save_model(converted, path, compress_to_fp16=False)


def _load_openvino(path):
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32"}  # some processors would compute in bfloat16
    return openvino.Core().compile_model(path, "CPU", options)


FORMATS = {
    "onnx": Format(
        *("ONNX", "model.onnx", ("tf2onnx", "onnx", "onnxruntime"), "ONNX Runtime"),
        "Triton's ONNX Runtime backend",
        _write_onnx,
        _load_onnx,
        "import onnxruntime\n"
        'session = onnxruntime.InferenceSession("{file}")\n'
        'answer = session.run(None, {{"input_tensor": images}})',
    ),
    "openvino": Format(
        *("OpenVINO", "model.xml", ("openvino",), "OpenVINO's runtime"),
        "OpenVINO Model Server",
        _write_openvino,
        _load_openvino,
        "import openvino\n"
        'model = openvino.compile_model("{file}", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})\n'
        'answer = model(images)["detection_boxes"]',
    ),
}
"""The formats beside the SavedModel, by the name that ``--format`` has for them."""


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
