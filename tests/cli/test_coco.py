"""The whole way with data in COCO's form: train, evaluate, and evaluate what was written."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from keras_frcnn import data
from keras_frcnn.cli import evaluate, train, write_tfrecords
from keras_frcnn.cli.command import checkpoint_settings
from keras_frcnn.config import Config
from keras_frcnn.config.flags import write_flagfile
from keras_frcnn.data.writers import shapes
from keras_frcnn.training.run_folder import read_evaluations
from tests import fakes
from tests.inspection import markup

CATEGORY_IDS = (7, 3, 90, 12)  # of circle, square, star, triangle; sparse, in another order


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Made images in COCO's layout; what is hard to see is a crowd region."""
    made = shapes.make(
        tmp_path_factory.mktemp("shapes"), 3, 3, 0, shorter_side=(64, 72), longer_side=(80, 96)
    )
    root = tmp_path_factory.mktemp("coco")
    (root / "annotations").mkdir()
    for split in ("train", "val"):
        dataset = data.load(Config(data_dir=str(made)), (split,), fakes.CLASS_NAMES)
        (root / split).mkdir()
        images, annotations = [], []
        for image_id, record in enumerate(dataset.records, start=1000):
            name = Path(record.path).name
            shutil.copy(record.path, root / split / name)
            size = {"height": record.height, "width": record.width}
            images.append({"id": image_id, "file_name": name, **size})
            objects = zip(record.boxes.tolist(), record.labels, record.difficult, strict=True)
            for (y1, x1, y2, x2), label, difficult in objects:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": CATEGORY_IDS[label],
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": (x2 - x1) * (y2 - y1),
                        "iscrowd": int(difficult),
                    }
                )
        names = zip(CATEGORY_IDS, fakes.CLASS_NAMES, strict=True)
        categories = [{"id": number, "name": name} for number, name in names]
        content = {"images": images, "annotations": annotations, "categories": categories}
        path = root / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(content))
    return root


@pytest.fixture(autouse=True)
def small_and_eager(monkeypatch):
    fakes.run_eagerly(monkeypatch)
    with fakes.small_backbone():
        yield


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """The folder of a run of two steps, by the command line."""
    folder = tmp_path_factory.mktemp("run")
    config = fakes.SMALL.replace(
        dataset="coco",
        data_dir=str(data_dir),
        output_dir=str(folder / "run"),
        train_split=("train",),
        eval_split=("val",),
        steps=2,
        eval_every=0,
    )
    write_flagfile(config, folder / "small.cfg")
    with pytest.MonkeyPatch.context() as patch, fakes.small_backbone():
        fakes.run_eagerly(patch)
        assert train.main([f"--flagfile={folder / 'small.cfg'}"]) == 0
        assert evaluate.main([f"--checkpoint={folder / 'run' / 'best.keras'}"]) == 0
    return folder / "run"


def measure(*argv, folder):
    assert evaluate.main([*argv, f"--output_dir={folder}"]) == 0
    return json.loads((folder / "results.json").read_text())


def refusal(capsys, *argv):
    with pytest.raises(SystemExit) as caught:
        evaluate.main(list(argv))
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_results_are_cocos_with_its_category_and_image_ids(run):
    values = json.loads((run / "evaluation" / "results.json").read_text())
    assert values["metric"] == "COCO average precision and recall"
    assert 0 <= values["AP"] <= values["AP50"] <= 1
    assert list(values["classes"]) == sorted(fakes.CLASS_NAMES)
    found = json.loads((run / "evaluation" / "detections.json").read_text())
    assert len(found) > 10
    assert {entry["category_id"] for entry in found} <= set(CATEGORY_IDS)
    assert {entry["image_id"] for entry in found} <= {1000, 1001, 1002}


def test_the_classes_are_in_the_order_of_the_ids(run):
    from keras_frcnn.weights.checkpoint import read_settings

    assert read_settings(run / "best.keras")[1] == ("square", "circle", "triangle", "star")


def test_written_detections_give_the_same_figures_without_a_model(run, data_dir, tmp_path):
    expected = json.loads((run / "evaluation" / "results.json").read_text())
    where = ["--dataset=coco", f"--data_dir={data_dir}", "--eval_split=val"]
    file = f"--detections={run / 'evaluation' / 'detections.json'}"
    values = measure(file, *where, folder=tmp_path)
    for settings in (values.pop("settings"), expected.pop("settings")):
        assert settings["dataset"] == ["coco"]
    assert len(expected.pop("proposal_recall")["recall"][0]) == 11
    assert values.pop("proposal_recall") is None
    assert values == expected
    pages = (markup.parse(folder / "report.html") for folder in (tmp_path, run / "evaluation"))
    shown, of_the_model = map(markup.images, pages)
    assert len(shown) == len(of_the_model) > 5
    for one, other in zip(shown, of_the_model, strict=True):
        np.testing.assert_array_equal(one, other)


