"""TFRecords of tf.Example: those of other tools read rightly, every fault by name."""

import math

import numpy as np
import pytest
from PIL import Image

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.data.images.spans import open_image
from keras_frcnn.data.readers import tfrecord_file
from tests.data.handmade import BOXES, example, features, image, write, write_label_map


@pytest.fixture
def make(tmp_path):
    """Returns a function that writes examples, with a label map of cat and dog, and loads them."""
    write_label_map(tmp_path, "cat", "dog")

    def run(*examples, splits=("train",), class_names=None, **settings):
        payloads = [e if isinstance(e, bytes) else example(e) for e in examples]
        if payloads:
            write(tmp_path / "train.tfrecord", *payloads)
        settings = {"data_dir": str(tmp_path)} | settings
        return data.load(Config(dataset="tfrecord", **settings), splits, class_names)

    return run


def refusal(make, *examples, **settings):
    with pytest.raises(ValueError) as caught:
        make(*examples, **settings)
    return str(caught.value)


# --- what is read -------------------------------------------------------------------------------


def test_reads_what_other_tools_write(make, tmp_path):
    dataset = make(features())
    (record,) = dataset.records
    assert dataset.class_names == ("cat", "dog")
    assert (record.image_id, record.height, record.width) == ("a.jpg", 40, 60)
    assert record.boxes.tolist() == BOXES and record.boxes.dtype == np.float32
    assert record.labels.tolist() == [0, 1] and record.labels.dtype == np.int32
    assert record.difficult.tolist() == [False, False] and record.orientation == 1
    assert dataset.truth is None and dataset.skipped == []
    assert record.path == str(tmp_path / "train.tfrecord")
    with open_image(record.path, record.span) as file:
        assert file.read() == image()


def test_records_come_in_the_order_of_the_files(make, tmp_path):
    for shard, names in enumerate((("c", "a"), ("b",), ())):
        payloads = [example(features(source_id=name)) for name in names]
        write(tmp_path / f"val-{shard:05}-of-00003.tfrecord", *payloads)
    assert [r.image_id for r in make(splits=("val",)).records] == ["c", "a", "b"]
    again = make(splits=("val-00001*", "val"))  # each file once
    assert [r.image_id for r in again.records] == ["b", "c", "a"]
    write(tmp_path / "test.tfrecord", example(features(source_id="a")))
    names = [r.image_id for r in make(splits=("val", "test")).records]
    assert names == ["val/c", "val/a", "val/b", "test/a"]


def test_an_image_without_objects(make):
    bare = features(**{f"object__bbox__{side}": None for side in ("ymin", "xmin", "ymax", "xmax")})
    for key in ("image/object/class/text", "image/object/class/label"):
        del bare[key]
    empty = features(source_id="b") | {
        key: [] for key in features() if key.startswith("image/object")
    }
    dataset = make(bare, empty)
    assert [r.boxes.shape for r in dataset.records] == [(0, 4), (0, 4)]
    assert dataset.class_names == ("cat", "dog")


def test_difficult_objects_and_crowd_regions_are_flagged(make):
    first = features(object__difficult=[0, 1])
    second = features(source_id="b", object__is_crowd=[1, 0], object__difficult=[0, 0])
    flags = [r.difficult.tolist() for r in make(first, second).records]
    assert flags == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "a.jpg"),
        ({"source_id": None}, "f.png"),
        ({"source_id": ""}, "f.png"),
        ({"source_id": None, "filename": None}, "train.tfrecord:1"),
        ({"source_id": "139"}, "139"),
        ({"source_id": "139", "object__is_crowd": [0, 0]}, 139),
        ({"source_id": "139", "object__area": [1.0, 2.0]}, 139),
        ({"source_id": "0139", "object__area": [1.0, 2.0]}, "0139"),
        ({"source_id": "0", "object__area": [1.0, 2.0]}, 0),
        ({"source_id": "9" * 5000, "object__area": [1.0, 2.0]}, "9" * 5000),
        ({"source_id": "139", "id": "139", "object__area": [1.0, 2.0]}, "139"),
        ({"source_id": "x", "id": 139}, 139),
    ],
)
def test_image_ids(make, changes, expected):
    (record,) = make(features(**{"filename": "f.png"} | changes)).records
    assert record.image_id == expected and type(record.image_id) is type(expected)


