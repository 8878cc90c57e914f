"""What was asked for, as work."""

import io
import re

import pytest
from rich.console import Console

from keras_frcnn.paper import run, wanted

TIMES = re.compile(r"\d+ ms")
ZF = ["zf_unshared", "zf_dense", "zf_dense_5_scales"]


def names(found):
    return {number: [row.name for row in some] for number, some in found[0].items()}


def test_tables_figures_and_rows():
    assert names(wanted.choose([10], [], [])) == {10: ZF}
    found = wanted.choose([10, 2], [4], ["zf_unshared"])
    assert names(found) == {10: ["zf_unshared"], 2: ["zf_unshared"]} and found[1]
    # Rows alone: each in the first of its tables.
    found = wanted.choose([], [], ["zf_dense", "vgg16_ss_12"])
    assert names(found) == {4: ["vgg16_ss_12"], 10: ["zf_dense"]} and not found[1]
    everything = wanted.choose([], [], [], everything=True)
    assert list(everything[0]) == [2, 3, 4, 5, 6, 7, 8, 9, 10] and everything[1]
    assert everything[0][5] == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (([1], [], []), "--table: there is no 1. There are: 2, 3, 4, 5, 6, 7, 8, 9, 10"),
        (([], [3], []), "--figure: there is no 3. There are: 4"),
        (
            ([], [], ["zf_sharde"]),
            "--rows: there is no zf_sharde. Did you mean zf_shared? There are: see --list",
        ),
        (([], [], []), "nothing is asked for: give --table, --figure or --rows; see --list"),
        (([2], [], ["zf_dense"]), "--rows: zf_dense is in none of the tables of --table"),
    ],
)
def test_what_cannot_be_meant_is_refused(asked, message):
    with pytest.raises(ValueError) as caught:
        wanted.choose(*asked)
    assert str(caught.value) == message


@pytest.fixture
def work(make_planner):
    def make(*asked, **changes):
        planner = make_planner(**changes)
        planner.settings.output_dir.mkdir(exist_ok=True)
        return wanted.Work(wanted.choose(*asked), planner)

    return make


def test_the_work_of_tables_and_the_figure(work):
    titles = [part.title for part in work([10, 5], [4], [], seeds=(0, 1)).parts]
    assert titles == [
        *(f"evaluate {name}, seed {seed}" for name in ZF for seed in (0, 1)),
        *["proposals selective_search-VOC2007-test"] * 2,
        *["proposals edge_boxes-VOC2007-test"] * 2,
        *(f"proposals rpn-zf_unshared-VOC2007-test-seed_{seed}" for seed in (0, 1)),
        *(f"proposals rpn-vgg16_unshared_07-VOC2007-test-seed_{seed}" for seed in (0, 1)),
        "time an image (fast_rcnn)",
        "time an image (paper)",
    ]


def test_commands_say_what_cannot_run(work):
    lines = work([], [], ["zf_edge_boxes"], problem=lambda m: "needs a model", minutes=1.0)
    lines = lines.commands()
    assert len(lines) == 5
    assert lines[0] == "# proposals edge_boxes-VOC2007-trainval: needs a model"
    assert lines[-1] == "# evaluate zf_edge_boxes, seed 0: needs a model"
    rehearse, train, evaluate = work([], [], ["zf_dense"], minutes=1.0).commands()
    assert rehearse.startswith("keras-frcnn train --flagfile=") and "--dry_run" in rehearse
    assert train.endswith("# and more: steps are not known before zf_dense is rehearsed")
    assert evaluate.startswith("keras-frcnn evaluate --checkpoint=")
    assert work([5], [], []).commands()[1].startswith("python -m benchmarks paper --size=600x1000")


def test_the_list_shows_what_there_is_and_what_is_missing(work, devkit):
    console = Console(width=240, file=io.StringIO())
    work([4, 5, 10], [4], [], problem=lambda method: f"needs {method}").print_list(console)
    text = console.file.getvalue()
    lines = [line for line in text.splitlines() if "│" in line]
    row = next(line for line in lines if "vgg16_shared_12" in line)
    assert "67.0" in row and "needs VOC2012/trainval" in row
    assert "not run yet" in next(line for line in lines if "zf_dense " in line)
    assert "needs edge_boxes" in next(line for line in lines if "EdgeBoxes" in line)
    assert [n for line in lines for n in TIMES.findall(line)] == ["1830 ms", "198 ms", "59 ms"]
    assert "needs selective_search" in next(line for line in lines if "1830 ms" in line)


def test_everything_is_written_though_nothing_is_there(work):
    made = work([5, 6, 10], [4], [], problem=lambda method: "needs it")
    files = made.write(run.Runner(print).problem)
    folder = made._settings.output_dir
    assert files == [
        str(folder / f"{name}.md") for name in ("table_5", "table_6", "table_10", "figure_4")
    ]
    written = {file.name for file in folder.iterdir()}
    csv = {"table_6.csv", "table_10.csv", "figure_4.csv"}
    assert written == {"table_5.md", "table_6.md", "table_10.md", "figure_4.md"} | csv
    text = (folder / "table_6.md").read_text()
    assert (
        text.count("needs VOC2012/trainval") == 2
        and text.count("needs --coco_dir") == 2
        and text.count("needs it") == 1
    )
