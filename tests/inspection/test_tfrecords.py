"""``check-data`` on TFRecords: every image of a file is one of its own."""

import pytest

from keras_frcnn.config import Config
from keras_frcnn.inspection.check_data import checks
from keras_frcnn.inspection.check_data import page as check_page
from tests.data.handmade import example, features, image, write, write_label_map


@pytest.fixture
def report(tmp_path):
    """A check of good, equal, broken and badly annotated images."""
    write_label_map(tmp_path, "cat", "dog")
    damaged = bytearray(image(seed=5, form="PNG"))
    damaged[len(damaged) // 2] ^= 255  # only decoding tells
    train = [
        features(source_id="good", encoded=image(seed=1)),
        features(source_id="twin", encoded=image(seed=1)),
        features(source_id="broken", encoded=bytes(damaged), format="png"),
        features(source_id="cut", encoded=image(seed=6)[:-30]),
        features(source_id="sized", height=41),
        features(source_id="boxed", encoded=image(seed=2), object__bbox__ymin=[0.9, 0.5]),
        features(source_id="doubled", encoded=image(seed=3)),
    ]
    for side in ("ymin", "xmin", "ymax", "xmax"):
        key = f"image/object/bbox/{side}"
        train[-1][key] = [train[-1][key][0]] * 2
    train[-1]["image/object/class/text"] = ["cat", "cat"]
    train[-1]["image/object/class/label"] = [1, 1]
    write(tmp_path / "train.tfrecord", *map(example, train))
    write(tmp_path / "val.tfrecord", example(features(encoded=image(seed=1), source_id="other")))
    config = Config(
        dataset="tfrecord", data_dir=str(tmp_path), train_split=("train",), eval_split=("val",)
    )
    return checks.check(config, near=-1)


def test_what_is_wrong_is_found_by_image(report):
    lines = {(finding.kind, finding.line) for finding in report.findings}
    file = "train.tfrecord"
    assert ("duplicate_image", f"{file}: image twin: the same file as good") in lines
    assert (
        "duplicate_box",
        f"{file}: image doubled: object 2 (cat): the same box as object 1",
    ) in lines
    words = "the same image as good of the training images"
    assert ("overlap", f"val.tfrecord: image other: {words}") in lines
    starts = {(kind, line.split(": ")[1]) for kind, line in lines}
    assert starts == {
        ("duplicate_image", "image twin"),
        ("broken_image", "image broken"),
        ("broken_image", "record 4"),
        ("size_mismatch", "record 5"),
        ("degenerate_box", "record 6"),
        ("duplicate_box", "image doubled"),
        ("overlap", "image other"),
    }
    (broken,) = (f for f in report.findings if f.image_id == "broken")
    assert (broken.file, broken.kind) == (file, "broken_image")


def test_the_page_shows_the_images(report, tmp_path, monkeypatch):
    monkeypatch.setattr(check_page, "_SAMPLED", 0)  # only what was found, no random sample
    check_page.write(report, tmp_path / "check.html")
    page = (tmp_path / "check.html").read_text()
    assert page.count('<img alt="twin" src="data:image/jpeg;base64,') == 1
    assert '<img alt="doubled" src=' in page and "no image" not in page.split("Boxes drawn")[1]
