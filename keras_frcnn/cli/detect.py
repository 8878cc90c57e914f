"""Finds the objects in images and videos, draws them, and writes them to detections.json.

Examples:
  keras-frcnn detect --images=photo.jpg --output_dir=detected
  keras-frcnn detect --checkpoint=runs/mine/best.keras --images=photos --output_dir=detected
  python detect.py --checkpoint=best.keras --images=a.jpg,'trip/*.jpg' --output_dir=detected
  find . -name '*.png' | keras-frcnn detect --images=- --output_dir=labels --formats=yolo,voc
  keras-frcnn detect --images=street.mp4 --output_dir=detected --draw_threshold=0.8
  keras-frcnn detect --images=aerial.png --output_dir=detected --tile=640 --overlap=0.2
  keras-frcnn detect --saved_model=served/mine/1 --images=photos --output_dir=detected
  keras-frcnn detect --server=grpc://localhost:8500/mine --images=photos --output_dir=detected

Without --checkpoint, --saved_model or --server, the detector voc07 of the package finds the 20
classes of PASCAL VOC.

detections.json holds all detections with a score of at least --score_threshold; only those with a
score of at least --draw_threshold are drawn or become labels. Settings that are not given are taken
from the checkpoint. The exit code is 1 if an image could not be read; all other images are still
processed. If the command is stopped, the files hold what was found so far, and the same command
continues from there.
"""

import collections
import contextlib
import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from keras_frcnn.cli.command import (
    Command,
    checkpoint_settings,
    given_settings,
    parse,
    user_errors,
)
from keras_frcnn.cli.output import distinct
from keras_frcnn.config import Config
from keras_frcnn.config.setting import FRACTION, NOT_NEGATIVE, POSITIVE, Limits, Option
from keras_frcnn.console import COMPILING, say, with_progress
from keras_frcnn.weights import shipped

RESULTS, JOURNAL = "detections.json", "unfinished.jsonl"
COCO, CSV, CLASSES = "coco.json", "detections.csv", "classes.txt"
WRITES = (RESULTS, JOURNAL, COCO, CSV, CLASSES, "Annotations/", "labels/")

SERVER = (
    Option(
        "server",
        str,
        "",
        "A detector on a server: grpc://host:port/model, or http(s)://host:port/v1/models/model.",
    ),
    Option(
        "timeout",
        float,
        30.0,
        "Seconds after which a request to the server is given up.",
        limits=POSITIVE,
    ),
    Option(
        "retries", int, 3, "How often a request to the server is repeated.", limits=NOT_NEGATIVE
    ),
    Option(
        "concurrency",
        int,
        4,
        "Requests to the server that are under way at once.",
        limits=POSITIVE,
    ),
)
IMAGES = (
    Option(
        "images",
        tuple[str, ...],
        (),
        "Image and video files, folders (of .jpg, .jpeg and .png files) and patterns such as "
        "'trip/*.jpg'. '-' reads such names, or one image, from standard input.",
        required=True,
    ),
    Option(
        "output_dir",
        str,
        "",
        "Folder for the results: a new or empty folder, or one that this command has written.",
        required=True,
        output="folder",
    ),
    Option(
        "formats",
        tuple[str, ...],
        ("drawings",),
        "What is written beside detections.json. drawings: images and videos with the detections "
        "drawn. coco: coco.json in COCO's results format, with the file's name as image_id. csv: "
        "detections.csv. voc, yolo: label files to correct, in Annotations/ or in labels/ with "
        "classes.txt.",
        choices=("drawings", "coco", "csv", "voc", "yolo"),
    ),
    Option(
        "draw_threshold",
        float,
        0.5,
        "Detections with a lower score are not drawn and not written to label files.",
        limits=FRACTION,
    ),
    Option(
        "tile",
        int,
        0,
        "Detect on tiles of this many pixels in width and height, and join what their seams cut: "
        "for small objects in large images. 0: on whole images.",
        limits=NOT_NEGATIVE,
    ),
    Option(
        "overlap",
        float,
        0.2,
        "The fraction of a tile's side that neighbouring tiles share. Objects up to this size are "
        "whole in a tile.",
        limits=Limits(at_least=0, below=1),
    ),
)

