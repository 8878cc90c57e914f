"""The reader of COCO's form: right boxes and classes, and every fault by name."""

import json
import os
import random

import numpy as np
import pytest
from PIL import Image

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.data import pipeline
from keras_frcnn.data.images import headers
from keras_frcnn.data.images.preprocessing import CAFFE
from keras_frcnn.data.readers import coco, coco_json
from tests.data.conftest import CocoFolder


@pytest.fixture
def folder(tmp_path):
    return CocoFolder(tmp_path)


def load(folder, splits=("train",), class_names=None, **settings):
    root = folder.root if isinstance(folder, CocoFolder) else folder
    return data.load(Config(dataset="coco", data_dir=str(root), **settings), splits, class_names)


def refusal(folder, *args, **settings):
    with pytest.raises(ValueError) as caught:
        load(folder, *args, **settings)
    return str(caught.value)


# --- what is read -------------------------------------------------------------------------------


def test_reads_a_genuine_file(folder):
    crowd = {"iscrowd": 1, "segmentation": {"counts": [1, 2], "size": [40, 60]}, "area": 77.25}
    polygon = {"segmentation": [[1.0, 2.0, 3.0, 4.0]], "area": 42.5}
    folder.add(139, ([10.25, 5.5, 20, 30.25], 18, polygon), ([0, 0, 60, 40], 3, crowd)).add(7)
    dataset = load(folder)
    assert dataset.class_names == ("car", "dog") and dataset.skipped == []
    record, empty = dataset.records
    assert (record.image_id, record.height, record.width) == (139, 40, 60)
    assert record.path == str(folder.root / "train" / "000000000139.jpg")
    np.testing.assert_array_equal(record.boxes, [[5.5, 10.25, 35.75, 30.25], [0, 0, 40, 60]])
    assert (record.boxes.dtype, record.labels.dtype) == (np.float32, np.int32)
    assert record.labels.tolist() == [1, 0] and record.difficult.tolist() == [False, True]
    assert empty.image_id == 7 and empty.boxes.shape == (0, 4)
    truth = dataset.truth
    assert (truth.class_names, truth.category_ids) == (("car", "dog"), (3, 18))
    assert truth.image_ids == (139, 7) and truth.rows.tolist() == [0, 0]
    assert truth.labels.tolist() == [1, 0] and truth.crowd.tolist() == [False, True]
    assert truth.bboxes.tolist() == [[10.25, 5.5, 20, 30.25], [0, 0, 60, 40]]
    assert truth.areas.tolist() == [42.5, 77.25]


def test_objects_come_to_their_images_in_the_order_of_the_file(folder):
    folder.add(2).add(1)
    for x, image_id in ((1, 1), (2, 2), (3, 1), (4, 2)):
        folder.annotate(image_id, [x, 0, 5, 5])
    assert [record.boxes[:, 1].tolist() for record in load(folder).records] == [[2, 4], [1, 3]]
    assert load(folder).truth.rows.tolist() == [1, 0, 1, 0]


def test_what_own_data_leave_out(folder):
    folder.add("a").add("b")
    for image in folder.content["images"]:
        del image["height"], image["width"]
    folder.content["annotations"] = [{"image_id": "b", "category_id": 3, "bbox": [1, 2, 3, 4]}]
    folder.save()
    dataset = load(folder)
    assert [(r.image_id, r.height, r.width) for r in dataset.records] == [
        ("a", 40, 60),
        ("b", 40, 60),
    ]
    assert dataset.records[1].boxes.tolist() == [[2, 1, 6, 4]]
    assert dataset.truth.areas.tolist() == [12] and not dataset.truth.crowd.any()


