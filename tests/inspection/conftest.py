"""The VOC folder of the readers' tests and a check of it, and images to judge detections in."""

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.config import Config
from keras_frcnn.inspection.check_data import checks
from tests.data.conftest import VocFolder


@pytest.fixture
def folder(tmp_path):
    """An empty VOC folder."""
    return VocFolder(tmp_path / "own")


@pytest.fixture
def check(folder):
    """Returns a function that checks the folder's splits train and, if it is there, val."""

    def run(near=checks.NEAR, allow=(), **settings):
        main = folder.root / "ImageSets" / "Main"
        split = "val" if (main / "val.txt").exists() else "-"
        settings = {"eval_split": (split,)} | settings
        config = Config(data_dir=str(folder.root), train_split=("train",), **settings)
        return checks.check(config, near, allow)

    return run


def scene(seed, height=40, width=60):
    """Returns a smooth random image, unlike those of other seeds."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC))
