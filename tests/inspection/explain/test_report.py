"""What an explanation says: the counts, the sentences, the JSON, and the page."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.console import Console
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.inspection.explain import explanations, report
from keras_frcnn.inspection.explain.fates import Fate
from tests import fakes
from tests.inspection import markup
from tests.inspection.conftest import scene
from tests.inspection.explain.test_fates import FAR, NEAR, OBJECT, OFF, trace

NAMES = ("a <b>", "c")


@pytest.fixture(scope="module")
def model():
    return fakes.detector(NAMES, rpn_nms_iou_threshold=0.7, score_threshold=0.4)


@pytest.fixture
def images(model, tmp_path):
    """Two images: one object found beside a wrong detection; one confused, and one ignored."""
    path = tmp_path / "an image.png"
    Image.fromarray(scene(0, 100, 100)).save(path)

    def record(image_id, boxes, labels, difficult):
        boxes = np.array(boxes, np.float32)
        return Record(image_id, str(path), 100, 100, boxes, np.array(labels), np.array(difficult))

    records = [
        record("one", [OBJECT], [0], [False]),
        record("two", [OBJECT, FAR], [0, 1], [False, True]),
    ]
    rpn = [(NEAR, 0.9), (OFF, 0.5)]
    traces = [
        trace(rpn, (0, 1), [(NEAR, (0.9, 0.0)), (OFF, (0.6, 0.1))], detections=(0, 1)),
        trace(rpn, (0,), [(NEAR, (0.2, 0.7))]),
    ]
    return list(explanations.explain_images(model, Dataset(NAMES, records), traces))


def test_objects_are_counted_by_class_and_fate(images):
    counts = explanations.count(images, 2)
    fates = list(Fate)
    assert counts[0, fates.index(Fate.FOUND)] == counts[0, fates.index(Fate.CONFUSED)] == 1
    assert counts.sum() == 2  # the ignored object does not count
    assert [image.num_lost for image in images] == [0, 1]


def test_the_sentences_hold_the_numbers(images):
    assert " ".join(images[1].sentences[0]) == (
        "The best anchor has IoU 0.80 with it; in training it has 1 positive anchor. The RPN gives "
        "the best box that fits a score of 0.900: rank 1 of 2. The best proposal has IoU 0.80. The "
        "best box for a <b> that fits has a score of 0.200; the box head says c 0.70, a <b> 0.20, "
        "background 0.10."
    )
    assert images[1].sentences[1] == [
        "The metric ignores this object: it is marked as difficult, or as a crowd."
    ]


def test_the_scores_are_those_of_the_box_that_decides_the_fate(model, tmp_path):
    nothing = np.zeros(1, int), np.zeros(1, bool)
    record = Record("one", "gone.png", 100, 100, np.array([OBJECT], np.float32), *nothing)
    heads = [(OFF, (0.1, 0.8)), (NEAR, (0.2, 0.1))]  # the box of the best proposal is moved away
    made = trace([(NEAR, 0.9), (OFF, 0.5)], (0, 1), heads)
    (image,) = explanations.explain_images(model, Dataset(NAMES, [record]), [made])
    assert image.explanations[0].fate == Fate.BACKGROUND
    text = " ".join(image.sentences[0])
    assert "IoU 0.80. The best box for a <b> that fits has a score of 0.200; the box head" in text
    assert text.endswith("the box head says background 0.70, a <b> 0.20, c 0.10.")


def test_a_wrong_detection_is_explained(images):
    (wrong,) = images[0].wrong
    assert (wrong["kind"], wrong["label"], wrong["score"]) == ("localisation", 0, 0.6)
    assert wrong["sentences"] == [
        "It comes from proposal 2, which the RPN scores 0.500; the box head says a <b> 0.60, "
        "background 0.30, c 0.10.",
        "IoU with the nearest object, a <b>: 0.40 before and 0.40 after the box head moved it.",
    ]


def test_the_table(images):
    console = Console(width=200, record=True)
    report.print_table(images, NAMES, console)
    lines = [line.split("│") for line in console.export_text().splitlines() if "│" in line]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells == [["a <b>", "2", "1", "1"], ["all", "2", "1", "1"]]


def test_the_json(images, tmp_path):
    report.write_json(images, NAMES, tmp_path / "e.json")
    one, two = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))["images"]
    (found,) = one["objects"]
    assert (found["class"], found["fate"], found["rank"]) == ("a <b>", "found", 1)
    assert found["box_yxyx"] == OBJECT and found["score"] == 0.9
    assert [item["fate"] for item in two["objects"]] == ["confused", "ignored"]
    assert one["wrong_detections"][0]["kind"] == "localisation"


def test_the_page_names_the_colors_of_the_wrong_detections_on_it(images, tmp_path):
    for shown, names in ((images, ["localisation"]), (images[1:], [])):
        report.write_page(images, shown, NAMES, tmp_path / "index.html")
        (legend,) = markup.parse(tmp_path / "index.html").findall(".//div[@class='legend']")
        assert [entry.get("class") for entry in legend.iter("span")] == names
        style = (tmp_path / "index.html").read_text(encoding="utf-8")
        assert ".localisation { color: var(--localisation); }" in style


def test_the_page(images, tmp_path):
    report.write_page(images, images[1:], NAMES, tmp_path / "index.html")
    root = markup.parse(tmp_path / "index.html")
    assert markup.rows(root.find(".//table")) == [["a <b>", "2", "1", "1"]]
    (image,) = markup.images(root)
    assert image.shape == (100, 100, 3)
    assert root.find(".//figcaption/b/a").get("href") == "an%20image.png"
    titles = [markup.text(title) for title in root.iter("dt")]
    assert titles == ["confused", "1 a <b>: confused", "2 c: ignored"]
