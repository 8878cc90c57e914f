"""Small folders in VOC's, COCO's and the YOLO layout, written image by image."""

import json
import pathlib

import numpy as np
import pytest
import yaml
from PIL import Image

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car", "supercategory": "vehicle"}]


class VocFolder:
    """Writes images and annotations; ``add`` takes boxes as VOC writes them."""

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
        """Adds an image of (height, width) with objects (name, xmin, ymin, xmax, ymax)."""
        image = np.zeros((*size, 3), np.uint8) if image is None else image
        height, width = image.shape[:2]
        Image.fromarray(image).save(self.image(stem, suffix))
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

    def image(self, stem, suffix=".jpg"):
        return self.root / "JPEGImages" / f"{stem}{suffix}"

    @staticmethod
    def object_xml(name, xmin, ymin, xmax, ymax, difficult=0):
        return (
            f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>"
            f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
            f"</bndbox></object>"
        )


class CocoFolder:
    """Writes images and an annotation file in COCO's layout."""

    def __init__(self, root, split="train", annotations=None, images=None):
        self.root = root
        self.path = root / (annotations or f"annotations/instances_{split}.json")
        self.images = root / (split if images is None else images)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.images.mkdir(parents=True, exist_ok=True)
        self.content = {"images": [], "annotations": [], "categories": CATEGORIES}
        self.save()

    def add(self, image_id, *objects, size=(40, 60), **extra):
        """Adds an image of (height, width) with objects (bbox, category id, other values)."""
        name = f"{image_id:012d}.jpg" if isinstance(image_id, int) else f"{image_id}.jpg"
        Image.new("RGB", size[::-1]).save(self.images / name)
        image = {"id": image_id, "file_name": name, "height": size[0], "width": size[1]}
        self.content["images"].append(image | extra)
        for item in objects:
            self.annotate(image_id, *item)
        self.save()
        return self

    def annotate(self, image_id, bbox, category_id=3, change=None):
        item = {"id": 100 + len(self.content["annotations"]), "image_id": image_id}
        item |= {"category_id": category_id, "bbox": bbox, "area": 1.5, "iscrowd": 0}
        self.content["annotations"].append(item | (change or {}))
        self.save()

    def save(self):
        self.path.write_text(json.dumps(self.content))


class YoloFolder:
    """Writes data.yaml, images and labels in the YOLO layout."""

    def __init__(self, root, **content):
        self.root = root
        root.mkdir(exist_ok=True)
        self.content = {"train": "images/train", "val": "images/val", "names": ["cat", "dog"]}
        self.content |= content
        self.save()

    def save(self):
        text = yaml.safe_dump({k: v for k, v in self.content.items() if v is not None})
        (self.root / "data.yaml").write_text(text)

    def add(self, name, labels=None, size=(40, 60), suffix=".jpg"):
        """Adds an image of (height, width) under images/ and, unless None, its lines of labels."""
        self.image(name, suffix).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size[::-1]).save(self.image(name, suffix))
        if labels is not None:
            self.label(name).parent.mkdir(parents=True, exist_ok=True)
            self.label(name).write_text("".join(f"{line}\n" for line in labels))
        return self

    def image(self, name, suffix=".jpg"):
        return self.root / "images" / f"{name}{suffix}"

    def label(self, name):
        return self.root / "labels" / f"{name}.txt"


@pytest.fixture
def voc_folder(tmp_path):
    """Returns a function from a folder name to a new, empty VOC folder under ``tmp_path``."""
    return lambda name="own": VocFolder(tmp_path / name)
