import dataclasses

import numpy as np
import pytest

from keras_frcnn.config import DataSource
from keras_frcnn.data import dataset
from keras_frcnn.data.dataset import Reading, Record
from keras_frcnn.data.problems import DataError, Problem, ProblemKind, Remedy


def _record(**changes):
    record = Record(
        image_id="a",
        path="folder/a.jpg",
        height=10,
        width=20,
        boxes=np.array([[0, 0, 10, 20], [1, 2, 3, 4]], np.float32),
        labels=np.array([0, 1], np.int32),
        difficult=np.array([False, True]),
    )
    return dataclasses.replace(record, **changes)


def _boxes(*second):
    return np.array([[0, 0, 10, 20], second], np.float32)


def test_check_accepts_boxes_up_to_the_border_and_images_without_objects():
    dataset.check(_record(), ("cat", "dog"))
    nothing = np.zeros(0)
    dataset.check(_record(boxes=np.zeros((0, 4)), labels=nothing, difficult=nothing), ("cat",))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"boxes": _boxes(1, np.nan, 3, 4)}, "object 2: .*not finite"),
        ({"boxes": _boxes(1, 2, np.inf, 4)}, "object 2: .*not finite"),
        ({"boxes": _boxes(3, 2, 3, 4)}, "object 2: .*no area"),
        ({"boxes": _boxes(1, 4, 3, 2)}, "object 2: .*no area"),
        ({"boxes": _boxes(-0.5, 2, 3, 4)}, "object 2: .*leaves the image"),
        ({"boxes": _boxes(1, -0.5, 3, 4)}, "object 2: .*leaves the image"),
        ({"boxes": _boxes(1, 2, 10.5, 4)}, "object 2: .*leaves the image"),
        ({"boxes": _boxes(1, 2, 3, 20.5)}, "object 2: .*leaves the image"),
        ({"labels": np.array([2, 0])}, "object 1: label 2"),
        ({"labels": np.array([0, -1])}, "object 2: label -1"),
        ({"labels": np.array([0])}, "labels and difficult"),
        ({"difficult": np.array([False])}, "labels and difficult"),
        ({"boxes": np.zeros((2, 5))}, "boxes must be"),
        ({"height": 0}, "positive"),
        ({"orientation": 9}, "orientation"),
    ],
)
def test_check_names_file_object_and_fault(changes, words):
    with pytest.raises(ValueError, match=f"folder/a.jpg: .*{words}|folder/a.jpg: {words}"):
        dataset.check(_record(**changes), ("cat", "dog"))


BOX = "as written"


@pytest.mark.parametrize(
    ("box", "inside", "kind", "remedy", "words"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], None, None, None),
        ([-1, -0.5, 11, 20.5], [0, 0, 10, 20], None, None, None),
        ([1, 2, 3, 21.5], [1, 2, 3, 20], "outside_box", "box clipped", "leaves the image of heigh"),
        ([1, 22, 3, 25], None, "outside_box", "object dropped", "leaves the image of height 10"),
        ([1, 20, 3, 20.5], None, "outside_box", "object dropped", "lies outside the image"),
        ([3, 2, 3, 4], None, "degenerate_box", "object dropped", "has no area"),
        ([1, 5, 3, 4], None, "degenerate_box", "object dropped", "has no area"),
        ([1, 5, 3, 5 + 1e-9], None, "degenerate_box", "object dropped", "no area in float32"),
        ([1, np.nan, 3, 4], None, "degenerate_box", "object dropped", "is not finite"),
        ([1, 2, np.inf, 4], None, "degenerate_box", "object dropped", "is not finite"),
    ],
)
def test_a_box_is_fitted_to_its_image(box, inside, kind, remedy, words):
    box = np.array(box, np.float64)
    fitted, problem = dataset.fit_box(box, 10, 20, BOX)
    assert inside == (None if fitted is None else fitted.tolist())
    if kind is None:
        assert problem is None and fitted.dtype == np.float32
    else:
        assert (problem.kind, problem.remedy) == (kind, remedy)
        assert words in problem.text and problem.text.endswith(f"({BOX})")
        np.testing.assert_array_equal(problem.box, box)


def test_a_box_of_an_image_of_unknown_size_can_only_leave_it_at_the_top_and_left():
    fitted, problem = dataset.fit_box(np.array([-5.0, 2, 3, 1e300]), np.inf, np.inf, BOX)
    assert fitted.tolist() == [0, 2, 3, np.inf] and problem.text == f"box leaves the image ({BOX})"
    assert dataset.fit_box(np.array([5.0, 2, 6, 1e300]), np.inf, np.inf, BOX)[1] is None


def _problem(kind, remedy, **fields):
    return Problem(kind=kind, message="wrong", remedy=remedy, **fields)


@pytest.fixture
def reading():
    """A sound image, one with a dropped object and one to be left out for two reasons."""
    dropped = _problem(ProblemKind.DEGENERATE_BOX, Remedy.DROP, file="a.xml", object="object 2")
    note = _problem(ProblemKind.MISSING_SIZE, Remedy.NONE)
    broken = _problem(ProblemKind.BROKEN_IMAGE, Remedy.LEAVE_OUT, file="c.jpg")
    second = _problem(ProblemKind.SIZE_MISMATCH, Remedy.LEAVE_OUT, file="c.xml")
    records = [
        _record(image_id="b", problems=(note,)),
        _record(image_id="a", problems=(note, dropped)),
        _record(image_id="c", problems=(broken, second, dropped)),
    ]
    line = _problem(ProblemKind.OUTSIDE_PATH, Remedy.LEAVE_OUT, file="train.txt")
    return Reading(("cat", "dog"), records, [line], further_class_names=("cow",))


SOURCE = DataSource("voc", "data", ("train",), "skip")


def test_settling_leaves_out_what_cannot_be_used_and_counts_each_image_once(reading):
    found = reading.settle(SOURCE)
    assert [record.image_id for record in found.records] == ["b", "a"]
    assert found.class_names == ("cat", "dog")
    assert all(record.problems == () for record in found.records)
    assert found.skipped == [
        "train.txt: wrong; image left out",
        "c.jpg: wrong; image left out",
        "a.xml: object 2: wrong; object dropped",
    ]


def test_settling_raises_one_error_that_carries_the_problems(reading):
    strict = dataclasses.replace(SOURCE, on_bad_record="error")
    with pytest.raises(
        DataError, match=r"3 problem\(s\) in the data:\n  - train.txt: wrong"
    ) as error:
        reading.settle(strict)
    assert [problem.kind for problem in error.value.problems] == [
        "outside_path", "broken_image", "degenerate_box",
    ]  # fmt: skip


def test_settling_needs_an_image(reading):
    reading.records = reading.records[2:]
    with pytest.raises(
        DataError, match="data: expected readable images in train. Received: none:\ntrain"
    ):
        reading.settle(SOURCE)


def test_map_in_threads_keeps_the_order():
    assert list(dataset.map_in_threads(lambda n: n * n, range(300))) == [n * n for n in range(300)]
