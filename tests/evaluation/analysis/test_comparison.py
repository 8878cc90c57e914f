import csv
import dataclasses
import io
import json
import re

import numpy as np
import pytest

from keras_frcnn.console import Console
from keras_frcnn.evaluation.analysis import comparison as compare
from keras_frcnn.evaluation.analysis.summary import summarize
from keras_frcnn.evaluation.report import comparison_tables, result_files
from tests.evaluation.handmade import (
    dataset,
    evaluate_voc,
    found,
    random_images,
    record,
    split_errors,
    tables,
)

A, B = [0, 0, 10, 10], [100, 100, 120, 140]
FAR = [500, 500, 510, 510]


def make(data, detections, metric="voc", **options):
    options = {"num_resamples": 0} | options
    return summarize(*tables(data, detections, metric), metric, **options)


@pytest.fixture
def data():
    """Three images; the second has two objects, the fourth nothing to find."""
    return dataset(
        record("1", (A, 0)),
        record("2", (A, 0), (B, 1)),
        record("3", (B, 0)),
        record("4", (A, 0, True)),
        class_names=("[red]cat", "dog"),
    )


BEFORE = {"1": found((A, 0.9)), "2": found((FAR, 0.8), (A, 0.7), (B, 0.6, 1)), "4": found((A, 1))}
AFTER = {"2": found((A, 0.7), (B, 0.6, 1)), "3": found((B, 0.5)), "4": found((FAR, 0.9))}


@pytest.fixture
def comparison(data):
    return compare.compare(("x", "y"), make(data, BEFORE), make(data, AFTER), 20, 1)


def printed(comparison, width=200):
    console = Console(file=io.StringIO(), width=width)
    comparison_tables.print_comparison(comparison, console)
    return console.file.getvalue()


def cells(text, first):
    """Returns the words of the rows that begin with a text."""
    lines = [line.replace("│", " ").split() for line in text.split("\n")]
    return [line for line in lines if line[:1] == [first]]


def test_golden(comparison):
    assert (comparison.before.result.map_area, comparison.after.result.map_area) == pytest.approx(
        ((1 / 3 + 2 / 9 + 1) / 2, (2 / 9 + 2 / 9 + 1) / 2)
    )
    np.testing.assert_allclose(comparison.image_aps[0], [1, 2 / 3, 0, np.nan])
    np.testing.assert_allclose(comparison.image_aps[1], [0, 1, 1, np.nan])
    assert comparison.changed_images().tolist() == [2, 1, 0]
    assert comparison.differences.num_resamples == 20
    assert comparison.differences.means["map_area"].low < 0


def test_of_equal_changes_the_image_with_more_objects_stands_outside():
    data = dataset(
        record(0, (A, 0)), record(1, (A, 0), (B, 0)), record(2, (A, 0), (B, 0)), record(3, (A, 0))
    )
    good = {i: found((A, 0.9), (B, 0.8)) for i in (1, 2)} | {i: found((A, 0.9)) for i in (0, 3)}
    half = ({i: good[i] for i in some} for some in ((2, 3), (0, 1)))
    result = compare.compare(("x", "y"), *(make(data, one) for one in half), num_resamples=0)
    assert result.changed_images().tolist() == [1, 0, 3, 2]
    assert result.differences is None


def test_errors_are_counted_from_the_best_score_on(data):
    low = {"1": found((A, 0.9), (FAR, 0.1)), "2": found((A, 0.8), (B, 0.6, 1))}
    low |= {"3": found((B, 0.7))}
    text = printed(compare.compare(("x", "y"), make(data, AFTER), make(data, low), num_resamples=0))
    assert cells(text, "background") == [["background", "1", "0", "-1", "11.11", "0.00"]]
    assert "detections from the score on that gives the best F1: A 0.5, B 0.6" in text


@pytest.mark.parametrize("seed", range(30))
def test_an_images_ap_is_that_of_all_its_classes_as_one(seed):
    data, detections = random_images(np.random.default_rng(seed))
    split = split_errors(data, detections)
    expected = []
    for row, one in enumerate(data.records):
        # One class a kind would rank apart: shift the classes into different corners instead.
        far = 1000 * one.labels[:, np.newaxis]
        truth = dataset(
            record(
                0,
                *((box, 0, flag) for box, flag in zip(one.boxes + far, one.difficult, strict=True)),
            )
        )
        image = detections.get(one.image_id, found())
        far = 1000 * image["labels"][:, np.newaxis]
        rows = found(*zip(image["boxes"] + far, image["scores"], strict=True))
        expected.append(evaluate_voc(truth, {0: rows}).map_area)
        assert split.truth.image_ids[row] == one.image_id
    np.testing.assert_allclose(compare.image_aps(split), expected, atol=1e-12)


