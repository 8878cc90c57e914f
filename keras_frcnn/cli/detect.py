"""Finds the objects in images: draws them, and writes them down in detections.json.

Examples:
  keras-frcnn detect --checkpoint=runs/voc07/best.keras --images=photos --output_dir=detected
  python detect.py --checkpoint=best.keras --images=a.jpg,'trip/*.jpg' --output_dir=detected
  python detect.py --checkpoint=best.keras --images=a.jpg --output_dir=detected --draw_threshold=0.8

detections.json holds all detections scored above --score_threshold; drawn are those scored at least
--draw_threshold. Settings not given are the checkpoint's. The exit code is 1 if an image could not
be read; the others are done.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from keras_frcnn.cli.command import Command, checkpoint_settings, parse, user_errors
from keras_frcnn.config import Config
from keras_frcnn.config.flags import Option

COMMAND = Command(
    "detect",
    __doc__,
    options=(
        Option("checkpoint", str, "", "A .keras file of a run.", required=True),
        Option(
            "images",
            tuple[str, ...],
            (),
            "Files, folders (their .jpg, .jpeg and .png files) and patterns such as 'trip/*.jpg'.",
            required=True,
        ),
        Option(
            "output_dir",
            str,
            "",
            "Folder of the drawn images and detections.json: new, empty, or of this command.",
            required=True,
        ),
        Option("draw_threshold", float, 0.5, "Detections scored lower are not drawn."),
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
        argv: Its flags; None: those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv, base=_base)
    with user_errors(COMMAND):
        from keras_frcnn.data.images.files import find_images
        from keras_frcnn.training import precision
        from keras_frcnn.weights import checkpoint

        model = checkpoint.load(options.checkpoint, precision.for_use(config, print))
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
        finally:  # also when the user has seen enough
            text = json.dumps(results, indent=1, ensure_ascii=False)
            # A file's name may hold bytes that are no text; JSON can say them as \\udc80 and so on.
            (folder / _RESULTS).write_text(text, encoding="utf-8", errors="backslashreplace")
    count = sum(len(image["detections"]) for image in results["images"])
    print(f"{count} detections on {len(results['images'])} images: {folder / _RESULTS}")
    for image in results["unreadable"]:
        print(f"keras-frcnn detect: skipped: {image['error']}", file=sys.stderr)
    return 1 if results["unreadable"] else 0


def _base(options: SimpleNamespace) -> Config:
    """Returns the checkpoint's settings, after a look at the command's own options."""
    if not 0 <= options.draw_threshold <= 1:
        received = options.draw_threshold
        raise ValueError(f"--draw_threshold must be between 0 and 1. Received: {received}")
    config = checkpoint_settings(options)
    from keras_frcnn.data.images.files import find_images

    _check_place(Path(options.output_dir), find_images(options.images))
    return config


def _check_place(folder: Path, paths: list[Path]) -> None:
    """Makes sure that no drawing can take the place of an image or of anything else."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output_dir must be a folder. Received the file {folder}")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _RESULTS).is_file():
        raise ValueError(
            f"--output_dir must be new, empty, or of an earlier detect. Received: {folder}, which "
            f"holds other files and no {_RESULTS}"
        )
    for path in paths:
        if path.resolve().parent == folder.resolve():
            raise ValueError(f"--output_dir must not be a folder of --images. Received: {folder}")


def _drawing_names(paths: Iterable[Path]) -> Iterator[str]:
    """Yields a name for each image's drawing: its stem, numbered where another has it already."""
    taken = set()
    for path in paths:
        name, number = path.stem, 1
        while name.casefold() in taken:  # on some disks "A.png" and "a.png" are one file
            number += 1
            name = f"{path.stem}_{number}"
        taken.add(name.casefold())
        yield f"{name}.png"


def _detect_all(model: Any, paths: list[Path], folder: Path, results: dict[str, Any]) -> None:
    """Detects on all images, draws them into the folder, adds what was found to the results."""
    from PIL import Image
    from rich.console import Console
    from rich.progress import track

    from keras_frcnn.data.images.files import to_image
    from keras_frcnn.drawing.detections import draw_detections

    console = Console()
    watched = track(paths, "detect", console=console, disable=not console.is_terminal)
    for path, name in zip(watched, _drawing_names(paths), strict=True):
        try:
            image = to_image(path)
        except ValueError as error:
            results["unreadable"].append({"file": str(path), "error": str(error)})
            continue
        answer = {key: rows[0] for key, rows in model.detect([image]).items()}
        count = answer["num_detections"]
        found = [answer[key][:count] for key in ("boxes", "labels", "scores")]
        drawn = draw_detections(image, *found, model.class_names, results["draw_threshold"])
        Image.fromarray(drawn).save(folder / name)
        entry = {"file": str(path), "drawing": name}
        entry |= {"height": image.shape[0], "width": image.shape[1]}
        entry["detections"] = [
            _written(model.class_names[label], float(score), box.tolist())
            for box, label, score in zip(*found, strict=True)
        ]
        results["images"].append(entry)


def _written(class_name: str, score: float, box: list[float]) -> dict[str, Any]:
    """Returns a detection as detections.json holds it, in pixels of the image as displayed."""
    y1, x1, y2, x2 = box
    return {
        "class": class_name,
        "score": round(score, 6),
        "box_yxyx": [round(value, 3) for value in (y1, x1, y2, x2)],
        "box_xywh": [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)],
    }
