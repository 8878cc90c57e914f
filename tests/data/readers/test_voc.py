import pathlib
import unicodedata

import numpy as np
import pytest
from PIL import Image

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.data.readers import voc


def _load(folder, splits=("train",), class_names=None, **settings):
    root = folder if isinstance(folder, (str, pathlib.Path)) else folder.root
    return data.load(Config(data_dir=str(root), **settings), splits, class_names)


def _boxes(dataset):
    return [record.boxes.tolist() for record in dataset.records]


GENUINE = """<annotation>
	<folder>VOC2007</folder>
	<filename>000001.jpg</filename>
	<source><database>The VOC2007 Database</database><image>flickr</image></source>
	<owner><flickrid>x</flickrid><name>not an object</name></owner>
	<size><width>353</width><height>500</height><depth>3</depth></size>
	<segmented>0</segmented>
	<object>
		<name>dog</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
		<bndbox><xmin>48</xmin><ymin>240</ymin><xmax>195</xmax><ymax>371</ymax></bndbox>
	</object>
	<object>
		<name>person</name><pose>Left</pose><truncated>1</truncated><difficult>1</difficult>
		<part>
			<name>head</name>
			<bndbox><xmin>100</xmin><ymin>20</ymin><xmax>120</xmax><ymax>40</ymax></bndbox>
		</part>
		<bndbox><xmin>8</xmin><ymin>12</ymin><xmax>352</xmax><ymax>498</ymax></bndbox>
	</object>
</annotation>"""  # noqa: W191, E101


def test_reads_a_genuine_annotation(voc_folder):
    folder = voc_folder("VOC2007").add("000001", size=(500, 353))
    folder.annotation("000001").write_text(GENUINE)
    dataset = _load(folder)
    assert dataset.class_names == voc.VOC_CLASSES and dataset.skipped == []
    (record,) = dataset.records
    assert (record.image_id, record.height, record.width) == ("000001", 500, 353)
    assert record.path == str(folder.image("000001"))
    np.testing.assert_array_equal(record.boxes, [[239, 47, 371, 195], [11, 7, 498, 352]])
    assert record.boxes.dtype == np.float32
    assert [voc.VOC_CLASSES[label] for label in record.labels] == ["dog", "person"]
    assert record.labels.dtype == np.int32
    assert record.difficult.tolist() == [False, True]


def test_voc_classes_are_the_twenty_in_alphabetical_order():
    assert len(voc.VOC_CLASSES) == 20 and list(voc.VOC_CLASSES) == sorted(voc.VOC_CLASSES)
    assert voc.VOC_CLASSES[14] == "person"


def test_optional_tags_may_be_missing_and_numbers_may_be_fractions(voc_folder):
    folder = voc_folder().add("a")
    folder.annotation("a").write_text(
        "<annotation><object><name> cell </name><bndbox><ymax>9.5</ymax><xmin>1.5</xmin>"
        "<ymin>3</ymin><xmax>8.25</xmax></bndbox></object></annotation>"
    )
    dataset = _load(folder)
    assert dataset.class_names == ("cell",)
    assert _boxes(dataset) == [[[2.0, 0.5, 9.5, 8.25]]]
    assert not dataset.records[0].difficult.any()


def test_images_without_objects_are_kept(voc_folder):
    folder = voc_folder().add("a", ()).add("b")
    dataset = _load(folder)
    assert [record.boxes.shape for record in dataset.records] == [(0, 4), (1, 4)]


def test_a_split_without_any_object_needs_class_names(voc_folder):
    folder = voc_folder().add("a", ())
    with pytest.raises(ValueError, match="expected objects in train, or class names"):
        _load(folder)
    assert _load(folder, class_names=("cat",)).records[0].labels.shape == (0,)


