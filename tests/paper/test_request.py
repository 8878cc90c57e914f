"""What the user asked to make, and the tasks for it."""

import pytest

from keras_frcnn.paper.request import make_request

ZF = ["zf_unshared", "zf_dense", "zf_dense_5_scales"]


def names(request):
    return {number: [row.name for row in asked] for number, asked in request.rows_of_tables.items()}


def test_tables_figures_and_rows():
    assert names(make_request([10], [], [])) == {10: ZF}
    request = make_request([10, 2], [4], ["zf_unshared"])
    assert names(request) == {10: ["zf_unshared"], 2: ["zf_unshared"]} and request.with_figure
    # Rows without a table are each made for the first of their tables.
    request = make_request([], [], ["zf_dense", "vgg16_ss_12"])
    assert names(request) == {4: ["vgg16_ss_12"], 10: ["zf_dense"]} and not request.with_figure
    everything = make_request([], [], [], default_to_all=True)
    assert list(everything.rows_of_tables) == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert everything.with_figure and everything.with_times
    assert everything.rows_of_tables[5] == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (([1], [], []), "--table: expected 2, 3, 4, 5, 6, 7, 8, 9, 10. Received: 1."),
        (([], [3], []), "--figure: expected 4. Received: 3."),
        (
            ([], [], ["zf_sharde"]),
            "--rows: expected a row that --list shows. Received: zf_sharde. "
            "Did you mean zf_shared?",
        ),
        (
            ([], [], []),
            "expected --table, --figure or --rows, to say what to make (--list shows them)",
        ),
        (([2], [], ["zf_dense"]), "--rows: zf_dense is in none of the tables of --table"),
    ],
)
def test_what_does_not_exist_is_refused(asked, message):
    with pytest.raises(ValueError) as caught:
        make_request(*asked)
    assert str(caught.value) == message


def test_the_tasks_of_tables_and_the_figure(make_planner):
    tasks = make_request([10, 5], [4], []).tasks(make_planner(seeds=(0, 1)))
    assert [task.title for task in tasks] == [
        *(f"evaluate {name}, seed {seed}" for name in ZF for seed in (0, 1)),
        *["proposals selective_search-VOC2007-test"] * 2,
        *["proposals edge_boxes-VOC2007-test"] * 2,
        *(f"proposals rpn-zf_unshared-VOC2007-test-seed_{seed}" for seed in (0, 1)),
        *(f"proposals rpn-vgg16_unshared_07-VOC2007-test-seed_{seed}" for seed in (0, 1)),
        "time an image (fast_rcnn)",
        "time an image (paper)",
    ]
