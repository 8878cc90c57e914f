"""What a check of data has found as one HTML page with images, complete in itself."""

from pathlib import Path

import numpy as np
from PIL import Image

from keras_frcnn.console import with_progress
from keras_frcnn.drawing import page
from keras_frcnn.drawing.canvas import Canvas
from keras_frcnn.inspection.check_data import report as check_report
from keras_frcnn.inspection.check_data.findings import KINDS, Finding, Report
from keras_frcnn.inspection.check_data.samples import Object, Sample

_SHOWN = 24  # images of a kind
_SHOWN_LINES = 200  # findings of a kind in words
_SHOWN_BOXES = 300  # of an image
_THUMBNAIL = 360  # pixels of the longer side
_MARGIN = 0.25  # shown around an image that a box leaves, of its longer side, at most
_FAR = 1e6  # pixels; what is written may be any number
_TINY = 4  # pixels of a box's shorter side, below which it gets a ring to be seen by
_FAULTY, _OTHER, _GROUND = (229, 72, 77), (96, 165, 250), (136, 136, 136)


def write(report: Report, path: Path) -> None:
    """Writes the page: a summary that leads to each kind, the counts, then the kinds with images.

    Args:
        report: of ``check_data.check``. Its images are read again.
        path: file to write.
    """
    kinds = report.by_kind()
    places = with_progress(kinds.items(), "Drawing the page", len(kinds))
    sections = [_section(report, kind, findings) for kind, findings in places]
    names = (Path(data_dir).name or data_dir for data_dir in report.config.data_dir)
    body = [_summary(report, kinds), _classes(report), _boxes(report), *sections]
    page.write(path, f"Check of {', '.join(names)}", "\n".join(body))


def _summary(report: Report, kinds: dict[str, list[Finding]]) -> str:
    style = "bad" if report.num_problems else ""
    lines = [f'<p class="{style}">{page.text(check_report.verdict(report))}</p>']
    lines += [f'<p class="dim">{page.text(remark)}</p>' for remark in report.source.remarks]
    rows = [
        f'<tr><td><a href="#{kind}">{KINDS[kind].title}</a></td>'
        f'<td class="number {_level(report, kind)}">{len(findings):,}</td>'
        f'<td class="dim">{page.text(KINDS[kind].words)}</td></tr>'
        for kind, findings in kinds.items()
    ]
    return "\n".join(lines) + (f"<table>{''.join(rows)}</table>" if rows else "")


def _classes(report: Report) -> str:
    rows = report.statistics["classes"]
    if not rows:
        return ""
    most = max(row["train_objects"] + row["eval_objects"] for row in rows)
    cells = []
    for row in rows:
        objects = row["train_objects"] + row["eval_objects"]
        unknown = "" if row["known"] else ' <span class="bad">unknown</span>'
        cells.append(
            f'<tr><td>{page.text(row["name"])}{unknown}</td><td class="number">{objects:,}</td>'
            f'<td class="number">{row["train_images"] + row["eval_images"]:,}</td>'
            f"{_bar(objects, most)}</tr>"
        )
    head = '<tr><th>class<th class="number">objects<th class="number">images<th></tr>'
    return f"<h2>Classes</h2><table>{head}{''.join(cells)}</table>"


def _boxes(report: Report) -> str:
    sizes, ratios = report.statistics["box_sizes"], report.statistics["aspect_ratios"]
    if not sum(ratios["counts"]):
        return ""
    return (
        f"<h2>Boxes</h2><p>{page.text(check_report.below_stride(report))}</p>"
        + _histogram("side (root of area), as stored", sizes["from"], sizes["as_stored"])
        + _histogram("side, as resized", sizes["from"], sizes["as_resized"])
        + _histogram("height / width", ratios["from"], ratios["counts"])
    )


def _histogram(title: str, starts: list[float], counts: list[int]) -> str:
    rows = [
        f'<tr><td>{name}</td><td class="number">{count:,}</td>{_bar(count, max(counts))}</tr>'
        for name, count in zip(check_report.bin_names(starts), counts, strict=True)
    ]
    head = f'<tr><th>{title}<th class="number">boxes<th></tr>'
    return f"<table>{head}{''.join(rows)}</table><p></p>"


def _bar(count: int, most: int) -> str:
    width = 100 * count / max(1, most)
    bar = f'<span class="bar" style="width:{width:.1f}%"></span>' if count else ""
    return f'<td class="bars">{bar}</td>'


