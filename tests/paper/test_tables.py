"""What comes out for rows, and the tables to the letter."""

import json

import numpy as np
import pytest

from keras_frcnn.evaluation.metrics.proposal_recall import CURVE_IOU_THRESHOLDS
from keras_frcnn.paper import figure, outcome, rows, tables, times
from keras_frcnn.paper.settings import Settings

BY_NAME = {row.name: row for row in rows.ROWS}


@pytest.fixture
def settings(tmp_path):
    return Settings(output_dir=tmp_path / "out", configs_dir=tmp_path)


@pytest.fixture
def write_result():
    """Returns a function that writes what ``evaluate`` does of a row."""

    def write(planner, name, seed, mean, **classes):
        part = planner.evaluation(BY_NAME[name], seed)
        part.result.parent.mkdir(parents=True)
        part.result.write_text("{}")
        values = {"map_11point": mean, "map_area": 0.99, "classes": {}}
        for label, ap in classes.items():
            values["classes"][label] = {"ap_11point": ap, "ap_area": 0.99}
        part.result.with_name("results.json").write_text(json.dumps(values))

    return write


def outcome_of(name, **changes):
    given = {
        "row": BY_NAME[name],
        "values": {},
        "per_class": {},
        "missing": "",
        "data": "random: a (3) -> b (2)",
        "steps": 100,
        "full_steps": 100,
    }
    return outcome.Outcome(**{**given, **changes})


# --- outcomes


def test_mean_and_spread_over_the_seeds(make_planner, write_result):
    planner = make_planner(seeds=(0, 1, 2, 3))
    for seed, mean in ((0, 0.5), (1, 0.6), (3, 0.7)):
        write_result(planner, "zf_shared", seed, mean, cat=mean / 2, dog=None)
    found = outcome.of_row(BY_NAME["zf_shared"], planner, lambda part: "")
    assert found.values == pytest.approx({0: 50.0, 1: 60.0, 3: 70.0})
    assert found.mean == pytest.approx(60.0)
    assert found.spread == pytest.approx(10.0)  # of single seeds: divided by 2, not by 3
    assert found.missing == "not run yet"
    assert found.class_mean("cat") == pytest.approx(30.0)
    assert found.class_mean("dog") is None and found.class_mean("bird") is None
    assert (found.steps, found.full_steps) == (240000, 240000)


def test_one_seed_has_no_spread_and_none_no_mean(make_planner, write_result):
    planner = make_planner()
    none = outcome.of_row(BY_NAME["zf_shared"], planner, lambda part: "needs x")
    assert (none.mean, none.spread, none.missing) == (None, None, "needs x")
    write_result(planner, "zf_shared", 0, 0.5)
    one = outcome.of_row(BY_NAME["zf_shared"], planner, lambda part: "needs x")
    assert (one.mean, one.spread, one.missing) == (50.0, None, "")


def test_a_result_without_any_object_is_none(make_planner, write_result):
    planner = make_planner()
    write_result(planner, "zf_shared", 0, None)
    found = outcome.of_row(BY_NAME["zf_shared"], planner, lambda part: "")
    assert found.mean is None and found.missing == "no object to find"


def test_detections_for_a_server_are_no_figure(make_planner, devkit, tmp_path):
    (devkit / "VOC2007" / "Annotations" / "e.xml").unlink()
    planner = make_planner()
    part = planner.evaluation(BY_NAME["zf_shared"], 0)
    part.result.parent.mkdir(parents=True)
    part.result.write_text("{}")
    found = outcome.of_row(BY_NAME["zf_shared"], planner, lambda part: "")
    folder = tmp_path / "out" / "evaluations" / "zf_shared" / "seed_0"
    assert found.mean is None
    assert found.missing == f"for the evaluation server: {folder / 'voc'}"


def test_voc_2012_is_measured_by_area(make_planner, write_result):
    planner = make_planner()
    assert outcome.metric_of(BY_NAME["vgg16_shared_12"], planner) == "area"
    write_result(planner, "vgg16_shared_12", 0, 0.5)
    found = outcome.of_row(BY_NAME["vgg16_shared_12"], planner, lambda part: "")
    assert found.mean == pytest.approx(99.0)
    for row in rows.rows_of(2) + rows.rows_of(6) + rows.rows_of(10):
        assert outcome.metric_of(row, planner) == "11point"


# --- tables


