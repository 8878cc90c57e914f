"""Finds the objects in images, draws them, and writes them to detections.json.

Examples:
  keras-frcnn detect --checkpoint=runs/voc07/best.keras --images=photos --output_dir=detected
  python detect.py --checkpoint=best.keras --images=a.jpg,'trip/*.jpg' --output_dir=detected
  python detect.py --checkpoint=best.keras --images=a.jpg --output_dir=detected --draw_threshold=0.8

detections.json holds all detections with a score of at least --score_threshold; only those with a
score of at least --draw_threshold are drawn. Settings that are not given are taken from the
checkpoint. The exit code is 1 if an image could not be read; all other images are still processed.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from keras_frcnn.cli.command import (
    Command,
    check_output_folder,
    checkpoint_settings,
    parse,
    user_errors,
)
from keras_frcnn.cli.output import distinct
from keras_frcnn.cli.startup import load_tensorflow
from keras_frcnn.config import Config
from keras_frcnn.config.setting import FRACTION, Option
from keras_frcnn.console import COMPILING, say, with_progress

COMMAND = Command(
    "detect",
    __doc__,
    options=(
        Option("checkpoint", str, "", "The .keras file of a run.", required=True),
        Option(
            "images",
            tuple[str, ...],
            (),
            "Image files, folders (of .jpg, .jpeg and .png files) and patterns such as "
            "'trip/*.jpg'.",
            required=True,
        ),
        Option(
            "output_dir",
            str,
            "",
            "Folder for the drawn images and detections.json: a new or empty folder, or one that "
            "this command has written.",
            required=True,
        ),
        Option(
            "draw_threshold",
            float,
            0.5,
            "Detections with a lower score are not drawn.",
            limits=FRACTION,
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

_RESULTS = "detections.json"


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv, base=_base)
    with user_errors(COMMAND):
        load_tensorflow()
        from keras_frcnn.data.images.files import find_images
        from keras_frcnn.training import precision
        from keras_frcnn.weights import checkpoint

        model = checkpoint.load(options.checkpoint, precision.for_use(config, say))
        folder = Path(options.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        results = {
            "checkpoint": options.checkpoint,
            "class_names": model.class_names,
            "score_threshold": config.score_threshold,
            "draw_threshold": options.draw_threshold,
            "images": [],
            "unreadable": [],
        }
        try:
            _detect_all(model, find_images(options.images), folder, results)
        finally:  # the results so far are written even if the user interrupts
            text = json.dumps(results, indent=1, ensure_ascii=False)
            # A file name may contain bytes that are not text; JSON can write them as \\udc80.
            (folder / _RESULTS).write_text(text, encoding="utf-8", errors="backslashreplace")
    count = sum(len(image["detections"]) for image in results["images"])
    say(f"{count} detections on {len(results['images'])} images: {folder / _RESULTS}")
    for image in results["unreadable"]:
        say(f"keras-frcnn detect: skipped: {image['error']}", error=True)
    return 1 if results["unreadable"] else 0


def _base(options: SimpleNamespace) -> Config:
    """Returns the checkpoint's settings, after checking the images and the output folder."""
    config = checkpoint_settings(options)
    from keras_frcnn.data.images.files import find_images

    _check_folder(Path(options.output_dir), find_images(options.images))
    return config


def _check_folder(folder: Path, paths: list[Path]) -> None:
    """Makes sure that no drawing can overwrite an image or any other file."""
    check_output_folder(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _RESULTS).is_file():
        raise ValueError(
            "--output_dir must be new, empty, or written by an earlier detect command. Received: "
            f"{folder}, which holds other files and no {_RESULTS}"
        )
    for path in paths:
        if path.resolve().parent == folder.resolve():
            raise ValueError(
                f"--output_dir must not be a folder that holds --images. Received: {folder}"
            )


def _detect_all(model: Any, paths: list[Path], folder: Path, results: dict[str, Any]) -> None:
    """Detects on all images, draws them into the folder, and adds the detections to the results."""
    from PIL import Image

    from keras_frcnn.data.images.files import to_image
    from keras_frcnn.drawing.detections import draw_detections

    say(COMPILING)
    watched = with_progress(paths, "Detecting", len(paths))
    for path, stem in zip(watched, distinct(path.stem for path in paths), strict=True):
        try:
            image = to_image(path)
        except ValueError as error:
            results["unreadable"].append({"file": str(path), "error": str(error)})
            continue
        answer = {key: rows[0] for key, rows in model.detect([image]).items()}
        count = answer["num_detections"]
        found = [answer[key][:count] for key in ("boxes", "labels", "scores")]
        drawn = draw_detections(image, *found, model.class_names, results["draw_threshold"])
        drawing = f"{stem}.png"
        Image.fromarray(drawn).save(folder / drawing)
        entry = {"file": str(path), "drawing": drawing}
        entry |= {"height": image.shape[0], "width": image.shape[1]}
        entry["detections"] = [
            _entry(model.class_names[label], float(score), box.tolist())
            for box, label, score in zip(*found, strict=True)
        ]
        results["images"].append(entry)


def _entry(class_name: str, score: float, box: list[float]) -> dict[str, Any]:
    """Returns a detection for detections.json, in pixels of the image as it is displayed."""
    y1, x1, y2, x2 = box
    return {
        "class": class_name,
        "score": round(score, 6),
        "box_yxyx": [round(value, 3) for value in (y1, x1, y2, x2)],
        "box_xywh": [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)],
    }