def test_where_objects_are_not_wanted_no_annotation_is_looked_at(voc_folder):
    folder = voc_folder("VOC2012").add("a").add("b")
    folder.annotation("a").unlink()
    folder.annotation("b").write_text("no annotation")
    for names in ((), ("cat", "dog")):
        dataset = data.load(
            Config(data_dir=str(folder.root)), ("train",), names or None, annotated=False
        )
        assert (dataset.class_names, dataset.skipped, dataset.remarks) == (names, [], [])
        assert [record.image_id for record in dataset.records] == ["a", "b"]
        assert [record.boxes.shape for record in dataset.records] == [(0, 4), (0, 4)]
        assert (dataset.records[0].height, dataset.records[0].width) == (40, 60)
    (folder.root / "JPEGImages" / "b.jpg").unlink()
    with pytest.raises(ValueError, match="b: the image is missing"):
        data.load(Config(data_dir=str(folder.root)), ("train",), annotated=False)


def test_one_pixel_outside_is_clipped_silently(voc_folder):
    folder = voc_folder().add("a", [("cat", 0, 0, 61, 41)])  # the image is 40 x 60
    dataset = _load(folder)
    assert _boxes(dataset) == [[[0, 0, 40, 60]]] and dataset.skipped == []


@pytest.mark.parametrize("box", [(-1, 5, 9, 9), (5, -1, 9, 9), (5, 5, 62, 9), (5, 5, 9, 42)])
def test_more_than_one_pixel_outside_is_refused_or_clipped_and_counted(voc_folder, box):
    folder = voc_folder().add("a", [("cat", 1, 1, 2, 2), ("cat", *box)])
    with pytest.raises(ValueError, match=r"a.xml: object 2 \(cat\): box leaves the image"):
        _load(folder)
    dataset = _load(folder, on_bad_record="skip")
    xmin, ymin, xmax, ymax = box
    inside = [max(ymin - 1, 0), max(xmin - 1, 0), min(ymax, 40), min(xmax, 60)]
    assert _boxes(dataset) == [[[0, 0, 2, 2], inside]]
    assert len(dataset.skipped) == 1 and "object 2" in dataset.skipped[0]
    assert dataset.skipped[0].endswith("; box clipped")


@pytest.mark.parametrize(
    "box",
    [
        (5, 7, 5, 9),
        (5, 7, 9, 7),
        (9, 7, 5, 9),
        (5, 9, 9, 7),
        (70, 5, 80, 9),
        (61, 5, 61.5, 9),
        (5, 50, 9, 60),
        (-20, 5, -10, 9),
        ("nan", 5, 9, 9),
        (5, 5, "inf", 9),
        ("", 5, 9, 9),
        ("wide", 5, 9, 9),
    ],
)
def test_impossible_boxes_are_refused_or_dropped_and_counted(voc_folder, box):
    folder = voc_folder().add("a", [("cat", 1, 1, 2, 2), ("cat", *box), ("cat", 3, 3, 4, 4)])
    with pytest.raises(ValueError, match=r"1 problem.*\n.*a.xml: object 2 \(cat\): "):
        _load(folder)
    dataset = _load(folder, on_bad_record="skip")
    assert _boxes(dataset) == [[[0, 0, 2, 2], [2, 2, 4, 4]]]
    assert len(dataset.skipped) == 1 and "a.xml: object 2" in dataset.skipped[0]
    assert dataset.skipped[0].endswith("; object dropped")


def test_an_object_without_box_or_name_is_a_problem(voc_folder):
    folder = voc_folder().add("a")
    folder.annotate("a", "<object><name>cat</name></object><object/>")
    with pytest.raises(ValueError, match=r"2 problem.*\n.*object 1.*bndbox.*\n.*object 2.*<name>"):
        _load(folder, class_names=("cat",))


def test_class_names_are_found_and_sorted(voc_folder):
    folder = voc_folder().add("a", [("dog", 1, 1, 2, 2), ("ant", 1, 1, 2, 2), ("dog", 1, 1, 3, 3)])
    dataset = _load(folder)
    assert dataset.class_names == ("ant", "dog")
    assert dataset.records[0].labels.tolist() == [1, 0, 1]


