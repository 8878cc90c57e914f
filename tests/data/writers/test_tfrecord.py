"""Writer of TFRecords: what it writes reads back exactly, and any tool of TensorFlow reads it."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.data.images.spans import open_image
from keras_frcnn.data.readers import tfrecord_file
from keras_frcnn.data.writers import tfrecord
from tests.data.handmade import image

SIDES = ("ymin", "xmin", "ymax", "xmax")


@pytest.fixture
def images(tmp_path):
    """A folder with a JPEG, a PNG and a JPEG with EXIF rotation, all stored as 40 x 60 pixels."""
    folder = tmp_path / "images"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 8
    (folder / "a.jpg").write_bytes(image(seed=1))
    (folder / "b.png").write_bytes(image(seed=2, form="PNG"))
    (folder / "c.jpg").write_bytes(image(seed=3, exif=exif))
    return folder


def record(path, image_id, boxes=(), labels=(), difficult=(), size=(40, 60), orientation=1):
    arrays = np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int32)
    flags = np.array(difficult, bool)
    return Record(image_id, str(path), *size, *arrays, flags, orientation)


def read(folder, split="train", class_names=None, **settings):
    config = Config(dataset="tfrecord", data_dir=str(folder), **settings)
    return data.load(config, (split,), class_names)


def assert_same_records(actual, expected):
    """Asserts that two datasets hold the same, to the last bit; images by their bytes."""
    assert actual.class_names == expected.class_names
    for one, other in zip(actual.records, expected.records, strict=True):
        for field in dataclasses.fields(Record):
            values = getattr(one, field.name), getattr(other, field.name)
            if field.name in ("path", "span"):
                continue
            assert type(values[0]) is type(values[1])
            if isinstance(values[0], np.ndarray):
                assert values[0].dtype == values[1].dtype and values[0].shape == values[1].shape
            np.testing.assert_array_equal(*values)
        with open_image(one.path, one.span) as written:
            assert written.read() == pathlib.Path(other.path).read_bytes()


def awkward_boxes(count=3000, size=(40, 60)):
    """Returns boxes whose corners are any float32 numbers, from tiny to the image's border."""
    rng = np.random.default_rng(5)
    corners = rng.random((count, 2, 2)) * np.where(rng.random((count, 1, 1)) < 0.2, 1e-6, 1)
    corners = np.sort(corners * size, axis=1).astype(np.float32).reshape(count, 4)
    return corners[(corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])]


def test_records_read_back_to_the_last_bit(images, tmp_path):
    boxes = awkward_boxes()
    some = np.random.default_rng(0).integers(0, 2, len(boxes))
    dataset = Dataset(
        ("zebra", "ant"),
        [
            record(images / "a.jpg", "000017", boxes, some, 1 - some),
            record(images / "b.png", "17"),
            record(images / "c.jpg", "c/d", [[0, 0, 60, 40]], [1], [True], (60, 40), 8),
        ],
    )
    # What the fractions alone would give back: this data tells the difference.
    fractions = (boxes / np.float32([40, 60, 40, 60])).astype(np.float32)
    assert (fractions * np.float32([40, 60, 40, 60]) != boxes).any()
    tfrecord.write({"train": dataset}, str(tmp_path / "out"))
    again = read(tmp_path / "out")
    assert_same_records(again, dataset)
    assert again.truth is None and again.skipped == []


def coco_dataset(images, splits=("train",), **settings):
    """Reads COCO data with all that is special in it."""
    crowd = {"iscrowd": 1, "area": 77.123456789012345}
    annotations = [
        (139, [10.1, 5.3, 20.7, 30.9], 18, {}),
        ("x", [0.3, 0.7, 3, 4], 3, crowd),
        (139, [-0.5, 0, 61, 40.5], 3, {"area": 1 / 3}),
        (139, [7, 7, 0, 5], 3, {}),  # without area
    ]
    items = [
        {"id": n, "image_id": i, "bbox": box, "category_id": kind, "area": 9.5, "iscrowd": 0} | more
        for n, (i, box, kind, more) in enumerate(annotations)
    ]
    listed = [{"id": 139, "file_name": "a.jpg"}, {"id": "x", "file_name": "b.png"}]
    categories = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]
    content = {"images": listed, "annotations": items, "categories": categories}
    (images / "train.json").write_text(json.dumps(content))
    config = Config(dataset="coco", data_dir=str(images), on_bad_record="skip", **settings)
    return data.load(config, ("train.json",))


@pytest.mark.parametrize("names", ["", "dog\nfox\ncar", "dog"])
def test_cocos_truth_reads_back_to_the_last_digit(images, tmp_path, names):
    (tmp_path / "names.txt").write_text(names)
    dataset = coco_dataset(images, classes_file=str(tmp_path / "names.txt") if names else "")
    tfrecord.write({"train": dataset}, str(tmp_path / "out"))
    again = read(tmp_path / "out")
    assert_same_records(again, dataset)
    order = np.argsort(dataset.truth.rows, kind="stable")  # ours: image by image
    for field in dataclasses.fields(dataset.truth):
        actual, expected = (getattr(d.truth, field.name) for d in (again, dataset))
        if isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(actual, expected[order])
            assert actual.dtype == expected.dtype
        else:
            assert actual == expected
    if not names:
        assert again.truth.areas.tolist() == [9.5, 1 / 3, 9.5, 77.123456789012345]


