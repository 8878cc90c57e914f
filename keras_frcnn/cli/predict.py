"""Sends images to a served detector and writes what it finds.

Examples:
  keras-frcnn predict --server=grpc://localhost:8500/detector --images=photos --output_dir=found
  keras-frcnn predict --server=http://localhost:8501/v1/models/detector --images='trip/*.jpg'
    --output_dir=found --formats=coco,csv --concurrency=8

The server is TensorFlow Serving, or one that speaks as it does. It reads the files as detect does.
Requests that fail because the server is away or busy are repeated. The exit code is 1 if an image
could not be read; all other images are still processed. If the command is stopped, the files hold
what was found so far.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from keras_frcnn import files
from keras_frcnn.cli import detect
from keras_frcnn.cli.command import Command, parse, user_errors
from keras_frcnn.cli.output import distinct
from keras_frcnn.config import Config
from keras_frcnn.config.setting import NOT_NEGATIVE, POSITIVE, Option
from keras_frcnn.console import say, with_progress

_COCO, _CSV = "coco.json", "detections.csv"
_FORMATS = ("drawings", "coco", "csv")

COMMAND = Command(
    "predict",
    __doc__,
    options=(
        Option(
            "server",
            str,
            "",
            "The model on the server: grpc://host:port/model, or "
            "http(s)://host:port/v1/models/model.",
            required=True,
        ),
        *(option for option in detect.COMMAND.options if option.name != "checkpoint"),
        Option(
            "formats",
            tuple[str, ...],
            ("drawings",),
            "What is written beside detections.json: drawn images, coco.json in COCO's results "
            "format (with the file's name as image_id), detections.csv.",
            choices=_FORMATS,
        ),
        Option(
            "timeout", float, 30.0, "Seconds after which a request is given up.", limits=POSITIVE
        ),
        Option("retries", int, 3, "How often a request is repeated.", limits=NOT_NEGATIVE),
        Option("concurrency", int, 4, "Requests that are under way at once.", limits=POSITIVE),
    ),
    writes=(detect.RESULTS, _COCO, _CSV),
    settings=(),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code.
    """
    _, options = parse(COMMAND, argv, base=_base)
    with user_errors(COMMAND, options.output_dir):
        from keras_frcnn.data.images.files import find_images
        from keras_frcnn.data.images.headers import image_header
        from keras_frcnn.serving.client import Client

        folder = Path(options.output_dir)
        results = {"server": options.server, "draw_threshold": options.draw_threshold}
        results |= {"images": [], "unreadable": []}
        found = []
        limits = options.timeout, options.retries, options.concurrency
        with Client(options.server, *limits) as client:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                paths = find_images(options.images)
                answers = with_progress(client.detect(paths), "Asking", len(paths))
                stems = distinct(path.stem for path in paths)
                for path, stem, answer in zip(paths, stems, answers, strict=True):
                    try:
                        if isinstance(answer, ValueError):
                            raise answer
                        size = image_header(path)[:2]
                        drawing = f"{stem}.png" if "drawings" in options.formats else None
                        if drawing:
                            answer.draw(options.draw_threshold).save(folder / drawing)
                    except ValueError as error:
                        results["unreadable"].append({"file": str(path), "error": str(error)})
                        continue
                    results["images"].append(detect.entry_of(path, drawing, size, answer))
                    found.append((path, answer))
            finally:  # what was found so far is written even if the user interrupts
                detect.write_results(results, folder)
                _write_tables(found, folder, options.formats)
        count = sum(len(detections) for _, detections in found)
        say(f"Images: {len(found)}, detections: {count}. Results: {folder / detect.RESULTS}")
        for image in results["unreadable"]:
            say(f"keras-frcnn predict: skipped: {image['error']}", error=True)
    return 1 if results["unreadable"] else 0


def _base(options: SimpleNamespace) -> Config:
    """Checks the images and the output folder."""
    from keras_frcnn.data.images.files import find_images

    detect.check_folder(Path(options.output_dir), find_images(options.images))
    return Config()


def _write_tables(found: list[tuple[Path, Any]], folder: Path, formats: tuple[str, ...]) -> None:
    from keras_frcnn.evaluation.report.result_files import write_csv

    if "coco" in formats:
        rows = [row for path, detections in found for row in detections.to_coco(path.name)]
        files.write_text(folder / _COCO, json.dumps(rows))
    if "csv" in formats:
        rows = [
            (path, one.class_name, one.score, *one.box.tolist())
            for path, detections in found
            for one in detections
        ]
        write_csv([("file", "class", "score", "y1", "x1", "y2", "x2"), *rows], folder / _CSV)
