import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.config import Config
from keras_frcnn.console import plain
from keras_frcnn.data import load_images
from keras_frcnn.data.images import integrity
from keras_frcnn.inspection.check_data import checks, fix
from keras_frcnn.inspection.check_data.findings import KINDS
from keras_frcnn.inspection.check_data.samples import Object
from tests.data.conftest import CocoFolder
from tests.data.images.image_forms import FORMS
from tests.inspection.conftest import scene


def _found(report, kind=None):
    """Returns (kind, file, object's number) of the findings, or (file, number) of those of one."""
    rows = [(f.kind, f.file, f.number) for f in report.findings]
    return rows if kind is None else [row[1:] for row in rows if row[0] == kind]


def _message(report, kind):
    (message,) = {f.message for f in report.findings if f.kind == kind}
    return message


def test_good_data_has_no_findings(folder, check):
    folder.add("a", image=scene(0)).add("b", image=scene(1), split="val", suffix=".png")
    report = check()
    assert _found(report) == [] and report.num_problems == 0
    assert report.counts == dict.fromkeys(KINDS, 0)
    assert report.source.class_names == ("cat",)


def test_the_wrong_boxes_are_found_by_name(folder, check):
    boxes = [(1, 1, 2, 2), (5, 7, 5, 9), (9, 7, 5, 9), (5, 5, "nan", 9), (5, 5, 62, 9)]
    boxes += [(70, 5, 80, 9), (0, 0, 61, 41), (1, 1, 2, 2)]  # the last but one: a pixel over
    folder.add("a", [("cat", *box) for box in boxes])
    report = check()
    file = "Annotations/a.xml"
    assert _found(report, "degenerate_box") == [(file, 2), (file, 3), (file, 4)]
    assert _found(report, "outside_box") == [(file, 5), (file, 6)]
    assert _found(report, "duplicate_box") == [(file, 8)]
    assert report.num_problems == 6 and len(report.findings) == 6
    first = next(f for f in report.findings if f.kind == "degenerate_box")
    assert first.line == (
        "Annotations/a.xml: object 2 (cat): box has no area (xmin=5 ymin=7 xmax=5 ymax=9)"
    )
    kept = [item.box for item in report.source.samples[0].objects]
    assert [None if box is None else box.tolist() for box in kept] == [
        [0, 0, 2, 2], None, None, None, [4, 4, 9, 60], None, [0, 0, 40, 60], [0, 0, 2, 2],
    ]  # fmt: skip


def test_the_same_box_of_another_class_is_no_double():
    box = np.array([0, 0, 2, 2], np.float32)
    objects = [Object(n, name, None, box) for n, name in enumerate(("a", "b", "a", "a"), 1)]
    objects.append(Object(5, "a", None, None))
    assert checks.doubles(objects) == {3: 1, 4: 1}


def test_missing_files_and_tags_are_found(folder, check):
    folder.add("good", image=scene(0)).add("no_image").add("no_xml", image=scene(1))
    folder.image("no_image").unlink()
    folder.annotation("no_xml").unlink()
    folder.add("tags", image=scene(2))
    folder.annotation("tags").write_text(
        "<annotation><object><name>cat</name></object><object/></annotation>"
    )
    folder.add("size", image=scene(3))
    folder.annotate("size", folder.object_xml("cat", 1, 1, 2, 2), height="many")
    report = check()
    assert _found(report) == [
        ("missing_image", "JPEGImages/no_image", 0),
        ("missing_annotation", "Annotations/no_xml.xml", 0),
        ("missing_tag", "Annotations/tags.xml", 1),
        ("missing_tag", "Annotations/tags.xml", 2),
        ("missing_tag", "Annotations/size.xml", 0),
        ("missing_size", "Annotations/tags.xml", 0),
    ]
    assert report.num_problems == 5


ENTITIES = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><annotation>&b;</annotation>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no element"),
        ("<annotation><object>", "no element"),
        ("<html/>", "expected <annotation>"),
        (ENTITIES, "EntitiesForbidden"),
        (OUTSIDE, "EntitiesForbidden"),
        ("<annotation>" + "<a/>" * 2_000_001 + "</annotation>", "8000000 bytes are refused"),
    ],
)
def test_broken_annotations_are_refused_by_name(folder, check, text, words):
    folder.add("a", image=scene(0)).add("bad", image=scene(1))
    folder.annotation("bad").write_text(text)
    report = check()
    assert _found(report) == [("broken_annotation", "Annotations/bad.xml", 0)]
    assert words in _message(report, "broken_annotation")


