"""The list of rows, the commands, and all files of a request."""

import io
import re

import pytest

from keras_frcnn.console import Console
from keras_frcnn.paper import report
from keras_frcnn.paper.request import make_request
from keras_frcnn.tasks.runner import Runner

TIMES = re.compile(r"\d+ ms")


@pytest.fixture
def asked(make_planner):
    """Returns a function that makes the arguments of the report's functions."""

    def make(tables=(), figures=(), row_names=(), **changes):
        planner = make_planner(**changes)
        planner.settings.output_dir.mkdir(exist_ok=True)
        return make_request(tables, figures, row_names), planner, Runner(print).obstacle

    return make


def test_commands_that_cannot_run_say_why(asked):
    lines = report.command_lines(
        *asked(
            row_names=["zf_edge_boxes"],
            method_obstacle=lambda method: "needs a model",
            budget_minutes=1.0,
        )
    )
    assert len(lines) == 5
    assert lines[0] == "# proposals edge_boxes-VOC2007-trainval: needs a model"
    assert lines[-1] == "# evaluate zf_edge_boxes, seed 0: needs a model"


def test_commands_say_which_flags_are_not_known_yet(asked):
    lines = report.command_lines(*asked(row_names=["zf_dense"], budget_minutes=1.0))
    dry_run, train, evaluate = lines
    assert dry_run.startswith("keras-frcnn train --flagfile=") and "--dry_run" in dry_run
    assert train.endswith(
        "# more flags: the schedule of zf_dense is not known until its steps are timed"
    )
    assert evaluate.startswith("keras-frcnn evaluate --checkpoint=")


def test_commands_of_the_benchmarks(asked):
    lines = report.command_lines(*asked([5]))
    assert lines[1].startswith("python -m benchmarks paper --size=600x1000")


def test_the_list_shows_what_there_is_and_what_is_missing(asked):
    console = Console(width=240, file=io.StringIO())
    everything = asked([4, 5, 10], [4], method_obstacle=lambda method: f"needs {method}")
    console.print(report.status_table(*everything))
    lines = [line for line in console.file.getvalue().splitlines() if "│" in line]
    row = next(line for line in lines if "vgg16_shared_12" in line)
    assert "67.0" in row and "needs VOC2012/trainval" in row
    assert "not run yet" in next(line for line in lines if "zf_dense " in line)
    assert "needs edge_boxes" in next(line for line in lines if "EdgeBoxes" in line)
    assert [n for line in lines for n in TIMES.findall(line)] == ["1830 ms", "198 ms", "59 ms"]
    assert "needs selective_search" in next(line for line in lines if "1830 ms" in line)


def test_all_files_are_written_even_without_results(asked):
    everything = asked([5, 6, 10], [4], method_obstacle=lambda method: "needs it")
    folder = everything[1].settings.output_dir
    names = ["table_5.md", "table_6.md", "table_10.md", "figure_4.md"]
    assert report.write(*everything) == [folder / name for name in names]
    written = {file.name for file in folder.iterdir()}
    assert written == {*names, "table_6.csv", "table_10.csv", "figure_4.csv"}
    text = (folder / "table_6.md").read_text()
    assert text.count("needs VOC2012/trainval") == 2
    assert text.count("needs --coco_dir") == 2
    assert text.count("needs it") == 1
