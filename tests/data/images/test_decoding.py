"""Broken pixels are found before a run, and named when they come up in one."""

import itertools
import os

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.data import pipeline
from keras_frcnn.data.dataset import GroundTruth, Record
from keras_frcnn.data.images import decoding
from keras_frcnn.data.images.preprocessing import CAFFE
from tests.data.images.image_forms import FORMS

BROKEN = FORMS["png with damaged pixels"].content
SPLIT = ("train",)


@pytest.fixture
def folder(voc_folder):
    """Seven images of two shapes; the pixels of the fourth are broken."""
    made = voc_folder()
    for number in range(7):
        image = np.full((40, 60, 3) if number % 2 else (24, 36, 3), 30 * number, np.uint8)
        made.add(str(number), image=image, suffix=".png")
    made.image("4", ".png").write_bytes(BROKEN)
    return made


@pytest.fixture
def config(folder):
    return Config(
        data_dir=str(folder.root), on_bad_record="skip", shorter_side=24, longer_side=40, seed=1
    )


def ids(dataset):
    return [record.image_id for record in dataset.records]


def test_a_broken_image_is_left_out_counted_and_named(folder, config):
    assert data.load(config, SPLIT).skipped == []
    dataset = data.load_images(config, SPLIT)
    assert ids(dataset) == ["0", "1", "2", "3", "5", "6"]
    assert dataset.skipped == [
        f"{folder.image('4', '.png')}: unreadable image: its header is valid, but its pixels "
        "cannot be decoded; image left out"
    ]


def test_without_skipping_it_is_an_error_that_says_how_to_skip(folder, config):
    with pytest.raises(ValueError, match="(?s)1 problem.*--on_bad_record=skip") as caught:
        data.load_images(config.replace(on_bad_record="error"), SPLIT)
    assert str(folder.image("4", ".png")) in str(caught.value).replace("\n", " ")


def test_skipped_lines_of_the_reader_are_kept(folder, config):
    folder.image("1", ".png").write_bytes(b"")
    first, second = data.load_images(config, SPLIT).skipped
    assert "the file is empty" in first and "cannot be decoded" in second


def test_where_nothing_is_left_that_is_said(folder, config):
    for number in range(7):
        folder.image(str(number), ".png").write_bytes(BROKEN)
    with pytest.raises(ValueError, match="expected images that can be decoded"):
        data.load_images(config, SPLIT)


def test_the_truth_is_that_of_the_images_that_are_left(config):
    dataset = data.load(config, SPLIT)
    dataset.truth = GroundTruth(
        class_names=("cat",),
        category_ids=(1,),
        image_ids=tuple(reversed(ids(dataset))),
        rows=np.array([0, 2, 2, 3, 6]),  # images 6, 4, 4, 3, 0
        labels=np.zeros(5, np.int64),
        bboxes=np.arange(20.0).reshape(5, 4),
        areas=np.arange(5.0),
        crowd=np.array([True, False, False, False, True]),
    )
    truth = decoding.leave_out_broken(dataset, config).truth
    assert truth.image_ids == ("6", "5", "3", "2", "1", "0")
    assert truth.rows.tolist() == [0, 2, 5] and truth.areas.tolist() == [0, 3, 4]
    assert truth.bboxes[:, 0].tolist() == [0, 12, 16] and truth.crowd.tolist() == [
        True,
        False,
        True,
    ]


def test_a_folder_whose_name_is_no_text_is_read(voc_folder, config):
    made = voc_folder(os.fsdecode(b"own\xff")).add("a")
    dataset = data.load_images(config.replace(data_dir=str(made.root)), SPLIT)
    (inputs,) = pipeline.eval_dataset(dataset, config, CAFFE)
    assert inputs["original_shape"].numpy().tolist() == [[40, 60]]


def test_a_resumed_run_goes_on_as_an_unbroken_one(config):
    """What is left out is a function of the files, so a resumed run leaves out the same."""
    config = config.replace(batch_size=2, flip="both")

    def batches(start_step, count):
        dataset = data.load_images(config, SPLIT)
        stream = pipeline.train_dataset(dataset, config, CAFFE, start_step)
        return list(itertools.islice(stream.as_numpy_iterator(), count))

    for found, expected in zip(batches(4, 5), batches(0, 9)[4:], strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, found, expected)


def test_an_image_that_changes_its_size_later_is_named(folder, config):
    dataset = data.load_images(config, SPLIT)
    folder.image("5", ".png").write_bytes(FORMS["png"].content)
    with (
        pytest.raises(ValueError, match="no longer has the size") as caught,
        decoding.naming_images(),
    ):
        list(pipeline.eval_dataset(dataset, config, CAFFE))
    assert str(caught.value).startswith(f"{folder.image('5', '.png')}: unreadable image: ")


def test_the_size_is_compared_with_the_header_that_the_record_has(folder):
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool)
    record = Record("a", str(folder.image("0", ".png")), 36, 24, *nothing)
    dataset = data.Dataset(("cat",), [record, record])
    with pytest.raises(ValueError, match="36 x 24 .* by its header, 24 x 36 when decoded"):
        decoding.leave_out_broken(dataset, Config())


def test_other_errors_keep_their_words():
    with pytest.raises(tf.errors.InvalidArgumentError, match="other"), decoding.naming_images():
        raise tf.errors.InvalidArgumentError(None, None, "an other error")


@pytest.mark.parametrize("name", ["a b.png", "a] [x.png", "ä.png"])
def test_any_file_name_is_named_whole(tmp_path, name):
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool)
    record = Record("a", str(tmp_path / name), 4, 4, *nothing)
    read_image = decoding.image_reader([record])
    with pytest.raises(ValueError, match="unreadable") as caught, decoding.naming_images():
        list(tf.data.Dataset.range(1).map(read_image))
    assert str(caught.value).startswith(f"{tmp_path / name}: unreadable image")
