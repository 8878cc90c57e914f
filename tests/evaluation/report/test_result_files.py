"""The files of an evaluation, JSON and CSV, and the names of its TensorBoard scalars."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from keras_frcnn.evaluation.analysis.summary import summarize
from keras_frcnn.evaluation.metrics import ground_truth
from keras_frcnn.evaluation.metrics.detections import to_table
from keras_frcnn.evaluation.report import result_files, scalars
from tests.evaluation.handmade import dataset, found, random_images, record

A, B = [0, 0, 10, 10], [100, 100, 120, 140]
FAR = [500, 500, 510, 510]
NAMES = ("dog, hot", "cat")


def make(data, detections, metric="voc", **options):
    truth = ground_truth.of_dataset(data, metric)
    options = {"num_resamples": 10} | options
    return summarize(truth, to_table(detections, truth), metric, **options)


def small(metric="voc", **options):
    """One of two dogs is found and the other taken for a cat; another cat is found on nothing."""
    data = dataset(record("1", (A, 0), (B, 0)), record("2", (A, 0, True)), class_names=NAMES)
    rows = {"1": found((A, 0.5, 0), (B, 0.75, 1), (FAR, 0.25, 1))}
    options = {"dataset": data, "proposal_boxes": [np.array([B]), np.array([A])]} | options
    return make(data, rows, metric, **options)


def read_csv(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_json_has_everything(tmp_path):
    settings = {"seed": 3, "rates": (0.1, float("inf"))}
    names = result_files.write_evaluation(small(settings=settings), tmp_path / "new")
    text = (tmp_path / "new" / "results.json").read_text()
    values = json.loads(text, parse_constant=lambda name: 1 / 0)
    assert sorted(names) == sorted(path.name for path in (tmp_path / "new").iterdir())
    assert values["settings"] == {"seed": 3, "rates": [0.1, None]}
    assert values["classes"]["cat"]["ap_area"] is None
    assert values["classes"]["dog, hot"]["ap_area"] == values["map_area"] == 0.5
    assert (values["class_names"], values["category_ids"]) == (list(NAMES), [1, 2])
    assert values["ground_truth"]["metric"] == "voc"
    assert len(values["ground_truth"]["sha256"]) == 64
    assert list(values) == sorted(values) and text.endswith("}\n")
    assert values["intervals"]["level"] == 0.95 and values["intervals"]["num_resamples"] == 10
    low, high = values["intervals"]["means"]["map_area"]
    assert 0 <= low <= 0.5 <= high <= 1
    assert values["intervals"]["classes"]["ap_area"]["cat"] == [None, None]
    assert values["pr_curves"] == [
        {
            "class": "dog, hot",
            "iou": "0.5",
            "ap": 0.5,
            "recall": [0.5],
            "precision": [1.0],
            "scores": [0.5],
        },
        {"class": "cat", "iou": "0.5", "ap": None, "recall": [], "precision": [], "scores": []},
    ]
    assert values["proposal_recall"] == {
        "source": "RPN",
        "num_gt": 2,
        "num_proposals": [1],
        "iou_thresholds": [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0],
        "recall": [[0.5] * 11],
        "average_recall": [0.5],
    }


def test_json_of_the_errors(tmp_path):
    result_files.write_evaluation(small(), tmp_path)
    errors = json.loads((tmp_path / "results.json").read_text())["errors"]
    assert (errors["iou_threshold"], errors["score_threshold"]) == (0.5, None)
    assert (errors["correct"], errors["confusion"], errors["background"]) == (1, 1, 1)
    assert (errors["missed"], errors["duplicate"], errors["ignored"]) == (0, 0, 0)
    assert (errors["top"]["correct"], errors["top"]["confusion"]) == (1, 0)  # there are no cats
    assert errors["gains"]["confusion"] == 0.5
    assert errors["classes"]["cat"]["background"] == 1
    assert errors["classes"]["dog, hot"]["top"]["correct"] == 1
    pair = {"said": "cat", "true": "dog, hot"}
    assert errors["confusions"] == [pair | {"detections": 1, "kept_detections": 1}]


def test_errors_of_all_detections_and_of_those_from_the_best_score_on(tmp_path):
    """The F1 is highest from 0.5 on, which leaves out the cat on nothing."""
    result_files.write_evaluation(small(), tmp_path)
    errors = json.loads((tmp_path / "results.json").read_text())["errors"]
    assert errors["kept_score_threshold"] == 0.5
    assert (errors["background"], errors["kept"]["background"]) == (1, 0)
    assert (errors["kept"]["correct"], errors["kept"]["confusion"]) == (1, 1)
    assert errors["classes"]["cat"]["kept"]["background"] == errors["kept"]["missed"] == 0
    header, dog, cat = read_csv(tmp_path / "errors.csv")
    dog, cat = (dict(zip(header, row, strict=True)) for row in (dog, cat))
    assert (cat["background"], cat["kept_background"], cat["kept_confusion"]) == ("1", "0", "1")
    assert (dog["correct"], dog["kept_correct"], dog["kept_missed"]) == ("1", "1", "0")


def test_files_count_the_confusions_of_low_scores_apart(tmp_path):
    data = dataset(record("1", (A, 0), (B, 0)), class_names=NAMES)
    summary = make(data, {"1": found((A, 0.5, 0), (B, 0.25, 1))})
    result_files.write_evaluation(summary, tmp_path)
    assert read_csv(tmp_path / "confusions.csv") == [
        ["said", "true", "detections", "kept_detections"],
        ["cat", "dog, hot", "1", "0"],
    ]
    errors = json.loads((tmp_path / "results.json").read_text())["errors"]
    assert (errors["missed"], errors["kept"]["missed"]) == (0, 1)


def test_lists_of_numbers_stand_on_one_line(tmp_path):
    tricky = {"a": [1, 2.5, None], "b": ["[\n 1", "x]"], "c": [], "d": [[1, 2], [3]], "e": "[ 1 ]"}
    result_files.write_json(tricky, tmp_path / "x.json")
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == tricky
    assert '"a": [1, 2.5, null]' in text and "    [1, 2],\n    [3]\n" in text


def test_csv(tmp_path):
    result_files.write_evaluation(small(), tmp_path)
    header, dog, cat = read_csv(tmp_path / "per_class.csv")
    assert header[:6] == [
        *("class", "num_gt", "num_difficult", "num_detections", "ap_11point", "ap_area")
    ]
    assert header[6:] == ["ap_11point_low", "ap_11point_high", "ap_area_low", "ap_area_high"]
    assert dog[:4] == ["dog, hot", "2", "1", "1"] and float(dog[5]) == 0.5
    assert cat == ["cat", "0", "0", "2"] + [""] * 6
    header, *rows = read_csv(tmp_path / "errors.csv")
    assert [dict(zip(header, row, strict=True))["confusion"] for row in rows] == ["0", "1"]
    assert [dict(zip(header, row, strict=True))["top_correct"] for row in rows] == ["1", "0"]
    assert read_csv(tmp_path / "confusions.csv")[1:] == [["cat", "dog, hot", "1", "1"]]
    assert read_csv(tmp_path / "pr_curves.csv") == [
        ["class", "iou", "recall", "precision", "score"],
        ["dog, hot", "0.5", "0.5", "1.0", "0.5"],
    ]
    header, *rows = read_csv(tmp_path / "proposal_recall.csv")
    assert header == ["num_proposals", "iou_threshold", "recall"]
    assert rows[0] == ["1", "0.5", "0.5"] and rows[-1] == ["1", "0.5:0.95", "0.5"]
    assert len(rows) == 12


def test_coco(tmp_path):
    names = result_files.write_evaluation(small("coco", dataset=None, num_resamples=0), tmp_path)
    assert "proposal_recall.csv" not in names
    values = json.loads((tmp_path / "results.json").read_text())
    assert values["AP50"] == pytest.approx(51 / 101) and values["ARl"] is None
    assert values["intervals"] is values["proposal_recall"] is None
    assert [curve["iou"] for curve in values["pr_curves"]] == ["0.5", "0.75", "0.5:0.95"] * 2
    assert len(values["pr_curves"][0]["recall"]) == 101
    header, dog, _ = read_csv(tmp_path / "per_class.csv")
    assert header[:6] == ["class", "num_gt", "num_crowd", "num_detections", "AP", "AP50"]
    assert header[-1] == "ARl" and len(header) == 4 + 12
    assert dog[:4] == ["dog, hot", "2", "1", "1"] and float(dog[5]) == pytest.approx(51 / 101)
    assert len(read_csv(tmp_path / "pr_curves.csv")) == 1 + 3 * 101


@pytest.mark.parametrize("metric", ["voc", "coco"])
def test_nothing_at_all(metric, tmp_path):
    summary = make(dataset(), {}, metric)
    assert summary.intervals is None
    result_files.write_evaluation(summary, tmp_path)
    values = json.loads((tmp_path / "results.json").read_text())
    assert values["num_images"] == 0 and values["errors"]["gains"]["missed"] is None
    assert len(read_csv(tmp_path / "per_class.csv")) == 2


def test_scalars():
    values = scalars.of_summary(small())
    assert values["mAP_area"] == values["AP_area/dog, hot"] == 0.5
    assert np.isnan(values["AP_area/cat"])
    assert {name: n for name, n in values.items() if "_recall" in name} == {
        "RPN_recall/1_proposals": 0.5
    }
    assert values["error_gain/confusion"] == 0.5
    assert values["interval/map_area_low"] <= 0.5 <= values["interval/map_area_high"]
    values = scalars.of_summary(small("coco", dataset=None, num_resamples=0))
    assert values["COCO/AP"] == values["COCO_AP/dog, hot"] == pytest.approx(51 / 101)
    assert not any(name.startswith(("RPN", "interval")) for name in values)


def test_the_fingerprint_is_of_the_ground_truth_alone():
    data, _ = random_images(np.random.default_rng(0))
    truth = ground_truth.of_records(data)
    expected = ground_truth.fingerprint(truth)
    shuffled = dataset(*data.records[::-1], class_names=data.class_names)
    assert ground_truth.fingerprint(ground_truth.of_records(shuffled)) == expected
    names = ("class 2", "class 0", "class 1")
    renamed = dataclasses.replace(truth, class_names=names, labels=(truth.labels + 1) % 3)
    assert ground_truth.fingerprint(renamed) == expected
    for change in (
        {"class_names": names},
        {"image_ids": (*truth.image_ids[:-1], "x")},
        {"labels": (truth.labels + 1) % 3},
        {"bboxes": truth.bboxes + 1e-6},
        {"crowd": ~truth.crowd},
        {"rows": truth.rows[::-1]},
    ):
        assert ground_truth.fingerprint(dataclasses.replace(truth, **change)) != expected


@pytest.mark.parametrize(("given", "source"), [("dense", "dense"), ("ss.npz", "file")])
def test_recall_is_named_after_whose_the_proposals_are(given, source, tmp_path):
    summary = small(settings={"test_proposals": given})
    values = scalars.of_summary(summary)
    assert [name for name in values if "_recall" in name] == [f"{source}_recall/1_proposals"]
    result_files.write_evaluation(summary, tmp_path)
    values = json.loads((tmp_path / "results.json").read_text())
    assert values["proposal_recall"]["source"] == source