COMMAND = Command(
    "detect",
    __doc__,
    options=(
        Option(
            "checkpoint",
            str,
            shipped.DEFAULT,
            "The .keras file of a run, or the name of a detector of the package.",
        ),
        Option("saved_model", str, "", "The folder of an exported SavedModel."),
        *IMAGES,
        *SERVER,
    ),
    writes=WRITES,
    settings=(
        "precision",
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


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code.
    """
    return run(COMMAND, argv)


def run(command: Command, argv: list[str] | None) -> int:
    """Runs this command, or another one with some of its options.

    Args:
        command: the command.
        argv: as for ``main``.

    Returns:
        The exit code.
    """
    with tempfile.TemporaryDirectory() as scratch:

        def base(options):
            config = _config(command, argv, options)
            from keras_frcnn.cli.detections_folder import check_folder
            from keras_frcnn.inference.sources import find_sources

            options.sources = find_sources(options.images, sys.stdin.buffer, scratch)
            drawings = [drawing for _, drawing in _names(options).values() if drawing]
            check_folder(Path(options.output_dir), options.sources.paths, drawings)
            return config

        config, options = parse(command, argv, base)
        from keras_frcnn.cli import detectors
        from keras_frcnn.cli.detections_folder import DetectionsFolder

        with (
            user_errors(command, options.output_dir),
            detectors.opened(config, options) as (detect, head),
        ):
            folder = DetectionsFolder(
                Path(options.output_dir),
                options.formats,
                options.draw_threshold,
                _settings(command, config, options),
                head,
            )
            with folder.open():
                _detect_all(options, detect, folder)
            say(
                f"Images: {folder.num_images}, detections: {folder.num_detections}. Results: "
                f"{Path(options.output_dir) / RESULTS}"
            )
            for image in folder.unreadable:
                say(f"keras-frcnn {command.name}: skipped: {image['error']}", error=True)
    return 1 if folder.unreadable else 0


def _config(command: Command, argv: list[str] | None, options: SimpleNamespace) -> Config:
    """Returns the checkpoint's settings, or the default ones for a detector that has its own."""
    options.kind = _kind(options)
    if options.kind == "checkpoint":
        return checkpoint_settings(options)
    given = given_settings(command, argv, with_flagfiles=False)
    if given:
        raise ValueError(
            f"--{next(iter(given))} cannot be used with --{options.kind}: an exported detector has "
            "its settings in it"
        )
    return Config()


def _kind(options: SimpleNamespace) -> str:
    """Returns the option that names the detector."""
    given = [name for name in ("saved_model", "server") if getattr(options, name, "")]
    if getattr(options, "checkpoint", shipped.DEFAULT) != shipped.DEFAULT:
        given.append("checkpoint")
    if len(given) > 1:
        raise ValueError(f"only one detector can be given. Received: --{' and --'.join(given)}")
    return given[0] if given else "checkpoint"


def _settings(command: Command, config: Config, options: SimpleNamespace) -> str:
    """Returns everything on which the results of an image depend, as a text."""
    settings = {name: getattr(config, name) for name in command.settings}
    names = (options.kind, "draw_threshold", "formats", "tile", "overlap")
    settings |= {name: getattr(options, name) for name in names}
    detector = getattr(options, options.kind)
    files = {"checkpoint": shipped.find, "saved_model": lambda d: Path(d, "saved_model.pb")}
    if options.kind in files:
        settings["changed"] = files[options.kind](detector).stat().st_mtime_ns
    return json.dumps(settings | {"standard_input": options.sources.digest}, sort_keys=True)


def _names(options: SimpleNamespace) -> dict[Path, tuple[str, str | None]]:
    """Returns, for each file, the name of its results without suffix, and of its drawing."""
    from keras_frcnn.inference.videos import is_video

    paths = options.sources.paths
    stems = list(distinct(path.stem for path in paths))
    suffixes = [".mp4" if is_video(path) else ".png" for path in paths]
    has_drawings = "drawings" in options.formats
    return {
        path: (stem, stem + suffix if has_drawings else None)
        for path, stem, suffix in zip(paths, stems, suffixes, strict=True)
    }


def _detect_all(options: SimpleNamespace, detect: Callable, folder: Any) -> None:
    """Detects on all images, draws them into the folder, and adds the results to it.

    What a stopped command has finished is not repeated. The frames of a video are read again for
    the drawn video, which appears when it is whole.
    """
    names = _names(options)
    if options.kind != "server":
        say(COMPILING)
    watched = with_progress(options.sources, "Detecting", len(options.sources))

    def is_new(one):
        return not isinstance(one.image, ValueError) and not folder.known(one, *names[one.path])

    answered = _answered(watched, detect, is_new)
    for path, group in itertools.groupby(answered, lambda pair: pair[0].path):
        stem, drawing = names[path]
        with contextlib.ExitStack() as drawn_video:
            append = None
            for one, answer in group:
                try:
                    for error in (one.image, answer):
                        if isinstance(error, ValueError):
                            raise error
                    result = folder.known(one, stem, drawing)
                    if result is None:
                        result = folder.result(one, answer, stem, drawing)
                except ValueError as error:
                    folder.unreadable.append({"file": one.name, "error": str(error)})
                    continue
                if drawing and one.frame is not None:
                    if append is None:
                        append = drawn_video.enter_context(folder.drawn_video(path, drawing))
                    append(one.image, result)
                folder.add(result)


def _answered(
    images: Iterable[Any], detect: Callable, is_new: Callable[[Any], bool]
) -> Iterator[tuple[Any, Any]]:
    """Yields each image with what the detector answers for it; None for those that are not new.

    The detector may take some images ahead of its answers. Only these are held in memory.
    """
    source = iter(images)
    first: list[Any] = []  # an image that the detector takes before those of the source
    taken: collections.deque[Any] = collections.deque()

    def asked():
        while (one := first.pop() if first else next(source, None)) is not None:
            taken.append(one)
            if is_new(one):
                yield one.image

    answers = detect(asked())
    while True:
        if not taken:
            one = next(source, None)
            if one is None:
                return
            if not is_new(one):
                yield one, None
                continue
            first.append(one)
            answer = next(answers)
            yield taken.popleft(), answer
        else:
            one = taken.popleft()
            yield one, next(answers) if is_new(one) else None
