"""Writes annotations in PASCAL VOC's format, which ``readers.voc`` reads back."""

from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree


def annotation(
    folder: str,
    filename: str,
    database: str,
    size: tuple[int, int],
    objects: Iterable[tuple[Mapping[str, Any], tuple[int, int, int, int]]],
) -> str:
    """Returns the XML text of an image's annotation.

    Args:
        folder: the name of the data set's folder.
        filename: the name of the image's file.
        database: the name of the data set.
        size: the image's height and width as displayed.
        objects: for each object its elements, such as ``name`` and ``difficult``, by tag, and its
            box: yxyx pixels, far edge exclusive. In the file, corners count from 1 and are part of
            the box.
    """
    root = ElementTree.Element("annotation")
    _add(root, folder=folder, filename=filename)
    _add(ElementTree.SubElement(root, "source"), database=database)
    _add(ElementTree.SubElement(root, "size"), width=size[1], height=size[0], depth=3)
    _add(root, segmented=0)
    for elements, (ymin, xmin, ymax, xmax) in objects:
        element = ElementTree.SubElement(root, "object")
        _add(element, **elements)
        box = ElementTree.SubElement(element, "bndbox")
        _add(box, xmin=xmin + 1, ymin=ymin + 1, xmax=xmax, ymax=ymax)
    ElementTree.indent(root, "\t")
    return ElementTree.tostring(root, encoding="unicode")


def _add(parent: ElementTree.Element, **texts: Any) -> None:
    for tag, text in texts.items():
        ElementTree.SubElement(parent, tag).text = str(text)
