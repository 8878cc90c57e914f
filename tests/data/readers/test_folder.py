"""A plain folder: images with annotations beside them, of either form."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.data import splits
from keras_frcnn.data.readers import folder as reader
from keras_frcnn.inspection.check_data import checks
from tests.data.conftest import VocFolder
from tests.inspection.conftest import scene


class PlainFolder:
    """Writes images with annotations beside them."""

    def __init__(self, root):
        self.root = root
        root.mkdir()

    def add(self, name, xml=None, txt=None, size=(40, 60), seed=None):
        """Adds an image of (height, width) with objects as VOC or as YOLO writes them."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", size[::-1]) if seed is None else Image.fromarray(scene(seed))
        image.save(path)
        if xml is not None:
            objects = "".join(VocFolder.object_xml(*item) for item in xml)
            sides = f"<width>{size[1]}</width><height>{size[0]}</height>"
            path.with_suffix(".xml").write_text(
                f"<annotation><size>{sides}</size>{objects}</annotation>"
            )
        if txt is not None:
            path.with_suffix(".txt").write_text("".join(f"{line}\n" for line in txt))
        return self

    def classes(self, *names):
        (self.root / "classes.txt").write_text("".join(f"{name}\n" for name in names))
        return self


@pytest.fixture
def folder(tmp_path):
    return PlainFolder(tmp_path / "photos")


def load(folder, splits=("all",), **settings):
    return data.load(Config(dataset="folder", data_dir=str(folder.root), **settings), splits)


def refusal(folder, *args, **settings):
    with pytest.raises(ValueError) as caught:
        load(folder, *args, **settings)
    return str(caught.value)


def test_reads_both_forms_of_annotation(folder):
    folder.add("a.jpg", xml=[("dog", 1, 2, 30, 20), ("ant", 3, 4, 50, 40, 1)])
    folder.add("deep/b.PNG", txt=["0 0.5 0.5 0.5 0.5"]).add("deep/c.jpg", txt=[])
    dataset = load(folder.classes("dog", "cat"))
    assert dataset.class_names == ("dog", "cat", "ant") and dataset.skipped == []
    assert [record.image_id for record in dataset.records] == ["a.jpg", "deep/b.PNG", "deep/c.jpg"]
    first, second, third = dataset.records
    assert first.boxes.tolist() == [[1, 0, 20, 30], [3, 2, 40, 50]]
    assert first.labels.tolist() == [0, 2] and first.difficult.tolist() == [False, True]
    assert second.boxes.tolist() == [[10, 15, 30, 45]] and second.labels.tolist() == [0]
    assert third.boxes.shape == (0, 4) and first.form == "voc"
    assert first.path == str(folder.root / "a.jpg")


def test_xml_alone_needs_no_list_of_classes_and_comes_before_txt(folder):
    folder.add("a.jpg", xml=[("dog", 1, 2, 30, 20)], txt=["no labels"]).add("b.jpg", xml=[])
    dataset = load(folder)
    assert dataset.class_names == ("dog",)
    assert [len(record.labels) for record in dataset.records] == [1, 0]


def test_txt_needs_names_of_the_folder_or_of_the_classes_file(folder, tmp_path):
    folder.add("a.jpg", txt=["1 0.5 0.5 1 1"])
    assert "photos: expected the class names of .txt files in classes.txt" in refusal(folder)
    (tmp_path / "names").write_text("cat\ndog\n")
    dataset = load(folder, classes_file=str(tmp_path / "names"))
    assert dataset.class_names == ("cat", "dog") and dataset.records[0].labels.tolist() == [1]
    (tmp_path / "names").write_text("dog\n")
    dataset = load(folder.classes("cat", "dog"), classes_file=str(tmp_path / "names"))
    assert dataset.class_names == ("dog",) and dataset.records[0].labels.tolist() == [0]


def test_an_image_without_annotation_is_a_problem(folder):
    folder.add("a.jpg", xml=[("dog", 1, 2, 30, 20)]).add("b.jpg").add("classes.jpg").classes("dog")
    text = refusal(folder)
    assert f"{folder.root}/b.jpg: expected b.xml or b.txt beside the image (an empty .txt" in text
    assert "2 problem" in text and "classes.jpg: expected classes.xml" in text
    assert len(load(folder, on_bad_record="skip").records) == 1
    config = Config(dataset="folder", data_dir=str(folder.root))
    bare = data.load(config, ("all",), annotated=False)
    assert [len(record.labels) for record in bare.records] == [0, 0, 0]


def test_faults_of_either_form_are_named(folder):
    folder.add("a.jpg", xml=[("dog", 1, 2, 30, 20), ("dog", 5, 5, 5, 9)]).classes("dog")
    folder.add("b.jpg", txt=["7 0.5 0.5 1 1"]).add("c.jpg", xml=[], size=(41, 60))
    Image.new("RGB", (60, 40)).save(folder.root / "c.jpg")
    folder.add("d.jpg", txt=[]).add("e.jpg", xml=[])
    (folder.root / "d.jpg").write_bytes(b"\xff\xd8")
    (folder.root / "e.xml").write_text("<")
    dataset = load(folder, on_bad_record="skip")
    assert [record.image_id for record in dataset.records] == ["a.jpg", "b.jpg"]
    assert [(p.kind, p.file.rpartition("/")[2], p.object) for p in dataset.problems] == [
        ("size_mismatch", "c.xml", ""), ("broken_image", "d.jpg", ""),
        ("broken_annotation", "e.xml", ""), ("degenerate_box", "a.xml", "object 2"),
        ("unknown_class", "b.txt", "line 1"),
    ]  # fmt: skip