def test_a_byte_order_mark_is_no_fault(folder):
    folder.add(1)
    folder.path.write_text("\ufeff" + folder.path.read_text(), encoding="utf-8")
    assert len(load(folder).records) == 1


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_image_counts_as_displayed(folder, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    size = (40, 60) if orientation == 1 else (60, 40)
    folder.add(1, ([0, 0, 5, 5], 3), size=size)
    Image.new("RGB", (60, 40)).save(folder.images / "000000000001.jpg", exif=exif)
    (record,) = load(folder).records
    assert (record.height, record.width, record.orientation) == (*size, orientation)


@pytest.mark.parametrize(
    ("annotations", "images", "split"),
    [
        ("annotations/instances_train2017.json", "train2017", "train2017"),
        ("annotations/train.json", "train", "train"),
        ("annotations/instances_train.json", "images/train", "train"),
        ("annotations/instances_default.json", "images", "default"),
        ("labels/train.json", "train", "labels/train.json"),
        ("labels/train.json", "images", "labels/train.json"),
        ("train/_annotations.coco.json", "train", "train/_annotations.coco.json"),
        ("labels.json", "", "labels.json"),
        ("labels.json", "some/photos", "labels.json:some/photos"),
        ("annotations/instances_minival.json", "val2014", "minival:val2014"),
    ],
)
def test_layouts(tmp_path, annotations, images, split):
    folder = CocoFolder(tmp_path, annotations=annotations, images=images).add(1)
    (record,) = load(folder, (split,)).records
    assert record.path == str(tmp_path / images / "000000000001.jpg")


def test_a_split_that_is_not_there_is_named_with_those_that_are(folder):
    message = refusal(folder.add(1), ("val2017",))
    assert "one of the splits train, or the path of a .json file. Received: 'val2017'" in message
    (folder.root / "annotations" / "captions_train.json").write_text("{}")
    assert coco.available_splits(str(folder.root)) == ["train"]
    assert "'labels.json'" in refusal(folder, ("labels.json",))
    assert "existing folder" in refusal(folder.root / "none")
    os.rename(folder.images, folder.root / "photos")
    message = refusal(folder)
    assert f"{folder.root}/train or {folder.root}/images" in message and "train:FOLDER" in message
    assert len(load(folder, ("train:photos",)).records) == 1


def test_a_file_may_be_named_as_seen_from_the_present_folder(tmp_path, monkeypatch):
    folder = CocoFolder(tmp_path / "mine", annotations="result.json", images="images").add(1)
    monkeypatch.chdir(tmp_path)
    for split in ("mine/result.json", str(tmp_path / "mine/result.json"), "result.json"):
        (record,) = load(folder, (split,)).records
        assert record.path == str(tmp_path / "mine/images/000000000001.jpg")


def test_splits_are_joined(tmp_path):
    CocoFolder(tmp_path, "train").add(1, ([0, 0, 5, 5], 3))
    CocoFolder(tmp_path, "val").add(2, ([0, 0, 6, 6], 18))
    dataset = load(tmp_path, ("val", "train", "val"))
    assert [(r.image_id, r.labels.tolist()) for r in dataset.records] == [(2, [1]), (1, [0])]
    assert dataset.truth.rows.tolist() == [0, 1] and dataset.truth.labels.tolist() == [1, 0]
    other = CocoFolder(tmp_path, "more").add(1, ([0, 0, 7, 7], 3))
    dataset = load(tmp_path, ("train", "more"))
    assert [r.image_id for r in dataset.records] == ["train/1", "more/1"]
    assert [r.boxes[0, 3] for r in dataset.records] == [5, 7]
    other.content["categories"] = [{"id": 3, "name": "cat"}, {"id": 18, "name": "dog"}]
    other.save()
    assert "instances_more.json: expected the same category ids" in refusal(
        tmp_path, ("train", "more")
    )


def test_one_image_under_two_ids_is_refused_or_left_out_the_second_time(tmp_path):
    """Its objects would each be background in the other's record."""
    folder = CocoFolder(tmp_path, "train").add(1, ([0, 0, 5, 5], 3)).add(2)
    other = CocoFolder(tmp_path, "more", images="train").add(7)
    other.content["images"].append({"id": 8, "file_name": "000000000001.jpg"})
    other.annotate(8, [0, 0, 6, 6], 18)
    message = refusal(tmp_path, ("train", "more:train"))
    assert f"1 problem(s) in the data:\n  - {other.path}: image 8: the image " in message
    assert f"000000000001.jpg also belongs to image 1 in {folder.path}" in message
    dataset = load(tmp_path, ("train", "more:train"), on_bad_record="skip")
    assert [r.image_id for r in dataset.records] == [1, 2, 7] == list(dataset.truth.image_ids)
    assert dataset.truth.bboxes[:, 2].tolist() == [5]
    assert dataset.skipped[0].endswith(f"image 1 in {folder.path}; image left out")
    alone = data.load(
        Config(dataset="coco", data_dir=str(tmp_path)), ("train", "more:train"), images=False
    )
    assert alone.truth.image_ids == (1, 2, 7, 8)  # where images lie is not known


def test_given_classes_choose_and_order(folder, tmp_path):
    folder.add(1, ([0, 0, 5, 5], 3), ([0, 0, 6, 6], 18), ([0, 0, 7, 7], 3))
    dataset = load(folder, class_names=("dog", "cat", "car"))
    assert dataset.records[0].labels.tolist() == [2, 0, 2]
    assert dataset.truth.category_ids == (18, 19, 3)  # no category has 19
    (tmp_path / "names.txt").write_text("dog\n")
    message = refusal(folder, classes_file=str(tmp_path / "names.txt"))
    words = "000000000001.jpg: object of class car and 1 more: unknown class; known are dog"
    assert words in message
    dataset = load(folder, class_names=("dog",), on_bad_record="skip")
    assert dataset.records[0].boxes.tolist() == [[0, 0, 6, 6]] and len(dataset.skipped) == 1
    assert dataset.truth.labels.tolist() == [0]


def test_the_annotations_alone_need_no_image(folder):
    folder.add(1, ([0, 0, 5, 5], 18)).add(2)
    for path in folder.images.iterdir():
        path.unlink()
    folder.images.rmdir()
    config = Config(dataset="coco", data_dir=str(folder.root))
    dataset = data.load(config, ("train",), images=False)
    assert (dataset.records, dataset.skipped) == ([], [])
    assert (dataset.truth.image_ids, dataset.truth.labels.tolist()) == ((1, 2), [1])
    folder.annotate(5, [0, 0, 5, 5])
    with pytest.raises(ValueError, match="annotation 101: image_id must be"):
        data.load(config, ("train",), images=False)
    dataset = data.load(config.replace(on_bad_record="skip"), ("train",), images=False)
    assert len(dataset.truth.rows) == len(dataset.skipped) == 1


@pytest.mark.parametrize(
    ("difficult", "boxes", "ignored"),
    [
        ("auto", [5, 6], [False, True]),
        ("ignore", [5, 6], [False, True]),
        ("keep", [5, 6], [False, False]),
        ("drop", [5], [False]),
    ],
)
def test_crowd_regions_in_training_are_ignored_unless_the_setting_says_otherwise(
    folder, difficult, boxes, ignored
):
    folder.add(1, ([0, 0, 5, 5], 3), ([0, 0, 6, 6], 3, {"iscrowd": 1}))
    settings = {"difficult": difficult, "shorter_side": 40, "longer_side": 60, "flip": "none"}
    config = Config(dataset="coco", data_dir=str(folder.root), **settings)
    _, targets = next(iter(pipeline.train_dataset(load(folder), config, CAFFE)))
    assert targets["boxes"][0, :, 3].numpy().tolist() == boxes
    assert targets["ignore"][0].numpy().tolist() == ignored


# --- what is wrong ------------------------------------------------------------------------------


def test_up_to_a_pixel_outside_is_clipped_silently(folder):
    dataset = load(folder.add(1, ([-1, -0.5, 62, 41.5], 3)))
    assert dataset.records[0].boxes.tolist() == [[0, 0, 40, 60]] and dataset.skipped == []
    assert dataset.truth.bboxes.tolist() == [[-1, -0.5, 62, 41.5]]


@pytest.mark.parametrize(
    "bbox", [[-1.5, 5, 9, 9], [5, -1.5, 9, 9], [5, 5, 57, 9], [5, 5, 9, 37], [-9, -9, 99, 99]]
)
def test_more_than_a_pixel_outside_is_refused_or_clipped_and_counted(folder, bbox):
    folder.add(1, ([0, 0, 5, 5], 3), (bbox, 18))
    message = refusal(folder)
    assert f"{folder.path}: annotation 101 (dog): box leaves the image" in message
    dataset = load(folder, on_bad_record="skip")
    x, y, width, height = bbox
    inside = [max(y, 0), max(x, 0), min(y + height, 40), min(x + width, 60)]
    assert dataset.records[0].boxes.tolist() == [[0, 0, 5, 5], inside]
    assert len(dataset.skipped) == 1 and dataset.skipped[0].endswith("; box clipped")


@pytest.mark.parametrize(
    "bbox",
    [
        [5, 5, 0, 9],
        [5, 5, 9, 0],
        [5, 5, -3, 9],
        [70, 5, 10, 9],
        [5, 50, 9, 10],
        [-20, 5, 10, 9],
        [1e-300, 5, 1e-300, 9],
    ],
)
def test_boxes_without_area_are_refused_or_dropped_but_stay_in_the_truth(folder, bbox):
    folder.add(1, ([0, 0, 5, 5], 3), (bbox, 18))
    assert "1 problem" in refusal(folder) and "annotation 101 (dog): box " in refusal(folder)
    dataset = load(folder, on_bad_record="skip")
    assert dataset.records[0].boxes.tolist() == [[0, 0, 5, 5]]
    assert len(dataset.skipped) == 1 and dataset.skipped[0].endswith("; object dropped")
    assert dataset.truth.bboxes.tolist() == [[0, 0, 5, 5], bbox]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_id": 5}, "image_id must be that of one of the images. Received: 5"),
        ({"image_id": None}, "image_id must be"),
        ({"image_id": [1]}, "image_id must be"),
        ({"image_id": "1"}, "image_id must be"),
        ({"image_id": True}, "image_id must be"),
        ({"category_id": 1}, "category_id must be that of one of the categories. Received: 1"),
        ({"category_id": "3"}, "category_id must be"),
        ({"category_id": {}}, "category_id must be"),
        ({"category_id": 3.5}, "category_id must be"),
        ({"bbox": None}, "bbox must be four finite numbers"),
        ({"bbox": [1, 2, 3]}, "bbox must be"),
        ({"bbox": [1, 2, 3, "4"]}, "bbox must be"),
        ({"bbox": [1, 2, 3, True]}, "bbox must be"),
        ({"bbox": [1, 2, 3, float("nan")]}, "bbox must be"),
        ({"bbox": [1, 2, 3, float("-inf")]}, "bbox must be"),
        ({"bbox": [1, 2, 3, 10**400]}, "bbox must be"),
        ({"bbox": [1, 2, 3, 1e200]}, "bbox must be"),
        ({"bbox": {"x": 1}}, "bbox must be"),
        ({"area": "1"}, "area must be a finite number"),
        ({"area": float("nan")}, "area must be"),
        ({"area": -1}, "area must be"),
        ({"iscrowd": 2}, "iscrowd must be 0 or 1"),
        ({"iscrowd": "0"}, "iscrowd must be"),
    ],
)
def test_an_impossible_annotation_is_named_by_its_id_or_dropped(folder, change, words):
    folder.add(1, ([0, 0, 5, 5], 3), ([0, 0, 6, 6], 3, change), ([0, 0, 7, 7], 3))
    message = refusal(folder)
    assert f"{folder.path}: annotation 101: {words}" in message and len(message) < 1000
    dataset = load(folder, on_bad_record="skip")
    assert dataset.records[0].boxes[:, 3].tolist() == [5, 7]
    assert len(dataset.skipped) == 1 and "annotation 101" in dataset.skipped[0]
    assert len(dataset.truth.rows) == 2


