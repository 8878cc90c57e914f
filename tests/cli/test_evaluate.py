"""The evaluate command: the same figures as the run's own, in files, on any split and data."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from keras_frcnn.cli.evaluate import main
from keras_frcnn.data import shapes, voc
from keras_frcnn.evaluation import results, voc_files
from keras_frcnn.training import fit
from keras_frcnn.training.callbacks import read_evaluations
from tests import fakes


@pytest.fixture(autouse=True)
def small_and_eager(monkeypatch):
    fakes.run_eagerly(monkeypatch)
    with fakes.small_backbone():
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one step; its checkpoint knows where its data are."""
    data_dir = shapes.make(
        tmp_path_factory.mktemp("shapes"), 3, 2, 2, shorter_side=(64, 72), longer_side=(80, 96)
    )
    folder = tmp_path_factory.mktemp("run")
    config = fakes.SMALL.replace(
        data_dir=str(data_dir),
        output_dir=str(folder),
        train_split=("trainval",),
        eval_split=("val",),
        steps=1,
        eval_every=0,
        num_pictures=0,
    )
    with pytest.MonkeyPatch.context() as patch, fakes.small_backbone():
        fakes.run_eagerly(patch)
        fit.train(config, Console(file=io.StringIO()))
    return folder, config


@pytest.fixture
def evaluate(run, tmp_path):
    """Returns a function that evaluates and returns the results."""

    def evaluate(*argv):
        folder = tmp_path / "results"
        assert main([f"--checkpoint={run[0] / 'best.keras'}", f"--output_dir={folder}", *argv]) == 0
        return json.loads((folder / "results.json").read_text())

    return evaluate


@pytest.fixture
def refusal(evaluate, capsys):
    def refuse(*argv):
        with pytest.raises(SystemExit) as caught:
            evaluate(*argv)
        assert caught.value.code == 2
        error = capsys.readouterr().err
        lines = [line for line in error.splitlines() if not re.match(r"[WIE]\d{4} |WARNING", line)]
        assert lines
        assert all(line.startswith("keras-frcnn evaluate: ") for line in lines)
        return "\n".join(line.removeprefix("keras-frcnn evaluate: ") for line in lines)

    return refuse


def test_the_results_are_those_of_the_run(run, capsys):
    folder, config = run
    assert main([f"--checkpoint={folder / 'best.keras'}"]) == 0
    written = json.loads((folder / "evaluation" / "results.json").read_text())
    (line,) = read_evaluations(folder)
    assert written["map_area"] == line["mAP_area"]
    assert written["map_11point"] == line["mAP_11point"]
    assert {name: c["ap_area"] for name, c in written["classes"].items()} == {
        name: line[f"AP_area/{name}"] for name in fakes.CLASS_NAMES
    }
    assert written["settings"] == config.to_dict()
    output = capsys.readouterr().out
    assert "circle" in output
    assert f"Results: {folder}/evaluation/results.json" in output


def test_detections_are_written_in_both_forms(evaluate, run, tmp_path):
    folder, config = run
    evaluate()
    coco = results.read_coco(tmp_path / "results" / "detections.json", fakes.CLASS_NAMES)
    texts = voc_files.read_voc(tmp_path / "results" / "voc", fakes.CLASS_NAMES, "val")
    records = voc.read(config, ("val",)).records
    assert sorted(coco) == sorted(texts) == sorted(record.image_id for record in records)
    for record in records:
        one, other = coco[record.image_id], texts[record.image_id]
        assert len(one["scores"]) == len(other["scores"]) > 0
        limits = [record.height, record.width] * 2
        assert (one["boxes"] >= 0).all()
        assert (one["boxes"] <= np.array(limits) + 1e-3).all()
        order, other_order = (np.argsort(-x["scores"], kind="stable") for x in (one, other))
        np.testing.assert_allclose(one["scores"][order], other["scores"][other_order], rtol=1e-6)


def test_flags_win_over_the_checkpoints_settings(evaluate, run, tmp_path):
    _, config = run
    written = evaluate("--max_detections=2", "--eval_split=test", "--min_size=3")
    detections = results.read_coco(tmp_path / "results" / "detections.json", fakes.CLASS_NAMES)
    assert {len(picture["scores"]) for picture in detections.values()} == {2}
    ids = {record.image_id for record in voc.read(config, ("test",)).records}
    assert set(detections) <= ids
    assert written["num_pictures"] == 2
    changed = config.replace(max_detections=2, eval_split=("test",), min_size=3.0)
    assert written["settings"] == changed.to_dict()
    assert (tmp_path / "results" / "voc" / "comp4_det_test_circle.txt").exists()


def test_a_high_score_threshold_leaves_nothing(evaluate, tmp_path):
    written = evaluate("--score_threshold=1")
    assert json.loads((tmp_path / "results" / "detections.json").read_text()) == []
    assert written["num_pictures_without_detections"] == 2
    assert written["map_area"] == 0


def test_the_iou_threshold_is_that_of_the_metric(evaluate):
    strict, loose = evaluate("--iou_threshold=0.99"), evaluate("--iou_threshold=0.01")
    assert (strict["iou_threshold"], loose["iou_threshold"]) == (0.99, 0.01)
    assert strict["map_area"] < loose["map_area"]


def test_several_splits_are_joined_in_the_names_of_files(evaluate, tmp_path):
    assert evaluate("--eval_split=val,test")["num_pictures"] == 4
    assert (tmp_path / "results" / "voc" / "comp4_det_val_test_star.txt").exists()


def test_what_is_wrong_is_named(refusal, tmp_path):
    missing = tmp_path / "missing"
    assert refusal(f"--checkpoint={missing}") == f"There is no checkpoint {missing}"
    missing.write_bytes(b"not a checkpoint")
    start = f"{missing} is not a checkpoint of keras_frcnn: "
    assert refusal(f"--checkpoint={missing}").startswith(start)
    assert "'nope'" in refusal("--eval_split=nope")
    assert str(tmp_path / "none") in refusal(f"--data_dir={tmp_path / 'none'}")
    assert refusal("--pool_size=3") == "--pool_size is not used by this command"
    assert refusal("--max_detections=0") == "--max_detections must be positive. Received: 0"
    assert refusal("--checkpoint=").startswith("--checkpoint is missing")


@pytest.mark.parametrize("value", [0, -1, 1.01])
def test_an_impossible_iou_threshold_is_named_before_the_work(value, refusal, monkeypatch):
    monkeypatch.setattr("keras_frcnn.evaluation.collect.collect", None)
    message = f"--iou_threshold must be above 0 and at most 1. Received: {value:g}"
    assert refusal(f"--iou_threshold={value}") == message


def test_classes_that_the_checkpoint_does_not_know_are_named(refusal, run, tmp_path):
    _, config = run
    folder = tmp_path / "data"
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    record = voc.read(config, ("val",)).records[0]
    stem = record.image_id
    annotation = (Path(config.data_dir) / f"Annotations/{stem}.xml").read_text()
    annotation = re.sub("<name>.*?</name>", "<name>cat</name>", annotation)
    (folder / f"Annotations/{stem}.xml").write_text(annotation)
    (folder / "ImageSets/Main/val.txt").write_text(f"{stem}\n")
    (folder / f"JPEGImages/{stem}.jpg").write_bytes(Path(record.path).read_bytes())
    message = refusal(f"--data_dir={folder}")
    assert "(cat): unknown class; known are circle, square, star, triangle" in message
