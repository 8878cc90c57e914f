import dataclasses

import numpy as np
import pytest

from keras_frcnn.data import dataset
from keras_frcnn.data.dataset import Record


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


def test_settle_shows_ten_problems_and_counts_all():
    problems = [(f"file {number}", "object dropped") for number in range(12)]
    with pytest.raises(ValueError) as error:
        dataset.settle(problems, "error")
    text = str(error.value)
    assert "12 problem(s)" in text and "file 9" in text and "file 10" not in text
    assert "2 more" in text and "--on_bad_record=skip" in text


def test_settle_returns_a_line_for_each_problem_or_nothing():
    assert dataset.settle([("a: broken", "image left out")], "skip") == [
        "a: broken; image left out"
    ]
    assert dataset.settle([], "error") == []


def test_read_files_keeps_the_order():
    assert list(dataset.read_files(lambda n: n * n, range(300))) == [n * n for n in range(300)]