def test_unreadable_images_do_not_hide_their_annotations(folder, check):
    folder.add("a", [("cat", 1, 1, 2, 2), ("cat", 5, 5, 5, 9), ("cat", 5, 5, 90, 9)])
    folder.image("a").write_bytes(b"")
    folder.add("b", [("cat", 5, 5, 5, 9), ("cat", 5, 5, 90, 9)])
    folder.image("b").write_bytes(b"no image")
    folder.annotation("b").write_text(folder.annotation("b").read_text().replace("size", "sise"))
    report = check()
    assert _found(report, "unreadable_image") == [
        ("JPEGImages/a.jpg", 0),
        ("JPEGImages/b.jpg", 0),
    ]
    assert _found(report, "degenerate_box") == [("Annotations/a.xml", 2), ("Annotations/b.xml", 1)]
    assert _found(report, "outside_box") == [("Annotations/a.xml", 3)]  # of b no size is known


@pytest.mark.parametrize("line", ["../other/a", "/etc/passwd", "..\\a", "b/../../a"])
def test_lines_that_lead_out_are_refused_by_name(folder, check, line):
    folder.add("a", image=scene(0))
    folder.line("train", line)
    report = check()
    (finding,) = report.findings
    assert (finding.kind, finding.file) == ("outside_path", "ImageSets/Main/train.txt")
    assert repr(line) in finding.message and finding.message.startswith("expected names")


def test_links_that_lead_out_are_not_followed(folder, check, tmp_path):
    other = tmp_path / "other.jpg"
    Image.fromarray(scene(5)).save(other)
    folder.add("a", image=scene(0)).add("link").add("link_xml", image=scene(1))
    folder.image("link").unlink()
    folder.image("link").symlink_to(other)
    shutil.move(folder.annotation("link_xml"), tmp_path / "other.xml")
    folder.annotation("link_xml").symlink_to(tmp_path / "other.xml")
    folder.add("inside", image=scene(2)).image("inside").rename(folder.root / "x.jpg")
    folder.image("inside").symlink_to(folder.root / "x.jpg")
    report = check()
    assert _found(report) == [
        ("outside_path", "JPEGImages/link.jpg", 0),
        ("outside_path", "Annotations/link_xml.xml", 0),
    ]
    assert report.source.samples[1].path is None and not report.source.samples[1].file.digest


def test_the_folders_themselves_may_be_links(folder, check, tmp_path):
    folder.add("a", image=scene(0))
    shutil.move(folder.root / "JPEGImages", tmp_path / "elsewhere")
    (folder.root / "JPEGImages").symlink_to(tmp_path / "elsewhere")
    assert _found(check()) == []


def test_special_files_and_impossible_names_do_not_stop_the_check(folder, check):
    folder.add("a", image=scene(0)).add("pipe", image=scene(1))
    folder.image("pipe").unlink()
    os.mkfifo(folder.image("pipe"))
    for line in ("x" * 300, "a\0b", "."):
        folder.line("train", line)
    kinds = {f.kind for f in check().findings}
    assert kinds == {"missing_image", "missing_annotation"}


def test_a_size_that_differs_is_found(folder, check):
    folder.add("a", image=scene(0)).add("b", image=scene(1))
    folder.annotate("a", folder.object_xml("cat", 1, 1, 2, 2), height=80, width=120)
    folder.annotate("b", folder.object_xml("cat", 1, 1, 2, 2), height=60, width=60)
    report = check()
    start = (
        "the image is 40 x 60 (height x width, upright by its EXIF orientation). The annotation "
    )
    assert [f.message for f in report.findings if f.kind == "size_mismatch"] == [
        f"{start}says: 80 x 120: of the same form, perhaps resized after the boxes were drawn",
        f"{start}says: 60 x 60",
    ]


