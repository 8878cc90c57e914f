"""The YOLO layout: what is read, and every fault by name."""

import math
import unicodedata

import numpy as np
import pytest
from PIL import Image

from keras_frcnn import data
from keras_frcnn.config import Config, DataSource
from keras_frcnn.data.problems import ProblemKind
from keras_frcnn.data.readers import yolo
from keras_frcnn.inspection.check_data import checks
from tests.data.conftest import YoloFolder
from tests.inspection.conftest import scene

BOX = "0 0.5 0.5 0.5 0.5"
"""The middle of the image: [10, 15, 30, 45] of 40 x 60 pixels."""


@pytest.fixture
def folder(tmp_path):
    return YoloFolder(tmp_path)


def load(folder, splits=("train",), class_names=None, **settings):
    root = folder.root if isinstance(folder, YoloFolder) else folder
    config = Config(dataset="yolo", data_dir=str(root), **settings)
    return data.load(config, splits, class_names)


def refusal(folder, *args, **settings):
    with pytest.raises(ValueError) as caught:
        load(folder, *args, **settings)
    return str(caught.value)


# --- what is read -------------------------------------------------------------------------------


def test_reads_boxes_and_polygons(folder):
    folder.add("train/a", [BOX, "", "1 0.1 0.2 0.5 0.25 0.3 0.75", " 1.0  0.25 0.5 0.5 1 "])
    dataset = load(folder)
    assert dataset.class_names == ("cat", "dog") and dataset.skipped == []
    (record,) = dataset.records
    assert (record.image_id, record.height, record.width) == ("train/a", 40, 60)
    assert record.path == str(folder.image("train/a"))
    np.testing.assert_allclose(
        record.boxes, [[10, 15, 30, 45], [8, 6, 30, 30], [0, 0, 40, 30]], atol=1e-5
    )
    assert (record.boxes.dtype, record.labels.dtype) == (np.float32, np.int32)
    assert record.labels.tolist() == [0, 1, 1] and not record.difficult.any()
    assert record.form == "coco" and dataset.truth is None


def test_an_image_without_a_label_file_or_without_lines_has_no_objects(folder):
    dataset = load(folder.add("train/a").add("train/b", []).add("train/c", [BOX]))
    assert [len(record.labels) for record in dataset.records] == [0, 0, 1]


def test_where_objects_are_not_wanted_no_label_is_looked_at(folder):
    folder.add("train/a", ["nonsense"])
    config = Config(dataset="yolo", data_dir=str(folder.root))
    (record,) = data.load(config, ("train",), annotated=False).records
    assert record.boxes.shape == (0, 4) and (record.height, record.width) == (40, 60)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], ("a", "b")),
        ({1: "b", 0: "a"}, ("a", "b")),
        ([7, 1.5], ("7", "1.5")),
        (["göö", "日本"], ("göö", "日本")),
    ],
)
def test_names_are_a_list_or_numbered(tmp_path, names, expected):
    assert load(YoloFolder(tmp_path, names=names).add("train/a")).class_names == expected


def test_a_number_of_classes_names_them(tmp_path):
    folder = YoloFolder(tmp_path, names=None, nc=2).add("train/a", ["1 0.5 0.5 1 1"])
    assert load(folder).class_names == ("class_0", "class_1")


def test_splits_are_folders_lists_or_several_of_them(tmp_path):
    folder = YoloFolder(
        tmp_path,
        train=["images/one", "lists/more.txt"],
        val="lists/val.txt",
        test="images/deep",
    )
    for name in ("one/a", "two/b", "two/c", "two/d", "deep/er/e"):
        folder.add(name, [BOX])
    (tmp_path / "lists").mkdir()
    more = "./../images/two/b.jpg\n\nimages/two/c.jpg\nimages/one/a.jpg\n"
    (tmp_path / "lists" / "more.txt").write_text(more)
    (tmp_path / "lists" / "val.txt").write_text(f"{folder.image('two/d')}\n")

    def ids(*splits):
        return [record.image_id for record in load(folder, splits).records]

    assert ids("train") == ["one/a", "two/b", "two/c"]  # the image that is listed twice once
    assert ids("val") == ["two/d"] and ids("test") == ["deep/er/e"]
    assert ids("trainval") == ids("train", "val") == ["one/a", "two/b", "two/c", "two/d"]


@pytest.mark.parametrize(
    ("image", "label", "image_id"),
    [
        ("images/train/a.jpg", "labels/train/a.txt", "train/a"),
        ("train/images/a.jpg", "train/labels/a.txt", "train/a"),
        ("images/images/a.b.png", "images/labels/a.b.txt", "images/a.b"),
        ("train/a.jpg", "train/a.txt", "train/a"),
    ],
)
def test_the_last_folder_of_images_becomes_that_of_labels(tmp_path, image, label, image_id):
    folder = YoloFolder(tmp_path, train=".")
    for path in (image, label):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40)).save(tmp_path / image)
    (tmp_path / label).write_text(BOX)
    (record,) = load(folder).records
    assert (record.image_id, len(record.labels)) == (image_id, 1)