@pytest.mark.parametrize("item", [None, 3, "x", [], {"id": []}, {}])
def test_an_annotation_without_id_is_named_by_its_place(folder, item):
    folder.add(1, ([0, 0, 5, 5], 3))
    folder.content["annotations"].append(item)
    folder.save()
    assert f"{folder.path}: annotations[1]: " in refusal(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../x.jpg",
        "/etc/x.jpg",
        "a/../../x.jpg",
        "..\\x.jpg",
        "",
        None,
        3,
        "a\0b.jpg",
        "\ud800",
        "..",
    ],
)
def test_no_image_outside_the_folder_is_touched(folder, name, monkeypatch):
    Image.new("RGB", (60, 40)).save(folder.root / "x.jpg")
    folder.add(1, ([0, 0, 5, 5], 3)).add(2, ([0, 0, 5, 5], 3), file_name=name)
    seen = []
    header = headers.image_header
    monkeypatch.setattr(headers, "image_header", lambda p, s: seen.append(p) or header(p, s))
    assert f"{folder.path}: image 2: file_name must name a file below" in refusal(folder)
    dataset = load(folder, on_bad_record="skip")
    assert [record.image_id for record in dataset.records] == [1] == list(dataset.truth.image_ids)
    assert len(dataset.skipped) == 1  # the object of the image needs no word
    assert {path.name for path in seen} == {"000000000001.jpg"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height": 41}, "is 40 x 60 .* says: 41 x 60"),
        ({"width": 6}, "is 40 x 60 .* says: 40 x 6"),
        ({"height": 0}, "height must be a positive whole number. Received: 0"),
        ({"width": "60"}, "width must be"),
        ({"width": 10**30}, "width must be"),
        ({"file_name": "none.jpg"}, "the image .*none.jpg is missing"),
        ({"file_name": "n" * 5000}, "File name too long"),
        ({"file_name": "broken.jpg"}, "broken.jpg: unreadable image"),
        ({"file_name": "sub"}, "the image .*sub is missing"),
    ],
)
def test_an_impossible_image_is_named_or_left_out(folder, change, words):
    folder.add(1, ([0, 0, 5, 5], 3)).add(2, ([0, 0, 6, 6], 3), **change).add(3, ([0, 0, 7, 7], 3))
    (folder.images / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (folder.images / "sub").mkdir()
    with pytest.raises(ValueError, match=f"image 2: .*{words}"):
        load(folder)
    dataset = load(folder, on_bad_record="skip")
    assert [(r.image_id, r.boxes[0, 3]) for r in dataset.records] == [(1, 5), (3, 7)]
    assert dataset.truth.image_ids == (1, 3) and dataset.truth.rows.tolist() == [0, 1]
    assert len(dataset.skipped) == 1 and dataset.skipped[0].endswith("; image left out")


@pytest.mark.parametrize("image_id", [None, 1.5, True, [], "", 2**60, "a\nb"])
def test_an_impossible_image_id_is_named_by_its_place(folder, image_id):
    folder.add(1, ([0, 0, 5, 5], 3))
    folder.content["images"].append({"id": image_id, "file_name": "a.jpg"})
    folder.save()
    assert f"{folder.path}: images[1]: expected a number or text as id" in refusal(folder)


def test_an_image_id_that_comes_twice_is_refused(folder):
    folder.add(1).add(1)
    for setting in ("error", "skip"):
        message = refusal(folder, on_bad_record=setting)
        assert message.endswith("every image id must occur only once. Received twice: 1")


@pytest.mark.parametrize(
    ("categories", "words"),
    [
        ([], "at least one category"),
        ([{"id": 1}], "a name"),
        ([{"name": "cat"}], "a whole number"),
        ([{"id": "1", "name": "cat"}], "a whole number"),
        ([{"id": 1, "name": ""}], "a name"),
        ([{"id": 1, "name": "a\x1b[2J"}], "a name"),
        ([3], "a name"),
        ([{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}], "Received twice: 1"),
        ([{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}], "'cat'"),
    ],
)
def test_wrong_categories_are_refused(folder, categories, words):
    folder.content["categories"] = categories
    folder.add(1)
    for setting in ("error", "skip"):
        message = refusal(folder, on_bad_record=setting)
        assert message.startswith(f"{folder.path}: ") and words in message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"images": [',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"\xff\xfe\x00",
        b'{"images": [' + b"9" * 5000 + b"]}",
        b"[]",
        b"null",
        b"{}",
        b'{"images": [], "annotations": {}, "categories": []}',
    ],
)
def test_what_is_no_such_file_is_refused_by_name(folder, content):
    folder.path.write_bytes(content)
    for setting in ("error", "skip"):
        message = refusal(folder, on_bad_record=setting)
        assert message.startswith(f"{folder.path}: expected") and len(message) < 500


