"""Draws the result of each stage of training and detection, one file per image and stage.

Examples:
  keras-frcnn visualize --data_dir=mydata --train_split=train --output_dir=runs/look
  keras-frcnn visualize --checkpoint=runs/mine/best.keras --output_dir=runs/look --number=8
  keras-frcnn visualize --checkpoint=best.keras --subset=eval --image_ids=000012 --output_dir=look

Three stages need no checkpoint: 1 the ground truth, 2 the image as training sees it, 3 the anchors
that match objects and those that are sampled. A checkpoint adds three more: 4 the best proposals, 5
the regions that are sampled for the box head, 6 the detections beside the ground truth, with
correct and wrong ones in different colours. One more file per image shows all stages on one sheet.
Stages 2 to 5 show a training step on this image alone, with the random numbers of the epoch given
by --epoch. The exit code is 0, or 2 if something is wrong.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from keras_frcnn.cli.command import Command, checkpoint_settings, parse, user_errors
from keras_frcnn.cli.output import chosen_rows, distinct
from keras_frcnn.cli.startup import load_tensorflow
from keras_frcnn.config import Config
from keras_frcnn.config.flags import settings_of
from keras_frcnn.config.setting import Option
from keras_frcnn.console import say, with_progress
from keras_frcnn.files import replacing

COMMAND = Command(
    "visualize",
    __doc__,
    options=(
        Option(
            "checkpoint",
            str,
            "",
            "The .keras file of a run. If empty, only stages 1 to 3 are drawn.",
        ),
        Option(
            "output_dir",
            str,
            "",
            "Folder to write the drawings to.",
            required=True,
            output="folder",
        ),
        Option(
            "subset",
            str,
            "train",
            "Whether to draw images of --train_split or of --eval_split.",
            choices=("train", "eval"),
            former=("split",),
        ),
        Option(
            "image_ids",
            tuple[str, ...],
            (),
            "Ids of the images to draw. If empty, the first --number images are drawn.",
        ),
        Option("number", int, 4, "Number of images to draw if --image_ids is empty."),
        Option("epoch", int, 0, "Epoch whose random flips, crops, colours and samples are shown."),
        Option("num_proposals", int, 50, "Number of best proposals to draw."),
        Option("draw_threshold", float, 0.5, "Detections with a lower score are not drawn."),
    ),
    settings=(
        *settings_of("data", "augmentation", "rpn", "roi", "detections"),
        "seed",
        "precision",
        "backbone",
        "scales",
        "ratios",
    ),
)

_NAME_LENGTH = 50  # characters of an image id in a file name; short enough at four bytes each
_COLUMNS = 3  # of the sheet
_QUALITY = 92  # of the JPEG files


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv, base=_base)
    with user_errors(COMMAND, options.output_dir):
        from keras_frcnn import data
        from keras_frcnn.weights import checkpoint

        class_names = None
        if options.checkpoint:
            _, class_names = checkpoint.read_settings(options.checkpoint)
        is_training = options.subset == "train"
        split = config.train_split if is_training else config.eval_split
        if is_training:
            dataset = data.load_train(config, class_names, strict=class_names is None)
        else:
            dataset = data.load(config, split, class_names, strict=class_names is None)
        rows = _chosen(dataset.records, options)
        load_tensorflow(names_devices=bool(options.checkpoint))
        from keras_frcnn.inspection.visualize import panels
        from keras_frcnn.models import precision

        model = None
        if options.checkpoint:
            model = checkpoint.load(options.checkpoint, precision.for_use(config, say))
        folder = Path(options.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        drawings = panels.draw(
            dataset,
            rows,
            config,
            model,
            options.epoch,
            options.num_proposals,
            options.draw_threshold,
        )
        image_ids = [str(dataset.records[row].image_id) for row in rows]
        origin = f"of {', '.join(split)}; {options.checkpoint or 'no checkpoint'}"
        drawings = with_progress(drawings, "Drawing", len(rows))
        for image_id, stem, drawn in zip(image_ids, file_stems(image_ids), drawings, strict=True):
            _write(drawn, folder, stem, f"{image_id} {origin}")
        say(f"Images drawn: {len(rows)}, each as one file per stage and as one sheet, in {folder}")
    return 0


def _base(options: SimpleNamespace) -> Config:
    """Checks the options and returns the settings of the checkpoint, if there is one."""
    for name, least in (("number", 1), ("epoch", 0), ("num_proposals", 1)):
        if getattr(options, name) < least:
            received = getattr(options, name)
            raise ValueError(f"--{name} must be at least {least}. Received: {received}")
    if not 0 <= options.draw_threshold <= 1:
        received = options.draw_threshold
        raise ValueError(f"--draw_threshold must be between 0 and 1. Received: {received:g}")
    # Without a checkpoint no weights are used, so none are downloaded for any backbone.
    return checkpoint_settings(options) if options.checkpoint else Config(backbone_weights="none")


def _chosen(records: Sequence[Any], options: SimpleNamespace) -> list[int]:
    """Returns the rows of the images to draw."""
    if not records:
        raise ValueError("The split contains no images.")
    if options.image_ids:
        return chosen_rows(records, options.image_ids)
    return list(range(min(options.number, len(records))))


def file_stems(image_ids: Sequence[str]) -> Iterator[str]:
    """Yields a file name for each image: its id without the characters that are unsafe there."""
    safe = (re.sub(r"[^\w.-]+", "_", image_id)[:_NAME_LENGTH] for image_id in image_ids)
    return distinct(stem.lstrip(".-") or "image" for stem in safe)


def _write(panels: dict[str, Any], folder: Path, stem: str, title: str) -> None:
    """Writes the panels of an image, and one sheet with all of them."""
    from keras_frcnn.drawing.canvas import sheet

    files = {**panels, "stages": sheet(list(panels.values()), _COLUMNS, title)}
    if "6_detections" in panels:
        files["6_detections"] = sheet([panels["1_ground_truth"], panels["6_detections"]], 2)
    for name, image in files.items():
        with replacing(folder / f"{stem}_{name}.jpg") as part:
            image.save(part, "JPEG", quality=_QUALITY)