def test_the_truth_of_cocos_data(make):
    first = features(source_id="7", object__is_crowd=[0, 1], object__area=[12.5, 99.0])
    second = features(source_id="9", object__is_crowd=[0, 0])
    truth = make(first, second).truth
    assert truth.image_ids == (7, 9) and truth.rows.tolist() == [0, 0, 1, 1]
    assert truth.labels.tolist() == [0, 1, 0, 1] and truth.category_ids == (1, 2)
    assert truth.bboxes.tolist() == [[7.5, 10, 37.5, 10], [0, 20, 30, 20]] * 2
    assert truth.areas.tolist() == [12.5, 99, 375, 600]
    assert truth.crowd.tolist() == [False, True, False, False]


def test_areas_and_flags_stay_with_their_objects(make):
    values = features(
        object__bbox__ymin=[0.9, 0.5], object__is_crowd=[0, 1], object__area=[12.5, 99.0]
    )
    dataset = make(values, on_bad_record="skip")
    assert dataset.records[0].difficult.tolist() == [True]
    assert dataset.truth.areas.tolist() == [99] and dataset.truth.crowd.tolist() == [True]
    assert dataset.truth.labels.tolist() == [1]


# --- classes ------------------------------------------------------------------------------------


def test_classes_by_text_or_by_label(make):
    for missing in ("object__class__text", "object__class__label"):
        (record,) = make(features(**{missing: None})).records
        assert record.labels.tolist() == [0, 1]


def test_a_sparse_label_map_gives_the_category_ids(make, tmp_path):
    text = "item {id: 18 name: '/m/1' display_name: 'dog'} item {id: 3 name: 'cat'}"
    (tmp_path / "label_map.pbtxt").write_text(text)
    values = features(object__class__text=["cat", "/m/1"], object__class__label=[3, 18])
    dataset = make(values)
    assert dataset.class_names == ("dog", "cat") and dataset.truth.category_ids == (18, 3)
    assert dataset.records[0].labels.tolist() == [1, 0]
    chosen = make(values, class_names=("cat", "fox", "dog"))
    assert chosen.truth.category_ids == (3, 19, 18)
    assert chosen.records[0].labels.tolist() == [0, 2]


def test_without_label_map_the_records_tell_the_classes(make, tmp_path):
    (tmp_path / "label_map.pbtxt").unlink()
    other = features(source_id="b", object__class__text=["fox", "dog"], object__class__label=[9, 2])
    dataset = make(features(), other)
    assert dataset.class_names == ("cat", "dog", "fox") and dataset.truth is None
    assert [r.labels.tolist() for r in dataset.records] == [[0, 1], [2, 1]]
    only_texts = features(object__class__label=None, object__class__text=["zebra", "ant"])
    assert make(only_texts).class_names == ("ant", "zebra")
    only_numbers = features(object__class__text=None)
    words = refusal(make, only_numbers)
    assert "record 1: object 1: image/object/class/label 1 is an unknown class" in words
    (tmp_path / "names.txt").write_text("one\ntwo\n")
    named = make(only_numbers, classes_file=str(tmp_path / "names.txt"))
    assert named.class_names == ("one", "two") and named.records[0].labels.tolist() == [0, 1]


def test_the_classes_file_chooses_and_orders(make, tmp_path):
    (tmp_path / "names.txt").write_text("dog\nfox\ncat\n")
    dataset = make(features(), classes_file=str(tmp_path / "names.txt"))
    assert dataset.class_names == ("dog", "fox", "cat")
    assert dataset.records[0].labels.tolist() == [2, 0]


def test_unknown_classes_are_named(make):
    words = refusal(make, features(object__class__text=["cat", "fox"], object__class__label=None))
    assert "record 1: object 2 (fox): unknown class; known are cat, dog" in words
    words = refusal(make, features(object__class__label=[2, 1]))
    assert "object 1 (cat): image/object/class/label 2 is 'dog' in the label map" in words
    assert "image/object/class/text says 'cat'" in words
    dataset = make(features(), class_names=("dog",), on_bad_record="skip")
    assert dataset.records[0].labels.tolist() == [0]
    assert "train.tfrecord: image a.jpg: object of class cat: unknown" in dataset.skipped[0]


