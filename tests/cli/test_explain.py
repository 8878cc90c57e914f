"""``keras-frcnn explain``: what it writes for a data set, and for chosen images."""

import json

import numpy as np
import pytest

from keras_frcnn.cli import explain
from keras_frcnn.data.splits import rank
from keras_frcnn.weights import checkpoint
from tests import fakes
from tests.data.conftest import VocFolder


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Returns a function that explains a detector with random weights and returns the JSON."""
    model = fakes.detector()
    fakes.run_eagerly(monkeypatch)
    monkeypatch.setattr(checkpoint, "read_settings", lambda path: (model.config, model.class_names))
    settings = []
    monkeypatch.setattr(checkpoint, "load", lambda path, config: settings.append(config) or model)
    folder = VocFolder(tmp_path / "own")
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), np.uint8)
    for name, image in zip(("a", "b", "c"), noise, strict=True):
        folder.add(name, [("circle", 9, 9, 30, 30), ("star", 30, 20, 60, 45, 1)], image=image)

    def run(*flags):
        out = tmp_path / "out"
        data = f"--data_dir={folder.root}", "--eval_split=train", "--checkpoint=best.keras"
        assert explain.main([f"--output_dir={out}", *data, *flags]) == 0
        assert (out / "index.html").is_file()
        content = json.loads((out / "explanations.json").read_text(encoding="utf-8"))
        return content["images"], settings[-1], capsys.readouterr().out

    return run


def test_all_images_are_explained_at_a_score_that_people_look_at(run):
    images, config, printed = run("--num_images=1")
    assert [image["image_id"] for image in images] == ["a", "b", "c"]
    for image in images:
        assert [one["class"] for one in image["objects"]] == ["circle", "star"]
        assert image["objects"][1]["fate"] == "ignored"
    assert config.score_threshold == 0.5
    assert "Explanations of 3 images: " in printed


def test_images_and_the_score_are_chosen(run):
    images, config, _ = run("--image_ids=c,a", "--score_threshold=0.1")
    assert [image["image_id"] for image in images] == ["c", "a"]
    assert config.score_threshold == 0.1


def test_of_the_training_images_only_those_of_the_run_are_explained(run, monkeypatch):
    settings = fakes.SMALL.replace(train_images=1, seed=2), fakes.CLASS_NAMES
    monkeypatch.setattr(checkpoint, "read_settings", lambda path: settings)
    images, _, _ = run("--subset=train", "--train_split=train")
    names = sorted("abc", key=lambda name: rank(2, name))
    assert [image["image_id"] for image in images] == names[:1]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--test_proposals=dense", "--test_proposals must be rpn"),
        ("--test_proposals=found.npz", "Received: --test_proposals=found.npz --test_ranked"),
        ("--soft_nms_sigma=0.5", "--soft_nms_sigma must be 0. Received: 0.5"),
        ("--test_ranked_proposals=false", "--test_ranked_proposals must be true"),
        ("--iou_threshold=0", "--iou_threshold must be a number above 0 and at most 1"),
    ],
)
def test_what_cannot_be_explained_is_refused(flag, message, run, capsys):
    with pytest.raises(SystemExit):
        run(flag)
    assert message in capsys.readouterr().err


def test_an_unknown_image_is_named(run, capsys):
    with pytest.raises(SystemExit):
        run("--image_ids=d")
    assert "--image_ids must be among the 3 images" in capsys.readouterr().err