def test_voc_names_elsewhere_and_other_names_in_a_voc_folder_are_just_sorted(voc_folder):
    assert _load(voc_folder("own").add("a", [("dog", 1, 1, 2, 2)])).class_names == ("dog",)
    other = voc_folder("VOC2012").add("a", [("dog", 1, 1, 2, 2), ("ant", 1, 1, 2, 2)])
    assert _load(other).class_names == ("ant", "dog")


def test_given_classes_come_before_the_file_and_the_file_before_the_found(voc_folder, tmp_path):
    folder = voc_folder().add("a", [("dog", 1, 1, 2, 2)])
    names = tmp_path / "names.txt"
    names.write_text("\ufeffzebra\n\n dog \n", encoding="utf-8")
    dataset = _load(folder, classes_file=str(names))
    assert dataset.class_names == ("zebra", "dog") and dataset.records[0].labels.tolist() == [1]
    dataset = _load(folder, classes_file=str(names), class_names=("dog", "cow"))
    assert dataset.class_names == ("dog", "cow") and dataset.records[0].labels.tolist() == [0]


@pytest.mark.parametrize("text", ["", "cat\ndog\ncat\n"])
def test_a_useless_classes_file_is_refused_by_name(voc_folder, tmp_path, text):
    folder = voc_folder().add("a")
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(ValueError, match="names.txt: expected"):
        _load(folder, classes_file=str(tmp_path / "names.txt"))
    with pytest.raises(ValueError, match="none.txt"):
        _load(folder, classes_file=str(tmp_path / "none.txt"))


def test_unknown_class_is_refused_or_dropped_and_counted(voc_folder):
    folder = voc_folder().add("a", [("cat", 1, 1, 2, 2), ("cta", 3, 3, 4, 4)])
    message = r"a.jpg: object of class cta: unknown class; known are cat, dog"
    with pytest.raises(ValueError, match=message):
        _load(folder, class_names=("cat", "dog"))
    dataset = _load(folder, class_names=("cat", "dog"), on_bad_record="skip")
    assert _boxes(dataset) == [[[0, 0, 2, 2]]] and "cta" in dataset.skipped[0]


def test_splits_are_joined_in_order_without_repeating_an_image(voc_folder):
    folder = voc_folder().add("b").add("a", split="val").add("c", split="val")
    folder.line("val", "b")
    folder.line("val", "  ")
    dataset = _load(folder, ("val", "train"))
    assert [record.image_id for record in dataset.records] == ["a", "c", "b"]


def test_a_devkit_of_one_folder_takes_both_forms_of_a_split(voc_folder, tmp_path):
    voc_folder("kit/VOC2007").add("a")
    (tmp_path / "kit" / "VOCcode").mkdir()
    for split in ("train", "VOC2007/train"):
        (record,) = _load(tmp_path / "kit", (split,)).records
        assert record.image_id == "a"
    (record,) = _load(tmp_path / "kit" / "VOC2007", ("VOC2007/train",)).records
    assert record.image_id == "a"


def test_a_devkit_of_several_folders_wants_the_folder_and_prefixes_ids(voc_folder, tmp_path):
    voc_folder("kit/VOC2007").add("a", [("dog", 1, 1, 2, 2)])
    voc_folder("kit/VOC2012").add("a", [("cat", 1, 1, 3, 3)])
    dataset = _load(tmp_path / "kit", ("VOC2007/train", "VOC2012/train"))
    assert [record.image_id for record in dataset.records] == ["VOC2007/a", "VOC2012/a"]
    assert dataset.records[1].path == str(tmp_path / "kit/VOC2012/JPEGImages/a.jpg")
    assert dataset.class_names == voc.VOC_CLASSES
    (record,) = _load(tmp_path / "kit", ("VOC2012/train",)).records
    assert record.image_id == "a"
    with pytest.raises(ValueError, match="VOC2007/train, VOC2012/train. Received: 'train'"):
        _load(tmp_path / "kit", ("train",))


