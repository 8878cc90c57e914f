"""A small folder in VOC's layout, written picture by picture."""

import pathlib

import numpy as np
import pytest
from PIL import Image


class VocFolder:
    """Writes pictures and annotations; ``add`` takes boxes as VOC writes them."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
            (root / name).mkdir(parents=True)

    def add(
        self,
        stem,
        objects=(("cat", 1, 1, 2, 2),),
        size=(40, 60),
        split="train",
        image=None,
        suffix=".jpg",
    ):
        """Adds a picture of (height, width) with objects (name, xmin, ymin, xmax, ymax)."""
        image = np.zeros((*size, 3), np.uint8) if image is None else image
        height, width = image.shape[:2]
        Image.fromarray(image).save(self.picture(stem, suffix))
        self.annotate(stem, "".join(self.object_xml(*item) for item in objects), height, width)
        self.line(split, stem)
        return self

    def annotate(self, stem, objects_xml, height=40, width=60):
        """Writes an annotation around the given <object> elements."""
        self.annotation(stem).write_text(
            f"<annotation><size><width>{width}</width><height>{height}</height><depth>3</depth>"
            f"</size>{objects_xml}</annotation>"
        )

    def line(self, split, text):
        """Adds a line to an image set."""
        with open(self.root / "ImageSets" / "Main" / f"{split}.txt", "a") as file:
            file.write(f"{text}\n")

    def annotation(self, stem):
        return self.root / "Annotations" / f"{stem}.xml"

    def picture(self, stem, suffix=".jpg"):
        return self.root / "JPEGImages" / f"{stem}{suffix}"

    @staticmethod
    def object_xml(name, xmin, ymin, xmax, ymax, difficult=0):
        return (
            f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>"
            f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
            f"</bndbox></object>"
        )


@pytest.fixture
def voc_folder(tmp_path):
    """Returns a function from a folder name to a new, empty VOC folder under ``tmp_path``."""
    return lambda name="own": VocFolder(tmp_path / name)