def _rotate(folder, stem, seed, size, box, orientation=6):
    """Adds an image stored 40 x 60 that viewers turn, annotated as (height, width)."""
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(scene(seed)).save(folder.image(stem), exif=exif)
    folder.annotate(stem, folder.object_xml("cat", *box), *size)
    folder.line("train", stem)


def test_rotated_images_are_noted_and_wrong_ones_found(folder, check):
    _rotate(folder, "upright", 0, (60, 40), (1, 1, 40, 60))
    _rotate(folder, "stored", 1, (40, 60), (1, 1, 60, 40))
    report = check()
    assert _found(report) == [
        ("size_mismatch", "Annotations/stored.xml", 0),
        ("rotated_image", "JPEGImages/upright.jpg", 0),
        ("rotated_image", "JPEGImages/stored.jpg", 0),
    ]
    upright, stored = report.source.samples
    assert (upright.as_stored, upright.height, upright.width) == (False, 60, 40)
    assert (stored.as_stored, stored.height, stored.width) == (True, 40, 60)
    assert stored.objects[0].box.tolist() == [0, 0, 40, 60]


def test_unknown_classes_are_those_of_the_file_or_of_the_training_images(folder, check, tmp_path):
    folder.add("a", [("cat", 1, 1, 2, 2)], image=scene(0))
    folder.add("b", [("cat", 1, 1, 2, 2), ("cta", 1, 1, 9, 9)], image=scene(1), split="val")
    report = check()
    assert _found(report) == [("unknown_class", "Annotations/b.xml", 2)]
    names = tmp_path / "names.txt"
    names.write_text("cta\n")
    report = check(classes_file=str(names))
    assert _found(report, "unknown_class") == [
        ("Annotations/a.xml", 1),
        ("Annotations/b.xml", 1),
    ]
    assert _message(report, "unknown_class") == "not one of cta"
    known = {row["name"]: row["known"] for row in report.statistics["classes"]}
    assert known == {"cta": True, "cat": False}


def test_images_in_both_sets_are_found(folder, check):
    big = scene(0, 200, 300)
    objects = [("cat", 51, 51, 100, 100)]
    folder.add("a", objects, image=big).add("b", objects, image=scene(1, 200, 300))
    folder.add("same", image=big, split="val").add("twin", image=big, split="val")
    folder.add("near", image=big, split="val", suffix=".png").add(
        "new", image=scene(2), split="val"
    )
    folder.line("val", "b")
    report = check()
    assert _found(report) == [
        ("overlap", "JPEGImages/same.jpg", 0),
        ("overlap", "JPEGImages/twin.jpg", 0),
        ("overlap", "JPEGImages/b.jpg", 0),
        ("near_overlap", "JPEGImages/near.png", 0),
        ("duplicate_image", "JPEGImages/twin.jpg", 0),
    ]
    assert report.findings[0].other.image_id == report.findings[3].other.image_id == "a"
    assert report.num_problems == 3
    assert _found(check(near=-1), "near_overlap") == []
    assert len(_found(check(near=128), "near_overlap")) == 2


def test_the_same_split_twice_is_found_once(folder, check):
    folder.add("a", image=scene(0)).add("b", image=scene(1))
    report = check(eval_split=("train",))
    assert _found(report) == [("overlap", "", 0)] and report.num_problems == 1
    assert _message(report, "overlap") == (
        f"voc in {folder.root}: train is trained on and evaluated on"
    )
    assert report.statistics["images"] == {"train": 2, "eval": 0}


def test_images_without_objects_are_a_note_and_kinds_can_be_allowed(folder, check):
    objects = [("cat", 5, 5, 5, 9), ("cat", 1, 1, 9, 9)]
    folder.add("a", [], image=scene(0)).add("b", objects, image=scene(1))
    report = check()
    assert report.counts["empty_image"] == 1 and report.num_problems == 1
    assert list(report.by_kind()) == ["degenerate_box", "empty_image"]
    assert check(allow=("degenerate_box",)).num_problems == 0
    with pytest.raises(ValueError, match="--allow must name kinds.*Received: nonsense"):
        check(allow=("nonsense",))
    with pytest.raises(ValueError, match="--near must be between -1 and 128"):
        check(near=200)


