import hashlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.inspection.check_data import checks, fix
from tests.inspection.conftest import scene


def _hashes(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _fix(check, folder, tmp_path, **settings):
    before = _hashes(folder.root)
    changes = fix.write(check(**settings), str(tmp_path / "fixed"))
    assert _hashes(folder.root) == before
    assert (tmp_path / "fixed" / fix.CHANGES).read_text() == "".join(f"{c}\n" for c in changes)
    return changes, tmp_path / "fixed"


def _boxes(root, split="train"):
    dataset = data.load(Config(data_dir=str(root)), (split,))  # strict: the first fault raises
    return {record.image_id: record.boxes.tolist() for record in dataset.records}


def test_a_copy_that_is_interrupted_leaves_nothing(folder, check, tmp_path, monkeypatch):
    folder.add("a", image=scene(0)).add("b", image=scene(1), split="val")
    report = check()

    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fix._Copier, "copy_split", interrupt)
        fix.write(report, str(tmp_path / "fixed"))
    assert sorted(tmp_path.iterdir()) == [folder.root]
    assert fix.write(report, str(tmp_path / "fixed")) == []


def test_good_data_is_copied_byte_for_byte(folder, check, tmp_path):
    folder.add("a", image=scene(0)).add("b", image=scene(1), split="val", suffix=".PNG")
    changes, fixed = _fix(check, folder, tmp_path)
    copied = _hashes(fixed)
    del copied[fix.CHANGES]
    assert changes == [] and copied == _hashes(folder.root)


def test_boxes_are_clipped_dropped_and_named(folder, check, tmp_path):
    boxes = [(1, 1, 2, 2), (5, 7, 5, 9), (-7, 5, 62, 9), (1, 1, 2, 2), (0, 3, 4, 5)]
    folder.add("a", [("cat", *box) for box in boxes], image=scene(0))
    text = folder.annotation("a").read_text()
    text = text.replace("<object>", "<pose>up</pose><object>").replace("</annotation>", "<object/>")
    folder.annotation("a").write_text(text + "</annotation>")
    changes, fixed = _fix(check, folder, tmp_path)
    assert _boxes(fixed) == {"a": [[0, 0, 2, 2], [4, 0, 9, 60], [2, 0, 5, 4]]}
    assert changes == [
        "Annotations/a.xml: object 2 (cat) dropped: box has no area (xmin=5 ymin=7 xmax=5 ymax=9)",
        "Annotations/a.xml: object 3 (cat) clipped: box leaves the image of height 40, width 60 "
        "(xmin=-7 ymin=5 xmax=62 ymax=9)",
        "Annotations/a.xml: object 4 (cat) dropped: the same box as object 1",
        "Annotations/a.xml: object 6 () dropped: <name> is missing",
    ]
    assert "<pose>up</pose>" in (fixed / "Annotations" / "a.xml").read_text()  # kept as it was


def test_a_box_of_which_too_little_is_left_is_dropped(folder, check, tmp_path):
    folder.add("a", [("cat", -5, 5, 1, 9), ("cat", 59.5, 5, 90, 9)], image=scene(0))
    changes, fixed = _fix(check, folder, tmp_path)
    assert _boxes(fixed) == {"a": [[4, 58.5, 9, 60]]}
    assert [change.split()[4] for change in changes] == ["dropped:", "clipped:"]


