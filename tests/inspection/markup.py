"""Reads HTML pages as browsers do, but refuses invalid ones."""

import base64
import io

import html5lib
import numpy as np
from PIL import Image


def parse(path):
    """Returns the root of a page, whose tags have no namespaces. A parse error fails the test."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    root = parser.parse(path.read_text(encoding="utf-8"))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def text(element):
    """Returns the visible text of an element."""
    return " ".join("".join(_texts(element)).split())


def _texts(element):
    if element.tag != "script":
        yield element.text or ""
        for child in element:
            yield from _texts(child)
            yield child.tail or ""


def rows(table):
    """Returns the texts of the cells in a table's body, row by row."""
    return [[text(cell) for cell in row] for row in table.find("tbody")]


def images(root):
    """Returns the images of a page as arrays. All of them must be inside the page."""
    prefix = "data:image/jpeg;base64,"
    sources = [image.get("src") for image in root.iter("img")]
    assert all(source.startswith(prefix) for source in sources)
    files = [io.BytesIO(base64.b64decode(source.removeprefix(prefix))) for source in sources]
    return [np.asarray(Image.open(file)) for file in files]