def test_files_of_test_images_need_no_list_of_objects(folder):
    folder.add(5, ([1, 2, 3, 4], 18, {})).add(7)
    content = json.loads(folder.path.read_text())
    assert len(content.pop("annotations")) == 1
    folder.path.write_text(json.dumps(content))
    assert "no list annotations" in refusal(folder)
    config = Config(dataset="coco", data_dir=str(folder.root))
    dataset = data.load(config, ("train",), ("dog", "cat"), annotated=False, strict=False)
    assert [record.image_id for record in dataset.records] == [5, 7]
    assert [record.boxes.shape for record in dataset.records] == [(0, 4), (0, 4)]
    truth = dataset.truth
    assert truth.image_ids == (5, 7) and len(truth.rows) == 0
    assert truth.category_ids[0] == 18


def test_objects_that_are_not_wanted_are_not_looked_at(folder):
    folder.add(5, ([1, 2, -3, 4], 18, {}))
    config = Config(dataset="coco", data_dir=str(folder.root))
    assert data.load(config, ("train",), annotated=False).records[0].boxes.shape == (0, 4)
    assert "annotation" in refusal(folder)


def test_a_file_above_the_limit_is_refused_unread(folder, monkeypatch):
    monkeypatch.setattr(coco_json, "MAX_BYTES", 20)
    assert "more than 20 bytes are refused" in refusal(folder.add(1))


