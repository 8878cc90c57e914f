"""Shows explanations: a table for a terminal, a page, and JSON for programs."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table

from keras_frcnn import files
from keras_frcnn.console import Console, with_progress
from keras_frcnn.drawing import page
from keras_frcnn.drawing.gallery import Figure, Gallery, own_file, small_copy
from keras_frcnn.evaluation.report.error_kinds import COLORS
from keras_frcnn.inspection.explain import explanations
from keras_frcnn.inspection.explain.explanations import MEANINGS, ImageExplanation
from keras_frcnn.inspection.explain.fates import Fate

_TEMPLATE = "inspection/explain/templates/explain.html"
_FOUND, _LOST, _IGNORED = COLORS["correct"], (255, 255, 255), (136, 136, 136)


def print_table(
    images: Sequence[ImageExplanation], class_names: Sequence[str], console: Console
) -> None:
    """Prints for each class how many objects were found, and where the others were lost."""
    fates, rows = _rows(images, class_names)
    table = Table("class", header_style="bold")
    for title in ("objects", "found", *fates):
        table.add_column(title, justify="right")
    for number, row in enumerate(rows):
        if number == len(rows) - 1:
            table.add_section()
        table.add_row(*row)
    console.print(table)
    for fate in fates:
        console.print(f"{fate}: {' '.join(_meaning(fate))}", style="dim", soft_wrap=False)


def write_json(images: Sequence[ImageExplanation], class_names: Sequence[str], path: Path) -> None:
    """Writes the explanation of every object and of every wrong detection."""
    content = [explanations.to_dict(image, class_names) for image in images]
    text = json.dumps({"images": content}, indent=1, ensure_ascii=False)
    # A file name may contain bytes that are not text; JSON can write them as \\udc80.
    files.write_text(path, text, errors="backslashreplace")


def write_page(
    images: Sequence[ImageExplanation],
    shown: Sequence[ImageExplanation],
    class_names: Sequence[str],
    path: Path,
) -> None:
    """Writes the page.

    Args:
        images: all images, for the table.
        shown: the images to show.
        class_names: the classes.
        path: the file to write.
    """
    gallery = Gallery(path)
    fates, rows = _rows(images, class_names)
    kinds = {one["kind"] for image in shown for one in image.wrong}
    page.write(
        path,
        _TEMPLATE,
        title="Where objects are lost",
        titles=("class", "objects", "found", *fates),
        rows=rows[:-1],
        foot=rows[-1],
        meanings=[(fate, *_meaning(fate)) for fate in fates],
        images=[
            _image(image, class_names, gallery)
            for image in with_progress(shown, "Drawing the page", len(shown))
        ],
        num_images=len(images),
        legend=[(kind, kind) for kind in COLORS if kind in kinds],
        colors=COLORS,
    )


def _rows(images, class_names) -> tuple[list[Fate], list[list[str]]]:
    """Returns the fates of lost objects that occur, and the rows of the table, the sum last."""
    counts = explanations.count(images, len(class_names))
    columns = [number for number, fate in enumerate(Fate) if fate != Fate.FOUND]
    columns = [number for number in columns if counts[:, number].any()]
    found = list(Fate).index(Fate.FOUND)
    chosen = np.column_stack([counts.sum(axis=1), counts[:, [found, *columns]]])
    used = np.flatnonzero(chosen[:, 0])
    table = [[class_names[label], *map(str, chosen[label])] for label in used]
    return [list(Fate)[n] for n in columns], [*table, ["all", *map(str, chosen.sum(axis=0))]]


def _meaning(fate: Fate) -> tuple[str, str]:
    meaning, advice = MEANINGS[fate]
    return f"{meaning[0].upper()}{meaning[1:]}.", advice


def _image(image: ImageExplanation, class_names, gallery: Gallery) -> dict[str, Any]:
    record = image.record
    names = [class_names[label] for label in image.labels]
    fates = ["ignored" if one is None else str(one.fate) for one in image.explanations]
    pairs = zip(names, fates, strict=True)
    tags = [f"{number} {name}: {fate}" for number, (name, fate) in enumerate(pairs, start=1)]
    draw = functools.partial(_draw, image, tags)
    shown = gallery.show(str(record.image_id), own_file(record), draw)
    lost = f"{image.num_lost} of {len(names)} objects not found" if names else "no objects"
    caption = f"{lost}, {len(image.wrong)} wrong detections"
    wrong = [
        (f"{class_names[one['label']]} {one['score']:.2f}: {one['kind']}", one["sentences"])
        for one in image.wrong
    ]
    return {
        "figure": Figure([shown], caption),
        "objects": list(zip(tags, image.sentences, strict=True)),
        "wrong": wrong,
    }


def _draw(image: ImageExplanation, tags: Sequence[str]) -> Image.Image:
    canvas, scale = small_copy(image.record)
    colors = [
        _IGNORED if one is None else _FOUND if one.fate == Fate.FOUND else _LOST
        for one in image.explanations
    ]
    for one in image.wrong:
        canvas.box(one["box"] * scale, COLORS[one["kind"]], thin=True)
    for box, color in zip(image.boxes, colors, strict=True):
        canvas.box(box * scale, color, dashed=color != _FOUND)
    for box, color, tag in zip(image.boxes, colors, tags, strict=True):
        canvas.tag(box * scale, tag, color)
    return canvas.finish()
