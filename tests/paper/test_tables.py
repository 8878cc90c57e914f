"""The tables as Markdown and CSV, letter by letter."""

import numpy as np
import pytest

from keras_frcnn.evaluation.metrics.proposal_recall import CURVE_IOU_THRESHOLDS
from keras_frcnn.paper import results, rows, tables
from keras_frcnn.paper.settings import Settings
from tests.paper.conftest import curve_result, row_result


@pytest.fixture
def settings(tmp_path):
    return Settings(output_dir=tmp_path / "out", configs_dir=tmp_path)


def test_a_table_as_markdown(settings):
    found = [
        row_result("zf_unshared", values={0: 58.04, 1: 59.0}),
        row_result("zf_dense", values={1: 7.25}, missing="not run yet", steps=50),
        row_result("zf_dense_5_scales", missing="needs VOC2007|test", steps=None),
    ]
    assert tables.table(10, found, settings) == (
        "# Table 10: one stage or two: ZF, trained on VOC 2007 trainval, tested on VOC 2007 test\n"
        "\n"
        "| row |  | paper | ours | seeds | steps | start: trained on -> tested on |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
        "| zf_unshared | RPN, unshared, 300 | 58.7 | 58.5 ± 0.7 | 2 | 100 | "
        "random: a (3) -> b (2) |\n"
        "| zf_dense | one stage: dense windows, 1 image scale | 53.8 | "
        "7.2 (other seeds: not run yet) | 1 | 50 of 100 | random: a (3) -> b (2) |\n"
        "| zf_dense_5_scales | one stage: dense windows, 5 image scales | 53.9 | "
        "needs VOC2007\\|test | 0 | ? of 100 | random: a (3) -> b (2) |\n"
    )


def test_the_notes_name_what_differs_from_the_paper(tmp_path):
    shared = Settings(
        output_dir=tmp_path,
        configs_dir=tmp_path,
        budget_minutes=1.5,
        overrides=("--pixel_std=58",),
        replaced_splits={"VOC2007/test": "VOC2007/val"},
    )
    text = tables.table(10, [row_result("zf_dense")], shared)
    assert text.split("\n\n")[1] == (
        "Schedules that take longer than about 1.5 minutes of training steps were shortened to "
        "that, with the learning-rate drops in proportion.\n"
        "All rows were run with --pixel_std=58.\n"
        "VOC2007/val replaces VOC2007/test."
    )


def test_a_table_of_classes(settings):
    name = "vgg16_shared_07"
    classes = {label: 10.0 + i for i, label in enumerate(rows.CLASSES) if label != "sofa"}
    found = row_result(name, values={0: 20.0}, per_class={0: classes})
    lines = tables.table(6, [found], settings, ["a.svg"]).splitlines()
    assert lines[2].startswith("| row |  | mAP | aeroplane | bicycle |")
    assert lines[4].startswith("| vgg16_shared_07 | paper | 69.9 | 70.0 | 80.6 |")
    assert lines[5].startswith("|  | ours | 20.0 | 10.0 | 11.0 |")
    assert lines[5].endswith("| 26.0 | - | 28.0 | 29.0 |")
    assert lines[-1] == "![a.svg](a.svg)"


def test_a_table_as_csv(settings, tmp_path):
    found = [
        row_result("zf_unshared", values={0: 58.0, 1: 59.0}),
        row_result("zf_dense", missing="needs x", steps=None),
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
    classes = row_result("vgg16_shared_07", values={0: 1.0}, per_class={0: {"aeroplane": 12.5}})
    tables.write_table_csv(6, [classes], tmp_path / "t.csv")
    head, line = (row.split(",") for row in (tmp_path / "t.csv").read_text().splitlines())
    cells = dict(zip(head[-40:], line[-40:], strict=True))
    assert (cells["paper_aeroplane"], cells["ours_aeroplane"]) == ("70.0", "12.5")
    assert (cells["paper_tvmonitor"], cells["ours_tvmonitor"]) == ("67.6", "")


def test_the_figure_in_numbers(settings, tmp_path):
    values = np.linspace(1, 0, len(CURVE_IOU_THRESHOLDS))  # 0.5: 1, 0.6: 0.8, ...
    found = [curve_result(0, values), curve_result(1, missing="needs --edge_model")]
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


def test_the_table_of_times(settings):
    missing = results.TimingResult(row=rows.TIMING_ROWS[0], missing="needs selective_search")
    times = results.TimingResult(
        row=rows.TIMING_ROWS[2], milliseconds=(10.0, 20.0, 30.0, 40.0), device="a processor"
    )
    lines = tables.times_table([missing, times], settings).splitlines()
    assert lines[-3] == (
        "| VGG16, Selective Search + Fast R-CNN: ours | needs selective_search | - | - | - | - |"
    )
    assert lines[-2] == "| ZF, RPN + Fast R-CNN: paper | 31 | 3 | 25 | 59 | 16.9 |"
    assert lines[-1] == (
        "| ZF, RPN + Fast R-CNN: ours, a processor | 10.0 | 20.0 | 30.0 | 40.0 | 25.0 |"
    )