def test_no_readable_image_is_an_error(folder):
    assert "expected readable images in train" in refusal(folder)
    folder.add(1)
    (folder.images / "000000000001.jpg").unlink()
    message = refusal(folder, on_bad_record="skip")
    assert "expected readable images in train" in message and "is missing" in message


def test_mutated_files_are_read_or_refused(folder):
    folder.add(1, ([0, 0, 5, 5], 3), ([1, 2, 3, 4], 18, {"iscrowd": 1})).add(2)
    content = folder.path.read_bytes()
    rng = random.Random(0)
    outcomes = set()
    for _ in range(400):
        mutated = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(mutated))
            kind = rng.randrange(3)
            if kind == 0:
                mutated[place] = rng.choice(b'0123456789-.eE"{}[],:\\ \x00\xffn')
            elif kind == 1:
                del mutated[place : place + rng.randint(1, 8)]
            else:
                mutated[place:place] = mutated[: rng.randint(1, 40)]
        folder.path.write_bytes(mutated)
        try:
            dataset = load(folder, on_bad_record="skip")
        except ValueError as error:
            assert str(folder.root) in str(error)
            outcomes.add("refused")
        else:
            assert len(dataset.records) == len(dataset.truth.image_ids)
            outcomes.add("read" if not dataset.skipped else "skipped")
    assert outcomes == {"refused", "read", "skipped"}


