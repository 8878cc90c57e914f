"""Whether data and settings suit each other: each sentence, and when it is said."""

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.config import Config
from keras_frcnn.data.dataset import Record
from keras_frcnn.data.images.spans import Span
from keras_frcnn.data.problems import Problem, ProblemKind, Remedy
from keras_frcnn.inspection import suitability

CONFIG = Config(train_split=("mine",), eval_split=("theirs",))


def record(boxes, difficult=(), path="a.jpg", side=120, form="voc", span=None):
    """Returns the record of a square image; ``difficult`` are the numbers of difficult objects."""
    flags = np.isin(np.arange(len(boxes)), difficult)
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    labels = np.zeros(len(boxes), np.int32)
    return Record(path, path, side, side, boxes, labels, flags, form=form, span=span)


BOX = [10, 10, 40, 40]
ALL_DIFFICULT = [record([BOX, BOX], (0, 1)), record([BOX], (0,)), record([])]


# --- objects ------------------------------------------------------------------------------------


def test_one_object_is_enough():
    records = [*ALL_DIFFICULT, record([BOX])]
    for is_training in (True, False):
        assert suitability.nothing_to_learn(records, [], CONFIG, is_training) == ""


@pytest.mark.parametrize(
    ("is_training", "words"),
    [
        (
            True,
            "there is no object to learn from in mine (1 images): the annotations hold none. "
            "Check --data_dir and --train_split",
        ),
        (
            False,
            "there is no object to evaluate on in theirs (1 images): the annotations hold none. "
            "Check --data_dir and --eval_split. Or use --eval_split=- to train without evaluations",
        ),
    ],
)
def test_annotations_without_objects(is_training, words):
    assert suitability.nothing_to_learn([record([])], [], CONFIG, is_training) == words


def test_objects_that_are_all_difficult():
    words = suitability.nothing_to_learn(ALL_DIFFICULT, [], CONFIG, True)
    assert words == (
        "there is no object to learn from in mine (3 images): all 3 objects are difficult or crowd "
        "regions, which --difficult=auto leaves out. Use --difficult=keep"
    )
    keep = CONFIG.replace(difficult="keep")
    assert suitability.nothing_to_learn(ALL_DIFFICULT, [], keep, True) == ""
    assert suitability.nothing_to_learn(ALL_DIFFICULT, [], keep, False).endswith(
        "which evaluation leaves out. Or use --eval_split=- to train without evaluations"
    )


def test_objects_that_were_all_dropped():
    kind, remedy = ProblemKind.UNKNOWN_CLASS, Remedy.DROP
    problem = Problem(kind=kind, message="no such class", file="b.json", remedy=remedy)
    words = suitability.nothing_to_learn([record([])], [problem] * 7, CONFIG, True)
    assert words.endswith(
        "7 problems left out images or objects, the first: b.json: no such class. Correct the "
        "annotations"
    )


# --- anchors ------------------------------------------------------------------------------------


SMALL = CONFIG.replace(shorter_side=120, longer_side=120)


def test_anchors_that_all_leave_the_image_are_said():
    records = [record([BOX])] * 2
    assert suitability.nothing_to_learn(records, [], SMALL, True) == (
        "the RPN has nothing to learn from: no object overlaps an anchor inside an image "
        "(--scales=128,256,512; the images have at most 120 x 120 pixels after resizing). Choose "
        "smaller --scales or a larger --shorter_side, or use --rpn_border_anchors; keras-frcnn "
        "anchor-fit suggests scales"
    )
    assert suitability.nothing_to_learn(records, [], SMALL, False) == ""


@pytest.mark.parametrize(
    "settings",
    [
        {"shorter_side": 600, "longer_side": 1000},
        {"rpn_border_anchors": True},
        {"scales": (32.0, 256.0)},
        {"train_shorter_sides": (120, 400)},
        {"train_proposals": "proposals.npz"},
    ],
)
def test_anchors_that_can_be_learned_from(settings):
    assert suitability.nothing_to_learn([record([BOX])], [], SMALL.replace(**settings), True) == ""


def test_only_the_objects_that_training_learns_count_for_anchors():
    settings = SMALL.replace(scales=(64.0,), ratios=(1.0,), shorter_side=80, longer_side=80)
    corner, middle = [0, 0, 8, 8], [30, 30, 60, 60]  # no anchor inside touches the corner
    records = [record([corner, middle], (1,), side=80)]
    assert suitability.nothing_to_learn(records, [], settings, True) != ""
    keep = settings.replace(difficult="keep")
    assert suitability.nothing_to_learn(records, [], keep, True) == ""


# --- limits -------------------------------------------------------------------------------------


def test_limits_below_the_number_of_objects_are_said():
    records = [record([BOX] * 192), record([BOX] * 5, (0,))]
    assert suitability.cut_off(records, CONFIG) == [
        "1 image has more objects (up to 192) than --max_detections=100 lets a detector find, so "
        "recall cannot exceed 53.1 %. Use --max_detections=192 to find all"
    ]
    assert suitability.cut_off(records, CONFIG.replace(max_detections=192)) == []
    (line,) = suitability.cut_off([record([BOX] * 101, form="coco")], CONFIG)
    assert line.endswith("to find all, though COCO's metric counts 100 of an image at most")
    low = CONFIG.replace(max_detections=192, test_post_nms_top_k=3)
    (line,) = suitability.cut_off(records, low)
    assert line.startswith("2 images have more objects (up to 192) than --test_post_nms_top_k=3")
    assert "cannot exceed 3.1 %" in line  # 6 of 196
    assert suitability.cut_off([], CONFIG) == []


# --- images in both sets --------------------------------------------------------------------------


def save(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return record([BOX], path=str(path))


def test_images_in_both_sets_are_found_by_place_and_by_content(tmp_path):
    a, b, c = (
        save(tmp_path / f"{name}.png", seed) for name, seed in (("a", 0), ("b", 1), ("c", 2))
    )
    copy = save(tmp_path / "copy.png", 1)
    assert suitability.shared_images([a, b], [c], CONFIG) == ""
    assert suitability.shared_images([a, b], [c, b], CONFIG) == (
        "1 of the 2 evaluation images are also trained on, so the results will be too good. The "
        f"first is {b.path}"
    )
    words = suitability.shared_images([a, b], [c, copy, a], CONFIG)
    assert words.startswith("2 of the 3") and words.endswith(f"{copy.path}, a copy of {b.path}")
    assert suitability.shared_images([b], [copy], CONFIG.replace(check_images=False)) == ""


def test_images_of_one_file_are_told_apart(tmp_path):
    (tmp_path / "x.tfrecord").write_bytes(b"..aa..bb..aa")
    spans = [Span(0, offset, 2) for offset in (2, 6, 10)]
    a, b, again = (record([], path=str(tmp_path / "x.tfrecord"), span=span) for span in spans)
    assert suitability.shared_images([a], [b], CONFIG) == ""
    assert suitability.shared_images([a], [b, again], CONFIG).startswith("1 of the 2 ")
