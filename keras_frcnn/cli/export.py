"""Writes a trained detector as a SavedModel for TensorFlow Serving, and verifies it.

Examples:
  keras-frcnn export --checkpoint=runs/voc07/best.keras --output_dir=served/voc07
  python export.py --checkpoint=runs/voc07/best.keras --output_dir=served/voc07 --images=photos
  python export.py --checkpoint=runs/new/best.keras --output_dir=served/voc07 --version=2

The SavedModel takes images as arrays, as JPEG or PNG files, or as tf.Examples, in any number and of
any size. It needs no Python, no keras_frcnn and no custom op. Settings that are not given are those
of the checkpoint.
"""

import shlex
from types import SimpleNamespace

from keras_frcnn.cli.command import Command, checkpoint_settings, parse, user_errors
from keras_frcnn.config import Config
from keras_frcnn.config.setting import Option

COMMAND = Command(
    "export",
    __doc__,
    options=(
        Option("checkpoint", str, "", "The .keras file of a run.", required=True),
        Option(
            "output_dir",
            str,
            "",
            "Folder that TensorFlow Serving watches; the SavedModel is a numbered folder in it.",
            required=True,
        ),
        Option("version", int, 1, "Number of that folder. TensorFlow Serving uses the highest."),
        Option(
            "images",
            tuple[str, ...],
            (),
            "Files, folders or patterns of images, on the first 8 of which the SavedModel is "
            "compared with the model. Images with objects make the best test. Without any, images "
            "are generated.",
        ),
    ),
    settings=(
        "precision",
        "shorter_side",
        "longer_side",
        "test_pre_nms_top_k",
        "test_post_nms_top_k",
        "score_threshold",
        "nms_iou_threshold",
        "max_detections",
    ),
)

_MAX_IMAGES = 8

_DONE = """
Done: {folder}

It takes N images (signature: input):
  serving_default: input_tensor, uint8 [N, H, W, 3], RGB from 0 to 255
  serve_bytes: image_bytes, string [N], JPEG or PNG files, each of any size
  serve_examples: examples, string [N], serialized tf.Examples with image/encoded
and returns K = {num_rows} rows for each, best first:
  detection_boxes [N, K, 4]: y1, x1, y2, x2 from 0 to 1 of height and width
  detection_boxes_pixels [N, K, 4]: the same in pixels
  detection_scores [N, K], detection_classes [N, K] (from 1), detection_class_names [N, K]
  num_detections [N]; all further rows are padding
Image files are turned upright by their EXIF orientation, as in detect.

Inspect it:
  saved_model_cli show --all --dir {folder}
Try it on an array of images that numpy.save has written:
  saved_model_cli run --dir {folder} --tag_set serve \\
    --signature_def serving_default --inputs input_tensor=images.npy
Serve it, with TensorFlow Serving installed or in a container:
  tensorflow_model_server --rest_api_port=8501 --model_name=detector \\
    --model_base_path={base}
  docker run --rm -p 8501:8501 -e MODEL_NAME=detector \\
    -v {base}:/models/detector tensorflow/serving
Ask the server:
  echo '{{"signature_name": "serve_bytes", "instances": [{{"image_bytes": {{"b64":' \\
    "\\"$(base64 < image.jpg | tr -d '\\n')\\"}}}}]}}" |
    curl -d @- http://localhost:8501/v1/models/detector:predict"""


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Its flags; None for those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv, base=_base)
    with user_errors(COMMAND):
        from keras_frcnn.data.images.files import find_images, to_image
        from keras_frcnn.serving.export import export
        from keras_frcnn.training import precision
        from keras_frcnn.weights import checkpoint

        images = None
        if options.images:
            images = [to_image(path) for path in find_images(options.images)[:_MAX_IMAGES]]
        _say(f"Loading {options.checkpoint} ...")
        model = checkpoint.load(options.checkpoint, precision.for_use(config, _say))
        folder = export(model, options.output_dir, images, options.version, _say)
    paths = {"folder": folder, "base": folder.resolve().parent}
    quoted = {name: shlex.quote(str(path)) for name, path in paths.items()}
    print(_DONE.format(**quoted, num_rows=config.max_detections))
    return 0


def _base(options: SimpleNamespace) -> Config:
    """Returns the checkpoint's settings, once the SavedModel is known to have a place to go."""
    config = checkpoint_settings(options)
    from keras_frcnn.serving.export import check_place

    check_place(options.output_dir, options.version)
    return config


def _say(line: str) -> None:
    print(line, flush=True)
