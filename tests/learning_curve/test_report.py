"""The files of a learning curve and the advice in them, letter by letter where people read it."""

import csv
import dataclasses
import json
import xml.etree.ElementTree as ElementTree

import pytest

from keras_frcnn.console import Console
from keras_frcnn.learning_curve import advice, report
from keras_frcnn.learning_curve.estimates import Estimate
from keras_frcnn.learning_curve.results import Curve, Point, Results
from tests.inspection import markup

DONE = (
    Point(25, {0: 0.25, 1: 0.35}, Estimate(0.3, 0.1, 0.5), ""),
    Point(50, {0: 0.5}, Estimate(0.5, 0.4, 0.6), "not run yet"),
    Point(100, {}, None, "failed: a | b"),
)
CURVES = [
    Curve("random", DONE, (25, 50)),
    Curve(
        "cats",
        (
            Point(25, {0: 0.6, 1: 0.6}, Estimate(0.6, 0.55, 0.65), ""),
            Point(50, {0: 0.7, 1: 0.7}, Estimate(0.7, 0.65, 0.75), ""),
            Point(100, {0: 0.75, 1: 0.75}, Estimate(0.75, 0.7, 0.8), ""),
        ),
        (25, 50, 100),
        Estimate(0.021, 0.004, 0.039),
    ),
]


@pytest.fixture
def written(plan, evaluated, tmp_path):
    names = report.write(Results(plan, evaluated, 100), CURVES, tmp_path)
    assert names == [f"learning_curve.{end}" for end in ("html", "md", "svg", "csv", "json")]
    return {name.partition(".")[2]: tmp_path / name for name in names}


def test_markdown(written):
    lines = written["md"].read_text().splitlines()
    assert lines[0] == "# Learning curve"
    assert lines[2] == (
        "random: the data cannot tell whether more labels would help: at least 2 seeds are needed "
        "that are done at the same 2 or more sizes."
    )
    assert lines[4] == (
        "cats: 100 more labelled images, 200 instead of 100: +2.1 mAP (95%: 0.4 to 3.9). They "
        "would help."
    )
    assert lines[6:11] == [
        "| start | images | seeds | mAP | ± 1 seed | 95% | missing |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| random | 25 | 2 | 30.0 | 7.1 | 10.0 to 50.0 |  |",
        "| random | 50 | 1 | 50.0 | - | 40.0 to 60.0 | not run yet |",
        "| random | 100 | 0 |  |  |  | failed: a \\| b |",
    ]
    assert lines[-3:] == [advice.METHOD, "", "![learning_curve.svg](learning_curve.svg)"]


def test_csv_and_json(written):
    head, first, second, third, *_ = csv.reader(written["csv"].read_text().splitlines())
    assert head == [
        "start",
        "images",
        "seeds",
        "mean",
        "standard_deviation",
        "low",
        "high",
        "missing",
    ]
    assert first[:4] == ["random", "25", "2", "0.3"] and first[5:] == ["0.1", "0.5", ""]
    assert float(first[4]) == pytest.approx(0.0707, abs=1e-4)
    assert second == ["random", "50", "1", "0.5", "", "0.4", "0.6", "not run yet"]
    assert third == ["random", "100", "0", "", "", "", "", "failed: a | b"]
    document = json.loads(written["json"].read_text())
    assert document["figure"] == "map_area" and document["more"] == 100
    assert document["curves"][1]["gain"] == {"value": 0.021, "low": 0.004, "high": 0.039}
    assert document["curves"][0]["points"][0]["values"] == {"0": 0.25, "1": 0.35}
    assert document["advice"] == advice.sentences(CURVES, 100)