def test_without_the_default_evaluation_split_training_is_checked_alone(folder, check):
    folder.add("a", image=scene(0))
    report = check(eval_split=("test",))
    assert report.source.remarks == ["no image set test: only the training images are checked"]
    with pytest.raises(ValueError, match="expected one of the splits train. Received: 'mine'"):
        check(eval_split=("mine",))


def test_a_folder_of_images_is_checked_without_annotations(tmp_path):
    (tmp_path / "deep").mkdir()
    Image.fromarray(scene(0)).save(tmp_path / "deep" / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"")
    (tmp_path / "c.gif").write_bytes(b"GIF89a")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "link.jpg").symlink_to("/etc/passwd")
    report = checks.check(Config(data_dir=str(tmp_path)))
    assert _found(report) == [
        ("unreadable_image", "b.jpg", 0),
        ("unreadable_image", "c.gif", 0),
        ("outside_path", "link.jpg", 0),
    ]
    assert report.findings[2].image_id == "link.jpg"
    assert report.statistics["images"] == {"train": 4, "eval": 0}
    assert "only the images in it are checked" in report.source.remarks[0]


@pytest.mark.filterwarnings("ignore:::PIL")
def test_the_images_that_training_refuses_are_found(folder, check):
    """Those and no others, of images in every form."""
    names = {}
    for number, (name, form) in enumerate(FORMS.items()):
        stem = f"{number:03d}"
        box = folder.object_xml("cat", 1, 1, 1.5, 1.5)
        folder.annotation(stem).write_text(f"<annotation>{box}</annotation>")
        folder.image(stem, form.suffix).write_bytes(form.content)
        folder.line("train", stem)
        names[stem] = name
    report = check(near=-1)
    kinds = ("broken_image", "unreadable_image")
    found = {names[f.image_id] for f in report.findings if f.kind in kinds}
    config = report.config.replace(on_bad_record="skip")
    trained = {names[record.image_id] for record in load_images(config, ("train",)).records}
    assert found == set(FORMS) - trained


def test_what_pillow_reads_and_tensorflow_does_not_is_broken(folder, check, tmp_path):
    content = FORMS["jpeg with a marker amid its pixels"].content
    for stem in ("a", "b", "c"):
        folder.add(stem, image=scene(ord(stem)), suffix=".jpg")
    folder.image("b").write_bytes(content)
    assert integrity.read(folder.image("b")).problem is None
    report = check()
    words = "its header is valid, but its pixels cannot be decoded"
    assert [f.line for f in report.findings if f.kind == "broken_image"] == [
        f"JPEGImages/b.jpg: {words}"
    ]
    fix.write(report, str(tmp_path / "mended"))
    mended = Config(data_dir=str(tmp_path / "mended"), train_split=("train",))
    assert [record.image_id for record in load_images(mended, ("train",)).records] == ["a", "c"]


@pytest.mark.parametrize(
    ("data_dir", "words"), [("", "is missing"), ("/no/such/folder", "must be an existing folder")]
)
def test_a_missing_folder_is_an_error(data_dir, words):
    with pytest.raises(ValueError, match=f"data_dir {words}"):
        checks.check(Config(data_dir=data_dir))


