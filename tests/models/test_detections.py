"""The detections of an image, as a user meets them: counted, chosen, drawn and converted."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.drawing.canvas import class_color
from keras_frcnn.models.detections import DetectionBatch, ImageDetections

NAMES = ("cat", "dog", "bus")
BOXES = np.array([[10, 20, 40, 60], [0, 0, 30.5, 10], [5, 5, 9, 9]], np.float32)
SCORES = np.array([0.75, 0.5, 0.25], np.float32)
LABELS = np.array([1, 0, 1], np.int32)


@pytest.fixture
def found():
    return ImageDetections(BOXES, SCORES, LABELS, NAMES)


@pytest.fixture
def nothing():
    return ImageDetections(BOXES[:0], SCORES[:0], LABELS[:0], NAMES)


# --- a sequence and a dict ------------------------------------------------------------------------


def test_each_detection_has_its_box_score_label_and_name(found):
    assert len(found) == 3 and found
    rows = [(box.tolist(), score, label, name) for box, score, label, name in found]
    assert rows == [
        ([10, 20, 40, 60], 0.75, 1, "dog"),
        ([0, 0, 30.5, 10], 0.5, 0, "cat"),
        ([5, 5, 9, 9], 0.25, 1, "dog"),
    ]
    for one in (found[1], found[-2], found[np.int64(1)]):
        assert (one.score, one.label, one.class_name) == (0.5, 0, "cat")
        assert type(one.score) is float and type(one.label) is int
        np.testing.assert_array_equal(one.box, [0, 0, 30.5, 10])
    with pytest.raises(IndexError):
        found[3]


def test_nothing_found_is_false_and_has_no_detections(nothing):
    assert len(nothing) == 0 and not nothing and list(nothing) == []
    assert nothing.to_coco(1) == []
    assert repr(nothing) == "<0 detections: none>"


@pytest.mark.parametrize(
    ("chosen", "scores"),
    [
        (slice(2), [0.75, 0.5]),
        (np.array([False, True, True]), [0.5, 0.25]),
        ([2, 0], [0.25, 0.75]),
        (np.array([1]), [0.5]),
        (LABELS == 2, []),
    ],
)
def test_some_of_them_are_chosen_as_in_an_array(found, chosen, scores):
    some = found[chosen]
    assert type(some) is ImageDetections and some.class_names == NAMES
    assert some.scores.tolist() == scores
    assert some.boxes.shape == (len(scores), 4) and some.labels.shape == (len(scores),)


def test_the_arrays_are_there_by_name_as_in_a_dict(found):
    assert found["boxes"] is found.boxes and found["labels"] is LABELS
    assert found["num_detections"] == found.num_detections == 3
    assert dict(found).keys() == {"boxes", "scores", "labels", "num_detections"}
    assert dict(found.items())["scores"] is found.scores is found.values()[1]
    assert "boxes" in found and "masks" not in found
    with pytest.raises(KeyError, match="masks"):
        found["masks"]


def test_the_text_tells_the_best(found):
    assert repr(found) == "<3 detections: dog 0.75, cat 0.50, dog 0.25>"
    assert repr(found[[0] * 7]).endswith("dog 0.75, dog 0.75, and 2 more>")


# --- drawn ----------------------------------------------------------------------------------------


def test_a_drawing_shows_every_box_on_a_copy_of_the_image():
    image = np.zeros((100, 120, 3), np.uint8)
    found = ImageDetections(BOXES[:1], SCORES[:1], LABELS[:1], NAMES, image)
    drawing = found.draw()
    assert isinstance(drawing, Image.Image)
    assert (drawing.mode, drawing.size) == ("RGB", (120, 100))
    assert drawing.getpixel((59, 39)) == class_color(1)  # the last pixel inside the box
    assert drawing.getpixel((60, 40)) == (0, 0, 0)
    assert not image.any()
    assert not np.any(found.draw(score_threshold=0.8))
    assert not np.any(found[:0].draw())


def test_a_file_is_read_for_its_drawing_and_turned_as_it_was(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (100, 50), "white").save(tmp_path / "a.png", exif=exif)
    found = ImageDetections(BOXES[:0], SCORES[:0], LABELS[:0], NAMES, tmp_path / "a.png")
    assert found.draw().size == (50, 100)
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match=r"a\.png: unreadable image: there is no such file"):
        found.draw()


@pytest.mark.parametrize("threshold", [np.nan, -0.1, 2, "0.5"])
def test_an_impossible_threshold_of_a_drawing_is_refused(threshold, found):
    with pytest.raises(ValueError, match="score_threshold must be a number between 0 and 1"):
        found.draw(threshold)


def test_there_is_no_drawing_without_an_image(found):
    with pytest.raises(ValueError, match="draw needs the image"):
        found.draw()


# --- other forms ----------------------------------------------------------------------------------


def test_rows_for_coco_are_plain_numbers(found):
    rows = found[:2].to_coco(np.int64(7))
    expected = [
        {"image_id": 7, "category_id": 2, "bbox": [20, 10, 40, 30], "score": 0.75},
        {"image_id": 7, "category_id": 1, "bbox": [0, 0, 10, 30.5], "score": 0.5},
    ]
    assert rows == expected == json.loads(json.dumps(rows))


@pytest.mark.parametrize("ids", [(17, 18, 6), np.array([17, 18, 6]), dict(bus=6, cat=17, dog=18)])
def test_categories_may_have_ids_of_their_own(found, ids):
    rows = json.loads(json.dumps(found.to_coco("a.jpg", ids)))
    assert [row["category_id"] for row in rows] == [18, 17, 18]
    assert {row["image_id"] for row in rows} == {"a.jpg"}


@pytest.mark.parametrize("ids", [(1, 2), dict(cat=1, dog=2, truck=3)])
def test_a_class_without_a_category_is_an_error(found, ids):
    with pytest.raises(ValueError, match="each of the classes cat, dog, bus. Received: 2 of them"):
        found.to_coco(1, ids)


def test_a_category_that_is_no_whole_number_is_refused_and_not_rounded(found):
    with pytest.raises(TypeError):
        found.to_coco(1, [1.0, 2.5, 3.0])


def test_supervision_gets_xyxy_and_the_class_names(found, nothing, monkeypatch):
    stub = ModuleType("supervision")
    stub.Detections = SimpleNamespace
    monkeypatch.setitem(sys.modules, "supervision", stub)
    detections = found.to_supervision()
    assert detections.xyxy.tolist() == [[20, 10, 60, 40], [0, 0, 10, 30.5], [5, 5, 9, 9]]
    assert detections.confidence.tolist() == SCORES.tolist()
    assert detections.class_id.tolist() == LABELS.tolist() and detections.class_id.dtype == int
    assert detections.data["class_name"].tolist() == ["dog", "cat", "dog"]
    detections = nothing.to_supervision()
    assert detections.xyxy.shape == (0, 4) and detections.data["class_name"].shape == (0,)


def test_a_missing_supervision_is_named(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match="pip install supervision"):
        found.to_supervision()


# --- several images -------------------------------------------------------------------------------


def test_a_batch_is_a_sequence_of_images_and_a_dict_of_padded_arrays():
    padded = {
        "boxes": np.stack([BOXES, BOXES * 0]),
        "scores": np.stack([SCORES, SCORES * 0]),
        "labels": np.stack([LABELS, LABELS * 0 - 1]),
        "num_detections": np.array([2, 0], np.int32),
        "proposals": None,
    }
    batch = DetectionBatch(padded, ["cat", "dog", "bus"], ["a.jpg", "b.jpg"])
    assert [len(found) for found in batch] == [2, 0] and len(batch) == 2
    assert (batch[0].image, batch[-1].image) == ("a.jpg", "b.jpg")
    assert batch[0].scores.tolist() == [0.75, 0.5] and batch[0].class_names == NAMES
    assert [found.image for found in batch[1:]] == ["b.jpg"]
    assert dict(batch).keys() == {"boxes", "scores", "labels", "num_detections"}
    for name, value in batch.items():
        assert value is padded[name] and name in batch
    with pytest.raises(KeyError, match="proposals"):
        batch["proposals"]
    assert repr(batch) == "[<2 detections: dog 0.75, cat 0.50>, <0 detections: none>]"