# --- splits -------------------------------------------------------------------------------------


@pytest.fixture
def many(folder):
    """Ten images, and a folder of two."""
    for number in range(10):
        folder.add(f"{number}.jpg", xml=[("dog", 1, 2, 30, 20 + number)])
    return folder.add("more/a.jpg", xml=[]).add("more/b.jpg", xml=[])


def ids(*args, **settings):
    return [record.image_id for record in load(*args, **settings).records]


def test_shares_become_trainval_and_test(many):
    shares = {"split": (0.75, 0.25)}
    train, test = (ids(many, (name,), **shares) for name in ("trainval", "test"))
    assert (len(train), len(test)) == (9, 3) and not set(train) & set(test)
    assert ids(many, ("train",), **shares) == train
    names = ("dog",)
    config = Config(dataset="folder", data_dir=str(many.root), **shares)
    assert [r.image_id for r in data.load(config, ("val",), names).records] == test
    assert ids(many, ("trainval",), seed=1, **shares) != train
    assert len(ids(many, ("all",), **shares)) == 12
    assert ids(many, ("trainval", "train"), **shares) == train
    words = "expected one of the image sets trainval, test, all. Received: 'more'"
    assert words in refusal(many, ("more",), **shares)


def test_the_lists_of_a_run_count(many, tmp_path):
    config = Config(
        dataset="folder", data_dir=str(many.root), split=(0.5, 0.5), output_dir=str(tmp_path)
    )
    splits.write(config)
    before = [r.image_id for r in data.load(config, ("trainval",)).records]
    for number in range(10, 30):
        many.add(f"{number}.jpg", xml=[])
    assert [r.image_id for r in data.load(config, ("trainval",)).records] == before
    (many.root / before[0]).unlink()
    with pytest.raises(ValueError, match=f"{many.root}/{before[0]}: the image is missing"):
        data.load(config, ("trainval",))


def test_without_shares_a_split_is_a_folder_or_everything(many):
    (many.root / "a.txt").write_text("no image")
    assert len(ids(many, ("all",))) == 12
    assert [r.image_id for r in load(many, ("more", "all")).records][:2] == [
        "more/a.jpg", "more/b.jpg",
    ]  # fmt: skip
    text = refusal(many, ("trainval",))
    assert "--split=0.8,0.2, or one of the image sets all, more. Received: 'trainval'" in text
    for split in ("../photos", "/etc", "", "a.txt"):
        assert "expected --split with the shares" in refusal(many, (split,))
    assert reader.available_splits(str(many.root)) == ["all", "more"]
    (many.root / "none").mkdir()
    assert "expected readable images in none. Received: none" in refusal(many, ("none",))


def test_check_data_looks_at_both_shares(folder):
    for number in range(5):
        folder.add(f"{number}.jpg", xml=[("dog", 1, 2, 30, 20)], seed=number)
    folder.add("0.jpg", xml=[("dog", 5, 5, 5, 9)], seed=0)
    config = Config(dataset="folder", data_dir=str(folder.root), split=(0.6, 0.4))
    report = checks.check(config)
    assert report.statistics["images"] == {"train": 3, "eval": 2} and report.source.remarks == []
    (finding,) = report.findings
    assert finding.line.startswith("0.xml: object 1 (dog): box has no area")


def test_labels_beside_images_hold_what_yolo_writes(folder):
    """The parser is that of the YOLO layout, to the last digit."""
    folder.add("a.jpg", txt=["0 0.123456789 0.5 0.1 0.25"]).classes("dog")
    (record,) = load(folder).records
    expected = [[15, (0.123456789 - 0.05) * 60, 25, (0.123456789 + 0.05) * 60]]
    np.testing.assert_allclose(record.boxes, expected, rtol=1e-7)


def test_two_images_with_one_annotation_are_a_problem(folder):
    folder.add("a.jpg", xml=[("dog", 1, 2, 30, 20)]).add("a.png").add("b.jpg", txt=[])
    folder.classes("dog")
    words = f"{folder.root}/a.png: {folder.root}/a.jpg has the same annotation"
    assert words in refusal(folder)
    assert ids(folder, on_bad_record="skip") == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(("image", "annotation"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_annotations_are_found_in_either_form_of_unicode(folder, image, annotation):
    image, annotation = (unicodedata.normalize(form, "été") for form in (image, annotation))
    folder.add(f"{image}.jpg", xml=[("dog", 1, 2, 30, 20)])
    (folder.root / f"{image}.xml").rename(folder.root / f"{annotation}.XML")
    (record,) = load(folder).records
    assert record.annotation == str(folder.root / f"{annotation}.XML")