def test_a_table_to_the_letter(settings):
    found = [
        outcome_of("zf_unshared", values={0: 58.04, 1: 59.0}),
        outcome_of("zf_dense", values={1: 7.25}, missing="not run yet", steps=50),
        outcome_of("zf_dense_5_scales", missing="needs VOC2007|test", steps=None),
    ]
    assert tables.table(10, found, settings) == (
        "# Table 10: one stage or two: ZF, trained on VOC 2007 trainval, tested on VOC 2007 test\n"
        "\n"
        "| row |  | paper | ours | seeds | steps | start: trained -> tested on |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
        "| zf_unshared | RPN, unshared, 300 | 58.7 | 58.5 ± 0.7 | 2 | 100 | "
        "random: a (3) -> b (2) |\n"
        "| zf_dense | one stage: dense windows, 1 image scale | 53.8 | "
        "7.2 (other seeds: not run yet) | 1 | 50 of 100 | random: a (3) -> b (2) |\n"
        "| zf_dense_5_scales | one stage: dense windows, 5 image scales | 53.9 | "
        "needs VOC2007\\|test | 0 | ? of 100 | random: a (3) -> b (2) |\n"
    )


def test_what_all_rows_share_is_said(tmp_path):
    shared = Settings(
        output_dir=tmp_path,
        configs_dir=tmp_path,
        minutes=1.5,
        overrides=("--pixel_std=58",),
        replaced_splits={"VOC2007/test": "VOC2007/val"},
    )
    text = tables.table(10, [outcome_of("zf_dense")], shared)
    assert text.split("\n\n")[1] == (
        "Not the full schedules: those that take longer were shortened to about 1.5 minutes of "
        "training steps, with the drops of the learning rate in proportion.\n"
        "All rows with --pixel_std=58.\n"
        "VOC2007/val stands for VOC2007/test."
    )


def test_a_table_of_classes(settings):
    name = "vgg16_shared_07"
    classes = {label: 10.0 + i for i, label in enumerate(rows.CLASSES) if label != "sofa"}
    found = outcome_of(name, values={0: 20.0}, per_class={0: classes})
    lines = tables.table(6, [found], settings, ["a.svg"]).splitlines()
    assert lines[2].startswith("| row |  | mAP | aeroplane | bicycle |")
    assert lines[4].startswith("| vgg16_shared_07 | paper | 69.9 | 70.0 | 80.6 |")
    assert lines[5].startswith("|  | ours | 20.0 | 10.0 | 11.0 |")
    assert lines[5].endswith("| 26.0 | - | 28.0 | 29.0 |")
    assert lines[-1] == "![a.svg](a.svg)"


def test_a_table_for_programs(settings, tmp_path):
    found = [
        outcome_of("zf_unshared", values={0: 58.0, 1: 59.0}),
        outcome_of("zf_dense", missing="needs x", steps=None),
    ]
    tables.write_table_csv(10, found, tmp_path / "t.csv")
    head, one, two = (tmp_path / "t.csv").read_text().splitlines()
    assert head == ("row,title,paper,ours,standard_deviation,seeds,steps,full_steps,data,missing")
    assert one.startswith('zf_unshared,"RPN, unshared, 300",58.7,58.5,0.7071')
    assert one.endswith(",2,100,100,random: a (3) -> b (2),")
    assert two == (
        'zf_dense,"one stage: dense windows, 1 image scale",53.8,,,0,,100,'
        "random: a (3) -> b (2),needs x"
    )
    classes = outcome_of("vgg16_shared_07", values={0: 1.0}, per_class={0: {"aeroplane": 12.5}})
    tables.write_table_csv(6, [classes], tmp_path / "t.csv")
    head, line = (row.split(",") for row in (tmp_path / "t.csv").read_text().splitlines())
    cells = dict(zip(head[-40:], line[-40:], strict=True))
    assert (cells["paper_aeroplane"], cells["ours_aeroplane"]) == ("70.0", "12.5")
    assert (cells["paper_tvmonitor"], cells["ours_tvmonitor"]) == ("67.6", "")


# --- figure 4


def test_recall_of_files_of_proposals(devkit, make_planner, monkeypatch):
    """Two images with an object each of 10 x 10; of the second the proposals miss it by half."""
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
        part = planner.curve(curve, seed)
        part.result.parent.mkdir(parents=True, exist_ok=True)
        boxes = [np.array([[0, 0, 10, x]], np.float32) for x in (10.0, far)]
        found = [(name, box, np.ones(1)) for name, box in zip("de", boxes, strict=True)]
        proposals_file.write(part.result, found)
    found = figure.of_curve(curve, planner, lambda part: "")
    assert loads[0][0].data_dir == (str(devkit),) and loads[0][1] == ("VOC2007/test",)
    # Seed 0 covers both at any IoU; seed 1 the second up to IoU 0.5.
    assert found.recall.shape == (3, len(CURVE_IOU_THRESHOLDS))
    assert found.recall[0].tolist() == [1.0, *[0.75] * (len(CURVE_IOU_THRESHOLDS) - 1)]
    assert (found.num_seeds, found.missing) == (2, "")
    figure.of_curve(curve, planner, lambda part: "")
    assert len(loads) == 2  # kept, not computed again