def test_label_maps_that_differ_are_refused(make, tmp_path):
    write(tmp_path / "a" / "x.tfrecord", example(features()))
    write(tmp_path / "b" / "x.tfrecord", example(features()))
    write_label_map(tmp_path / "a", "cat", "dog")
    write_label_map(tmp_path / "b", "dog", "cat")
    assert "b/label_map.pbtxt: expected the same" in refusal(make, splits=("a/x", "b/x"))
    (tmp_path / "b" / "label_map.pbtxt").unlink()
    assert len(make(splits=("a/x", "b/x")).records) == 2  # the first folder's is for both


# --- faults -------------------------------------------------------------------------------------

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoded": None}, "image/encoded: it is missing"),
        ({"encoded": ""}, "image/encoded: it is empty"),
        ({"encoded": 3}, "image/encoded: expected bytes. Received: integers"),
        ({"encoded": [b"a", b"b"]}, "image/encoded: expected one value. Received: 2"),
        ({"encoded": b"no image"}, "image/encoded: unreadable image"),
        ({"encoded": image()[:-40]}, "image/encoded: unreadable image"),
        ({"encoded": image(form="PNG")[:-4]}, "image/encoded: unreadable image: the file is"),
        ({"height": 41}, "image/height: the image is 40 x 60"),
        ({"width": 40, "height": 60}, "image/height: the image is 40 x 60"),
        ({"width": 10**18}, "The annotation says: 1000000000000000000"),
        ({"width": 60.0}, "image/width: expected integers. Received: floats"),
        ({"object__bbox__xmin": None}, "image/object/bbox/xmin: expected as many values as"),
        ({"object__bbox__ymax": [0.5]}, "bbox/ymax: expected as many values as image/object/bbox/"),
        ({"object__bbox__ymin": ["a", "b"]}, "bbox/ymin: expected floats or integers. Received: b"),
        (
            {"object__class__text": ["cat"]},
            "class/text: expected one value for each of the 2 boxes",
        ),
        ({"object__class__label": [1]}, "class/label: expected one value for each of the 2 boxes"),
        ({"object__class__text": ["cat", b"\xff"]}, "class/text: expected a text in UTF-8"),
        ({"object__class__text": ["cat", "a\nb"]}, "class/text: expected a text in UTF-8"),
        (
            {"object__class__text": None, "object__class__label": None},
            "image/object/class/text and image/object/class/label: both are missing",
        ),
        ({"object__difficult": [1]}, "image/object/difficult: expected one value for each"),
        ({"object__difficult": [0, 2]}, "image/object/difficult: expected 0 or 1. Received: 2"),
        ({"object__is_crowd": [0, -1]}, "image/object/is_crowd: expected 0 or 1. Received: -1"),
        ({"object__area": [1.0, NAN]}, "image/object/area: expected finite numbers"),
        ({"object__area": [-1.0, 2.0]}, "image/object/area: expected finite numbers"),
        ({"object__area": [INF, 2.0]}, "image/object/area: expected finite numbers"),
        ({"source_id": "a\x00b"}, "image/source_id: expected a text in UTF-8"),
        ({"object__bbox__pixels": [1.0] * 7}, "bbox/pixels: expected four values for each of the"),
        ({"object__bbox__pixels": [1.0] * 8}, "bbox/pixels: expected the boxes of image/object/"),
        ({"object__bbox__pixels": [NAN] * 8}, "bbox/pixels: expected the boxes of image/object/"),
        ({"object__coco": "[1"}, "image/object/coco: expected JSON"),
        ({"object__coco": "[" * 100_000}, "image/object/coco: expected JSON"),
        ({"object__coco": "{}"}, "image/object/coco: expected a list. Received: dict"),
        ({"object__coco": "[3]"}, "image/object/coco[0]: expected an object. Received: 3"),
        (
            {"object__coco": '[{"bbox": [1, 2, 3, NaN], "category_id": 1}]'},
            "image/object/coco[0]: bbox must be four finite numbers",
        ),
        (
            {"object__coco": '[{"bbox": [1, 2, 3, 4], "category_id": 7}]'},
            "image/object/coco[0]: category_id must be that of one of the categories",
        ),
    ],
)
def test_a_fault_is_named_and_its_image_left_out(make, tmp_path, changes, words):
    whole = features(source_id="b")
    text = refusal(make, whole, features(**changes))
    assert f"1 problem(s) in the data:\n  - {tmp_path}/train.tfrecord: record 2: " in text
    assert words in text
    dataset = make(whole, features(**changes), on_bad_record="skip")
    assert [record.image_id for record in dataset.records] == ["b"]
    assert len(dataset.skipped) == 1 and dataset.skipped[0].endswith("; image left out")