def test_differences_are_the_second_less_the_first(data):
    none, everything = {}, {i: found((A, 0.9), (B, 0.8), (B, 0.7, 1)) for i in ("1", "2", "3")}
    result = compare.compare(("x", "y"), make(data, none), make(data, everything), 50)
    assert result.differences.means["map_area"].low > 0.2
    result = compare.compare(("x", "y"), make(data, everything), make(data, none), 50)
    assert result.differences.means["map_area"].high < -0.2


def test_other_ground_truths_are_refused(data):
    before = make(data, BEFORE)
    other = dataset(*data.records[:-1], record("4", (B, 0, True)), class_names=data.class_names)
    for after, message in (
        (make(other, AFTER), "x and y must be measured with the same ground truth"),
        (make(data, AFTER, "coco"), "the same metric"),
        (make(data, AFTER, iou_threshold=0.75), "the same IoU threshold"),
        (make(dataset(*data.records[::-1], class_names=data.class_names), AFTER), "same order"),
    ):
        with pytest.raises(ValueError, match=message):
            compare.compare(("x", "y"), before, after)


def test_tables(comparison):
    text = printed(comparison)
    assert "A: x\nB: y\n" in text
    (cat,), (mean,) = cells(text, "[red]cat"), cells(text, "mean")
    assert cat[1:4] == ["55.56", "44.44", "-11.11"] and mean[1:4] == ["77.78", "72.22", "-5.56"]
    assert cells(text, "dog") == [["dog", "100.00", "100.00", "+0.00", "+0.00", "to", "+0.00"]]
    assert "do not tell which is better" in text
    assert cells(text, "correct") == [["correct", "3", "3", "+0"]]
    assert cells(text, "background")[0][1:4] == ["1", "1", "+0"]
    assert cells(text, "missed")[0][:5] == ["missed", "objects", "1", "1", "+0"]
    assert cells(text, "3")[-1] == ["3", "0.00", "100.00", "+100.00"]
    assert "3 of 4 images changed" in text
    assert max(map(len, printed(comparison, 80).split("\n"))) <= 80


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.01, 0.02, "B is better"), (-0.02, -0.01, "B is worse"), (-0.01, 0.01, "do not tell")],
)
def test_the_verdict_is_the_intervals(comparison, low, high, words):
    differences = dataclasses.replace(
        comparison.differences, means={"map_area": compare.bootstrap.Interval(low, high)}
    )
    assert words in printed(dataclasses.replace(comparison, differences=differences))


def test_without_intervals_and_changes(data):
    same = make(data, BEFORE)
    text = printed(compare.compare(("x", "y"), same, same, num_resamples=0))
    assert "No interval of the difference" in text and "0 of 4 images changed" in text


def test_many_images_show_both_ends():
    data = dataset(*(record(f"p{i:02}", (A, 0)) for i in range(30)))
    half = ({f"p{i:02}": found((A, 0.9)) for i in some} for some in (range(15), range(15, 30)))
    result = compare.compare(("x", "y"), *(make(data, one) for one in half), num_resamples=0)
    shown = re.findall(r"p\d\d", printed(result))
    assert shown == ["p15", "p16", "p17", "p18", "p19", "p10", "p11", "p12", "p13", "p14"]


def test_files(comparison, tmp_path):
    assert result_files.write_comparison(comparison, tmp_path) == [
        *("comparison.json", "comparison_per_class.csv", "comparison_images.csv")
    ]
    values = json.loads((tmp_path / "comparison.json").read_text())
    assert (values["A"]["name"], values["B"]["name"], values["figure"]) == ("x", "y", "map_area")
    assert values["difference"] == pytest.approx(-1 / 18)
    assert values["differences"]["dog"] == 0
    assert values["A"]["errors"]["correct"] == 3
    low, high = values["intervals"]["means"]["map_area"]
    assert low <= -1 / 18 <= high
    assert values["images"][0] == {"image_id": "3", "ap_A": 0, "ap_B": 1}
    with open(tmp_path / "comparison_per_class.csv", newline="") as file:
        header, cat, _ = csv.reader(file)
    assert header[:4] == ["class", "ap_area_A", "ap_area_B", "difference"]
    assert float(cat[3]) == pytest.approx(-1 / 9)
    with open(tmp_path / "comparison_images.csv", newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["image_id", "3", "2", "1"]


def test_coco(data, tmp_path):
    both = (make(data, one, "coco") for one in (BEFORE, AFTER))
    result = compare.compare(("x", "y"), *both, 5)
    assert "AP %" in printed(result)
    result_files.write_comparison(result, tmp_path)
    values = json.loads((tmp_path / "comparison.json").read_text())
    assert values["figure"] == "AP" and list(values["intervals"]["means"]) == ["AP", "AP50"]