def test_wrong_folders_and_splits_are_named(voc_folder, tmp_path):
    folder = voc_folder().add("a").add("b", split="val")
    folder.line("cat_val", "a")
    folder.line("none", "")
    folder.line("dog_val", "a -1")
    with pytest.raises(ValueError, match="none, train, val, cat_val. Received: 'test'"):
        _load(folder, ("train", "test"))
    with pytest.raises(ValueError, match="none.txt: the split is empty"):
        _load(folder, ("none",))
    with pytest.raises(ValueError, match="dog_val.txt: no image of the split has its class"):
        _load(folder, ("dog_val",))
    with pytest.raises(ValueError, match="expected one entry of image sets.* Received: none"):
        _load(folder, ())
    with pytest.raises(ValueError, match="--data_dir is missing: give the folder of the data"):
        _load("")
    with pytest.raises(ValueError, match="existing folder. Received: '.*nowhere'"):
        _load(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="Annotations/.*bare"):
        _load(tmp_path / "bare")
    with pytest.raises(
        ValueError,
        match="dataset must be one of voc, coco, tfrecord, tfds, yolo, folder. Received: 'other'",
    ):
        _load(folder, dataset="other")


@pytest.mark.parametrize("line", ["../b", "/etc/passwd", "x/../../b", "..\\b"])
def test_lines_that_leave_the_folder_are_refused(voc_folder, line):
    folder = voc_folder().add("a")
    folder.line("train", line)
    with pytest.raises(ValueError, match="train.txt: expected names of images inside"):
        _load(folder)
    dataset = _load(folder, on_bad_record="skip")
    assert [record.image_id for record in dataset.records] == ["a"]
    assert len(dataset.skipped) == 1 and dataset.skipped[0].endswith("; image left out")


def test_the_filename_tag_is_not_followed(voc_folder):
    folder = voc_folder().add("a")
    folder.annotation("a").write_text(
        "<annotation><filename>../../secret.jpg</filename></annotation>"
    )
    assert _load(folder, class_names=("x",)).records[0].path == str(folder.image("a"))


@pytest.mark.parametrize("suffix", [".jpeg", ".png", ".JPG"])
def test_images_may_have_other_suffixes(voc_folder, suffix):
    folder = voc_folder().add("x.y", [("cat", 1, 1, 2, 2)], suffix=suffix)
    assert _load(folder).records[0].path == str(folder.image("x.y", suffix))


BOMB = """<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaa"><!ENTITY c "&a;&a;&a;">]>
<annotation><object><name>&c;</name></object></annotation>"""
EXTERNAL = """<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<annotation><object><name>&a;</name></object></annotation>"""


def _break_annotation(text):
    return lambda folder: folder.annotation("bad").write_text(text)


def _cut_image(folder):
    folder.image("bad").write_bytes(folder.image("bad").read_bytes()[:-20])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: folder.annotation("bad").unlink(), "bad.xml: the annotation is missing"),
        (lambda folder: folder.image("bad").unlink(), "JPEGImages/bad: the image is missing"),
        (_cut_image, "bad.jpg: unreadable image"),
        (_break_annotation(""), "bad.xml: broken annotation"),
        (_break_annotation("<annotation><object>"), "bad.xml: broken annotation"),
        (_break_annotation("<html/>"), "bad.xml: expected <annotation> .*<html>"),
        (_break_annotation(BOMB), "bad.xml: broken annotation: Entit"),
        (_break_annotation(EXTERNAL), "bad.xml: broken annotation: Entit"),
        (lambda folder: folder.annotate("bad", "", 40, 61), "bad.xml: .*40 x 60 .*40 x 61"),
        (lambda folder: folder.annotate("bad", "", 60, 40), "bad.xml: .*40 x 60 .*60 x 40"),
        (lambda folder: folder.annotate("bad", "", "?", 60), r"bad.xml: .*40 x 60 .*\? x 60"),
    ],
)
def test_unusable_records_are_refused_or_left_out_and_counted(voc_folder, damage, words):
    folder = voc_folder().add("a", [("cat", 1, 1, 2, 2)]).add("bad").add("c")
    damage(folder)
    with pytest.raises(ValueError, match=f"1 problem.*\n.*{words}"):
        _load(folder)
    dataset = _load(folder, on_bad_record="skip")
    assert [record.image_id for record in dataset.records] == ["a", "c"]
    assert len(dataset.skipped) == 1 and dataset.skipped[0].endswith("; image left out")


