"""The results of rows, curves and table 5, from the files of the tasks."""

import json

import numpy as np
import pytest

from keras_frcnn.evaluation.metrics.proposal_recall import CURVE_IOU_THRESHOLDS
from keras_frcnn.paper import results, rows
from tests.paper.conftest import ROWS_BY_NAME


@pytest.fixture
def write_result():
    """Returns a function that writes the results file that ``evaluate`` writes for a row."""

    def write(planner, name, seed, mean, **classes):
        task = planner.evaluation(ROWS_BY_NAME[name], seed)
        task.result.parent.mkdir(parents=True)
        task.result.write_text("{}")
        values = {"map_11point": mean, "map_area": 0.99, "classes": {}}
        for label, ap in classes.items():
            values["classes"][label] = {"ap_11point": ap, "ap_area": 0.99}
        task.result.with_name("results.json").write_text(json.dumps(values))

    return write


# --- rows


def test_mean_and_deviation_over_the_seeds(make_planner, write_result):
    planner = make_planner(seeds=(0, 1, 2, 3))
    for seed, mean in ((0, 0.5), (1, 0.6), (3, 0.7)):
        write_result(planner, "zf_shared", seed, mean, cat=mean / 2, dog=None)
    found = results.row_result(ROWS_BY_NAME["zf_shared"], planner, lambda task: "")
    assert found.values == pytest.approx({0: 50.0, 1: 60.0, 3: 70.0})
    assert found.mean == pytest.approx(60.0)
    assert found.standard_deviation == pytest.approx(10.0)  # the sample's: divided by 2, not by 3
    assert found.missing == "not run yet"
    assert found.class_mean("cat") == pytest.approx(30.0)
    assert found.class_mean("dog") is None and found.class_mean("bird") is None
    assert (found.steps, found.full_steps) == (240000, 240000)


def test_one_seed_has_no_deviation_and_none_has_no_mean(make_planner, write_result):
    planner = make_planner()
    none = results.row_result(ROWS_BY_NAME["zf_shared"], planner, lambda task: "needs x")
    assert (none.mean, none.standard_deviation, none.missing) == (None, None, "needs x")
    write_result(planner, "zf_shared", 0, 0.5)
    one = results.row_result(ROWS_BY_NAME["zf_shared"], planner, lambda task: "needs x")
    assert (one.mean, one.standard_deviation, one.missing) == (50.0, None, "")


def test_a_test_set_without_objects_has_no_mean(make_planner, write_result):
    planner = make_planner()
    write_result(planner, "zf_shared", 0, None)
    found = results.row_result(ROWS_BY_NAME["zf_shared"], planner, lambda task: "")
    assert found.mean is None and found.missing == "the test images have no objects"


def test_detections_for_a_server_have_no_mean(make_planner, devkit, tmp_path):
    (devkit / "VOC2007" / "Annotations" / "e.xml").unlink()
    planner = make_planner()
    task = planner.evaluation(ROWS_BY_NAME["zf_shared"], 0)
    task.result.parent.mkdir(parents=True)
    task.result.write_text("{}")
    found = results.row_result(ROWS_BY_NAME["zf_shared"], planner, lambda task: "")
    folder = tmp_path / "out" / "evaluations" / "zf_shared" / "seed_0"
    assert found.mean is None
    assert found.missing == f"for the evaluation server: {folder / 'voc'}"


def test_voc_2012_is_measured_by_area(make_planner, write_result):
    planner = make_planner()
    assert results.metric_of(ROWS_BY_NAME["vgg16_shared_12"], planner) == "area"
    write_result(planner, "vgg16_shared_12", 0, 0.5)
    found = results.row_result(ROWS_BY_NAME["vgg16_shared_12"], planner, lambda task: "")
    assert found.mean == pytest.approx(99.0)
    for row in rows.rows_of(2) + rows.rows_of(6) + rows.rows_of(10):
        assert results.metric_of(row, planner) == "11point"


# --- curves