def test_the_folder_of_the_data_may_be_elsewhere(tmp_path):
    there = YoloFolder(tmp_path / "there").add("train/a", [BOX])
    for path in (str(there.root), "../there"):
        here = YoloFolder(tmp_path / "here", path=path)
        (record,) = load(here).records
        assert record.path == str(there.image("train/a")) and len(record.labels) == 1
    moved = YoloFolder(there.root, path="../datasets/there", train="../images/train")
    assert len(load(moved).records) == 1  # as exports write it


def test_the_file_may_have_another_name_if_it_is_alone(folder):
    folder.add("train/a")
    (folder.root / "data.yaml").rename(folder.root / "coco8.yml")
    assert len(load(folder).records) == 1
    folder.save()
    assert len(load(folder).records) == 1  # data.yaml comes first
    (folder.root / "data.yaml").rename(folder.root / "other.yaml")
    assert "expected one file data.yaml. Received: coco8.yml, other.yaml" in refusal(folder)
    assert "no .yaml file" in refusal(folder.root / "images")


@pytest.mark.parametrize("orientation", [1, 6])
def test_fractions_are_those_of_the_image_as_displayed(folder, orientation):
    folder.add("train/a", ["0 0.25 0.5 0.5 1"])
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (60, 40)).save(folder.image("train/a"), exif=exif)
    (record,) = load(folder).records
    expected = [0, 0, 40, 30] if orientation == 1 else [0, 0, 60, 20]
    assert record.boxes.tolist() == [expected] and record.orientation == orientation


def test_up_to_a_pixel_outside_is_clipped_silently(folder):
    dataset = load(folder.add("train/a", ["0 0.5 0.5 1.03 1.04"]))  # 0.9 and 0.8 pixels a side
    assert dataset.records[0].boxes.tolist() == [[0, 0, 40, 60]] and dataset.skipped == []


# --- what is wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "kind", "words", "remedy"),
    [
        ("2 0.5 0.5 0.5 0.5", "unknown_class", "a class from 0 to 1. Received: '2 0.5", "dropped"),
        ("-1 0.5 0.5 0.5 0.5", "unknown_class", "a class from 0 to 1", "dropped"),
        ("0.5 0.5 0.5 0.5 0.5", "left_out", "a whole number as class", "dropped"),
        ("nan 0.5 0.5 0.5 0.5", "left_out", "a whole number as class", "dropped"),
        ("1e999 0.5 0.5 0.5 0.5", "left_out", "a whole number as class", "dropped"),
        ("cat 0.5 0.5 0.5 0.5", "left_out", "expected numbers. Received: 'cat", "dropped"),
        ("0 0,5 0.5 0.5 0.5", "left_out", "expected numbers", "dropped"),
        ("0 0.5 0.5 0.5", "left_out", "class cx cy w h, or a class and", "dropped"),
        ("0", "left_out", "class cx cy w h, or a class and", "dropped"),
        ("0 0.5 0.5 0.5 0.5 0.9", "left_out", "class cx cy w h, or a class and", "dropped"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "left_out", "class cx cy w h, or a class", "dropped"),
        ("0 0.5 0.5 0 0.5", "degenerate_box", "box has no area ('0 0.5 0.5 0 0.5')", "dropped"),
        ("0 0.5 0.5 0.5 -0.5", "degenerate_box", "box has no area", "dropped"),
        ("0 0.1 0.1 0.1 0.2 0.1 0.3", "degenerate_box", "box has no area", "dropped"),
        ("0 nan 0.5 0.5 0.5", "degenerate_box", "box is not finite", "dropped"),
        ("0 0.5 inf 0.5 0.5", "degenerate_box", "box is not finite", "dropped"),
        ("0 1e308 0.5 1e308 0.5", "degenerate_box", "box is not finite", "dropped"),
        ("0 0.9 0.5 0.5 0.5", "outside_box", "leaves the image of height 40, width 60", "clipped"),
        ("0 320 240 100 80", "outside_box", "leaves the image of height 40, width 60", "dropped"),
        ("0 -0.5 0.5 0.2 0.2", "outside_box", "leaves the image of height 40", "dropped"),
    ],
)
def test_an_impossible_line_is_named_or_dropped(folder, line, kind, words, remedy):
    folder.add("train/a", [BOX, "", line, BOX])
    text = refusal(folder)
    assert f"1 problem(s) in the data:\n  - {folder.label('train/a')}: line 3" in text
    assert words in text
    dataset = load(folder, on_bad_record="skip")
    (problem,) = dataset.problems
    assert (problem.kind, problem.object, problem.number) == (kind, "line 3", 2)
    assert str(problem.remedy).endswith(remedy) and problem.file == str(folder.label("train/a"))
    assert len(dataset.records[0].labels) == (3 if remedy == "clipped" else 2)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"0 0.5 0.5 0.5 0.5\n" * 500_000])