def test_other_sources_are_checked_through_their_reader(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "annotations").mkdir()
    images = [{"id": n, "file_name": f"{n}.jpg", "height": 40, "width": 60} for n in range(4)]
    for n in range(4):
        Image.fromarray(scene(n)).save(tmp_path / "train" / f"{n}.jpg")
    (tmp_path / "train" / "3.jpg").write_bytes(b"")
    boxes = [(0, [1, 1, 5, 5]), (0, [1, 1, 5, 5]), (1, [1, 1, 0, 5]), (1, [50, 1, 30, 5])]
    annotations = [
        {"id": n, "image_id": image, "category_id": 1, "bbox": box}
        for n, (image, box) in enumerate(boxes)
    ]
    categories = [{"id": 1, "name": "cat"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "annotations" / "instances_train.json").write_text(json.dumps(content))
    settings = {"train_split": ("train",), "eval_split": ("-",)}
    report = checks.check(Config(dataset="coco", data_dir=str(tmp_path), **settings))
    assert _found(report, "duplicate_box") == [("train/0.jpg", 2)]
    assert _found(report, "empty_image") == [("train/2.jpg", 0)]
    file = "annotations/instances_train.json"
    lines = {f.kind: f.line for f in report.findings}
    assert lines["degenerate_box"].startswith(f"{file}: annotation 2 (cat): box has no area (x=1")
    assert lines["outside_box"].startswith(f"{file}: annotation 3 (cat): box leaves the image of")
    assert lines["unreadable_image"] == "train/3.jpg: the file is empty"
    shown = [f.sample.image_id for f in report.findings if f.kind == "degenerate_box"]
    assert shown == ["1"]
    assert report.num_problems == 4


def test_joined_data_are_checked_as_one_set(folder, tmp_path):
    folder.add("1", [("sofa", 1, 1, 9, 9), ("dog", 1, 1, 5, 5)], image=scene(0))
    folder.add("2", [("sofa", 1, 1, 9, 9)], image=scene(1)).add("3", image=scene(2), split="test")
    folder.add("4", [("cat", 5, 5, 5, 9), ("dog", 5, 5, 9, 9)], split="test", image=scene(4))
    other = CocoFolder(tmp_path / "coco")
    other.content["categories"] = [
        {"id": 1, "name": "couch"},
        {"id": 2, "name": "truck"},
        {"id": 3, "name": "Dog"},
    ]
    other.add(1, ([1, 1, 5, 5], 1), ([1, 1, 5, 5], 2), ([2, 1, 5, 5], 2))
    other.add(2, ([1, 1, 5, 5], 2)).add(3, ([1, 1, 5, 5], 3), ([9, 1, 0, 5], 2))
    for number in (1, 2):
        path = other.images / f"{number:012d}.jpg"
        Image.fromarray(scene(10 + number)).save(path)
    shutil.copy(folder.image("3"), other.images / "000000000003.jpg")
    config = Config(
        dataset=("voc", "coco"),
        data_dir=(str(folder.root), str(other.root)),
        train_split=("train", "train"),
        eval_split=("test", "train"),  # of the second the same images: not read twice
    )
    report = checks.check(config)
    counts = {kind: count for kind, count in report.counts.items() if count}
    assert counts == {
        "degenerate_box": 2,  # though of classes that are left out: a reader would stop at them
        "unknown_class": 2,  # these two objects, since they are not left out for their class
        "overlap": 2,
        "unmatched_class": 2,
        "empty_image": 2,
    }
    again, overlap = (f for f in report.findings if f.kind == "overlap")
    assert again.message == f"coco in {other.root}: train is trained on and evaluated on"
    assert overlap.message == "the same image as coco/3 of the training images"
    assert (overlap.image_id, overlap.file) == ("voc/3", str(folder.image("3")))
    lines = [f.line for f in report.findings if f.kind == "degenerate_box"]
    assert lines[0].startswith(f"{other.path}: annotation 105 (truck): box has no area")
    assert lines[1].startswith(f"{folder.annotation('4')}: object 1 (cat): box has no area")
    assert [f.line for f in report.findings if f.kind == "unmatched_class"] == [
        f"(truck): coco in {other.root}: 3 objects left out",
        f"(cat): voc in {folder.root}: 1 object left out",
    ]
    empty = [f.image_id for f in report.findings if f.kind == "empty_image"]
    assert empty == ["coco/2", "voc/3"]
    rows = {row["name"]: row["train_objects"] for row in report.statistics["classes"]}
    assert rows == {"dog": 2, "sofa": 3, "cat": 0, "truck": 1}
    assert report.statistics["images"] == {"train": 5, "eval": 2}
    assert report.to_dict()["dataset"] == ["voc", "coco"]


def test_a_class_that_could_be_one_of_two_is_unknown(folder, check):
    folder.add("a", [("Cat", 1, 1, 9, 9), ("cat", 2, 1, 9, 9)], image=scene(0))
    folder.add("b", [("CAT", 1, 1, 9, 9)], image=scene(1), split="val")
    report = check()
    assert _found(report, "unknown_class") == [("Annotations/b.xml", 1)]
    assert _message(report, "similar_class").startswith("the classes 'Cat' and 'cat' look alike")
    assert KINDS["similar_class"].is_note


def test_a_class_by_another_name_is_the_same_class(folder, check):
    folder.add("a", [("dining table", 1, 1, 9, 9)], image=scene(0))
    folder.add("b", [("DiningTable", 1, 1, 9, 9)], image=scene(1), split="val")
    report = check()
    assert _found(report) == []
    (row,) = report.statistics["classes"]
    assert (row["name"], row["train_objects"], row["eval_objects"]) == ("dining table", 1, 1)


def test_the_json_has_every_kind_and_survives_a_round_trip(folder, check):
    folder.add("a", [("cat", 5, 5, 5, 9), ("cat", 1, 1, 9, 9)], image=scene(0))
    content = json.loads(json.dumps(check().to_dict(), allow_nan=False))
    assert set(content) == {
        "format", "data_dir", "dataset", "splits", "remarks", "problems", "notes", "counts",
        "findings", "images", "objects", "classes", "box_sizes", "aspect_ratios",
    }  # fmt: skip
    assert list(content["counts"]) == list(KINDS) and content["problems"] == 1
    assert content["findings"] == [
        {
            "kind": "degenerate_box",
            "level": "problem",
            "split": "train",
            "image_id": "a",
            "file": "Annotations/a.xml",
            "entry": "object 1",
            "object": 1,
            "class": "cat",
            "message": "box has no area (xmin=5 ymin=5 xmax=5 ymax=9)",
        }
    ]


def test_texts_are_safe_to_print():
    assert plain("a\x1b[31m\n\udc80é") == "a\\x1b[31m\\n\\udc80é"


# --- what a run could not use -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objects", "settings", "words"),
    [
        ([], {}, "in train (1 images): the annotations hold none"),
        ([("cat", 5, 5, 5, 9)], {}, "object 1 (cat): box has no area (xmin=5 ymin=5 xmax=5 ymax="),
        ([("cat", 1, 1, 9, 9, 1)], {}, "Use --difficult=keep"),
        ([("cat", 1, 1, 9, 9)], {"shorter_side": 80, "longer_side": 120}, "smaller --scales"),
    ],
)
def test_data_that_training_could_not_learn_from_are_a_problem(
    folder, check, objects, settings, words
):
    folder.add("a", objects, image=scene(0))
    report = check(**settings)
    assert words in _message(report, "nothing_to_learn") and report.num_problems >= 1