def test_what_cannot_be_read_is_left_out(folder, check, tmp_path):
    folder.add("good", image=scene(0))
    for stem in ("cut", "gone", "no_xml", "bad_xml"):
        folder.add(stem, image=scene(1, 200, 300))
    content = folder.image("cut").read_bytes()
    folder.image("cut").write_bytes(content[: len(content) // 2])
    folder.image("gone").unlink()
    folder.annotation("no_xml").unlink()
    folder.annotation("bad_xml").write_text("<")
    folder.line("train", "../../x")
    changes, fixed = _fix(check, folder, tmp_path)
    assert len(changes) == 5 and all("left out" in change for change in changes)
    assert sorted(_hashes(fixed)) == [
        "Annotations/good.xml", "ImageSets/Main/train.txt", "JPEGImages/good.jpg", fix.CHANGES,
    ]  # fmt: skip
    assert (fixed / "ImageSets" / "Main" / "train.txt").read_text() == "good\n"


def test_sizes_are_set_and_names_fit_the_content(folder, check, tmp_path):
    folder.add("a", image=scene(0)).add("b", image=scene(1)).add("c", image=scene(2))
    folder.annotate("a", folder.object_xml("cat", 1, 1, 2, 2), height=7, width=8)
    folder.annotation("b").write_text("<annotation><filename>b.jpg</filename></annotation>")
    Image.fromarray(scene(1)).save(folder.image("b"), format="PNG")
    changes, fixed = _fix(check, folder, tmp_path)
    assert changes == [
        "Annotations/a.xml: size (width x height) set to 60 x 40, it was 8 x 7",
        "Annotations/b.xml: image renamed from .jpg to .png",
        "Annotations/b.xml: size (width x height) set to 60 x 40, it was None x None",
    ]
    assert _boxes(fixed) == {"a": [[0, 0, 2, 2]], "b": [], "c": [[0, 0, 2, 2]]}
    assert "<filename>b.png</filename>" in (fixed / "Annotations" / "b.xml").read_text()
    assert (fixed / "JPEGImages" / "b.png").is_file()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("as_stored", [False, True])
def test_rotated_images_are_turned_with_their_boxes(
    folder, check, tmp_path, orientation, as_stored
):
    image = np.zeros((40, 60, 3), np.uint8)
    image[8:20, 16:48] = 255  # what a viewer shows elsewhere
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(image).save(folder.image("a"), quality=95, exif=exif)
    with Image.open(folder.image("a")) as stored:
        bright = np.asarray(ImageOps.exif_transpose(stored))[..., 0] > 128
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    upright = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
    box, (height, width) = upright, bright.shape
    if as_stored and orientation >= 5:
        box, height, width = [8, 16, 20, 48], 40, 60
    corners = box[1] + 1, box[0] + 1, box[3], box[2]
    folder.annotate("a", folder.object_xml("cat", *corners), height, width)
    folder.line("train", "a")
    _, fixed = _fix(check, folder, tmp_path)
    assert _boxes(fixed) == {"a": [upright]}
    with Image.open(fixed / "JPEGImages" / "a.jpg") as mended:
        assert mended.getexif().get(0x112, 1) == 1
        np.testing.assert_array_equal(np.asarray(mended)[..., 0] > 128, bright)


def test_a_mended_copy_has_nothing_left_to_mend(folder, check, tmp_path):
    folder.add("a", [("cat", 5, 5, 5, 9), ("cat", 3, 3, 99, 9)], image=scene(0))
    folder.add("b", image=scene(1)).image("b").write_bytes(b"")
    _, fixed = _fix(check, folder, tmp_path)
    splits = {"train_split": ("train",), "eval_split": ("-",)}
    assert checks.check(Config(data_dir=str(fixed), **splits)).findings == []


def test_a_devkit_keeps_its_folders(tmp_path):
    from tests.data.conftest import VocFolder

    for year, seed in (("2007", 0), ("2012", 1)):
        folder = VocFolder(tmp_path / "kit" / f"VOC{year}")
        folder.add("a", image=scene(seed)).add("sub", image=scene(seed + 2), split="test")
    config = Config(
        data_dir=str(tmp_path / "kit"),
        train_split=("VOC2007/train", "VOC2012/train"),
        eval_split=("VOC2007/test",),
    )
    fix.write(checks.check(config), str(tmp_path / "fixed"))
    assert [p for p in _hashes(tmp_path / "fixed") if p.endswith((".txt", ".jpg"))] == [
        "VOC2007/ImageSets/Main/test.txt",
        "VOC2007/ImageSets/Main/train.txt",
        "VOC2007/JPEGImages/a.jpg",
        "VOC2007/JPEGImages/sub.jpg",
        "VOC2012/ImageSets/Main/train.txt",
        "VOC2012/JPEGImages/a.jpg",
        "changes.txt",
    ]


def test_the_copy_goes_to_a_new_folder_apart_from_the_data(folder, check, tmp_path):
    folder.add("a", image=scene(0))
    report = check()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    (tmp_path / "link").symlink_to(folder.root)
    for target in (folder.root, folder.root / "new", tmp_path, tmp_path / "link"):
        with pytest.raises(ValueError, match="--fix must be a folder apart from --data_dir="):
            fix.write(report, str(target))
    for target in (tmp_path / "full", tmp_path / "full" / "x"):
        with pytest.raises(ValueError, match="--fix must be a new or empty folder"):
            fix.write(report, str(target))
    assert (tmp_path / "full" / "x").read_text() == "mine"


def test_only_vocs_layout_is_mended(tmp_path):
    (tmp_path / "data").mkdir()
    Image.fromarray(scene(0)).save(tmp_path / "data" / "a.png")
    report = checks.check(Config(data_dir=str(tmp_path / "data")))
    with pytest.raises(ValueError, match="--fix writes VOC's layout"):
        fix.write(report, str(tmp_path / "fixed"))
    assert not (tmp_path / "fixed").exists()
    joined = Config(dataset=("voc", "coco"), data_dir=("/a", "/b"))
    words = "Received: --data_dir=/a,/b with --dataset=voc,coco in another layout"
    with pytest.raises(ValueError, match=words):
        fix.check_folder(joined, str(tmp_path / "fixed"))