def test_problems_are_collected(voc_folder):
    folder = voc_folder()
    for number in range(12):
        folder.add(f"p{number:02d}", [("cat", 1, 1, 1, 1)])
    folder.image("p11").unlink()
    with pytest.raises(ValueError, match="12 problem") as error:
        _load(folder)
    assert str(error.value).count("\n  - ") == 10


def test_a_split_without_any_readable_image_is_an_error(voc_folder):
    folder = voc_folder().add("a")
    folder.annotation("a").unlink()
    with pytest.raises(ValueError, match="expected readable images in train. Received: none:\n.*a"):
        _load(folder, on_bad_record="skip")


def test_boxes_refer_to_the_image_as_displayed(voc_folder):
    folder = voc_folder().add("a")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(folder.image("a"), exif=exif)
    folder.annotate("a", folder.object_xml("cat", 1, 1, 40, 60), height=60, width=40)
    (record,) = _load(folder).records
    assert (record.height, record.width, record.orientation) == (60, 40, 6)
    assert record.boxes.tolist() == [[0, 0, 60, 40]]
    folder.annotate("a", "", height=40, width=60)
    with pytest.raises(ValueError, match="EXIF"):
        _load(folder)


def test_names_that_no_file_can_have_are_refused_like_others(voc_folder):
    folder = voc_folder().add("a")
    folder.line("train", "x" * 300)
    with pytest.raises(ValueError, match="1 problem.*\n.*xxx.xml: .*File name too long"):
        _load(folder)
    assert len(_load(folder, on_bad_record="skip").records) == 1


def test_an_annotation_that_would_fill_memory_is_refused(voc_folder):
    folder = voc_folder().add("a").add("b")
    folder.annotation("b").write_text("<annotation>" + " " * 8_000_000 + "</annotation>")
    with pytest.raises(ValueError, match="b.xml: broken annotation: more than 8000000 bytes"):
        _load(folder)


def test_numbers_beyond_float32_are_clipped_without_a_warning(voc_folder):
    folder = voc_folder().add("a", [("cat", 5, 5, "1e300", 9)])
    dataset = _load(folder, on_bad_record="skip")
    assert _boxes(dataset) == [[[4, 4, 9, 60]]] and len(dataset.skipped) == 1


def test_lines_that_lead_out_can_be_collected(voc_folder):
    folder, problems = voc_folder().add("a"), []
    for line in ("../x", "b/../../x", "/x", "..\\x"):
        folder.line("train", line)
    entries = voc.entries(str(folder.root), ("train",), problems)
    assert [entry.stem for entry in entries] == ["a"]
    assert [problem.received for problem in problems] == [
        "'../x'", "'b/../../x'", "'/x'", "'..\\\\x'",
    ]  # fmt: skip
    assert {problem.kind for problem in problems} == {"outside_path"}
    with pytest.raises(ValueError, match="Received: '../x'"):
        voc.entries(str(folder.root), ("train",))


@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_files_are_found_in_either_form_of_unicode(voc_folder, listed, stored):
    listed, stored = (unicodedata.normalize(form, "été") for form in (listed, stored))
    folder = voc_folder().add(stored, split="other")
    folder.line("train", listed)
    (record,) = _load(folder).records
    assert (record.path, record.image_id) == (str(folder.image(stored)), listed)


