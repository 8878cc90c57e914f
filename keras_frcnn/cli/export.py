"""Exports a trained detector as a SavedModel and verifies that both give the same detections.

Examples:
  keras-frcnn export --checkpoint=runs/voc07/best.keras --output_dir=served/voc07
  python export.py --checkpoint=runs/voc07/best.keras --output_dir=served/voc07 --images=photos
  python export.py --checkpoint=runs/new/best.keras --output_dir=served/voc07 --version=2

The SavedModel is for TensorFlow Serving. It accepts any number of images of any size: as arrays,
as JPEG or PNG files, or as tf.Examples. It needs no Python, no keras_frcnn and no custom op.
Settings that are not given are taken from the checkpoint.
"""

import shlex
from types import SimpleNamespace

from keras_frcnn.cli.command import Command, checkpoint_settings, parse, user_errors
from keras_frcnn.cli.startup import load_tensorflow
from keras_frcnn.config import Config
from keras_frcnn.config.setting import Option
from keras_frcnn.console import say

COMMAND = Command(
    "export",
    __doc__,
    options=(
        Option("checkpoint", str, "", "The checkpoint: a .keras file.", required=True),
        Option(
            "output_dir",
            str,
            "",
            "The folder that TensorFlow Serving watches. The SavedModel is written to a numbered "
            "folder inside it.",
            required=True,
            output="folder",
        ),
        Option(
            "version",
            int,
            1,
            "The number of the SavedModel's folder. TensorFlow Serving uses the highest.",
        ),
        Option(
            "images",
            tuple[str, ...],
            (),
            "Images on which to compare the SavedModel with the model: files, folders or patterns. "
            "The first 8 images are used. Images with objects make the best test. If empty, "
            "synthetic images are used.",
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

It accepts N images (signature: input)
  serving_default: input_tensor, uint8 [N, H, W, 3], RGB from 0 to 255
  serve_bytes: image_bytes, string [N], JPEG or PNG files of any size
  serve_examples: examples, string [N], serialized tf.Examples with image/encoded
and returns K = {num_rows} rows per image, best first
  detection_boxes [N, K, 4]: y1, x1, y2, x2 as fractions of height and width
  detection_boxes_pixels [N, K, 4]: the same in pixels
  detection_scores [N, K], detection_classes [N, K] (from 1), detection_class_names [N, K]
  num_detections [N]; rows past it are padding
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


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv, base=_base)
    with user_errors(COMMAND, options.output_dir):
        from keras_frcnn.data.images.files import find_images, to_image

        paths = find_images(options.images)[:_MAX_IMAGES]
        load_tensorflow()
        from keras_frcnn.models import precision
        from keras_frcnn.serving.export import export
        from keras_frcnn.weights import checkpoint

        images = [to_image(path) for path in paths] or None
        say(f"Loading {options.checkpoint} ...")
        model = checkpoint.load(options.checkpoint, precision.for_use(config, say))
        folder = export(model, options.output_dir, images, options.version, say)
        paths = {"folder": folder, "base": folder.resolve().parent}
        quoted = {name: shlex.quote(str(path)) for name, path in paths.items()}
        say(_DONE.format(**quoted, num_rows=config.max_detections))
    return 0


def _base(options: SimpleNamespace) -> Config:
    """Returns the checkpoint's settings, after checking that the SavedModel can be written."""
    config = checkpoint_settings(options)
    from keras_frcnn.serving.folder import version_folder

    version_folder(options.output_dir, options.version)
    return config