def test_joined_data_keep_the_form_of_each_record(images, tmp_path):
    coco = coco_dataset(images)
    voc = record(images / "c.jpg", "c", [[1, 2, 3, 4]], [1], [1], (60, 40), 8)
    dataset = Dataset(coco.class_names, [voc, *coco.records])
    tfrecord.write({"train": dataset}, str(tmp_path / "out"))
    again = read(tmp_path / "out")
    assert_same_records(again, dataset)
    assert [r.form for r in again.records] == ["voc", "coco", "coco"] and again.truth is None


def test_tensorflow_reads_the_keys_of_the_object_detection_api(images, tmp_path):
    boxes = [[10, 15, 20, 30], [0, 0, 40, 60]]
    dataset = Dataset(("cat", "dog"), [record(images / "a.jpg", "a", boxes, [1, 0], [0, 1])])
    (name,) = tfrecord.write({"train": dataset}, str(tmp_path / "out"))
    (payload,) = tf.data.TFRecordDataset(str(tmp_path / "out" / name))
    kinds = (
        (tf.io.FixedLenFeature([], tf.string), "encoded format filename source_id"),
        (tf.io.FixedLenFeature([], tf.int64), "height width"),
        (tf.io.VarLenFeature(tf.float32), " ".join(f"object/bbox/{side}" for side in SIDES)),
        (tf.io.VarLenFeature(tf.int64), "object/class/label object/difficult"),
        (tf.io.VarLenFeature(tf.string), "object/class/text"),
    )
    spec = {f"image/{key}": kind for kind, keys in kinds for key in keys.split()}
    values = {}
    for key, value in tf.io.parse_single_example(payload, spec).items():
        value = value.values if isinstance(value, tf.SparseTensor) else value
        values[key.removeprefix("image/")] = np.asarray(value).tolist()
    assert values.pop("encoded") == (images / "a.jpg").read_bytes()
    assert values == {
        "format": b"jpeg", "filename": b"a.jpg", "source_id": b"a", "height": 40, "width": 60,
        "object/bbox/ymin": [0.25, 0], "object/bbox/xmin": [0.25, 0],
        "object/bbox/ymax": [0.5, 1], "object/bbox/xmax": [0.5, 1],
        "object/class/text": [b"dog", b"cat"], "object/class/label": [2, 1],
        "object/difficult": [0, 1],
    }  # fmt: skip
    label_map = (tmp_path / "out" / "label_map.pbtxt").read_text()
    assert "".join(label_map.split()) == 'item{name:"cat"id:1}item{name:"dog"id:2}'


def test_files_hold_about_what_was_asked_for(images, tmp_path, monkeypatch):
    monkeypatch.setattr(tfrecord, "_MEGABYTE", 12_000)  # an image has some 4000
    many = [record(images / "a.jpg", f"{i:02}") for i in range(10)]
    dataset = Dataset(("cat",), many)
    names = tfrecord.write({"train": dataset, "eval": dataset}, str(tmp_path / "out"), 1)
    of_split = [n for n in names if n.startswith("train")]
    count = len(of_split)
    assert 2 <= count <= 5
    assert of_split == [f"train-{i:05}-of-{count:05}.tfrecord" for i in range(count)]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        [*names, "label_map.pbtxt"]
    )
    assert [r.image_id for r in read(tmp_path / "out", "eval").records] == [
        r.image_id for r in many
    ]


def test_it_appears_whole_or_not_at_all(images, tmp_path):
    dataset = Dataset(("cat",), [record(images / "a.jpg", "a"), record(images / "b.png", "b")])
    (images / "b.png").unlink()
    with pytest.raises(FileNotFoundError, match="b.png"):
        tfrecord.write({"train": dataset}, str(tmp_path / "out"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images"]
    left = tmp_path / ".out.keras_frcnn_part"  # of a killed run
    left.mkdir()
    (left / "train-0").touch()
    tfrecord.write({"train": Dataset(("cat",), dataset.records[:1])}, str(tmp_path / "out"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "out"]
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_what_cannot_be_written_is_refused(images, tmp_path, monkeypatch):
    dataset = Dataset(("cat",), [record(images / "a.jpg", "a")])

    def refusal(datasets, folder, *args):
        with pytest.raises(ValueError) as caught:
            tfrecord.write(datasets, str(folder), *args)
        return str(caught.value)

    new = tmp_path / "new"
    for folder in (images, images / "a.jpg", ""):
        assert "--output_dir must be a new or empty folder" in refusal({"train": dataset}, folder)
    assert "shard_megabytes must be at least 1" in refusal({"train": dataset}, new, 0)
    other = Dataset(("dog",), dataset.records)
    assert "the same classes" in refusal({"train": dataset, "eval": other}, new)
    with pytest.raises(NotADirectoryError) as caught:
        tfrecord.write({"train": dataset}, str(images / "a.jpg" / "deep"))
    assert caught.value.filename == str(images / "a.jpg" / "deep")
    monkeypatch.setattr(tfrecord_file, "MAX_BYTES", 100)
    assert "a.jpg: expected at most 100 bytes" in refusal({"train": dataset}, new)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images"]


def test_tfrecords_can_be_written_again(images, tmp_path):
    dataset = coco_dataset(images)
    tfrecord.write({"train": dataset}, str(tmp_path / "one"))
    first = read(tmp_path / "one")
    tfrecord.write({"train": first}, str(tmp_path / "two"))
    assert_same_records(read(tmp_path / "two"), dataset)
    assert read(tmp_path / "two").truth.areas.tolist() == first.truth.areas.tolist()