def test_a_name_in_another_case_is_a_hint(voc_folder):
    folder = voc_folder().add("P0", split="other").add("a")
    folder.line("train", "p0")
    words = "p0.xml: the annotation is missing; a file with a similar name is P0.xml"
    with pytest.raises(ValueError, match=words):
        _load(folder)
    folder.image("a").rename(folder.image("A", ".gif"))
    with pytest.raises(ValueError, match=r"a: the image is missing .*; .* similar .* is A.gif"):
        _load(folder)


def test_two_files_for_one_image_are_named(voc_folder):
    folder = voc_folder().add("p0").add("p0", suffix=".png", split="other").add("p1", suffix=".Jpg")
    dataset = _load(folder)
    assert [record.path for record in dataset.records] == [
        str(folder.image("p0")),
        str(folder.image("p1", ".Jpg")),
    ]
    assert dataset.remarks == [
        f"{folder.image('p0')}: p0.jpg is used for the image p0, and p0.png is not"
    ]
    assert dataset.skipped == []
    folder.add("p1", suffix=".jpg", split="other")
    assert _load(folder).remarks[0].endswith("p0.png is not (and 1 more)")


def test_a_list_of_one_class_stands_for_the_images_with_the_class(voc_folder):
    folder = voc_folder().add("a").add("b").add("c")
    for line in ("a  1", "b -1", "c  0"):
        folder.line("cat_train", line)
    folder.line("my_train", "a")
    assert [record.image_id for record in _load(folder, ("cat_train",)).records] == ["a", "c"]
    assert voc.available_splits(str(folder.root)) == ["train", "my_train"]


def test_an_image_may_be_named_like_a_line_with_a_number(voc_folder):
    folder = voc_folder().add("photo 1").add("photo -1")
    assert [record.image_id for record in _load(folder).records] == ["photo 1", "photo -1"]


@pytest.mark.parametrize("sides", [("40.0", "60.0"), ("40.", " 60.00 "), ("040", "60")])
def test_whole_numbers_may_be_written_as_floats(voc_folder, sides):
    folder = voc_folder().add("a").add("b")
    folder.annotate("a", folder.object_xml("cat", 1, 1, 2, 2, "1.0"), *sides)
    first, second = _load(folder).records
    assert (first.height, first.width) == (40, 60)
    assert first.difficult.tolist() == [True] and second.difficult.tolist() == [False]


@pytest.mark.parametrize("side", ["40.5", "nan", "1e3", "-40", "40,0", "", "4" * 10])
def test_other_numbers_are_no_size(voc_folder, side):
    folder = voc_folder().add("a")
    folder.annotate("a", "", side, 60)
    with pytest.raises(ValueError, match="a.xml: the image is 40 x 60 .* says: "):
        _load(folder)


def test_classes_that_look_alike_are_named_unless_they_are_given(voc_folder, tmp_path):
    folder = voc_folder().add("a", [("Disc", 1, 1, 2, 2), ("disc", 1, 1, 2, 2)])
    dataset = _load(folder)
    assert dataset.class_names == ("Disc", "disc")
    assert dataset.remarks[0].startswith("the classes 'Disc' and 'disc' look alike")
    assert _load(folder, class_names=("Disc", "disc")).remarks == []
    (tmp_path / "names.txt").write_text("disc\n")
    dataset = _load(folder, classes_file=str(tmp_path / "names.txt"))
    assert dataset.records[0].labels.tolist() == [0, 0]
    assert dataset.remarks == [f"voc in {folder.root}: Disc is disc"]


def test_where_all_objects_were_dropped_the_reason_is_said(voc_folder):
    folder = voc_folder().add("a")
    folder.annotate("a", "<object><name>cat</name></object>")
    words = "expected objects in train, .* Received: none; the first problem: .*a.xml: object 1"
    with pytest.raises(ValueError, match=words):
        _load(folder, on_bad_record="skip")