def test_evaluation_images_without_objects_are_a_problem(folder, check):
    folder.add("a", image=scene(0)).add("b", [], image=scene(1), split="val")
    report = check()
    assert "no object to evaluate on in val" in _message(report, "nothing_to_learn")


def test_limits_below_the_number_of_objects_are_noted(folder, check):
    folder.add("a", [("cat", 1, 1, 2 + n, 9) for n in range(4)], image=scene(0))
    report = check(max_detections=2)
    assert "--max_detections=2" in _message(report, "cut_off") and report.num_problems == 0


def test_two_files_for_one_image_are_noted(folder, check):
    folder.add("a", image=scene(0)).add("a", suffix=".png", split="other")
    report = check()
    assert _found(report) == [("similar_file", "JPEGImages/a.jpg", 0)]
    assert report.num_problems == 0


def test_what_was_asked_for_must_be_there(folder):
    folder.add("a", image=scene(0), split="trainval")
    config = Config(data_dir=str(folder.root))
    assert checks.check(config).source.remarks
    with pytest.raises(ValueError, match="expected one of the splits trainval. Received: 'test'"):
        checks.check(config, asked={"eval_split"})


def test_other_layouts_are_not_taken_for_images_alone(tmp_path):
    Image.fromarray(scene(0)).save(tmp_path / "a.png")
    config = Config(data_dir=str(tmp_path))
    assert checks.check(config).num_problems == 0
    for settings in ({"train_split": ("train",)}, {}):
        with pytest.raises(ValueError, match="--data_dir must be a folder with Annotations/"):
            checks.check(config.replace(**settings), asked={"train_split"})
    for name in ("data.yaml", "annotations/instances_train.json", "a.txt", "a.XML", "labels/b.txt"):
        path = tmp_path / "more" / name
        path.parent.mkdir(parents=True)
        path.touch()
        Image.fromarray(scene(0)).save(tmp_path / "more" / "a.png")
        with pytest.raises(ValueError, match="--data_dir must be a folder with Annotations/"):
            checks.check(config)
        shutil.rmtree(tmp_path / "more")