@pytest.mark.parametrize(
    ("side", "value", "words", "left"),
    [
        ("xmin", NAN, "is not finite", 1),
        ("ymax", INF, "is not finite", 1),
        ("ymin", -INF, "is not finite", 1),
        ("xmax", 0.125, "has no area", 1),
        ("ymax", 0.1, "has no area", 1),
        ("xmax", 45.0, "leaves the image of height 40, width 60", 2),  # pixels, not fractions
        ("ymin", -0.1, "leaves the image of height 40, width 60", 2),
        ("xmin", -1e30, "leaves the image of height 40, width 60", 2),
    ],
)
def test_an_impossible_box_is_named(make, side, value, words, left):
    key = f"object__bbox__{side}"
    values = features(**{key: [value, features()[f"image/object/bbox/{side}"][1]]})
    text = refusal(make, values)
    assert "record 1: object 1 (cat): box " in text and words in text
    dataset = make(values, on_bad_record="skip")
    assert len(dataset.records[0].labels) == left and len(dataset.skipped) == 1
    assert ("box clipped" if left == 2 else "object dropped") in dataset.skipped[0]


def test_a_box_beside_the_image_is_dropped(make):
    values = features(object__bbox__xmin=[1.1, 0.0], object__bbox__xmax=[1.2, 0.5])
    dataset = make(values, on_bad_record="skip")
    assert dataset.records[0].boxes.tolist() == BOXES[1:]
    assert "object dropped" in dataset.skipped[0]


def test_up_to_a_pixel_outside_is_clipped_silently(make):
    values = features(object__bbox__xmax=[1.0 + 1 / 60, 0.5], object__bbox__ymin=[-1 / 40, 0.5])
    assert make(values).records[0].boxes[0].tolist() == [0, 7.5, 20, 60]


def test_an_image_id_twice_is_a_problem(make):
    text = refusal(make, features(), features())
    assert "record 2: the image id 'a.jpg' occurs a second time" in text
    assert len(make(features(), features(), on_bad_record="skip").records) == 1


def test_damaged_records_are_named_and_the_others_read(make, tmp_path):
    payloads = [example(features(source_id=name)) for name in "abc"]
    write(tmp_path / "train.tfrecord", *payloads)
    content = bytearray((tmp_path / "train.tfrecord").read_bytes())
    content[len(payloads[0]) + 16 + 100] ^= 1  # in the second payload
    (tmp_path / "train.tfrecord").write_bytes(content)
    assert "train.tfrecord: record 2: the record is damaged" in refusal(make)
    assert [r.image_id for r in make(on_bad_record="skip").records] == ["a", "c"]
    (tmp_path / "train.tfrecord").write_bytes(content[:-20])
    dataset = make(on_bad_record="skip")
    assert [r.image_id for r in dataset.records] == ["a"]
    assert "record 3: the file is cut off; what follows in the file left out" in dataset.skipped[0]


def test_no_tf_example_or_none_at_all(make, tmp_path):
    assert "record 1: expected a tf.Example. Received" in refusal(make, b"\xff" * 30)
    assert "record 1: image/encoded: it is missing" in refusal(make, b"")
    write(tmp_path / "train.tfrecord")
    assert "expected readable images in train. Received: none" in refusal(make)
    (tmp_path / "label_map.pbtxt").unlink()
    bare = {key: value for key, value in features().items() if "object" not in key}
    assert "expected objects in train, or class names" in refusal(make, bare)


def test_a_rotated_image_is_read_as_displayed(make):
    exif = Image.Exif()
    exif[0x0112] = 6
    encoded = image(exif=exif)
    assert "image/height: the image is 60 x 40" in refusal(make, features(encoded=encoded))
    (record,) = make(features(encoded=encoded, height=60, width=40)).records
    assert (record.height, record.width, record.orientation) == (60, 40, 6)
    assert record.boxes[0].tolist() == [15, 5, 30, 30]


def test_a_long_record_is_refused(make, monkeypatch):
    monkeypatch.setattr(tfrecord_file, "MAX_BYTES", 1000)
    assert "more than 1000 are refused" in refusal(make, features())