def test_recall_of_files_of_proposals(devkit, make_planner, monkeypatch):
    """Two images with a 10 x 10 object each. The proposals of seed 1 cover half of the second."""
    from keras_frcnn import data
    from keras_frcnn.data import proposals_file
    from keras_frcnn.data.dataset import Dataset, Record

    def record(name, difficult):
        boxes = np.array([[0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
        labels, flags = np.zeros(2, np.int32), np.array([False, difficult])
        return Record(name, "x.jpg", 100, 100, boxes, labels, flags)

    planner = make_planner(seeds=(0, 1))
    dataset = Dataset(("cat",), [record("d", True), record("e", True)])
    loads = []
    monkeypatch.setattr(data, "load", lambda *given: loads.append(given) or dataset)
    curve = rows.CURVES[2]
    assert curve.name == "rpn_zf"
    for seed, far in ((0, 10.0), (1, 5.0)):
        task = planner.curve(curve, seed)
        task.result.parent.mkdir(parents=True, exist_ok=True)
        boxes = [np.array([[0, 0, 10, x]], np.float32) for x in (10.0, far)]
        found = [(name, box, np.ones(1)) for name, box in zip("de", boxes, strict=True)]
        proposals_file.write(task.result, found)
    found = results.curve_result(curve, planner, lambda task: "")
    assert loads[0][0].data_dir == (str(devkit),) and loads[0][1] == ("VOC2007/test",)
    # Seed 0 covers both at any IoU, seed 1 the second one up to IoU 0.5.
    assert found.recall.shape == (3, len(CURVE_IOU_THRESHOLDS))
    assert found.recall[0].tolist() == [1.0, *[0.75] * (len(CURVE_IOU_THRESHOLDS) - 1)]
    assert (found.num_seeds, found.missing) == (2, "")
    results.curve_result(curve, planner, lambda task: "")
    assert len(loads) == 2  # computed once and kept


def test_a_curve_needs_annotations(devkit, make_planner):
    (devkit / "VOC2007" / "Annotations" / "e.xml").unlink()
    planner = make_planner()
    task = planner.curve(rows.CURVES[0], 0)
    task.result.parent.mkdir(parents=True)
    task.result.write_bytes(b"proposals")
    found = results.curve_result(rows.CURVES[0], planner, lambda task: "")
    assert found.recall is None
    assert found.missing == "needs the annotations of the test images"


def test_a_method_without_randomness_has_one_seed(make_planner):
    planner = make_planner(seeds=(0, 1))
    found = results.curve_result(rows.CURVES[0], planner, lambda task: "needs x")
    assert (found.recall, found.num_seeds, found.missing) == (None, 0, "needs x")
    task = planner.curve(rows.CURVES[0], 0)
    task.result.parent.mkdir(parents=True)
    task.result.touch()
    task.result.with_suffix(".recall.json").write_text("[[1.0]]")
    found = results.curve_result(rows.CURVES[0], planner, lambda task: "needs x")
    assert (found.recall.tolist(), found.num_seeds, found.missing) == ([[1.0]], 1, "")


# --- table 5


def test_times(make_planner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planner = make_planner(lambda method: f"needs {method}")
    (obstacle,) = {planner.benchmark(row.benchmark).obstacle for row in rows.TIMING_ROWS}
    assert obstacle == "needs the benchmarks, which are in a checkout of the repository"
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__main__.py").touch()
    found = results.timing_results(planner, lambda task: task.obstacle)
    assert [one.missing for one in found] == ["needs selective_search", *["not run yet"] * 2]
    task = planner.benchmark("paper")
    task.result.parent.mkdir(parents=True)
    task.result.write_text("{}")
    milliseconds = [{"milliseconds": {"median": 10.0 * (i + 1)}} for i in range(4)]
    document = {
        "environment": {"processor": "a processor", "gpu": None},
        "cases": [
            {"backbone": backbone, "status": "ok", "rows": milliseconds}
            for backbone in ("zf", "vgg16")
        ],
    }
    task.result.with_name("times.json").write_text(json.dumps(document))
    found = results.timing_results(planner, lambda task: task.obstacle)
    assert [one.missing for one in found] == ["needs selective_search", "", ""]
    assert found[2].row.backbone == "zf" and found[2].device == "a processor"
    assert found[2].milliseconds == (10.0, 20.0, 30.0, 40.0)
