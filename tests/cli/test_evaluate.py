"""The evaluate command: the same figures as the run's own, in files, on any split and data."""

import errno
import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_frcnn import data, files
from keras_frcnn.cli.evaluate import COMMAND, main
from keras_frcnn.console import Console
from keras_frcnn.data.writers import shapes
from keras_frcnn.evaluation.report import voc_files
from keras_frcnn.evaluation.report.formats import percent
from keras_frcnn.evaluation.report.pages import evaluation_page
from keras_frcnn.training import trainer
from keras_frcnn.training.run_folder import read_evaluations
from tests import fakes
from tests.command_line import overriding
from tests.evaluation.handmade import read_results
from tests.inspection import markup


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
        num_images=0,
    )
    with pytest.MonkeyPatch.context() as patch, fakes.small_backbone():
        fakes.run_eagerly(patch)
        trainer.train(config, Console(file=io.StringIO()))
    return folder, config


@pytest.fixture
def evaluate(run, tmp_path):
    """Returns a function that evaluates and returns the results."""

    def evaluate(*argv):
        folder = tmp_path / "results"
        flags = (f"--checkpoint={run[0] / 'best.keras'}", f"--output_dir={folder}")
        assert main(overriding(*flags, *argv)) == 0
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
    events = {path.name for path in (tmp_path / "results").glob("events.*")}
    contents = {name.removesuffix("/") for name in COMMAND.writes}  # checked before the work
    assert set(os.listdir(tmp_path / "results")) == contents | events
    coco = read_results(tmp_path / "results" / "detections.json")
    texts = voc_files.read_voc(tmp_path / "results" / "voc", fakes.CLASS_NAMES, "val")
    records = data.load(config, ("val",), fakes.CLASS_NAMES).records
    assert sorted(coco) == sorted(texts) == sorted(record.image_id for record in records)
    for record in records:
        boxes, scores, _ = map(np.array, zip(*coco[record.image_id], strict=True))
        other_scores = texts[record.image_id]["scores"]
        assert len(scores) == len(other_scores) > 0
        limits = [record.height, record.width] * 2
        assert (boxes >= 0).all()
        assert (boxes <= np.array(limits) + 1e-3).all()
        np.testing.assert_allclose(np.sort(scores), np.sort(other_scores), rtol=1e-6)


def test_flags_win_over_the_checkpoints_settings(evaluate, run, tmp_path):
    _, config = run
    written = evaluate("--max_detections=2", "--eval_split=test", "--min_size=3")
    detections = read_results(tmp_path / "results" / "detections.json")
    assert {len(rows) for rows in detections.values()} == {2}
    ids = {record.image_id for record in data.load(config, ("test",), fakes.CLASS_NAMES).records}
    assert set(detections) <= ids
    assert written["num_images"] == 2
    changed = config.replace(max_detections=2, eval_split=("test",), min_size=3.0)
    assert written["settings"] == changed.to_dict()
    assert (tmp_path / "results" / "voc" / "comp4_det_test_circle.txt").exists()


def test_a_high_score_threshold_leaves_nothing(evaluate, tmp_path):
    written = evaluate("--score_threshold=1")
    assert json.loads((tmp_path / "results" / "detections.json").read_text()) == []
    assert written["num_images_without_detections"] == 2
    assert written["map_area"] == 0


def test_the_iou_threshold_is_that_of_the_metric(evaluate):
    strict, loose = evaluate("--iou_threshold=0.99"), evaluate("--iou_threshold=0.01")
    assert (strict["iou_threshold"], loose["iou_threshold"]) == (0.99, 0.01)
    assert strict["map_area"] < loose["map_area"]


def test_several_splits_are_joined_in_the_names_of_files(evaluate, tmp_path):
    assert evaluate("--eval_split=val,test")["num_images"] == 4
    assert (tmp_path / "results" / "voc" / "comp4_det_val_test_star.txt").exists()


def test_detections_of_images_without_annotations(evaluate, run, tmp_path, capsys):
    folder, config = run
    evaluate("--eval_split=test")
    capsys.readouterr()
    measured = tmp_path / "results"
    bare = tmp_path / "bare"
    shutil.copytree(config.data_dir[0], bare, ignore=shutil.ignore_patterns("Annotations"))
    argv = [f"--checkpoint={folder / 'best.keras'}", f"--data_dir={bare}", "--eval_split=test"]
    assert main([*argv, "--detections_only", f"--output_dir={tmp_path / 'found'}"]) == 0
    names = sorted(path.name for path in (tmp_path / "found").iterdir())
    assert names == ["detections.json", "voc"]
    for name in ("detections.json", *(f"voc/comp4_det_test_{n}.txt" for n in fakes.CLASS_NAMES)):
        assert (tmp_path / "found" / name).read_text() == (measured / name).read_text()
    assert len(json.loads((measured / "detections.json").read_text())) > 0
    assert "count as background" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(argv)
    assert "the annotation is missing" in capsys.readouterr().err


