"""What a check of data has found as one HTML page with pictures, complete in itself."""

import base64
import html
import io
import warnings
from pathlib import Path

from PIL import Image, ImageDraw, ImageFile, ImageOps

from keras_frcnn.data.records import MAX_PIXELS, with_progress
from keras_frcnn.inspection import check_report, picture_files
from keras_frcnn.inspection.findings import KINDS, Finding, Report, plain
from keras_frcnn.inspection.samples import Object, Sample

_SHOWN = 24  # pictures of a kind
_SHOWN_LINES = 200  # findings of a kind in words
_SHOWN_BOXES = 300  # of a picture
_THUMBNAIL = 360  # pixels of the longer side
_MARGIN = 0.25  # shown around a picture that a box leaves, of its longer side, at most
_FAULTY, _OTHER, _GROUND = (229, 72, 77), (96, 165, 250), (136, 136, 136)
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --dim: #667; --line: #ddd; --bad: #b3261e;
  --note: #8a5a00; --bar: #7aa2d6; --soft: #f5f5f3; --paper: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e4e2; --dim: #9a9aa2; --line: #3a3a3e;
  --bad: #ff8a80; --note: #e8b45a; --bar: #4f76a8; --soft: #232326; --paper: #18181a; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 48rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 3rem 0 .25rem; }
p { margin: .25rem 0 1rem; } a { color: inherit; } .dim, figcaption, th { color: var(--dim); }
.bad { color: var(--bad); } .note { color: var(--note); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { font-weight: 400; text-align: left; } td, th { padding: .2rem .75rem .2rem 0;
  border-bottom: 1px solid var(--line); vertical-align: baseline; } .number { text-align: right; }
.bar { display: block; height: .6rem; min-width: 1px; background: var(--bar); }
td.bars { width: 45%; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr));
  gap: 1rem; } figure { margin: 0; } img { width: 100%; border-radius: 3px; display: block; }
img + img { margin-top: .25rem; }
figure .none { background: var(--soft); padding: 2rem 1rem; text-align: center; border-radius: 3px;
  color: var(--dim); }