# --- forms of other tools -------------------------------------------------------------------------


def test_whole_numbers_may_be_written_as_floats_and_null_is_no_crowd(folder):
    folder.add(1, ([0, 0, 5, 5], 3.0, {"iscrowd": None, "image_id": 1.0}), height=40.0, width=60.0)
    folder.annotate(1, [1, 0, 5, 5], 3, {"iscrowd": 1.0})
    folder.content["images"][0]["id"] = 1.0
    folder.content["categories"][1]["id"] = 3.0
    folder.save()
    dataset = load(folder)
    (record,) = dataset.records
    assert (record.image_id, type(record.image_id)) == (1, int)
    assert record.labels.tolist() == [0, 0] and record.difficult.tolist() == [False, True]
    assert dataset.truth.crowd.tolist() == [False, True]
    assert dataset.truth.category_ids == (3, 18)


@pytest.mark.parametrize(
    "name",
    [
        "images/a.jpg",
        "images\\a.jpg",
        "images\\1/a.jpg",
        "images/1/a.jpg",
        "..\\..\\label-studio\\label-studio\\media\\upload\\4\\a.jpg",
        "/data/local-files/?d=photos/a.jpg",
        "C:\\photos\\a.jpg",
        "a.JPG",
    ],
)
def test_what_label_studio_exports(tmp_path, name):
    folder = CocoFolder(tmp_path, annotations="result.json", images="images")
    folder.add("a", ([0, 0, 5, 5], 3), file_name=name)
    (record,) = load(folder, ("result.json",)).records
    assert record.path == str(tmp_path / "images" / "a.jpg") and len(record.boxes) == 1
    assert "one of the splits result.json, or the path of a .json" in refusal(folder)


@pytest.mark.parametrize("name", ["sub/a.jpg", "images/sub/a.jpg", "..\\..\\b.jpg"])
def test_another_image_of_the_same_name_is_not_taken(tmp_path, name):
    folder = CocoFolder(tmp_path, annotations="result.json", images="images").add("a")
    folder.add("a2", file_name=name)
    (folder.images / "sub").mkdir()
    words = "file_name must name a file" if ".." in name else "sub/a.jpg is missing"
    assert words in refusal(folder, ("result.json",))
