"""Exports a trained detector as a SavedModel or for other runtimes, and verifies its answers.

Examples:
  keras-frcnn export --checkpoint=runs/voc07/best.keras --output_dir=served/voc07
  python export.py --checkpoint=runs/voc07/best.keras --output_dir=served/voc07 --images=photos
  python export.py --checkpoint=runs/new/best.keras --output_dir=served/voc07 --version=2
  keras-frcnn export --checkpoint=runs/voc07/best.keras --output_dir=triton/voc07 --format=onnx

The SavedModel is for TensorFlow Serving. It gets a new numbered folder, with a model card, the
class names and warm-up requests in it, and files for the server's flags beside it. It accepts any
number of images of any size: as arrays, as JPEG or PNG files, or as tf.Examples. It needs no
Python, no keras_frcnn and no custom op. With --format=onnx the numbered folder holds model.onnx,
with --format=openvino model.xml; these take arrays of images of one size. Settings that are not
given are taken from the checkpoint.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from keras_frcnn.cli.command import Command, checkpoint_settings, parse, user_errors
from keras_frcnn.cli.startup import load_tensorflow
from keras_frcnn.config import Config
from keras_frcnn.config.flags import SETTINGS
from keras_frcnn.config.setting import NOT_NEGATIVE, Option
from keras_frcnn.console import plain, say

_MAX_IMAGES = 8
REFUSED = {
    "litert": "the converter of TensorFlow 2.21 leaves slices that add an axis to arrays of any "
    "size, convolutions on maps of any size, quotients of 64-bit numbers, and arrays that grow in "
    "loops to kernels of TensorFlow, which LiteRT's runtime lacks",
}
"""The formats that are not offered, and why."""

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
            0,
            "The number of the SavedModel's folder, which must be new. TensorFlow Serving uses the "
            "highest. 0 means the next one after those that are there.",
            limits=NOT_NEGATIVE,
        ),
        Option(
            "images",
            tuple[str, ...],
            (),
            "Images on which to compare the SavedModel with the model: files, folders or patterns. "
            "The first 8 images are used. Images with objects make the best test. If empty, "
            "synthetic images are used.",
        ),
        Option(
            "format",
            str,
            "saved_model",
            "saved_model for TensorFlow Serving; onnx for ONNX Runtime and Triton; openvino for "
            "OpenVINO and its Model Server. The last two need packages: pip install "
            "'keras-frcnn[onnx]' or 'keras-frcnn[openvino]'. litert is refused; the command tells "
            "why.",
            choices=("saved_model", "onnx", "openvino", *REFUSED),
        ),
        Option(
            "batch_pixels",
            int,
            0,
            "How many pixels, after resizing, serve_bytes and serve_examples detect on at once, "
            "with padding; this bounds the memory. Eight images of 600 x 1000 are 4800000. It pays "
            "on a GPU. 0: one file after the other.",
            limits=NOT_NEGATIVE,
        ),
        Option(
            "precision",
            str,
            "float32",
            "Number format of the SavedModel. With bfloat16 or float16 the command measures what "
            "it costs: on 50 images of the evaluation set, if they are there, or on --images. "
            "'auto' is the fastest on this machine, and 'mixed_' is left out.",
            choices=SETTINGS["precision"].choices,
        ),
    ),
    settings=(
        "shorter_side",
        "longer_side",
        "test_pre_nms_top_k",
        "test_post_nms_top_k",
        "score_threshold",
        "nms_iou_threshold",
        "soft_nms_sigma",
        "max_detections",
    ),
)

_MEASURED_IMAGES = 50


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
        from keras_frcnn.serving import model_card, portable
        from keras_frcnn.serving.export import export, synthetic_images
        from keras_frcnn.weights import checkpoint

        images = [to_image(path) for path in paths] or None
        version = options.version or None
        say(f"Loading {options.checkpoint} ...")
        config = precision.for_export(config, options.precision, say)
        model = checkpoint.load(options.checkpoint, config)
        card = _metrics(options.checkpoint, int(model.step))
        if config.precision != "float32":
            exact = config.replace(precision="float32")
            cost = _cost(model, checkpoint.load(options.checkpoint, exact), exact, images)
            say(cost)
            card["Precision"] = cost
        arguments = model, options.output_dir, images or synthetic_images(), version, say, card
        if options.format != "saved_model":
            folder = portable.export(options.format, *arguments)
            how_to = portable.how_to_call(options.format, folder)
        else:
            folder = export(*arguments, options.batch_pixels)
            how_to = model_card.how_to_call(folder)
        say(f"\nDone: {folder}\n\n{how_to}")
    return 0


def _base(options: SimpleNamespace) -> Config:
    """Returns the checkpoint's settings, after checking that the SavedModel can be written."""
    if options.format in REFUSED:
        raise ValueError(f"--format={options.format} is not offered: {REFUSED[options.format]}")
    if options.format != "saved_model":
        _check_portable(options)
    config = checkpoint_settings(options)
    from keras_frcnn.serving.folder import version_folder

    version_folder(options.output_dir, options.version or None)
    return config


def _check_portable(options: SimpleNamespace) -> None:
    """Refuses flags that the formats beside the SavedModel do not know."""
    form = f"--format={options.format}"
    if options.precision != "float32":
        raise ValueError(
            f"--precision must be float32 with {form}: not every runtime has convolutions in "
            f"shorter numbers. Received: {options.precision}"
        )
    if options.batch_pixels:
        raise ValueError(f"--batch_pixels is for files, which {form} does not take")


def _metrics(checkpoint: str, step: int) -> dict[str, str]:
    """Returns the section of the model card with what the run has measured at a step, if it has."""
    from keras_frcnn.training import run_folder

    evaluations = run_folder.read_evaluations(Path(checkpoint).parent)
    rows = [
        f"    {name}: {value:.4f}"
        for evaluation in evaluations[::-1]
        if evaluation["step"] == step
        for name, value in evaluation.items()
        if isinstance(value, float)
    ]
    return {"Metrics": "\n".join(map(plain, rows))} if rows else {}


def _cost(model: Any, exact: Any, config: Config, images: list[Any] | None) -> str:
    """Says by how much a model's answers differ from those of the same weights in float32."""
    from keras_frcnn import data
    from keras_frcnn.inference import over_dataset, precision_cost
    from keras_frcnn.serving.export import synthetic_images

    try:
        dataset = data.load(config, config.eval_split, model.class_names, strict=False)
    except ValueError:  # the data are elsewhere
        images = images or synthetic_images()
        found, expected = (dict(enumerate(one.detect(images))) for one in (model, exact))
        dataset = precision_cost.objects_of(expected)
        truth = "; the objects are what float32 detects with a score of at least 0.5"
    else:
        step = max(1, len(dataset.records) // _MEASURED_IMAGES)
        records = dataset.records[::step][:_MEASURED_IMAGES]
        dataset, truth = data.Dataset(dataset.class_names, records), " of the evaluation set"
        found, expected = (
            over_dataset.detect_dataset(one, dataset, config)[0] for one in (model, exact)
        )
    cost = precision_cost.measure(found, expected, dataset)
    name = model.backbone.compute_dtype
    return f"{name} against float32: {cost} ({len(expected)} image(s){truth})"