def test_a_broken_label_file_is_named_and_its_image_left_out(folder, content):
    folder.add("train/a", [BOX]).add("train/b", [])
    folder.label("train/b").write_bytes(content)
    assert f"{folder.label('train/b')}: broken annotation: " in refusal(folder)
    dataset = load(folder, on_bad_record="skip")
    assert [record.image_id for record in dataset.records] == ["train/a"]
    assert dataset.skipped[0].endswith("; image left out")


def test_missing_broken_and_foreign_images_are_named_or_left_out(tmp_path):
    folder = YoloFolder(tmp_path, train="train.txt").add("a", [BOX]).add("b", [BOX])
    folder.image("b").write_bytes(b"\xff\xd8\xff")
    folder.image("c", ".webp").write_bytes(b"RIFF....WEBP")
    names = ["a.jpg", "b.jpg", "c.webp", "none.jpg", "n" * 5000 + ".jpg", "x\0y.jpg"]
    (tmp_path / "train.txt").write_text("".join(f"images/{name}\n" for name in names))
    text = refusal(folder)
    assert "5 problem" in text and "images/b.jpg: unreadable image" in text
    assert "images/none.jpg: the image is missing" in text and "found WebP" in text
    dataset = load(folder, on_bad_record="skip")
    assert [record.image_id for record in dataset.records] == ["a"]
    kinds = sorted(problem.kind for problem in dataset.problems)
    assert kinds == ["broken_image"] * 2 + ["missing_image"] * 3


def test_two_images_of_one_name_are_a_problem(folder):
    folder.add("train/a", [BOX], suffix=".jpg").add("train/a", [BOX], suffix=".png")
    words = f"{folder.image('train/a', '.png')}: {folder.image('train/a')} has the same image id"
    assert words in refusal(folder)
    dataset = load(folder, on_bad_record="skip")
    assert [record.path for record in dataset.records] == [str(folder.image("train/a"))]
    assert dataset.problems[0].kind == ProblemKind.REPEATED_IMAGE


@pytest.mark.parametrize(
    "line", ["../secret.jpg", "./../secret.jpg", "/etc/passwd", "images/../../x.jpg", "..\\x.jpg"]
)
def test_lists_lead_nowhere_else(tmp_path, line):
    Image.new("RGB", (60, 40)).save(tmp_path / "secret.jpg")
    folder = YoloFolder(tmp_path / "data", train="train.txt").add("a", [BOX])
    (folder.root / "train.txt").write_text(f"images/a.jpg\n{line}\n")
    assert f"train.txt: expected names of images inside {folder.root}" in refusal(folder)
    dataset = load(folder, on_bad_record="skip")
    assert [record.image_id for record in dataset.records] == ["a"]
    assert dataset.problems[0].kind == ProblemKind.OUTSIDE_PATH


@pytest.mark.parametrize("entry", ["../elsewhere", "/etc", "/etc/passwd", "images/../..", "..\\x"])
def test_splits_lead_nowhere_else(tmp_path, entry):
    (tmp_path / "elsewhere").mkdir()
    folder = YoloFolder(tmp_path / "data", train=entry)
    text = refusal(folder, on_bad_record="skip")
    assert f"data.yaml: expected a folder or list of images below {folder.root}" in text or (
        "data.yaml: expected an existing folder or list of images" in text  # without the ../
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected YAML with names and splits. Received: NoneType"),
        ("[1, 2]", "Received: list"),
        ("names: [a", "expected YAML. Received: while parsing"),
        ("\t", "expected YAML"),
        ("!!python/object/apply:os.system ['touch pwned']", "could not determine a constructor"),
        ("!!timestamp x", "expected YAML"),
        ("a: &a [*a, *a]\ntrain: *a\nnames: *a", "expected folders or lists of images as train"),
        ("[" * 20_000, "expected YAML"),
        ("# " + "x" * 1_000_000, "more than 1000000 bytes"),
        ("names: [cat]", "expected at least one of the splits train, val, test. Received: none"),
        ("train: images", "expected names as a list of texts"),
        ("train: images\nnames: []", "expected names as a list of texts"),
        ("train: images\nnames: [yes, no]", "a word such as no or on needs quotation marks"),
        ("train: images\nnames: cat", "expected names as a list of texts"),
        ('train: images\nnames: ["a\\x1b"]', "expected names as a list of texts"),
        ("train: images\nnames: [a, a]", "expected every name once"),
        ("train: images\nnames: {1: a}", "expected names by number from 0"),
        ("train: images\nnames: {0: a, b: c}", "expected names by number from 0"),
        ("train: images\nnc: 0", "expected names as a list of texts"),
        ("train: images\nnc: 1000000000", "expected names as a list of texts"),
        ("train: 3\nnames: [a]", "expected folders or lists of images as train. Received: 3"),
        ("train: [[images]]\nnames: [a]", "expected folders or lists of images as train"),
        ("train: images\nnames: [a]\npath: [x]", "expected the folder of the data as path"),
        ("train: none\nnames: [a]", "expected an existing folder or list of images"),
    ],
)
def test_a_wrong_data_file_is_named(folder, text, words):
    folder.add("train/a", [BOX])
    (folder.root / "data.yaml").write_text(text)
    for setting in ("error", "skip"):
        message = refusal(folder, on_bad_record=setting)
        assert message.startswith(f"{folder.root}/data.yaml: ") and words in message
        assert len(message) < 500
    assert not (folder.root / "pwned").exists()