def _level(report: Report, kind: str) -> str:
    return "note" if report.is_note(kind) else "bad"


def _section(report: Report, kind: str, findings: list[Finding]) -> str:
    heading = f'<h2 id="{kind}" class="{_level(report, kind)}">{KINDS[kind].title}</h2>'
    figures = _figures(findings)
    section = f'{heading}<p class="dim">{page.text(KINDS[kind].words)}</p>{figures}'
    if figures and len(findings) == 1:  # its words stand below the image
        return section
    lines = [f"<li>{page.text(f'{f.subset}: {f.line}')}</li>" for f in findings[:_SHOWN_LINES]]
    more = len(findings) - len(lines)
    lines += [f"<li>... and {more:,} more, all in the JSON</li>"] if more else []
    return (
        f"{section}<details{'' if figures else ' open'}><summary>All {len(findings):,} in words"
        f"</summary><ul>{''.join(lines)}</ul></details>"
    )


def _figures(findings: list[Finding]) -> str:
    """Draws the images of a kind, each once with all of its faulty objects."""
    grouped: dict[int, list[Finding]] = {}
    for finding in findings:
        if finding.sample is not None and finding.sample.path is not None:
            grouped.setdefault(id(finding.sample), []).append(finding)
    figures = [_figure(group) for group in list(grouped.values())[:_SHOWN]]
    more = len(grouped) - len(figures)
    ending = f'<p class="dim">... and {more:,} more images.</p>' if more > 0 else ""
    return f'<div class="images">{"".join(figures)}</div>{ending}' if figures else ""


def _figure(group: list[Finding]) -> str:
    first = group[0]
    numbers = {finding.number for finding in group}
    images = [_image(first.sample, numbers)]
    if first.other is not None:
        images.append(_image(first.other, set()))
    words = first.line if len(group) == 1 else f"{first.line} ... and {len(group) - 1} more"
    return f"<figure>{''.join(images)}<figcaption>{page.text(words)}</figcaption></figure>"


def _image(sample: Sample, numbers: set[int]) -> str:
    """Returns a small image with its boxes, or words where there is nothing to see."""
    try:
        image = _draw(sample, numbers)
    except ValueError:
        return page.NO_IMAGE
    return page.image_tag(image, sample.image_id)


def _draw(sample: Sample, numbers: set[int]) -> Image.Image:
    image = _thumbnail(sample)
    scale = image.width / sample.width if sample.width else 0
    faulty = [item for item in sample.objects or () if item.number in numbers]
    others = [item for item in sample.objects or () if item.number not in numbers]
    left, top, right, bottom = _margins(faulty, scale, image)
    size = image.width + left + right, image.height + top + bottom
    ground = Image.new("RGB", size, _GROUND)
    ground.paste(image, (left, top))
    canvas = Canvas(np.asarray(ground))
    for item in (others + faulty)[-_SHOWN_BOXES:]:  # the faulty ones end on top
        if item.written is not None and scale:
            corners = np.clip(np.reshape(item.written * scale, (2, 2)), -_FAR, _FAR)
            corners = np.sort(corners, axis=0) + (top, left)
            _draw_box(canvas, corners, item.number in numbers)
    return canvas.finish()


def _thumbnail(sample: Sample) -> Image.Image:
    """Reads an image as its boxes see it."""
    if sample.path is None or not sample.file.digest:
        raise ValueError("there is no image, or too much of it")
    upright = not sample.as_stored and sample.file.orientation != 1
    return page.thumbnail(sample.path, _THUMBNAIL, upright, sample.span)


def _margins(faulty: list[Object], scale: float, image: Image.Image) -> tuple[int, ...]:
    """Returns the room for boxes that leave the image: left, top, right, bottom."""
    most = int(_MARGIN * max(image.size))
    corners = [item.written * scale for item in faulty if item.written is not None]
    overhangs = [(-box[1], -box[0], box[3] - image.width, box[2] - image.height) for box in corners]
    widest = (max(sides) for sides in zip(*overhangs, strict=True)) if overhangs else [0] * 4
    return tuple(0 if side < 2 else int(min(side + 4, most)) for side in widest)


def _draw_box(canvas: Canvas, corners: np.ndarray, is_faulty: bool) -> None:
    color = _FAULTY if is_faulty else _OTHER
    canvas.box(corners, color, thin=not is_faulty)
    if is_faulty and np.min(corners[1] - corners[0]) < _TINY:
        canvas.ring(corners.mean(axis=0), color)