figcaption { font-size: .8rem; line-height: 1.35; overflow-wrap: anywhere; margin-top: .25rem; }
details { margin-top: 1rem; } li { font-size: .85rem; overflow-wrap: anywhere; }
"""


def write(report: Report, path: Path) -> None:
    """Writes the page: a summary that leads to each kind, the counts, then the kinds with pictures.

    Args:
        report: of ``check_data.check``. Its pictures are read again.
        path: file to write.
    """
    kinds = report.by_kind()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of pictures that are known to be faulty
        places = with_progress(kinds.items(), "Drawing the page", len(kinds))
        sections = [_section(report, kind, findings) for kind, findings in places]
    title = f"Check of {_text(Path(report.config.data_dir).name or report.config.data_dir)}"
    path.write_text(
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n<body>\n<h1>{title}</h1>\n"
        f"{_summary(report, kinds)}\n{_classes(report)}\n{_boxes(report)}\n"
        + "\n".join(sections)
        + "\n</body>\n</html>\n",
        encoding="utf-8",
    )


def _text(text: str) -> str:
    return html.escape(plain(text))


def _summary(report: Report, kinds: dict[str, list[Finding]]) -> str:
    style = "bad" if report.num_problems else ""
    lines = [f'<p class="{style}">{_text(check_report.verdict(report))}</p>']
    lines += [f'<p class="dim">{_text(remark)}</p>' for remark in report.source.remarks]
    rows = [
        f'<tr><td><a href="#{kind}">{KINDS[kind].title}</a></td>'
        f'<td class="number {_level(report, kind)}">{len(findings):,}</td>'
        f'<td class="dim">{_text(KINDS[kind].words)}</td></tr>'
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
            f'<tr><td>{_text(row["name"])}{unknown}</td><td class="number">{objects:,}</td>'
            f'<td class="number">{row["train_pictures"] + row["eval_pictures"]:,}</td>'
            f"{_bar(objects, most)}</tr>"
        )
    head = '<tr><th>class<th class="number">objects<th class="number">pictures<th></tr>'
    return f"<h2>Classes</h2><table>{head}{''.join(cells)}</table>"


def _boxes(report: Report) -> str:
    sizes, ratios = report.statistics["box_sizes"], report.statistics["aspect_ratios"]
    if not sum(ratios["counts"]):
        return ""
    return (
        f"<h2>Boxes</h2><p>{_text(check_report.below_stride(report))}</p>"
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
    section = f'{heading}<p class="dim">{_text(KINDS[kind].words)}</p>{figures}'
    if figures and len(findings) == 1:  # its words stand below the picture
        return section
    lines = [f"<li>{_text(f'{f.subset}: {f.line}')}</li>" for f in findings[:_SHOWN_LINES]]
    more = len(findings) - len(lines)
    lines += [f"<li>... and {more:,} more, all in the JSON</li>"] if more else []
    return (
        f"{section}<details{'' if figures else ' open'}><summary>All {len(findings):,} in words"
        f"</summary><ul>{''.join(lines)}</ul></details>"
    )


def _figures(findings: list[Finding]) -> str:
    """Draws the pictures of a kind, each once with all of its faulty objects."""
    grouped: dict[int, list[Finding]] = {}
    for finding in findings:
        if finding.sample is not None and finding.sample.path is not None:
            grouped.setdefault(id(finding.sample), []).append(finding)
    figures = [_figure(group) for group in list(grouped.values())[:_SHOWN]]
    more = len(grouped) - len(figures)
    ending = f'<p class="dim">... and {more:,} more pictures.</p>' if more > 0 else ""
    return f'<div class="pictures">{"".join(figures)}</div>{ending}' if figures else ""


def _figure(group: list[Finding]) -> str:
    first = group[0]
    numbers = {finding.number for finding in group}
    pictures = [_picture(first.sample, numbers)]
    if first.other is not None:
        pictures.append(_picture(first.other, set()))
    words = first.line if len(group) == 1 else f"{first.line} ... and {len(group) - 1} more"
    return f"<figure>{''.join(pictures)}<figcaption>{_text(words)}</figcaption></figure>"


def _picture(sample: Sample, numbers: set[int]) -> str:
    """Returns a small picture with its boxes, or words where there is nothing to see."""
    try:
        buffer = io.BytesIO()
        _draw(sample, numbers).save(buffer, "JPEG", quality=80)
    except Exception:  # Pillow's parsers raise nearly anything on damaged files
        return '<div class="none">no picture</div>'
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{_text(sample.image_id)}" src="data:image/jpeg;base64,{data}">'


def _draw(sample: Sample, numbers: set[int]) -> Image.Image:
    picture = _thumbnail(sample)
    scale = picture.width / sample.width if sample.width else 0
    faulty = [item for item in sample.objects or () if item.number in numbers]
    others = [item for item in sample.objects or () if item.number not in numbers]
    left, top, right, bottom = _margins(faulty, scale, picture)
    size = picture.width + left + right, picture.height + top + bottom
    canvas = Image.new("RGB", size, _GROUND)
    canvas.paste(picture, (left, top))
    draw = ImageDraw.Draw(canvas)
    for item in (others + faulty)[-_SHOWN_BOXES:]:  # the faulty ones end on top
        is_faulty = item.number in numbers
        if item.written is not None and scale:
            _draw_box(draw, item, scale, (left, top), size, is_faulty)
    return canvas


def _thumbnail(sample: Sample) -> Image.Image:
    """Reads a picture as its boxes see it; of a cut one what there is."""
    if sample.path is None or not sample.file.digest:
        raise ValueError("there is no picture, or too much of it")
    # Of memory: a damaged file may ask for more bytes than there are, and a file makes room first.
    content = io.BytesIO(sample.path.read_bytes())
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
    try:
        with Image.open(content, formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError("the picture is too large")
            image.draft("RGB", (2 * _THUMBNAIL, 2 * _THUMBNAIL))
            image.load()
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
    if not sample.as_stored and sample.file.orientation != 1:
        image = ImageOps.exif_transpose(image)
    image = picture_files.with_8_bits(image).convert("RGB")
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return image


def _margins(faulty: list[Object], scale: float, picture: Image.Image) -> tuple[int, ...]:
    """Returns the room for boxes that leave the picture: left, top, right, bottom."""
    most = int(_MARGIN * max(picture.size))
    corners = [item.written * scale for item in faulty if item.written is not None]
    overhangs = [
        (-box[1], -box[0], box[3] - picture.width, box[2] - picture.height) for box in corners
    ]
    widest = (max(sides) for sides in zip(*overhangs, strict=True)) if overhangs else [0] * 4
    return tuple(0 if side < 2 else int(min(side + 4, most)) for side in widest)


def _draw_box(
    draw: ImageDraw.ImageDraw,
    item: Object,
    scale: float,
    origin: tuple[int, int],
    size: tuple[int, int],
    is_faulty: bool,
) -> None:
    y1, x1, y2, x2 = (item.written * scale).tolist()
    x1, x2 = (min(max(x + origin[0], -9), size[0] + 9) for x in sorted((x1, x2)))
    y1, y2 = (min(max(y + origin[1], -9), size[1] + 9) for y in sorted((y1, y2)))
    color = _FAULTY if is_faulty else _OTHER
    draw.rectangle((x1, y1, x2, y2), outline=color, width=2 if is_faulty else 1)
    if is_faulty and min(x2 - x1, y2 - y1) < 4:  # a ring, as there is nothing to see of the box
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        draw.ellipse((x - 10, y - 10, x + 10, y + 10), outline=color, width=2)
