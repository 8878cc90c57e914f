"""Planners on a small made-up devkit. Nothing here needs TensorFlow."""

from pathlib import Path

import numpy as np
import pytest

from keras_frcnn.cli import train
from keras_frcnn.cli.command import parse
from keras_frcnn.paper import results, rows
from keras_frcnn.paper.plan import Planner
from keras_frcnn.paper.settings import Settings

CONFIGS = Path(__file__).parents[2] / "configs" / "paper"
ROWS_BY_NAME = {row.name: row for row in rows.ROWS}


def read_config(name):
    """A model's settings, as its flagfile has them."""
    config, _ = parse(train.COMMAND, [f"--flagfile={CONFIGS / name}.cfg"])
    return config


def row_result(name, **changes):
    """Returns a made-up result of a row."""
    values = {
        "row": ROWS_BY_NAME[name],
        "values": {},
        "per_class": {},
        "missing": "",
        "data": "random: a (3) -> b (2)",
        "steps": 100,
        "full_steps": 100,
    }
    return results.RowResult(**{**values, **changes})


def curve_result(index, values=None, missing=""):
    """Returns a made-up result of a curve, the same for every number of proposals."""
    return results.CurveResult(
        curve=rows.CURVES[index],
        recall=None if values is None else np.tile(values, (3, 1)),
        num_seeds=0 if values is None else 2,
        missing=missing,
    )


@pytest.fixture
def devkit(tmp_path):
    """A VOC2007 devkit with 3 images to train on and 2 to test on: names, but no contents."""
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
    """Returns a function that makes a planner; keyword arguments are for ``Settings``."""

    def make(method_obstacle=lambda method: "", **changes):
        settings = {
            "output_dir": tmp_path / "out",
            "configs_dir": CONFIGS,
            "data_dir": str(devkit),
            **changes,
        }
        return Planner(Settings(**settings), read_config, method_obstacle)

    return make
