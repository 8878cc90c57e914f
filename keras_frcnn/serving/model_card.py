"""The model card of an exported detector: what it was made of, how good it is, how to call it."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from keras_frcnn.console import plain
from keras_frcnn.models.faster_rcnn import FasterRCNN

FILE = "model_card.md"

# The licences of keras.applications' weights, by the beginning of the network's name.
_LICENCES = {
    "VGG": "by the Visual Geometry Group, Oxford, under Creative Commons Attribution 4.0",
    "ResNet": "by Kaiming He and others, under the MIT licence",
    "MobileNet": "by Google, under the Apache License 2.0",
}

_HOW_TO = """\
It accepts N images (signature: input)
  serving_default: input_tensor, uint8 [N, H, W, 3], RGB from 0 to 255
  serve_bytes: image_bytes, string [N], JPEG or PNG files of any size
  serve_examples: examples, string [N], serialized tf.Examples with image/encoded
and returns K rows per image, best first
  detection_boxes [N, K, 4]: y1, x1, y2, x2 as fractions of height and width
  detection_boxes_pixels [N, K, 4]: the same in pixels
  detection_scores [N, K], detection_classes [N, K] (from 1), detection_class_names [N, K]
  num_detections [N]; rows past it are padding
  status [N]: empty, or why a file could not be read; it then has no detections
serve_bytes_strict and serve_examples_strict raise an error instead of giving a status.
serve_options, serve_tiled, serve_proposals, serve_raw and serve_features do more: docs/serving.md.
describe takes nothing and returns class_names, settings (JSON) and the training step.
Files are turned upright according to their EXIF orientation, as in the detect command.

Inspect it:
  saved_model_cli show --all --dir {folder}
Run it on an array of images that numpy.save wrote:
  saved_model_cli run --dir {folder} --tag_set serve \\
    --signature_def serving_default --inputs input_tensor=images.npy
Serve it with an installed TensorFlow Serving, or in a container:
  tensorflow_model_server --rest_api_port=8501 --model_name=detector \\
    --model_base_path={base}
  docker run --rm -p 8501:8501 -e MODEL_NAME=detector \\
    -v {base}:/models/detector tensorflow/serving
Ask the server:
  echo '{{"signature_name": "serve_bytes", "instances": [{{"image_bytes": {{"b64":' \\
    "\\"$(base64 < image.jpg | tr -d '\\n')\\"}}}}]}}" |
    curl -d @- http://localhost:8501/v1/models/detector:predict"""


def how_to_call(folder: Path) -> str:
    """Returns the text that says how to inspect, run and serve a SavedModel.

    Args:
        folder: its folder, with its number.
    """
    paths = {"folder": folder, "base": folder.resolve().parent}
    return _HOW_TO.format(**{name: shlex.quote(str(path)) for name, path in paths.items()})


def text(
    model: FasterRCNN, folder: Path, more: Mapping[str, str], how_to: str | None = None
) -> str:
    """Returns a model card in Markdown.

    Args:
        model: the detector.
        folder: the folder of its SavedModel, with its number.
        more: further sections, by title, such as "Metrics".
        how_to: how to call it; by default, as a SavedModel.
    """
    classes = [f"{number} {name}" for number, name in enumerate(model.class_names, start=1)]
    sections = {
        "Classes": _indented("\n".join(map(plain, classes))),
        "Data": _data(model),
        "Metrics": "No measurement of this training step was found.",
        "Preprocessing": _preprocessing(model),
        "Precision": f"The convolutions compute in {model.backbone.compute_dtype}.",
        "Start weights and their licence": _start_weights(model),
        **more,
        "How to call it": _indented(how_to or how_to_call(folder)),
    }
    backbone = f" with {model.config.backbone}" if model.config else ""
    title = f"# Faster R-CNN{backbone}, training step {int(model.step)}"
    return "\n\n".join([title, *(f"## {name}\n\n{body}" for name, body in sections.items())]) + "\n"


def _indented(lines: str) -> str:
    """Returns lines that Markdown shows as they are."""
    return "\n".join(f"    {line}".rstrip() for line in lines.split("\n"))


def _data(model):
    if model.config is None:
        return "The detector was composed in Python and does not know its data."
    sets = {"trained on": model.config.train_split, "evaluated on": model.config.eval_split}
    lines = []
    for use, splits in sets.items():
        if use == "evaluated on" and not model.config.is_evaluated:
            continue
        for source in model.config.sources(splits):
            name = Path(source.data_dir).name
            lines.append(f"{use} {source.dataset} {name}: {', '.join(source.splits)}")
    return _indented("\n".join(map(plain, lines)))


def _preprocessing(model):
    pixels = model.backbone.preprocessing
    sizes = ""
    if model.config is not None:
        sizes = (
            f"scales the image so that its shorter side has {model.config.shorter_side} pixels, "
            f"but the longer side no more than {model.config.longer_side}; "
        )
    return (
        "Clients send images as they are, in RGB from 0 to 255. The model itself "
        f"{sizes}puts the colours into the order {pixels.color_order.upper()}; subtracts "
        f"{pixels.mean}; and divides by {pixels.scale}."
    )


def _start_weights(model):
    if model.origin:
        words = "Its weights come from {model} of {source} (the file {file}). Licence: {licence}"
        return f"{words.format(**model.origin)}."
    if model.config is None:
        return "Not known, because the detector was composed in Python."
    start, source = model.config.start_checkpoint, model.config.backbone_weights
    if start:
        return f"It started from the checkpoint {Path(start).name}, whose licence applies."
    if source == "none" or model.backbone.pretrained is None:
        return "It started from random weights."
    name = model.backbone.pretrained.application
    licence = next((text for start, text in _LICENCES.items() if name.startswith(start)), "")
    return (
        f"The backbone started from keras.applications.{name}, trained on ImageNet"
        f"{', ' if licence else ''}{licence}. ImageNet's images are for research and education."
    )