def test_the_chart_shows_means_intervals_and_the_extrapolation(written):
    svg = "{http://www.w3.org/2000/svg}"
    root = ElementTree.parse(written["svg"]).getroot()
    groups = root.findall(f"{svg}g")
    titles = [group.find(f"{svg}title").text for group in groups]
    assert titles == [
        *("random", *["random: 95%"] * 2),
        *("cats", *["cats: 95%"] * 3, "cats, extrapolated"),
    ]
    points = [
        [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
        for line in root.iter(f"{svg}polyline")
    ]
    # From 25 to 200 images on a logarithmic axis from 40 to 472: 50 and 100 lie at thirds.
    # From 10 to 80 percent up an axis from 256 to 10.
    xs, ys = zip(*points[3], strict=True)
    assert xs == (40, 184, 328)
    assert ys == pytest.approx([256 - 246 * (v - 10) / 70 for v in (60, 70, 75)], abs=0.06)
    assert [x for x, _ in points[-1]] == [328, 472]
    assert points[-1][1][1] == pytest.approx(256 - 246 * 67.1 / 70, abs=0.06)
    assert {group.get("class") for group in groups} == {"blue", "orange"}
    texts = [text.text for text in root.findall(f"{svg}text")]
    assert {"25", "50", "100", "200"} <= set(texts) and texts[-2:] == ["random", "cats"]


def test_the_page(written):
    root = markup.parse(written["html"])
    text = markup.text(root)
    assert "+2.1 mAP (95%: 0.4 to 3.9). They would help." in text and advice.METHOD in text
    (table,) = root.iter("table")
    assert markup.rows(table)[0] == ["random", "25", "2", "30.0", "7.1", "10.0 to 50.0", ""]
    assert len(list(root.iter("svg"))) == 1


def test_ticks_that_would_overlap_are_left_out(plan, evaluated, tmp_path):
    plan = dataclasses.replace(plan, sizes=(25, 200, 205))
    points = tuple(Point(n, {0: 0.5}, Estimate(0.5, 0.4, 0.6), "") for n in plan.sizes)
    report.write(Results(plan, evaluated, 100), [Curve("one", points)], tmp_path)
    texts = {text.text for text in ElementTree.parse(tmp_path / "learning_curve.svg").iter()}
    assert {"25", "200", "305"} <= texts and "205" not in texts


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_figures_that_are_all_the_same_are_drawn(plan, evaluated, tmp_path, value):
    same = tuple(Point(n, {0: value}, Estimate(value, value, value), "") for n in plan.sizes)
    report.write(Results(plan, evaluated, 100), [Curve("one", same)], tmp_path)
    texts = [text.text for text in ElementTree.parse(tmp_path / "learning_curve.svg").iter()]
    low = min(value, 0.9)
    assert {f"{100 * low:g}", f"{100 * low + 5:g}", f"{100 * low + 10:g}"} <= set(texts)


def test_without_any_result_the_files_say_so(plan, evaluated, tmp_path):
    points = tuple(Point(size, {}, None, "not run yet") for size in plan.sizes)
    report.write(Results(plan, evaluated, 100), [Curve("one", points)], tmp_path)
    assert "| one | 25 | 0 |  |  |  | not run yet |" in (tmp_path / "learning_curve.md").read_text()


def test_the_console_shows_the_same_table(capsys):
    Console(width=120).print(report.table(CURVES))
    output = capsys.readouterr().out
    assert "10.0 to 50.0" in output and "failed: a | b" in output


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        ((0.02, 0.001, 0.04), "They would help."),
        ((0.02, 0.0, 0.04), "The data cannot tell whether they would help."),
        ((0.0, -0.02, 0.03), "The data cannot tell whether they would help."),
        ((0.004, 0.001, 0.009), "They would help little, by less than 1 point."),
        ((-0.03, -0.05, -0.01), "They would help little, by less than 1 point."),
    ],
)
def test_the_verdict(gain, verdict):
    curve = dataclasses.replace(CURVES[1], gain=Estimate(*gain))
    (sentence,) = advice.sentences([curve], 100)
    assert sentence.endswith(verdict)


def test_the_best_start_is_named_with_its_lead():
    behind = Estimate(0.456, 0.3, 0.6)
    points = (Point(100, {0: 0.3}, Estimate(0.3, 0.2, 0.4), ""),)
    curves = [Curve("random", points, behind=behind), CURVES[1], Curve("third", DONE)]
    assert advice.sentences(curves, 100)[-1] == (
        "With 100 images, cats is the best start; random is 45.6 points lower (30.0 to 60.0)."
    )


def test_the_time_that_is_left(plan, capsys):
    for start, step in (("random", 60.0), ("cats", 6.0)):
        task = plan.timing(start)
        task.result.parent.mkdir(parents=True, exist_ok=True)
        times = {"images": 9, "phases": [{"step": step, "proposals": 0}], "evaluation": 3.0}
        task.result.write_text(json.dumps(times))
    for row in plan.rows[:-2]:
        task = plan.evaluation(row)
        task.result.parent.mkdir(parents=True)
        task.result.write_text("{}")
    training = plan.training(plan.rows[-2])
    training.result.parent.mkdir(parents=True)
    training.result.write_text("{}")  # trained, but not evaluated
    table, estimate = report.time_table(plan)
    # An evaluation of random, and both of cats: 1 + 10 + 1 minutes.
    assert estimate == "estimate: 12 min for 2 rows, without start-up"
    Console(width=100).print(table)
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "1 of 6" in line]
    assert [line[1] for line in lines] == ["random", "cats"]
    assert "1 h 40 min" in " ".join(lines[0]) and "10 min" in " ".join(lines[1])
