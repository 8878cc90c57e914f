"""From files to figures: a detector learns two images by heart, and every tool agrees on it."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_frcnn.cli import evaluate, train
from keras_frcnn.config.flags import write_flagfile
from keras_frcnn.evaluation.report import voc_files
from keras_frcnn.weights import checkpoint
from tests import fakes
from tests.evaluation.handmade import read_results

pytestmark = pytest.mark.slow

CLASS_NAMES = ("blue", "green", "red")
COLORS = {"blue": (30, 30, 220), "green": (30, 200, 30), "red": (220, 30, 30)}
# Boxes as (ymin, xmin, ymax, xmax), far edge exclusive.
IMAGES = {
    "a": ((96, 128), [("red", (10, 12, 52, 50)), ("blue", (30, 70, 88, 118))]),
    "b": ((120, 90), [("green", (20, 8, 70, 62)), ("red", (78, 40, 112, 84))]),
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    for stem, ((height, width), objects) in IMAGES.items():
        rng = np.random.default_rng(ord(stem))
        pixels = rng.integers(90, 160, (height, width, 3))
        root = ElementTree.Element("annotation")
        for name, (ymin, xmin, ymax, xmax) in objects:
            pixels[ymin:ymax, xmin:xmax] = COLORS[name] + rng.integers(
                -20, 20, (ymax - ymin, xmax - xmin, 3)
            )
            item = ElementTree.SubElement(root, "object")
            ElementTree.SubElement(item, "name").text = name
            box = ElementTree.SubElement(item, "bndbox")
            corners = {"xmin": xmin + 1, "ymin": ymin + 1, "xmax": xmax, "ymax": ymax}
            for tag, value in corners.items():
                ElementTree.SubElement(box, tag).text = str(value)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"JPEGImages/{stem}.png")
        ElementTree.ElementTree(root).write(folder / f"Annotations/{stem}.xml")
    (folder / "ImageSets/Main/all.txt").write_text("a\nb\n")
    return folder


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """A run of the train command on the two images; returns its folder."""
    folder = tmp_path_factory.mktemp("overfit")
    settings = fakes.SMALL.replace(
        data_dir=str(data_dir),
        output_dir=str(folder / "run"),
        train_split=("all",),
        eval_split=("all",),
        shorter_side=96,
        longer_side=128,
        flip="horizontal",
        scales=(32.0, 48.0),
        roi_pooling="align",
        head_units=(64,),
        rpn_num_samples=64,
        roi_num_samples=64,
        optimizer="adam",
        learning_rate=0.003,
        lr_schedule="cosine",
        warmup_steps=10,
        weight_decay=0.0,
        bias_lr_factor=1.0,
        steps=400,
        eval_every=200,
        log_every=20,
        score_threshold=0.05,
    )
    write_flagfile(settings, folder / "overfit.cfg")
    with fakes.small_backbone():
        assert train.main([f"--flagfile={folder / 'overfit.cfg'}"]) == 0
    return folder / "run"


@pytest.fixture(autouse=True)
def small_backbone():
    with fakes.small_backbone():
        yield


def scalars(folder, tag):
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    return [float(tf.make_ndarray(e.tensor_proto)) for e in accumulator.Tensors(tag)]


def test_two_images_are_learnt_by_heart(run):
    lines = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [200, 400]
    assert lines[-1]["mAP_area"] == 1
    assert lines[-1]["RPN_recall/50_proposals"] == 1


def test_every_loss_falls(run):
    for name in ("rpn_cls_loss", "rpn_box_loss", "roi_cls_loss", "roi_box_loss", "loss"):
        values = scalars(run / "train", name)
        assert len(values) == 20
        assert values[-1] < 0.4 * values[0], name


def test_the_graph_is_there_to_look_at(run):
    accumulator = EventAccumulator(str(run / "train"))
    accumulator.Reload()
    assert accumulator.Tags()["graph"]


def test_evaluate_agrees_with_the_run(run, tmp_path):
    assert evaluate.main([f"--checkpoint={run / 'best.keras'}", f"--output_dir={tmp_path}"]) == 0
    written = json.loads((tmp_path / "results.json").read_text())
    assert (written["map_area"], written["map_11point"]) == (1, 1)
    assert {name: c["num_gt"] for name, c in written["classes"].items()} == {
        "blue": 1,
        "green": 1,
        "red": 2,
    }
    files = voc_files.read_voc(tmp_path / "voc", CLASS_NAMES, "all")
    detections = read_results(tmp_path / "detections.json")
    assert sorted(files) == sorted(detections) == ["a", "b"]


def test_the_detector_finds_the_objects_where_they_are(run, data_dir):
    model = checkpoint.load(run / "best.keras")
    answer = model.detect([str(data_dir / f"JPEGImages/{stem}.png") for stem in IMAGES])
    for i, (_, objects) in enumerate(IMAGES.values()):
        sure = answer["scores"][i] > 0.5
        found = {
            CLASS_NAMES[label]: box
            for label, box in zip(answer["labels"][i][sure], answer["boxes"][i][sure], strict=True)
        }
        assert sorted(found) == sorted(name for name, _ in objects)
        assert sure.sum() == len(objects)
        for name, box in objects:
            np.testing.assert_allclose(found[name], box, atol=8)
