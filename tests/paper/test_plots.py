"""The plots: standalone SVG files with every mark in its place."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from keras_frcnn.evaluation.metrics.proposal_recall import CURVE_IOU_THRESHOLDS
from keras_frcnn.paper import plots, rows
from tests.paper.conftest import curve_result, row_result

SVG = "{http://www.w3.org/2000/svg}"


def test_curves(tmp_path):
    values = np.linspace(1, 0, len(CURVE_IOU_THRESHOLDS))
    found = [curve_result(0, values), curve_result(1, missing="x"), curve_result(2, values / 2)]
    names = plots.write_curves(found, tmp_path)
    assert names == ["figure_4_300.svg", "figure_4_1000.svg", "figure_4_2000.svg"]
    for name, number in zip(names, rows.FIGURE_NUM_PROPOSALS, strict=True):
        svg = ElementTree.parse(tmp_path / name).getroot()
        assert svg.tag == f"{SVG}svg"
        assert svg.get("aria-label") == f"Recall of {number} proposals against IoU"
        groups = svg.findall(f"{SVG}g")
        # Each source always has the same colour.
        assert [g.get("class") for g in groups] == ["blue", "green"]
        points = groups[1].find(f"{SVG}polyline").get("points").split()
        x, y = map(float, points[0].split(","))
        assert (x, y) == (40, (256 + 10) / 2)  # IoU 0.5, recall 0.5
        texts = [text.text for text in svg.findall(f"{SVG}text")]
        assert texts[-2:] == ["Selective Search", "RPN of ZF"]  # the legend below the chart
        *_, width, height = map(float, svg.get("viewBox").split())
        last = svg.findall(f"{SVG}text")[-1]
        assert float(last.get("y")) < height - 18 and width == 480
        assert ".green { color: #" in svg.find(f"{SVG}style").text


def test_without_any_curve_there_is_no_plot(tmp_path):
    assert plots.write_curves([curve_result(0, missing="x")], tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_classes(tmp_path):
    classes = {"aeroplane": 35.0, "sofa": None}
    found = row_result("vgg16_shared_07", values={0: 1.0}, per_class={0: classes})
    name = plots.write_classes(6, found, tmp_path)
    assert name == "table_6_vgg16_shared_07.svg"
    svg = ElementTree.parse(tmp_path / name).getroot()
    bars = [r for r in svg.findall(f"{SVG}rect") if r.find(f"{SVG}title") is not None]
    assert [bar.find(f"{SVG}title").text for bar in bars] == ["aeroplane: 35"]
    assert float(bars[0].get("width")) == pytest.approx(0.35 * (472 - 80), abs=0.1)
    marks = [p for p in svg.findall(f"{SVG}path") if p.get("class") == "mark"]
    assert len(marks) == 20
    assert marks[0].find(f"{SVG}title").text == "aeroplane: 70"
    assert marks[0].get("d").startswith(f"M{80 + 0.7 * (472 - 80):.1f} ")
