"""Planners of rows on a made devkit; nothing here needs TensorFlow."""

from pathlib import Path

import pytest

from keras_frcnn.cli import train
from keras_frcnn.cli.command import parse
from keras_frcnn.paper.parts import Planner
from keras_frcnn.paper.settings import Settings

CONFIGS = Path(__file__).parents[2] / "configs" / "paper"


def read_config(name):
    """A model's settings, as its flagfile has them."""
    config, _ = parse(train.COMMAND, [f"--flagfile={CONFIGS / name}.cfg"])
    return config


@pytest.fixture
def devkit(tmp_path):
    """A devkit of VOC2007 with 3 images to train and 2 to test on, as far as it is looked at."""
    folder = tmp_path / "VOCdevkit" / "VOC2007"
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    for split, stems in (("trainval", "abc"), ("test", "de")):
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(stems))
        for stem in stems:
            (folder / "Annotations" / f"{stem}.xml").write_text("<annotation/>")
    return folder.parent


@pytest.fixture
def make_planner(devkit, tmp_path):
    """Returns a function that makes a planner; changes are of ``Settings``."""

    def make(problem=lambda method: "", **changes):
        settings = {
            "output_dir": tmp_path / "out",
            "configs_dir": CONFIGS,
            "data_dir": str(devkit),
            **changes,
        }
        return Planner(Settings(**settings), read_config, problem)

    return make
