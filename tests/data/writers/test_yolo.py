"""Writer of the YOLO layout: what it writes reads back."""

import pathlib

import numpy as np
import pytest
import yaml
from PIL import Image

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.data.writers import tfrecord, yolo
from tests.data.handmade import image


@pytest.fixture
def images(tmp_path):
    """A folder with a JPEG, a PNG without suffix and a JPEG that viewers turn."""
    folder = tmp_path / "images"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 8
    (folder / "a.jpg").write_bytes(image(seed=1))
    (folder / "b").write_bytes(image(seed=2, form="PNG"))
    (folder / "c.jpg").write_bytes(image(seed=3, exif=exif))
    return folder


def record(path, image_id, boxes=(), labels=(), difficult=None, size=(40, 60), orientation=1):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    difficult = np.zeros(len(boxes), bool) if difficult is None else np.array(difficult, bool)
    labels = np.array(labels, np.int32)
    return Record(image_id, str(path), *size, boxes, labels, difficult, orientation)


def read(folder, split="train", **settings):
    return data.load(Config(dataset="yolo", data_dir=str(folder), **settings), (split,))


def test_what_is_written_reads_back(images, tmp_path):
    rng = np.random.default_rng(5)
    corners = np.sort(rng.random((3000, 2, 2)) * (40, 60), axis=1).astype(np.float32)
    boxes = corners.reshape(-1, 4)
    boxes = boxes[np.all(boxes[:, 2:] - boxes[:, :2] > 1e-3, axis=1)]
    boxes[0] = [0, 0, 40, 60]
    labels = rng.integers(0, 2, len(boxes))
    train = Dataset(
        ("no", "göö: dog"),
        [
            record(images / "a.jpg", 17, boxes, labels),
            record(images / "b", "2007/x.y"),
            record(images / "c.jpg", "images/c.jpg", [[0, 0, 60, 40]], [1], None, (60, 40), 8),
        ],
    )
    val = Dataset(train.class_names, [record(images / "a.jpg", "v", [[1, 2, 3, 4]], [0])])
    assert yolo.write({"train": train, "val": val}, str(tmp_path / "out")) == {"train": 0, "val": 0}
    again = read(tmp_path / "out")
    assert again.class_names == train.class_names and again.skipped == []
    assert [r.image_id for r in again.records] == ["train/17", "train/2007/x.y", "images/train/c"]
    for one, other in zip(again.records, train.records, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
        np.testing.assert_array_equal(one.labels, other.labels)
        assert (one.height, one.width, one.orientation) == (
            other.height, other.width, other.orientation,
        )  # fmt: skip
        assert pathlib.Path(one.path).read_bytes() == pathlib.Path(other.path).read_bytes()
    assert np.abs(again.records[0].boxes - boxes).max() < 1e-4
    assert read(tmp_path / "out", "val").records[0].boxes.tolist() == [[1, 2, 3, 4]]


def test_the_files_are_those_that_other_tools_read(images, tmp_path):
    dataset = Dataset(("cat", "dog"), [record(images / "b", "b", [[10, 15, 30, 45]], [1])])
    yolo.write({"train": dataset}, str(tmp_path / "out"))
    content = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert content == {"train": "images/train", "names": {0: "cat", 1: "dog"}}
    files = sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")
    )
    assert [name for name in files if "." in name] == [
        "data.yaml", "images/train/b.png", "labels/train/b.txt",
    ]  # fmt: skip
    assert (tmp_path / "out" / "labels/train/b.txt").read_text() == "1 0.5 0.5 0.5 0.5\n"


def test_difficult_objects_are_left_out_and_counted(images, tmp_path):
    boxes = [[0, 0, 9, 9], [1, 1, 9, 9], [2, 2, 9, 9]]
    dataset = Dataset(("cat",), [record(images / "a.jpg", "a", boxes, [0] * 3, [1, 0, 1])])
    assert yolo.write({"train": dataset}, str(tmp_path / "out")) == {"train": 2}
    assert read(tmp_path / "out").records[0].boxes.tolist() == boxes[1:2]


def test_images_of_tfrecords_become_files(images, tmp_path):
    dataset = Dataset(("cat",), [record(images / "b", "b", [[0, 0, 9, 9]], [0])])
    tfrecord.write({"train": dataset}, str(tmp_path / "records"))
    config = Config(dataset="tfrecord", data_dir=str(tmp_path / "records"))
    yolo.write({"train": data.load(config, ("train",))}, str(tmp_path / "out"))
    written = tmp_path / "out" / "images" / "train" / "b.png"
    assert written.read_bytes() == (images / "b").read_bytes()


@pytest.mark.parametrize("image_id", ["../x", "/x", "a\\b", "", ".", "a\nb"])
def test_ids_that_cannot_name_a_file_are_refused(images, tmp_path, image_id):
    dataset = Dataset(("cat",), [record(images / "a.jpg", image_id)])
    with pytest.raises(ValueError, match="a.jpg: expected an id that can name a file. Received: "):
        yolo.write({"train": dataset}, str(tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]


def test_what_cannot_be_written_is_refused(images, tmp_path):
    dataset = Dataset(("cat",), [record(images / "a.jpg", "a")])

    def refusal(datasets, folder=tmp_path / "out"):
        with pytest.raises(ValueError) as caught:
            yolo.write(datasets, str(folder))
        return str(caught.value)

    assert "--output_dir must be a new or empty folder" in refusal({"train": dataset}, images)
    assert "the same classes" in refusal({"train": dataset, "val": Dataset(("dog",), [])})
    assert "Received: 'a\\n'" in refusal({"train": Dataset(("a\n",), dataset.records)})
    twice = Dataset(
        ("cat",), [record(images / "a.jpg", "a.jpg"), record(images / "a.jpg", "a.png")]
    )
    assert "another image has already been written to images/train/a.jpg" in refusal(
        {"train": twice}
    )
    (images / "a.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="a.jpg"):
        yolo.write({"train": dataset}, str(tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]