def test_a_split_that_is_not_there_is_named_with_those_that_are(folder):
    folder.add("train/a").add("val/b")
    assert "one of the splits train, val, trainval. Received: 'test'" in refusal(folder, ("test",))
    assert yolo.available_splits(str(folder.root)) == ["train", "val", "trainval"]
    assert "existing folder" in refusal(folder.root / "none")


def test_check_data_finds_the_faults_by_line(tmp_path):
    folder = YoloFolder(tmp_path, test=None)
    folder.add("train/a", [BOX, BOX, "2 0.5 0.5 1 1", "1 0.5 0.5 0 0.5"]).add("train/b")
    Image.fromarray(scene(0)).save(folder.image("train/a"))
    Image.fromarray(scene(1)).save(folder.image("train/b"))
    config = Config(dataset="yolo", data_dir=str(tmp_path))
    with pytest.raises(ValueError, match="an existing folder or list of images"):
        checks.check(config)  # trainval, which is the default, needs images/val
    report = checks.check(config.replace(train_split=("train",)))
    assert report.source.remarks == ["no image set test: only the training images are checked"]
    assert [(f.kind, f.line) for f in report.findings] == [
        ("unknown_class", "labels/train/a.txt: line 3: expected a class from 0 to 1. Received: "
         "'2 0.5 0.5 1 1'"),
        ("degenerate_box", "labels/train/a.txt: line 4 (dog): box has no area ('1 0.5 0.5 0 0.5')"),
        ("duplicate_box", "labels/train/a.txt: object 2 (cat): the same box as object 1"),
        ("empty_image", "labels/train/b.txt: no objects"),
    ]  # fmt: skip
    assert report.num_problems == 3


def test_labels_of_an_image_of_unknown_size_are_still_looked_at(folder):
    folder.add("train/a", ["5 0.5 0.5 1 1", BOX])
    folder.image("train/a").write_bytes(b"")
    reading = yolo.read(DataSource("yolo", str(folder.root), ("train",), "skip"))
    (record,) = reading.records
    assert [p.kind for p in record.problems] == ["broken_image", "unknown_class"]
    assert (record.height, len(record.labels)) == (0, 1) and math.isfinite(record.boxes.max())


@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_images_and_labels_are_found_in_either_form_of_unicode(tmp_path, listed, stored):
    listed, stored = (unicodedata.normalize(form, "été") for form in (listed, stored))
    folder = YoloFolder(tmp_path, train="list.txt").add(f"train/{stored}", [BOX])
    (tmp_path / "list.txt").write_text(f"images/train/{listed}.jpg\n", encoding="utf-8")
    folder.label(f"train/{stored}").rename(folder.label(f"train/{listed}"))
    (record,) = load(folder).records
    assert record.path == str(folder.image(f"train/{stored}"))
    assert record.boxes.tolist() == [[10, 15, 30, 45]]


def test_labels_with_a_suffix_in_upper_case_are_read(folder):
    folder.add("train/a", [BOX], suffix=".Jpg")
    folder.label("train/a").rename(folder.root / "labels/train/a.TXT")
    (record,) = load(folder).records
    assert len(record.boxes) == 1


def test_lists_may_be_written_as_on_windows(tmp_path):
    folder = YoloFolder(tmp_path, train="lists\\train.txt").add("train/a", [BOX])
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.txt").write_text("images\\train\\a.jpg\r\n")
    (record,) = load(folder).records
    assert record.path == str(folder.image("train/a")) and len(record.boxes) == 1