def test_images_are_shown_where_they_are_and_never_needed(run, data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path / "data")
    detections = run / "evaluation" / "detections.json"
    flags = [f"--detections={detections}", "--dataset=coco", f"--data_dir={tmp_path / 'data'}"]
    flags += ["--eval_split=val"]
    expected = json.loads((run / "evaluation" / "results.json").read_text())
    some, *others = sorted((tmp_path / "data" / "val").iterdir())
    some.unlink()
    others[0].write_bytes(b"no image")
    for texts, words in (("no image", ""), ("", "only the annotations were read")):
        values = measure(*flags, folder=tmp_path / "out")
        assert (values["AP"], values["num_images"]) == (expected["AP"], 3)
        page = markup.parse(tmp_path / "out" / "report.html")
        body = markup.text(page.find("body"))
        assert texts in body and words in body
        assert bool(markup.images(page)) is not bool(words)
        shutil.rmtree(tmp_path / "data" / "val", ignore_errors=True)


def test_a_comparison_shows_images_of_cocos_data_too(run, data_dir, tmp_path):
    rows = json.loads((run / "evaluation" / "detections.json").read_text())
    (tmp_path / "some.json").write_text(json.dumps(rows[: len(rows) // 2]))
    both = f"--compare={run},{tmp_path / 'some.json'}"
    flags = ["--dataset=coco", f"--data_dir={data_dir}", "--eval_split=val", "--resamples=0"]
    assert evaluate.main([both, *flags, f"--output_dir={tmp_path}"]) == 0
    page = markup.parse(tmp_path / "comparison.html")
    assert "only the annotations" not in markup.text(page.find("body"))


def test_tfrecords_of_the_data_give_the_same_figures(run, data_dir, tmp_path):
    source = ["--dataset=coco", f"--data_dir={data_dir}", "--train_split=train", "--eval_split=val"]
    assert write_tfrecords.main([*source, f"--output_dir={tmp_path / 'records'}"]) == 0
    where = ["--dataset=tfrecord", f"--data_dir={tmp_path / 'records'}", "--eval_split=eval"]
    # Detections that find most, so that the figures say something.
    truth, entries = data.load(Config(dataset="coco", data_dir=str(data_dir)), ("val",)).truth, []
    for number, (row, label) in enumerate(zip(truth.rows, truth.labels, strict=True)):
        bbox = (truth.bboxes[number] + [number % 4, 0, 0, number % 3]).tolist()
        entry = {"image_id": truth.image_ids[row], "category_id": truth.category_ids[label]}
        entries.append(entry | {"bbox": bbox, "score": 1 / (1 + number)})
    (tmp_path / "found.json").write_text(json.dumps(entries))
    file = f"--detections={tmp_path / 'found.json'}"
    by_files = measure(file, *source[:2], source[3], folder=tmp_path)
    by_records = measure(file, *where, folder=tmp_path)
    assert by_records["metric"] == by_files["metric"] == "COCO average precision and recall"
    assert by_records["ground_truth"] == by_files["ground_truth"]
    assert by_records["classes"] == by_files["classes"] and by_records["AP"] == by_files["AP"]
    assert 0.3 < by_files["AP"] < 1
    assert markup.images(markup.parse(tmp_path / "report.html"))  # from inside the files
    by_model = measure(f"--checkpoint={run / 'best.keras'}", *where, folder=tmp_path / "out")
    expected = json.loads((run / "evaluation" / "results.json").read_text())
    assert by_model["classes"] == expected["classes"]


def test_the_metric_can_be_chosen(run, data_dir, tmp_path, capsys):
    where = ["--dataset=coco", f"--data_dir={data_dir}", "--eval_split=val", "--metric=voc"]
    by_model = measure(f"--checkpoint={run / 'best.keras'}", "--metric=voc", folder=tmp_path)
    file = run / "evaluation" / "detections.json"
    by_file = measure(f"--detections={file}", *where, "--iou_threshold=0.5", folder=tmp_path)
    assert by_file["map_area"] == by_model["map_area"]
    assert by_file["metric"] == by_model["metric"] == "PASCAL VOC average precision"
    error = refusal(capsys, f"--detections={file}", *where[:-1], "--iou_threshold=0.7")
    assert "--iou_threshold needs --metric=voc" in error


def test_detections_of_voc_data_in_both_forms_and_metrics(tmp_path, capsys):
    made = shapes.make(tmp_path / "kit", 0, 0, 2, shorter_side=(64, 72), longer_side=(80, 96))
    dataset = data.load(Config(data_dir=str(made)), ("test",), fakes.CLASS_NAMES)
    entries, lines = [], {name: [] for name in fakes.CLASS_NAMES}
    for record in dataset.records:
        for (y1, x1, y2, x2), label in zip(record.boxes.tolist(), record.labels, strict=True):
            bbox = [x1, y1, x2 - x1, y2 - y1]
            entry = {"image_id": record.image_id, "category_id": int(label) + 1, "bbox": bbox}
            entries.append(entry | {"score": 0.5})
            text = f"{record.image_id} 0.5 {x1 + 1} {y1 + 1} {x2} {y2}\n"
            lines[fakes.CLASS_NAMES[label]].append(text)
    (tmp_path / "found.json").write_text(json.dumps(entries))
    (tmp_path / "names.txt").write_text("\n".join(fakes.CLASS_NAMES))
    (tmp_path / "texts").mkdir()
    for name, of_class in lines.items():
        (tmp_path / "texts" / f"comp4_det_test_{name}.txt").write_text("".join(of_class))
    where = [f"--data_dir={made}", "--eval_split=test", f"--classes_file={tmp_path / 'names.txt'}"]
    for source in ("found.json", "texts"):
        file = f"--detections={tmp_path / source}"
        by_voc = measure(file, *where, folder=tmp_path / "out")
        by_coco = measure(file, *where, "--metric=coco", folder=tmp_path / "out")
        assert by_voc["map_area"] == by_coco["AP"] == 1
        assert by_coco["num_crowd"] == by_voc["num_difficult"]
    assert "none.json" in refusal(capsys, f"--detections={tmp_path / 'none.json'}", *where)


@pytest.fixture
def renamed(data_dir, tmp_path):
    """The data with other names and numbers for the classes, and with one class more."""
    shutil.copytree(data_dir, tmp_path / "renamed")
    path = tmp_path / "renamed" / "annotations" / "instances_val.json"
    content = json.loads(path.read_text())
    for category in content["categories"]:
        category |= {"id": category["id"] + 100, "name": f" {category['name'].upper()}-"}
    content["categories"].append({"id": 1, "name": "hexagon"})
    for item in content["annotations"]:
        item["category_id"] += 100
    copy = content["annotations"][0] | {"id": 1000, "category_id": 1}
    content["annotations"].append(copy)
    path.write_text(json.dumps(content))
    return tmp_path / "renamed"


def test_a_checkpoint_is_measured_on_data_with_other_names(run, renamed, tmp_path, capsys):
    where = ["--dataset=coco", f"--data_dir={renamed}", "--eval_split=val"]
    expected = json.loads((run / "evaluation" / "results.json").read_text())
    out = tmp_path / "out"
    values = measure(f"--checkpoint={run / 'best.keras'}", *where, folder=out)
    del values["settings"], expected["settings"]
    numbers = [number + 100 for number in expected.pop("category_ids")]
    assert values.pop("category_ids") == numbers
    assert values == expected
    output = " ".join(capsys.readouterr().out.split())
    assert f"skipped: coco in {renamed}: objects of unmatched classes: hexagon (1)" in output
    entries = json.loads((out / "detections.json").read_text())
    assert {entry["category_id"] - 100 for entry in entries} <= set(CATEGORY_IDS)
    # And these, with the classes that the model has: the same figures without a model.
    (tmp_path / "names.txt").write_text("\n".join(values["class_names"]))
    names = f"--classes_file={tmp_path / 'names.txt'}"
    again = measure(f"--detections={out / 'detections.json'}", names, *where, folder=out)
    del again["settings"], again["proposal_recall"], expected["proposal_recall"]
    assert again.pop("category_ids") == numbers and again == expected


def test_a_run_on_joined_data(data_dir, renamed, tmp_path, capsys):
    made = shapes.make(tmp_path / "kit", 6, 2, 0, shorter_side=(64, 72), longer_side=(80, 96))
    config = fakes.SMALL.replace(
        dataset=("voc", "coco"),
        data_dir=(str(made), str(renamed)),
        output_dir=str(tmp_path / "run"),
        train_split=("train", "val"),
        eval_split=("val", "-"),
        steps=1,
        eval_every=0,
        num_images=0,
    )
    write_flagfile(config, tmp_path / "small.cfg")
    assert train.main([f"--flagfile={tmp_path / 'small.cfg'}"]) == 0
    output = capsys.readouterr().out
    assert "train: 9 images; circle" in output and "evaluate: 2 images; circle" in output
    (line,) = read_evaluations(tmp_path / "run")
    assert "mAP_area" in line
    checkpoint = f"--checkpoint={tmp_path / 'run' / 'best.keras'}"
    assert checkpoint_settings(SimpleNamespace(checkpoint=checkpoint[13:])) == config
    values = measure(checkpoint, folder=tmp_path / "out")
    assert (values["num_images"], values["map_area"]) == (2, line["mAP_area"])
    both = measure(checkpoint, "--eval_split=val,val", folder=tmp_path / "out")
    assert (both["num_images"], both["metric"]) == (5, "PASCAL VOC average precision")
    other = measure(checkpoint, "--eval_split=-,val", folder=tmp_path / "out")
    assert (other["num_images"], "AP75" in other) == (3, True)
    assert (tmp_path / "out" / "voc" / "comp4_det_val_val_circle.txt").exists()


def test_entries_that_do_not_fit_the_datasets_are_refused_before_anything_is_read(tmp_path, capsys):
    flags = ["--dataset=voc,coco", f"--data_dir={tmp_path}", f"--output_dir={tmp_path / 'run'}"]
    with pytest.raises(SystemExit):
        train.main([*flags, "--train_split=train,train"])
    assert "one entry of image sets for each of the datasets voc, coco" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_or_detections(run, capsys):
    assert "--checkpoint is missing" in refusal(capsys)
    both = (f"--checkpoint={run / 'best.keras'}", "--detections=found.json")
    assert "give one of them" in refusal(capsys, *both)
