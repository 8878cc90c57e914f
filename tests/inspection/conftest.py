"""The VOC folder of the readers' tests and a check of it, and pictures to judge detections in."""

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.config import Config
from keras_frcnn.data.records import Dataset, Record
from keras_frcnn.inspection import check_data
from tests.data.conftest import VocFolder


@pytest.fixture
def folder(tmp_path):
    """An empty VOC folder."""
    return VocFolder(tmp_path / "own")


@pytest.fixture
def check(folder):
    """Returns a function that checks the folder's splits train and, if it is there, val."""

    def run(near=check_data.NEAR, allow=(), **settings):
        main = folder.root / "ImageSets" / "Main"
        splits = [split for split in ("train", "val") if (main / f"{split}.txt").exists()]
        settings = {"eval_split": (splits[-1],)} | settings
        config = Config(data_dir=str(folder.root), train_split=("train",), **settings)
        return check_data.check(config, near, allow)

    return run


@pytest.fixture
def pictures(tmp_path):
    """Returns a function that makes a data set of grey pictures."""

    def make(*pictures, class_names=("cat", "dog")):
        records = []
        for number, (image_id, *objects) in enumerate(pictures):
            path = tmp_path / f"{number}.png"
            Image.new("RGB", (200, 120), (90, 90, 90)).save(path)
            boxes = np.array([o[0] for o in objects], np.float32).reshape(-1, 4)
            labels = np.array([o[1] for o in objects], np.int32)
            difficult = np.array([len(o) > 2 and o[2] for o in objects], bool)
            records.append(Record(image_id, str(path), 120, 200, boxes, labels, difficult))
        return Dataset(class_names, records)

    return make


def scene(seed, height=40, width=60):
    """Returns a smooth random picture, unlike those of other seeds."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC))
