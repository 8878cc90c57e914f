"""The frame of an HTML page that is complete in itself: nothing is loaded, no text is markup."""

import base64
import hashlib
import html
import io
import os
import warnings
from pathlib import Path

from PIL import Image, ImageFile

from keras_frcnn.console import plain
from keras_frcnn.data.images import exif, pillow
from keras_frcnn.data.images.headers import MAX_PIXELS
from keras_frcnn.data.images.spans import Span, open_image

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
.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr));
  gap: 1rem; } figure { margin: 0; } img { width: 100%; border-radius: 3px; display: block; }
img + img { margin-top: .25rem; }
figure .none { background: var(--soft); padding: 2rem 1rem; text-align: center; border-radius: 3px;
  color: var(--dim); }
figcaption { font-size: .8rem; line-height: 1.35; overflow-wrap: anywhere; margin-top: .25rem; }
details { margin-top: 1rem; } li { font-size: .85rem; overflow-wrap: anywhere; }
"""
NO_IMAGE = '<div class="none">no image</div>'


def write(path: Path, title: str, body: str, style: str = "", script: str = "") -> None:
    """Writes a page. The browser is told to load nothing, and to run this script alone.

    Args:
        path: file to write.
        title: plain text, for the tab and the heading.
        body: markup below the heading.
        style: CSS rules after those of all pages.
        script: JavaScript to run when the page is there; the page must do without it.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    scripts = f"script-src 'sha256-{digest}'; " if script else ""
    path.write_text(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; {scripts}'
        "img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n<body>\n"
        f"<h1>{text(title)}</h1>\n{body}\n"
        + (f"<script>{script}</script>\n" if script else "")
        + "</body>\n</html>\n",
        encoding="utf-8",
    )


def text(words: str) -> str:
    """Returns a text, from wherever, as it may stand in markup and in quoted attributes."""
    return html.escape(plain(words))


def image_tag(image: Image.Image, words: str) -> str:
    """Returns an image as markup, the JPEG inside it.

    Args:
        image: RGB.
        words: plain text, for those who do not see it.
    """
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80, subsampling=0)  # lines are thin and colored
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{text(words)}" src="data:image/jpeg;base64,{data}">'


def thumbnail(
    path: str | os.PathLike, side: int, upright: bool = True, span: Span | None = None
) -> Image.Image:
    """Reads an image, however damaged, as a small one; of a cut file what there is.

    Args:
        path: a JPEG or PNG file.
        side: most pixels of the longer side.
        upright: turn it as its EXIF orientation says.
        span: where in the file the image lies; None: it is the whole file.

    Returns:
        RGB.

    Raises:
        ValueError: naming the file, if there is nothing to see, or too much of it.
    """
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of images that are known to be faulty
            return _thumbnail(path, side, upright, span)
    except Exception as error:  # Pillow's parsers raise nearly anything on damaged files
        raise ValueError(f"{path}: unreadable image: {error}") from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _thumbnail(path: str | os.PathLike, side: int, upright: bool, span: Span | None) -> Image.Image:
    # Of memory: a damaged file may ask for more bytes than there are, and a file makes room first.
    with open_image(path, span) as file:
        content = io.BytesIO(file.read())
    with Image.open(content, formats=("JPEG", "PNG")) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"more than {MAX_PIXELS} pixels are refused")
        orientation = exif.orientation(image.info.get("exif", b"")) if upright else 1
        image.draft("RGB", (2 * side, 2 * side))
        image.load()
    image = pillow.with_8_bits(pillow.upright(image, orientation)).convert("RGB")
    image.thumbnail((side, side))
    return image