def test_a_curve_needs_annotations(devkit, make_planner):
    (devkit / "VOC2007" / "Annotations" / "e.xml").unlink()
    planner = make_planner()
    part = planner.curve(rows.CURVES[0], 0)
    part.result.parent.mkdir(parents=True)
    part.result.write_bytes(b"proposals")
    found = figure.of_curve(rows.CURVES[0], planner, lambda part: "")
    assert found.recall is None
    assert found.missing == "needs the annotations of the test images"


def test_a_curve_of_a_method_without_chance_is_of_one_seed(make_planner, monkeypatch):
    planner = make_planner(seeds=(0, 1))
    found = figure.of_curve(rows.CURVES[0], planner, lambda part: "needs x")
    assert (found.recall, found.num_seeds, found.missing) == (None, 0, "needs x")
    part = planner.curve(rows.CURVES[0], 0)
    part.result.parent.mkdir(parents=True)
    part.result.touch()
    monkeypatch.setattr(figure, "_recall", lambda file, planner: [[1.0]])
    found = figure.of_curve(rows.CURVES[0], planner, lambda part: "needs x")
    assert (found.num_seeds, found.missing) == (1, "")


def curve_outcome(place, values=None, missing=""):
    recall = None if values is None else np.tile(values, (3, 1))
    number = 0 if values is None else 2
    return figure.CurveOutcome(
        curve=rows.CURVES[place], recall=recall, num_seeds=number, missing=missing
    )


def test_the_figure_in_numbers(settings, tmp_path):
    values = np.linspace(1, 0, len(CURVE_IOU_THRESHOLDS))  # 0.5: 1, 0.6: 0.8, ...
    found = [curve_outcome(0, values), curve_outcome(1, missing="needs --edge_model")]
    lines = tables.figure(found, settings, ["figure_4_300.svg"]).splitlines()
    assert lines[0] == "# Figure 4: recall of proposals against IoU, VOC 2007 test"
    assert lines[4] == "| Selective Search | 300 | 100.0 | 80.0 | 60.0 | 40.0 | 20.0 | 2 |"
    assert lines[7] == "| EdgeBoxes | 300 | needs --edge_model | - | - | - | - | 0 |"
    assert lines[-1] == "![figure_4_300.svg](figure_4_300.svg)"
    tables.write_figure_csv(found, tmp_path / "f.csv")
    written = (tmp_path / "f.csv").read_text().splitlines()
    assert written[:2] == [
        "proposals,number,iou_threshold,recall,seeds",
        "selective_search,300,0.5,1.0,2",
    ]
    assert len(written) == 1 + 3 * len(CURVE_IOU_THRESHOLDS)


# --- table 5


def document(*backbones):
    ms = [{"milliseconds": {"median": 10.0 * (i + 1)}} for i in range(4)]
    cases = [{"backbone": backbone, "status": "ok", "rows": ms} for backbone in backbones]
    return json.dumps({"environment": {"processor": "a processor", "gpu": None}, "cases": cases})


def test_times(make_planner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planner = make_planner(lambda method: f"needs {method}")
    (missing,) = {part.missing for part in times.parts_of(planner).values()}
    assert missing == "needs the repository's benchmarks, in a checkout of it"
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__main__.py").touch()
    found = times.of_rows(planner, lambda part: part.missing)
    assert [one.missing for one in found] == ["needs selective_search", *["not run yet"] * 2]
    part = times.parts_of(planner)["paper"]
    part.result.parent.mkdir(parents=True)
    part.result.write_text("{}")
    part.result.with_name("times.json").write_text(document("zf", "vgg16"))
    found = times.of_rows(planner, lambda part: part.missing)
    lines = tables.times_table(found, planner.settings).splitlines()
    assert lines[-5] == (
        "| VGG16, Selective Search + Fast R-CNN: ours | needs selective_search | - | - | - | - |"
    )
    assert lines[-2] == "| ZF, RPN + Fast R-CNN: paper | 31 | 3 | 25 | 59 | 16.9 |"
    assert lines[-1] == (
        "| ZF, RPN + Fast R-CNN: ours, a processor | 10.0 | 20.0 | 30.0 | 40.0 | 25.0 |"
    )


def test_the_benchmarks_that_time_are_there(make_planner):
    """Their command lines, as the repository's benchmarks take them."""
    from benchmarks import __main__ as benchmarks

    made = []
    for part in times.parts_of(make_planner()).values():
        argv = [part.command, *(flag for flag in part.flags if not flag.startswith("--json"))]
        cases, _ = benchmarks._parse(argv)
        made += [(case.part, case.backbone, case.size, case.batch) for case in cases]
    assert made == [(of.part, of.backbone, (600, 1000), 1) for of in rows.TIMES]
