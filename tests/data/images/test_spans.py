"""Images inside TFRecord files: read alone, by Python and by TensorFlow, and named."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_frcnn.config import Config
from keras_frcnn.data import dataset as records
from keras_frcnn.data import joining, pipeline
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.data.images import decoding, headers
from keras_frcnn.data.images.files import to_image
from keras_frcnn.data.images.preprocessing import CAFFE
from keras_frcnn.data.images.spans import Span, open_image
from tests.data import handmade

CONFIG = Config(shorter_side=24, longer_side=40, seed=1, batch_size=2)
SIZES = ((40, 60), (60, 40), (30, 30), (40, 50))


@pytest.fixture
def dataset(tmp_path):
    """Images of noise, each in a file of its own, with a box."""
    found = []
    for row, size in enumerate(SIZES):
        path = tmp_path / f"{row}.png"
        path.write_bytes(handmade.image(*size, seed=row, form="PNG"))
        boxes = np.array([[1, 2, 20, 25]], np.float32)
        found.append(
            Record(str(row), str(path), *size, boxes, np.zeros(1, np.int32), boxes[:, 0] < 0)
        )
    return Dataset(("cat",), found)


def joined(dataset, path, rows=(0, 1, 2, 3)):
    """Returns the dataset with the images of some rows moved into one TFRecord file."""
    images = [pathlib.Path(dataset.records[row].path).read_bytes() for row in rows]
    handmade.write(path, *(b"before" + image + b"after" for image in images))
    moved, offset = list(dataset.records), 0
    for row, image in zip(rows, images, strict=True):
        span = Span(offset, offset + 12 + len(b"before"), len(image))
        moved[row] = dataclasses.replace(moved[row], path=str(path), span=span)
        offset += 12 + len(b"before") + len(image) + len(b"after") + 4
    return dataclasses.replace(dataset, records=moved)


def take(stream, count):
    return list(stream.take(count).as_numpy_iterator())


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_an_image_inside_a_file_is_read_alone(tmp_path, form):
    content = handmade.image(30, 50, form=form)
    path, span = tmp_path / "many.bin", Span(0, 7, len(content))
    path.write_bytes(b"before " + content + content)
    with open_image(path, span) as file:
        assert file.read() == content
    assert headers.image_header(path, span) == (30, 50, 1)
    for cut in (1, 40, len(content) - 20):  # the end of the second image ends none of the first
        with pytest.raises(ValueError, match="many.bin: unreadable"):
            headers.image_header(path, span._replace(length=len(content) - cut))
    second = span._replace(offset=7 + len(content))
    assert headers.image_header(path, second) == (30, 50, 1)
    with pytest.raises(OSError, match=f"expected {2 * len(content) + 1} bytes at 7"):
        open_image(path, span._replace(length=2 * len(content) + 1)).close()
    path.write_bytes(b"before GIF89a")
    with pytest.raises(ValueError, match="expected JPEG or PNG, found GIF"):
        headers.image_header(path, Span(0, 7, 6))


def test_a_record_inside_a_file_is_called_by_its_id(dataset, tmp_path):
    record = joined(dataset, tmp_path / "many").records[1]
    assert record.name == f"{tmp_path}/many: image 1"
    assert dataset.records[1].name == f"{tmp_path}/1.png"
    with pytest.raises(ValueError, match="many: image 1: height and width"):
        records.check(dataclasses.replace(record, height=0), ("cat",))


@pytest.mark.parametrize("rows", [(0, 1, 2, 3), (1, 2)])
def test_training_and_evaluation_see_the_same(dataset, tmp_path, rows):
    moved = joined(dataset, tmp_path / "many", rows)
    for make_stream in (pipeline.train_dataset, pipeline.eval_dataset):
        streams = [take(make_stream(d, CONFIG, CAFFE), 2) for d in (moved, dataset)]
        tf.nest.map_structure(np.testing.assert_array_equal, *streams)


def test_other_tools_see_the_same(dataset, tmp_path):
    moved = joined(dataset, tmp_path / "many")
    for one, other in zip(moved.records, dataset.records, strict=True):
        expected = np.asarray(Image.open(other.path))
        np.testing.assert_array_equal(to_image(one), expected)
        np.testing.assert_array_equal(to_image(other), expected)


@pytest.mark.parametrize("rows", [(), (1,)])
def test_no_image_is_read_by_python(dataset, tmp_path, rows):
    dataset = joined(dataset, tmp_path / "many", rows)
    read = tf.function(decoding.image_reader(dataset.records))
    graph = str(read.get_concrete_function(tf.TensorSpec([], tf.int64)).graph.as_graph_def())
    assert "PyFunc" not in graph and "ReadFile" in graph
    assert ("TFRecordDatasetV2" in graph) is bool(rows)


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_an_unreadable_image_inside_a_file_is_named(dataset, tmp_path, damage):
    dataset = joined(dataset, tmp_path / "many")
    content = bytearray((tmp_path / "many").read_bytes())
    place = dataset.records[3].span.offset
    if damage == "cut":
        del content[place:]
    else:
        content[place + 2] ^= 1
    (tmp_path / "many").write_bytes(content)
    with (
        pytest.raises(ValueError, match="many: image 3: unreadable image"),
        decoding.naming_images(),
    ):
        take(pipeline.eval_dataset(dataset, CONFIG, CAFFE), 4)
    with pytest.raises(ValueError, match="many: image 3: unreadable image"):
        decoding.leave_out_broken(dataset, CONFIG)
    left = decoding.leave_out_broken(dataset, CONFIG.replace(on_bad_record="skip"))
    assert [record.image_id for record in left.records] == ["0", "1", "2"]
    with pytest.raises(ValueError, match="unreadable image"):
        to_image(dataset.records[3])


def test_images_of_one_file_are_not_taken_for_each_other_when_joined(dataset, tmp_path):
    moved = joined(dataset, tmp_path / "many")
    parts = [dataclasses.replace(moved, records=moved.records[s]) for s in (slice(2), slice(1, 4))]
    config = Config(dataset=("tfrecord", "tfrecord"), train_split=("a", "b"), on_bad_record="skip")
    dataset = joining.join(parts, config.sources(config.train_split))
    assert [record.image_id for record in dataset.records] == ["0", "1", "2", "3"]
    assert len(dataset.skipped) == 1 and "many: image 1: in tfrecord" in dataset.skipped[0]
