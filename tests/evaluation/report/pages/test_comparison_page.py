"""The page of a comparison: it shows the values of the comparison, and images in pairs."""

import numpy as np
import pytest

from keras_frcnn.evaluation.analysis.comparison import compare
from keras_frcnn.evaluation.analysis.summary import summarize
from keras_frcnn.evaluation.metrics import ground_truth
from keras_frcnn.evaluation.metrics.detections import to_table
from keras_frcnn.evaluation.report.formats import percent, signed_percent
from keras_frcnn.evaluation.report.pages import comparison_page
from tests.evaluation.handmade import found
from tests.inspection import markup

A, B, FAR = (20, 20, 60, 60), (60, 100, 100, 180), (100, 10, 118, 40)


@pytest.fixture
def write(tmp_path):
    """Returns a function that compares and returns the comparison and the root of its page."""

    def run(data, before, after, names=("x", "y"), metric="voc", resamples=20, dataset=True):
        truth = ground_truth.of_dataset(data, metric)
        summaries = [
            summarize(
                *(truth, to_table(detections, truth), metric),
                dataset=data if dataset else None,
                num_resamples=0,
            )
            for detections in (before, after)
        ]
        comparison = compare(names, *summaries, resamples)
        path = tmp_path / comparison_page.FILE
        comparison_page.write(comparison, path)
        return comparison, markup.parse(path)

    return run


BEFORE = {"p1": found((A, 0.9)), "p2": found((A, 0.8), (FAR, 0.9))}
AFTER = {"p1": found((B, 0.9, 1)), "p2": found((A, 0.8)), "p3": found((B, 0.7, 1))}


@pytest.fixture
def data(images):
    return images(("p1", (A, 0)), ("p2", (A, 0)), ("p3", (B, 1)), ("p4", (A, 1, True)))


def test_the_values_are_the_comparisons(data, write):
    comparison, root = write(data, BEFORE, AFTER, names=("runs/<a>", "runs/b"))
    body = markup.text(root.find("body"))
    assert "A: runs/<a>" in body and "B: runs/b" in body
    a, b = (s.result.map_area for s in (comparison.before, comparison.after))
    interval = comparison.differences.means["map_area"]
    assert f"A, mAP{percent(a, 1)}" in body and f"B, mAP{percent(b, 1)}" in body
    ends = f"{signed_percent(interval.low, 1)} to {signed_percent(interval.high, 1)}"
    assert f"B - A{signed_percent(b - a, 1)}95%: {ends}" in body
    classes, errors = root.iter("table")
    pairs = zip(comparison.before.result.classes, comparison.after.result.classes, strict=True)
    for row, (one, two) in zip(markup.rows(classes), pairs, strict=True):
        change = signed_percent(two.ap_area - one.ap_area, 1)
        assert row[:4] == [one.name, percent(one.ap_area, 1), percent(two.ap_area, 1), change]
    # A has two correct detections from 0.8 on and one on the background; B has two from 0.7 on,
    # and one on the background.
    shown = {row[0]: row[1:] for row in markup.rows(errors)}
    assert shown["correct"] == ["2", "2", "+0"] and shown["background"] == ["1", "1", "+0"]
    assert shown["missed"] == ["1", "1", "+0"]
    assert "recall): A 0.8, B 0.7." in body


def test_bars_begin_in_the_middle(data, write):
    comparison, root = write(data, BEFORE, AFTER)
    cat, dog = (e.get("style") for e in root.iter("span") if "change" in e.get("class", ""))
    changes = [
        b.ap_area - a.ap_area
        for a, b in zip(
            comparison.before.result.classes, comparison.after.result.classes, strict=True
        )
    ]
    assert changes[0] < 0 < changes[1]
    assert cat == f"left:{50 + 50 * changes[0]:.1f}%;right:50.0%"
    assert dog == f"left:50.0%;right:{50 - 50 * changes[1]:.1f}%"


def test_images_that_changed_stand_in_pairs(data, write):
    _, root = write(data, BEFORE, AFTER)
    captions = [markup.text(caption) for caption in root.iter("figcaption")][1:]
    assert captions == [
        *("p3 A: 1 missed", "p3 B: 1 correct"),
        *("p2 A: 1 correct, 1 background", "p2 B: 1 correct"),
        *("p1 A: 1 correct", "p1 B: 1 background, 1 missed"),
    ]
    assert len(markup.images(root)) == 6
    assert "3 of 4 images changed" in markup.text(root.find("body"))


@pytest.mark.parametrize("metric", ["voc", "coco"])
@pytest.mark.parametrize("detections", [{}, BEFORE])
def test_whatever_there_is_makes_a_page(metric, detections, data, images, write):
    for some, found_ in ((data, detections), (images(("p1",), ("p2",)), {}), (images(), {})):
        for resamples in (0, 3):
            _, root = write(some, found_, found_, metric=metric, resamples=resamples)
            body = markup.text(root.find("body"))
            assert "nan" not in body and "0 of" in body.replace("only the annotations", "0 of")
            assert markup.images(root) == []
    _, root = write(data, BEFORE, AFTER, metric=metric, dataset=False)
    assert "only the annotations were read" in markup.text(root.find("body"))


def test_the_most_worsened_come_first(images, write):
    data = images(("a", (A, 0), (B, 0)), ("b", (A, 0)))
    before = {"a": found((A, 0.9), (B, 0.9)), "b": found((A, 0.9))}
    _, root = write(data, before, {"a": found((A, 0.9))})
    captions = [markup.text(caption) for caption in root.iter("figcaption")][1:]
    assert [caption[:4] for caption in captions] == ["b A:", "b B:", "a A:", "a B:"]


def test_a_page_of_images_is_bounded(images, write):
    data = images(*((f"p{n}", (A, 0)) for n in range(20)))
    after = {f"p{n}": found((A, np.float32(0.5))) for n in range(20)}
    _, root = write(data, {}, after)
    assert len(markup.images(root)) == 12