def test_a_single_image_set_of_a_devkit_has_its_name_in_the_names_of_files(run, tmp_path):
    folder, config = run
    for year in ("VOC2007", "VOC2012"):
        shutil.copytree(config.data_dir[0], tmp_path / "kit" / year)
    argv = [f"--checkpoint={folder / 'best.keras'}", f"--data_dir={tmp_path / 'kit'}"]
    for splits, name in (
        ("VOC2012/test", "test"),
        ("VOC2007/test,VOC2012/val", "VOC2007-test_VOC2012-val"),
    ):
        out = tmp_path / name
        flags = [f"--eval_split={splits}", "--detections_only", f"--output_dir={out}"]
        assert main([*argv, *flags]) == 0
        expected = {f"comp4_det_{name}_{of}.txt" for of in fakes.CLASS_NAMES}
        assert {path.name for path in (out / "voc").iterdir()} == expected


def test_detections_only_needs_a_model(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--detections=found.json", "--detections_only"])
    assert caught.value.code == 2
    assert "--detections_only needs --checkpoint, a model that detects" in capsys.readouterr().err


def test_what_is_wrong_is_named(refusal, tmp_path):
    missing = tmp_path / "missing"
    assert refusal(f"--checkpoint={missing}") == f"There is no checkpoint {missing}"
    missing.write_bytes(b"not a checkpoint")
    start = f"{missing} is not a checkpoint of keras_frcnn: "
    assert refusal(f"--checkpoint={missing}").startswith(start)
    assert "'nope'" in refusal("--eval_split=nope")
    assert str(tmp_path / "none") in refusal(f"--data_dir={tmp_path / 'none'}")
    assert refusal("--pool_size=3") == "--pool_size is not used by this command"
    assert refusal("--max_detections=0") == (
        "--max_detections must be a positive integer. Received: 0"
    )
    assert refusal("--checkpoint=").startswith("--checkpoint is missing")


@pytest.fixture
def spaced(run, tmp_path):
    """The data of the run, with spaces in the names of the images."""
    folder = shutil.copytree(Path(*run[1].data_dir), tmp_path / "data")
    listed = folder / "ImageSets/Main/val.txt"
    stems = listed.read_text().split()
    for stem in stems:
        for name, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
            path = folder / name / f"{stem}.{suffix}"
            path.rename(path.with_stem(f"{stem} (1)"))
    listed.write_text("".join(f"{stem} (1)\n" for stem in stems))
    return folder


def test_names_that_do_not_fit_vocs_files_are_told_and_all_else_is_written(
    evaluate, spaced, tmp_path, capsys
):
    assert evaluate(f"--data_dir={spaced}")["num_images"] == 2
    assert len(read_results(tmp_path / "results" / "detections.json")) == 2
    assert (tmp_path / "results" / "report.html").exists()
    assert not (tmp_path / "results" / "voc").exists()
    words = "No text files in VOC's format are written: VOC image ids must have no white space"
    output = capsys.readouterr().out
    assert output.count(words) == 1 and "report.html, detections.json\n" in output


def test_a_folder_beside_the_checkpoint_is_checked_before_the_work(
    run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("keras_frcnn.inference.over_dataset.detect_dataset", None)
    checkpoint = shutil.copy(run[0] / "best.keras", tmp_path)
    (tmp_path / "evaluation").touch()
    with pytest.raises(SystemExit) as caught:
        main([f"--checkpoint={checkpoint}"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "keras-frcnn evaluate: --output_dir must be a folder that can be written to. Received: "
        f"{tmp_path}/evaluation ({tmp_path}/evaluation: Not a directory)\n"
    )


def test_results_are_safe_before_the_page_is_made(refusal, monkeypatch, tmp_path):
    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(evaluation_page, "write", fail)
    folder = tmp_path / "results"
    assert refusal() == f"{folder} cannot be read or written: No space left on device"
    for name in ("results.json", "detections.json"):
        assert json.loads((folder / name).read_text())


def test_results_are_printed_even_if_nothing_can_be_written(run, tmp_path, monkeypatch, capsys):
    def fail(path, *args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(files, "write_text", fail)
    with pytest.raises(SystemExit) as caught:
        main([f"--checkpoint={run[0] / 'best.keras'}", f"--output_dir={tmp_path}"])
    assert caught.value.code == 2
    output = capsys.readouterr()
    assert "PASCAL VOC metric, IoU >= 0.5; 2 images" in output.out
    message = f"keras-frcnn evaluate: {tmp_path}/results.json cannot be read or written: No space"
    assert message in output.err and "Traceback" not in output.err


@pytest.mark.parametrize("value", [0, -1, 1.01])
def test_an_impossible_iou_threshold_is_named_before_the_work(value, refusal, monkeypatch):
    monkeypatch.setattr("keras_frcnn.inference.over_dataset.detect_dataset", None)
    message = f"--iou_threshold must be a number above 0 and at most 1. Received: {float(value)}"
    assert refusal(f"--iou_threshold={value}") == message


def test_data_without_any_class_of_the_checkpoint_are_refused_naming_both(refusal, run, tmp_path):
    _, config = run
    folder = tmp_path / "data"
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    record = data.load(config, ("val",), fakes.CLASS_NAMES).records[0]
    stem = record.image_id
    annotation = (Path(*config.data_dir) / f"Annotations/{stem}.xml").read_text()
    annotation = re.sub("<name>.*?</name>", "<name>cat</name>", annotation)
    (folder / f"Annotations/{stem}.xml").write_text(annotation)
    (folder / "ImageSets/Main/val.txt").write_text(f"{stem}\n")
    (folder / f"JPEGImages/{stem}.jpg").write_bytes(Path(record.path).read_bytes())
    message = refusal(f"--data_dir={folder}")
    expected = "expected at least one of the classes circle, square, star, triangle. Received: cat"
    assert message == f"voc in {folder}: {expected}"


# --- all that is written, and comparing ---------------------------------------------------------


def test_all_results_are_written(evaluate, run, tmp_path, capsys):
    folder, _ = run
    written = evaluate("--resamples=5", "--seed=3")
    assert written["intervals"]["num_resamples"] == 5
    assert written["settings"]["seed"] == written["intervals"]["seed"] == 3
    recall = written["proposal_recall"]
    assert recall["num_gt"] == sum(c["num_gt"] for c in written["classes"].values())
    assert 0 <= recall["recall"][-1][0] <= 1 and recall["num_proposals"][-1] > 1
    names = ["results.json", "per_class.csv", "errors.csv", "confusions.csv", "pr_curves.csv"]
    names += ["proposal_recall.csv", "report.html", "detections.json", "voc/"]
    assert all((tmp_path / "results" / name).exists() for name in names)
    output = capsys.readouterr().out
    assert f"Results: {tmp_path / 'results'}/{', '.join(names)}" in output
    assert "missed objects" in output and "recall % at 0.5" in output

    page = markup.parse(tmp_path / "results" / "report.html")
    words = markup.text(page.find("body"))
    assert f"mAP (area), IoU 0.5{percent(written['map_area'], 1)}" in words
    assert str(folder / "best.keras") in words and "2 images" in words
    assert "Proposals" in words and markup.images(page)

    events = EventAccumulator(str(tmp_path / "results"), size_guidance={"tensors": 0})
    events.Reload()
    (event,) = events.Tensors("mAP_area")
    assert event.step == 1
    assert float(tf.make_ndarray(event.tensor_proto)) == pytest.approx(written["map_area"])
    assert "interval/map_area_low" in events.Tags()["tensors"]


def test_scalars_of_detections_go_where_they_are_told(run, evaluate, tmp_path):
    _, config = run
    evaluate("--resamples=0")
    found = tmp_path / "results" / "detections.json"
    where = [f"--data_dir={config.data_dir[0]}", "--eval_split=val", "--resamples=0"]
    assert main([f"--detections={found}", *where, f"--tensorboard={tmp_path / 'board'}"]) == 0
    assert list((tmp_path / "board").glob("events.out.tfevents.*"))


@pytest.fixture
def two(evaluate, tmp_path):
    """Two evaluations of one run, the second of fewer detections."""
    counts = []
    for name, flags in (("a", []), ("b", ["--max_detections=3"])):
        classes = evaluate("--resamples=3", *flags)["classes"].values()
        counts.append([c["num_detections"] for c in classes])
        (tmp_path / "results").rename(tmp_path / name)
    assert sum(counts[0]) > sum(counts[1]) and len(set(counts[1])) > 1
    return tmp_path / "a", tmp_path / "b"


def compared(*argv, folder):
    assert main([*argv, f"--output_dir={folder}", "--resamples=5"]) == 0
    return json.loads((folder / "comparison.json").read_text())


def test_two_evaluations_are_compared(two, run, tmp_path, capsys):
    values = compared(f"--compare={two[0]},{two[1]}", folder=tmp_path / "c")
    for letter, folder in zip("AB", two, strict=True):
        written = json.loads((folder / "results.json").read_text())
        assert values[letter]["map_area"] == written["map_area"]
        assert values[letter]["errors"] == written["errors"]
        assert values[letter]["name"] == str(folder)
    assert values["difference"] == values["B"]["map_area"] - values["A"]["map_area"]
    assert f"A: {two[0]}" in capsys.readouterr().out
    assert (tmp_path / "c" / "comparison_images.csv").exists()
    page = markup.parse(tmp_path / "c" / "comparison.html")
    assert f"B - A{100 * values['difference']:+.1f}" in markup.text(page.find("body"))


def test_a_run_and_detections_from_elsewhere_are_compared(two, run, tmp_path):
    shutil.copytree(two[0], tmp_path / "run" / "evaluation")
    elsewhere = shutil.copy(two[1] / "detections.json", tmp_path / "found.json")
    expected = compared(f"--compare={two[0]},{two[1]}", folder=tmp_path / "c")
    values = compared(f"--compare={tmp_path / 'run'},{elsewhere}", folder=tmp_path / "d")
    assert values["intervals"] == expected["intervals"]
    assert values["images"] == expected["images"]
    # VOC's text files are rounded, and of no known settings.
    where = [f"--data_dir={run[1].data_dir[0]}", "--eval_split=val"]
    values = compared(f"--compare={two[0] / 'voc'},{two[1] / 'voc'}", *where, folder=tmp_path / "e")
    assert values["difference"] == pytest.approx(expected["difference"], abs=0.02)


def test_classes_in_another_order_are_compared_by_name(two, tmp_path):
    expected = compared(f"--compare={two[0]},{two[1]}", folder=tmp_path / "c")
    results_, detections = two[1] / "results.json", two[1] / "detections.json"
    values = json.loads(results_.read_text())
    values["class_names"].reverse()  # and not the category ids, which are 1 to 4
    results_.write_text(json.dumps(values))
    entries = json.loads(detections.read_text())
    entries = [entry | {"category_id": 5 - entry["category_id"]} for entry in entries]
    detections.write_text(json.dumps(entries))
    values = compared(f"--compare={two[0]},{two[1]}", folder=tmp_path / "d")
    assert values["B"]["classes"] == expected["B"]["classes"]


def test_what_cannot_be_compared_is_named(two, refusal, tmp_path, capsys):
    a, b = two

    def refuse(*argv):
        with pytest.raises(SystemExit) as caught:
            main([*argv, "--resamples=0"])
        assert caught.value.code == 2
        return capsys.readouterr().err

    pair = f"--compare={a},{b}"
    assert "must be two strings separated by commas, or empty. Received: (" in refuse(
        f"--compare={a}"
    )
    assert f"there is no file or folder of results {tmp_path / 'x'}" in refuse(
        f"--compare={a},{tmp_path / 'x'}"
    )
    assert f"{tmp_path}: expected a folder with detections" in refuse(f"--compare={a},{tmp_path}")
    assert "--checkpoint and --compare cannot be combined" in refuse(pair, "--checkpoint=x")
    assert "to be compared by coco" in refuse(pair, "--metric=coco")
    assert f"{a} was measured on another ground truth" in refuse(pair, "--eval_split=test")
    path = b / "results.json"
    values = json.loads(path.read_text())
    values["ground_truth"]["sha256"] = "0"
    path.write_text(json.dumps(values))
    assert f"{a} and {b} were measured on different ground truths" in refuse(pair)
    values["class_names"][0] = "cat"
    values["ground_truth"]["sha256"] = json.loads((a / "results.json").read_text())["ground_truth"][
        "sha256"
    ]
    path.write_text(json.dumps(values))
    assert f"{b} must have the classes of the ground truth" in refuse(pair)
    for broken in ("", "[]", "{}", '{"class_names": 3}', "[" * 100_000):
        path.write_text(broken)
        assert f"{path} must be a file that evaluate wrote" in refuse(pair)
    assert "--resamples must be an integer of at least 0. Received: -1" in refusal("--resamples=-1")


def test_a_limit_below_the_number_of_objects_is_said(evaluate, run, capsys):
    evaluate("--max_detections=1", "--resamples=0")
    records = data.load(run[1], ("val",), fakes.CLASS_NAMES).records
    counts = np.array([np.sum(~record.difficult) for record in records])
    recall = f"{100 * np.sum(np.minimum(counts, 1)) / np.sum(counts):.1f} %"
    words = f"(up to {counts.max()}) than --max_detections=1 lets a detector find, so recall cannot"
    assert f"{words} exceed {recall}" in capsys.readouterr().out
