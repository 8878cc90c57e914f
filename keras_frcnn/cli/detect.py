"""Finds the objects in images, draws them, and writes them to detections.json.

Examples:
  keras-frcnn detect --checkpoint=runs/voc07/best.keras --images=photos --output_dir=detected
  python detect.py --checkpoint=best.keras --images=a.jpg,'trip/*.jpg' --output_dir=detected
  python detect.py --checkpoint=best.keras --images=a.jpg --output_dir=detected --draw_threshold=0.8

detections.json holds all detections with a score of at least --score_threshold; only those with a
score of at least --draw_threshold are drawn. Settings that are not given are taken from the
checkpoint. The exit code is 1 if an image could not be read; all other images are still processed.
If the command is stopped, detections.json holds what was found so far, and the same command
continues from there.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from keras_frcnn import files
from keras_frcnn.cli.command import Command, checkpoint_settings, parse, user_errors
from keras_frcnn.cli.output import distinct
from keras_frcnn.cli.startup import load_tensorflow
from keras_frcnn.config import Config
from keras_frcnn.config.setting import FRACTION, Option
from keras_frcnn.console import COMPILING, say, with_progress

RESULTS = "detections.json"

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
            output="folder",
        ),
        Option(
            "draw_threshold",
            float,
            0.5,
            "Detections with a lower score are not drawn.",
            limits=FRACTION,
        ),
    ),
    writes=(RESULTS,),
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

_UNFINISHED = "unfinished"  # in results that are not complete: all settings that they depend on


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv, base=_base)
    with user_errors(COMMAND, options.output_dir):
        load_tensorflow()
        from keras_frcnn.data.images.files import find_images
        from keras_frcnn.models import precision
        from keras_frcnn.weights import checkpoint

        model = checkpoint.load(options.checkpoint, precision.for_use(config, say))
        folder = Path(options.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        settings = _settings(config, options)
        results = {
            _UNFINISHED: settings,
            "checkpoint": options.checkpoint,
            "class_names": model.class_names,
            "score_threshold": config.score_threshold,
            "draw_threshold": options.draw_threshold,
            "images": [],
            "unreadable": [],
        }
        found_before = _read_unfinished(folder, settings)
        if not found_before:
            # So that a killed command leaves a folder that it may use.
            write_results(results, folder)
        try:
            _detect_all(model, find_images(options.images), folder, results, found_before)
            del results[_UNFINISHED]
        finally:  # the results so far are written even if the user interrupts
            write_results(results, folder)
        count = sum(len(image["detections"]) for image in results["images"])
        say(f"Images: {len(results['images'])}, detections: {count}. Results: {folder / RESULTS}")
        for image in results["unreadable"]:
            say(f"keras-frcnn detect: skipped: {image['error']}", error=True)
    return 1 if results["unreadable"] else 0


def _base(options: SimpleNamespace) -> Config:
    """Returns the checkpoint's settings, after checking the images and the output folder."""
    config = checkpoint_settings(options)
    from keras_frcnn.data.images.files import find_images

    check_folder(Path(options.output_dir), find_images(options.images))
    return config


def _settings(config: Config, options: SimpleNamespace) -> str:
    """Returns everything on which the results of an image depend, as a text."""
    settings = {name: getattr(config, name) for name in COMMAND.settings}
    settings |= {"draw_threshold": options.draw_threshold}
    settings |= {"checkpoint": [options.checkpoint, Path(options.checkpoint).stat().st_mtime_ns]}
    return json.dumps(settings, sort_keys=True)


def _read_unfinished(folder: Path, settings: str) -> dict[str, dict[str, Any]]:
    """Returns what a stopped command has found with the same settings, by the image's file."""
    path = folder / RESULTS
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        if results.get(_UNFINISHED) == settings:
            return {entry["file"]: entry for entry in results["images"]}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass  # there are no results of this command
    return {}


def write_results(results: dict[str, Any], folder: Path) -> None:
    """Writes detections.json into a folder."""
    text = json.dumps(results, indent=1, ensure_ascii=False)
    # A file name may contain bytes that are not text; JSON can write them as \\udc80.
    files.write_text(folder / RESULTS, text, errors="backslashreplace")


def check_folder(folder: Path, paths: list[Path]) -> None:
    """Makes sure that no drawing can overwrite an image or any other file."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RESULTS).is_file():
        raise ValueError(
            "--output_dir must be new, empty, or written by an earlier detect command. Received: "
            f"{folder}, which holds other files and no {RESULTS}"
        )
    for path in paths:
        if path.resolve().parent == folder.resolve():
            raise ValueError(
                f"--output_dir must not be a folder that holds --images. Received: {folder}"
            )


def _detect_all(
    model: Any,
    paths: list[Path],
    folder: Path,
    results: dict[str, Any],
    found_before: dict[str, dict[str, Any]],
) -> None:
    """Detects on all images, draws them into the folder, and adds the detections to the results.

    Images that a stopped command has finished, and whose drawing is there, are not repeated.
    """

    from keras_frcnn.data.images.files import to_image

    say(COMPILING)
    watched = with_progress(paths, "Detecting", len(paths))
    for path, stem in zip(watched, distinct(path.stem for path in paths), strict=True):
        drawing, before = f"{stem}.png", found_before.get(str(path))
        if before and before["drawing"] == drawing and (folder / drawing).is_file():
            results["images"].append(before)
            continue
        try:
            image = to_image(path)
        except ValueError as error:
            results["unreadable"].append({"file": str(path), "error": str(error)})
            continue
        found = model.detect(image)
        found.draw(results["draw_threshold"]).save(folder / drawing)
        results["images"].append(entry_of(path, drawing, image.shape[:2], found))


def entry_of(path: Path, drawing: str | None, size: tuple[int, int], found: Any) -> dict[str, Any]:
    """Returns the entry of an image for detections.json.

    Args:
        path: the image's file.
        drawing: the file with its drawn detections.
        size: its height and width as displayed, in pixels.
        found: its ``ImageDetections``.
    """
    rows = [_row(one.class_name, one.score, one.box.tolist()) for one in found]
    named = {"file": str(path), "drawing": drawing}
    return named | {"height": size[0], "width": size[1], "detections": rows}


def _row(class_name: str, score: float, box: list[float]) -> dict[str, Any]:
    """Returns a detection for detections.json, in pixels of the image as it is displayed."""
    y1, x1, y2, x2 = box
    return {
        "class": class_name,
        "score": round(score, 6),
        "box_yxyx": [round(value, 3) for value in (y1, x1, y2, x2)],
        "box_xywh": [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)],
    }
