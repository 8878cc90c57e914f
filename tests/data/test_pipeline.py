import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_frcnn.config import Config
from keras_frcnn.data import augment, pipeline, proposals_file
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.data.epoch_order import drawn_rows
from keras_frcnn.data.images import transforms
from keras_frcnn.data.images.preprocessing import CAFFE, Preprocessing

CONFIG = Config(shorter_side=40, longer_side=70, flip="none", seed=3)


@pytest.fixture
def make_dataset(tmp_path):
    """Returns a function from sizes to a dataset of white boxes on black images."""

    def make(sizes, num_objects=1):
        rng = np.random.default_rng(7)
        records = []
        for row, (height, width) in enumerate(sizes):
            y1, x1 = rng.integers(0, [height // 2, width // 2])
            y2, x2 = rng.integers([height // 2 + 4, width // 2 + 4], [height + 1, width + 1])
            pixels = np.zeros((height, width, 3), np.uint8)
            pixels[y1:y2, x1:x2] = 255
            path = tmp_path / f"{row}.png"
            Image.fromarray(pixels).save(path)
            boxes = np.tile(np.array([[y1, x1, y2, x2]], np.float32), (num_objects, 1))
            labels = np.full(num_objects, row, np.int32)
            flags = np.arange(num_objects) % 2 == 1
            records.append(Record(str(row), str(path), height, width, boxes, labels, flags))
        return Dataset(tuple(f"class {row}" for row in range(len(sizes))), records)

    return make


def _take(stream, count):
    return list(stream.take(count).as_numpy_iterator())


def _white_box(image, shape):
    """Finds the white rectangle of one normalised image: yxyx pixels, to about half a pixel."""
    grey = image[: shape[0], : shape[1], 0] + CAFFE.mean[0]
    rows, columns = grey.max(axis=1) / 255, grey.max(axis=0) / 255
    spans = []
    for profile in (rows, columns):
        inside = np.flatnonzero(profile > 0.5)
        spans.append((inside[0], inside[-1] + 1))
    return np.array([spans[0][0], spans[1][0], spans[0][1], spans[1][1]])


SIZES = [(30, 50), (50, 30), (40, 41), (33, 80), (64, 20), (20, 25), (80, 90)]


# --- training batches


def test_train_batch_is_typed_and_shaped_as_promised(make_dataset):
    config = CONFIG.replace(batch_size=2)
    inputs, targets = pipeline.train_dataset(make_dataset(SIZES), config, CAFFE).element_spec
    spec = {name: (value.shape.as_list(), value.dtype) for name, value in inputs.items()}
    assert spec == {
        "images": ([2, None, None, 3], tf.float32),
        "image_shape": ([2, 2], tf.int32),
        "original_shape": ([2, 2], tf.int32),
        "index": ([2], tf.int32),
        "key": ([2, 2], tf.int32),
    }
    spec = {name: (value.shape.as_list(), value.dtype) for name, value in targets.items()}
    assert spec == {
        "boxes": ([2, None, 4], tf.float32),
        "labels": ([2, None], tf.int32),
        "ignore": ([2, None], tf.bool),
    }


def test_boxes_follow_their_images_through_flips_and_resizing(make_dataset):
    dataset = make_dataset(SIZES)
    kinds = set()
    for inputs, targets in _take(
        pipeline.train_dataset(dataset, CONFIG.replace(flip="both", batch_size=2), CAFFE), 20
    ):
        for item in range(2):
            row = inputs["index"][item]
            record = dataset.records[row]
            assert targets["labels"][item].tolist() == [row]
            assert inputs["original_shape"][item].tolist() == [record.height, record.width]
            height, width = inputs["image_shape"][item].tolist()
            expected = transforms.target_shape(record.height, record.width, 40, 70)
            assert (height, width) == tuple(int(side) for side in expected)
            box = targets["boxes"][item, 0]
            found = _white_box(inputs["images"][item], (height, width))
            np.testing.assert_allclose(found, box, atol=1.01)
            y1, x1, y2, x2 = record.boxes[0] * np.tile(
                [height / record.height, width / record.width], 2
            )
            mirrored = not np.allclose(box[[1, 3]], [x1, x2], atol=1e-3)
            upside_down = not np.allclose(box[[0, 2]], [y1, y2], atol=1e-3)
            if mirrored:
                np.testing.assert_allclose(box[[1, 3]], [width - x2, width - x1], atol=1e-3)
            if upside_down:
                np.testing.assert_allclose(box[[0, 2]], [height - y2, height - y1], atol=1e-3)
            kinds.add((mirrored, upside_down))
    assert len(kinds) == 4


@pytest.mark.parametrize(
    ("flip", "expected"),
    [
        ("none", {(False, False)}),
        ("horizontal", {(False, False), (True, False)}),
        ("vertical", {(False, False), (False, True)}),
    ],
)
def test_flip_modes(make_dataset, flip, expected):
    dataset = make_dataset([(30, 50)])
    y1, x1, _, _ = dataset.records[0].boxes[0]
    stream = pipeline.train_dataset(dataset, CONFIG.replace(flip=flip, shorter_side=30), CAFFE)
    corners = [targets["boxes"][0, 0, :2] for _, targets in _take(stream, 24)]
    kinds = [(bool(x != x1), bool(y != y1)) for y, x in corners]
    assert set(kinds) == expected
    if flip != "none":
        assert 4 < sum(kind != (False, False) for kind in kinds) < 20  # 24 fair coins


def test_a_resumed_stream_equals_an_unbroken_one(make_dataset):
    dataset = make_dataset(SIZES)
    config = CONFIG.replace(flip="both", batch_size=2)
    whole = _take(pipeline.train_dataset(dataset, config, CAFFE), 14)
    for start in (1, 5, 11):
        resumed = _take(pipeline.train_dataset(dataset, config, CAFFE, start_step=start), 3)
        for got, expected in zip(resumed, whole[start:], strict=False):
            tf.nest.map_structure(np.testing.assert_array_equal, got, expected)


@pytest.mark.parametrize(("start_step", "steps"), [(0, 1), (0, 3), (2, 1), (5, 4), (3, 40)])
def test_drawn_rows_are_those_of_the_stream(make_dataset, start_step, steps):
    dataset = make_dataset([(40, 60)] * 5 + [(60, 40)] * 4)
    config = CONFIG.replace(batch_size=2)
    stream = pipeline.train_dataset(dataset, config, CAFFE, start_step)
    seen = {int(row) for inputs, _ in _take(stream, steps) for row in inputs["index"]}
    assert drawn_rows(dataset.records, config, start_step, steps) == sorted(seen)
    assert 2 <= len(seen) <= min(9, 2 * steps)


def test_the_stream_does_not_end_where_the_order_is_drawn_anew(make_dataset, monkeypatch):
    dataset = make_dataset(SIZES[:3])
    whole = [
        inputs["index"] for inputs, _ in _take(pipeline.train_dataset(dataset, CONFIG, CAFFE), 20)
    ]
    monkeypatch.setattr(pipeline, "_DRAWN_BATCHES", 4)
    parts = [
        inputs["index"] for inputs, _ in _take(pipeline.train_dataset(dataset, CONFIG, CAFFE), 20)
    ]
    np.testing.assert_array_equal(whole, parts)


def test_a_batch_holds_one_orientation(make_dataset):
    stream = pipeline.train_dataset(make_dataset(SIZES), CONFIG.replace(batch_size=3), CAFFE)
    seen = set()
    for inputs, _ in _take(stream, 15):
        shapes = inputs["original_shape"]
        portrait = shapes[:, 0] > shapes[:, 1]
        assert portrait.all() or not portrait.any()
        seen.update(inputs["index"].tolist())
    assert seen == set(range(len(SIZES)))


def test_padding_is_zero_after_normalising_and_changes_no_image(make_dataset):
    dataset = make_dataset([(30, 50), (30, 80), (40, 41)])
    alone = {
        int(inputs["index"][0]): (inputs["images"][0], targets["boxes"][0])
        for inputs, targets in _take(pipeline.train_dataset(dataset, CONFIG, CAFFE), 3)
    }
    ((inputs, targets),) = _take(
        pipeline.train_dataset(dataset, CONFIG.replace(batch_size=3), CAFFE), 1
    )
    assert inputs["images"].shape == (3, *inputs["image_shape"].max(axis=0), 3)
    for item, row in enumerate(inputs["index"]):
        height, width = inputs["image_shape"][item]
        image = inputs["images"][item]
        np.testing.assert_array_equal(image[:height, :width], alone[row][0])
        assert not image[height:].any() and not image[:, width:].any()
        np.testing.assert_array_equal(targets["boxes"][item], alone[row][1])


@pytest.mark.parametrize(
    ("preprocessing", "expected"),
    [
        (CAFFE.divided_by(2.0), [(30 - 103.939) / 2, (20 - 116.779) / 2, (10 - 123.68) / 2]),
        (Preprocessing("rgb", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), [9 / 4, 18 / 5, 27 / 6]),
    ],
)
def test_images_are_normalised_as_the_backbone_expects(
    make_dataset, tmp_path, preprocessing, expected
):
    Image.new("RGB", (50, 40), (10, 20, 30)).save(tmp_path / "colour.png")
    record = dataclasses.replace(
        make_dataset([(40, 50)]).records[0], path=str(tmp_path / "colour.png")
    )
    dataset = Dataset(("a",), [record])
    ((train_inputs, _),) = _take(pipeline.train_dataset(dataset, CONFIG, preprocessing), 1)
    (eval_inputs,) = _take(pipeline.eval_dataset(dataset, CONFIG, preprocessing), 1)
    for inputs in (train_inputs, eval_inputs):
        np.testing.assert_allclose(inputs["images"][0], np.tile(expected, (40, 50, 1)), rtol=1e-5)


def test_target_rows_are_padded_with_label_minus_one(make_dataset):
    dataset = make_dataset([(40, 50), (40, 50)], num_objects=3)
    empty = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int32)}
    dataset.records[0] = dataclasses.replace(
        dataset.records[0], **empty, difficult=np.zeros(0, bool)
    )
    config = CONFIG.replace(batch_size=2, difficult="ignore")
    ((inputs, targets),) = _take(pipeline.train_dataset(dataset, config, CAFFE), 1)
    item = int(np.flatnonzero(inputs["index"] == 0)[0])
    assert targets["labels"][item].tolist() == [-1, -1, -1]
    assert not targets["boxes"][item].any() and not targets["ignore"][item].any()
    assert targets["labels"][1 - item].tolist() == [1, 1, 1]


def test_an_image_without_objects_has_one_row_of_padding(make_dataset):
    dataset = make_dataset([(40, 50)], num_objects=0)
    ((_, targets),) = _take(pipeline.train_dataset(dataset, CONFIG, CAFFE), 1)
    assert targets["labels"].tolist() == [[-1]] and targets["ignore"].tolist() == [[False]]
    np.testing.assert_array_equal(targets["boxes"], np.zeros((1, 1, 4)))


@pytest.mark.parametrize(
    ("difficult", "labels", "ignore"),
    [
        ("drop", [[0, 0]], [[False, False]]),
        ("keep", [[0, 0, 0]], [[False, False, False]]),
        ("ignore", [[0, 0, 0]], [[False, True, False]]),
    ],
)
def test_difficult_objects(make_dataset, difficult, labels, ignore):
    dataset = make_dataset([(40, 50)], num_objects=3)  # the second is difficult
    boxes = np.array([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]], np.float32)
    dataset.records[0] = dataclasses.replace(dataset.records[0], boxes=boxes)
    stream = pipeline.train_dataset(dataset, CONFIG.replace(difficult=difficult), CAFFE)
    ((_, targets),) = _take(stream, 1)
    assert targets["labels"].tolist() == labels and targets["ignore"].tolist() == ignore
    kept = boxes[[0, 2]] if difficult == "drop" else boxes
    np.testing.assert_array_equal(targets["boxes"][0], kept)


def test_objects_belong_to_their_own_image(make_dataset):
    """Records with 2, 0, 3 and 1 objects: each row gets its own."""
    dataset = make_dataset([(40, 50)] * 4)
    expected = {}
    for row, number in enumerate((2, 0, 3, 1)):
        boxes = np.array([[row, item, row + 5, item + 5] for item in range(number)], np.float32)
        dataset.records[row] = dataclasses.replace(
            dataset.records[row],
            boxes=boxes.reshape(-1, 4),
            labels=np.full(number, row, np.int32),
            difficult=np.zeros(number, bool),
        )
        expected[row] = boxes.tolist()
    for inputs, targets in _take(pipeline.train_dataset(dataset, CONFIG, CAFFE), 4):
        valid = targets["labels"][0] >= 0
        assert targets["boxes"][0][valid].tolist() == expected[int(inputs["index"][0])]


@pytest.mark.parametrize("difficult", ["drop", "ignore"])
def test_images_with_nothing_to_learn_can_be_left_out(make_dataset, difficult):
    dataset = make_dataset([(40, 50)] * 4)
    for row, flag in ((1, np.array([True])), (2, np.zeros(0, bool))):
        dataset.records[row] = dataclasses.replace(
            dataset.records[row],
            boxes=dataset.records[row].boxes[: len(flag)],
            labels=dataset.records[row].labels[: len(flag)],
            difficult=flag,
        )
    config = CONFIG.replace(difficult=difficult, include_empty=False)
    stream = pipeline.train_dataset(dataset, config, CAFFE)
    assert {int(inputs["index"][0]) for inputs, _ in _take(stream, 8)} == {0, 3}
    stream = pipeline.train_dataset(dataset, config.replace(include_empty=True), CAFFE)
    assert {int(inputs["index"][0]) for inputs, _ in _take(stream, 8)} == {0, 1, 2, 3}


def test_no_image_to_train_on_is_an_error(make_dataset):
    with pytest.raises(ValueError, match="Received: 0 images"):
        pipeline.train_dataset(Dataset(("a",), []), CONFIG, CAFFE)
    dataset = make_dataset([(40, 50)], num_objects=0)
    with pytest.raises(ValueError, match="include_empty=False"):
        pipeline.train_dataset(dataset, CONFIG.replace(include_empty=False), CAFFE)


# --- keys of images


def _keys(batches):
    """Returns the keys of each row, in the order in which it came: {row: [key, ...]}."""
    found = {}
    for inputs in batches:
        assert inputs["key"].dtype == np.int32
        for row, key in zip(inputs["index"].tolist(), inputs["key"].tolist(), strict=True):
            found.setdefault(row, []).append(tuple(key))
    return found


def _training_keys(dataset, config, count, start_step=0):
    stream = pipeline.train_dataset(dataset, config, CAFFE, start_step)
    return _keys(inputs for inputs, _ in _take(stream, count))


def test_a_key_depends_on_seed_epoch_and_row_alone(make_dataset):
    dataset = make_dataset(SIZES)
    alone = _training_keys(dataset, CONFIG, 3 * len(SIZES))
    every = [key for keys in alone.values() for key in keys]
    assert len(set(every)) == len(every) == 3 * len(SIZES)  # other in every epoch and row
    for changes in ({"batch_size": 2}, {"batch_size": 3, "jit_compile": True}, {"flip": "both"}):
        others = _training_keys(dataset, CONFIG.replace(**changes), 6)
        assert sum(map(len, others.values())) == 6 * changes.get("batch_size", 1)
        for row, keys in others.items():
            assert keys == alone[row][: len(keys)]
    resumed = _training_keys(dataset, CONFIG, 7, start_step=7)  # the second epoch
    assert resumed == {row: [keys[1]] for row, keys in alone.items()}
    another_seed = _training_keys(dataset, CONFIG.replace(seed=4), 7)
    assert not set(every) & {key for keys in another_seed.values() for key in keys}


def test_a_key_is_derived_from_the_key_of_the_augmentation(make_dataset):
    dataset = make_dataset(SIZES[:2])
    keys = _training_keys(dataset, CONFIG, 4)
    for row in range(2):
        expected = [
            tuple(
                augment.model_key(augment.image_key(3, epoch, tf.constant(row, tf.int64))).numpy()
            )
            for epoch in range(2)
        ]
        assert keys[row] == expected
    ((inputs, _),) = pipeline.training_examples(dataset, CONFIG, CAFFE, [1], 1)
    assert tuple(inputs["key"][0].numpy()) == keys[1][1]


def test_a_key_in_evaluation_is_the_same_every_time(make_dataset):
    dataset = make_dataset(SIZES)
    streams = {size: pipeline.eval_dataset(dataset, CONFIG, CAFFE, size) for size in (1, 3)}
    first = _keys(streams[1].as_numpy_iterator())
    assert first == _keys(streams[1].as_numpy_iterator()) == _keys(streams[3].as_numpy_iterator())
    assert len({key for (key,) in first.values()}) == len(SIZES)
    training = _training_keys(dataset, CONFIG, 14)
    assert all(first[row][0] not in keys for row, keys in training.items())


# --- fixed shapes for XLA


@pytest.mark.parametrize("batch_size", [1, 2])
def test_batches_for_xla_have_one_of_two_shapes(make_dataset, batch_size):
    sizes = [*SIZES, (401, 400), (20, 90), (90, 20)]  # the first is resized to 40 x 40
    dataset = make_dataset(sizes, num_objects=3)
    dataset.records[0] = dataclasses.replace(
        dataset.records[0],
        boxes=np.tile(dataset.records[0].boxes[:1], (5, 1)),
        labels=np.zeros(5, np.int32),
        difficult=np.zeros(5, bool),
    )
    config = CONFIG.replace(batch_size=batch_size, difficult="ignore", jit_compile=True)
    stream = pipeline.train_dataset(dataset, config, CAFFE)
    _, targets = stream.element_spec
    assert {name: tuple(spec.shape) for name, spec in targets.items()} == {
        "boxes": (batch_size, 5, 4),
        "labels": (batch_size, 5),
        "ignore": (batch_size, 5),
    }
    without_xla = pipeline.train_dataset(dataset, config.replace(jit_compile=False), CAFFE)
    seen = set()
    for found, expected in zip(_take(stream, 40), _take(without_xla, 40), strict=True):
        _assert_equal_but_for_padding(found, expected)
        portrait = found[0]["original_shape"][0, 0] > found[0]["original_shape"][0, 1]
        assert found[0]["images"].shape[1:] == ((70, 40, 3) if portrait else (40, 70, 3))
        seen.update(found[0]["index"].tolist())
    assert seen == set(range(len(sizes)))


def _assert_equal_but_for_padding(found, expected):
    (inputs, targets), (expected_inputs, expected_targets) = found, expected
    height, width = expected_inputs["images"].shape[1:3]
    np.testing.assert_array_equal(inputs["images"][:, :height, :width], expected_inputs["images"])
    assert not inputs["images"][:, height:].any() and not inputs["images"][:, :, width:].any()
    for name in ("image_shape", "original_shape", "index", "key"):
        np.testing.assert_array_equal(inputs[name], expected_inputs[name])
    rows = expected_targets["labels"].shape[1]
    for name, padding in (("boxes", 0), ("labels", -1), ("ignore", False)):
        np.testing.assert_array_equal(targets[name][:, :rows], expected_targets[name])
        assert np.all(targets[name][:, rows:] == padding)


def test_batches_for_xla_have_a_row_for_no_object(make_dataset):
    dataset = make_dataset([(30, 50)], num_objects=0)
    ((inputs, targets),) = _take(
        pipeline.train_dataset(dataset, CONFIG.replace(jit_compile=True), CAFFE), 1
    )
    assert inputs["images"].shape == (1, 40, 70, 3) and targets["labels"].tolist() == [[-1]]


def test_evaluation_batches_for_xla(make_dataset):
    dataset = make_dataset(SIZES)
    config = CONFIG.replace(jit_compile=True)
    plain = list(pipeline.eval_dataset(dataset, CONFIG, CAFFE).as_numpy_iterator())
    fixed = list(pipeline.eval_dataset(dataset, config, CAFFE).as_numpy_iterator())
    for (row_height, row_width), found, expected in zip(SIZES, fixed, plain, strict=True):
        shape = (70, 40) if row_height > row_width else (40, 70)
        assert found["images"].shape == (1, *shape, 3)
        height, width = expected["images"].shape[1:3]
        padding = [(0, 0), (0, shape[0] - height), (0, shape[1] - width), (0, 0)]
        np.testing.assert_array_equal(found["images"], np.pad(expected["images"], padding))
        np.testing.assert_array_equal(found["image_shape"], expected["image_shape"])
    mixed = next(pipeline.eval_dataset(dataset, config, CAFFE, 3).as_numpy_iterator())
    assert mixed["images"].shape == (3, 70, 70, 3)


# --- evaluation batches


@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_evaluation_sees_every_image_once_in_order(make_dataset, batch_size):
    dataset = make_dataset(SIZES)
    config = CONFIG.replace(flip="both")
    taken = list(pipeline.eval_dataset(dataset, config, CAFFE, batch_size).as_numpy_iterator())
    assert [len(inputs["index"]) for inputs in taken][:-1] == [batch_size] * (len(taken) - 1)
    assert np.concatenate([inputs["index"] for inputs in taken]).tolist() == list(range(7))
    for inputs in taken:
        assert set(inputs) == {"images", "image_shape", "original_shape", "index", "key"}
        for item, row in enumerate(inputs["index"]):
            record = dataset.records[row]
            shape = inputs["image_shape"][item]
            scale = shape / [record.height, record.width]
            found = _white_box(inputs["images"][item], shape)
            np.testing.assert_allclose(found, record.boxes[0] * np.tile(scale, 2), atol=1.01)


def test_evaluation_can_be_run_twice(make_dataset):
    stream = pipeline.eval_dataset(make_dataset(SIZES), CONFIG, CAFFE, 2)
    for first, second in zip(stream, stream, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, first, second)


def test_images_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying: the displayed right edge is the stored top
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[:20] = 255
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif, quality=100)
    boxes = np.array([[0, 20, 60, 40]], np.float32)
    record = Record(
        "a", str(tmp_path / "a.jpg"), 60, 40, boxes, np.zeros(1, np.int32), np.zeros(1, bool), 6
    )
    (inputs,) = pipeline.eval_dataset(Dataset(("a",), [record]), CONFIG, CAFFE).as_numpy_iterator()
    assert inputs["original_shape"].tolist() == [[60, 40]]
    np.testing.assert_array_equal(_white_box(inputs["images"][0], (60, 40)), boxes[0])


# --- what goes wrong


@pytest.mark.parametrize("make_stream", [pipeline.train_dataset, pipeline.eval_dataset])
def test_an_image_that_cannot_be_decoded_is_named(make_dataset, make_stream):
    dataset = make_dataset([(40, 50)] * 3)
    path = pathlib.Path(dataset.records[1].path)
    for damage in (path.read_bytes()[:-20], b"no image", b"", None):
        path.unlink()
        if damage is not None:
            path.write_bytes(damage)
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"unreadable image.*{path}"):
            _take(make_stream(dataset, CONFIG, CAFFE), 3)


@pytest.mark.slow
def test_a_program_ends_while_streams_are_open(make_dataset):
    """Python must not wait at its end for threads that wait for Python."""
    dataset = make_dataset(SIZES)
    program = f"""
import numpy as np
from keras_frcnn.config import Config
from keras_frcnn.data import pipeline
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.data.images.preprocessing import CAFFE
nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool)
images = {[(record.path, record.height, record.width) for record in dataset.records] * 20!r}
records = [Record(str(i), *image, *nothing) for i, image in enumerate(images)]
stream = iter(pipeline.train_dataset(Dataset(("a",), records), Config(), CAFFE))
for _ in range(3):
    next(stream)
print("done")
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    finished = subprocess.run(
        [sys.executable, "-c", program], env=environment, timeout=60, capture_output=True, text=True
    )
    assert finished.returncode == 0 and finished.stdout == "done\n", finished.stderr


# --- proposals of a file


@pytest.fixture
def proposed(make_dataset, tmp_path):
    """A dataset, and a file whose first proposal is each image's object."""
    dataset = make_dataset([(30, 50), (50, 30), (40, 41), (33, 80)])
    path = tmp_path / "found.npz"
    proposals_file.write(
        path,
        (
            (r.image_id, [*r.boxes, *([[0, 0, 9, 10]] * row)], np.arange(row + 1, 0, -1))
            for row, r in enumerate(dataset.records)
        ),
    )
    return dataset, str(path)


@pytest.mark.parametrize(
    ("changes", "jit_compile"),
    [
        ({}, False),
        ({"flip": "both"}, True),
        ({"flip": "both", "crop_probability": 0.9, "crop_sides": (0.6, 0.9)}, False),
        ({"flip": "both", "scale_jitter": (0.5, 1.6), "train_shorter_sides": (30, 40)}, False),
    ],
    ids=["still", "flips", "crops", "sizes"],
)
def test_proposals_move_with_their_image(proposed, changes, jit_compile):
    dataset, path = proposed
    config = CONFIG.replace(
        train_proposals=path, batch_size=2, jit_compile=jit_compile, crop_min_visible=0.1, **changes
    )
    stream = pipeline.train_dataset(dataset, config, CAFFE)
    assert stream.element_spec[0]["proposals"].shape[1:] == (4, 4)
    for inputs, targets in _take(stream, 8):
        np.testing.assert_allclose(inputs["proposals"][:, :1], targets["boxes"], rtol=1e-6)
        rows = inputs["index"]
        heights = inputs["proposals"][..., 2:] - inputs["proposals"][..., :2]
        real = (heights > 0).all(axis=-1)
        listed = np.arange(4) <= rows[:, np.newaxis]
        np.testing.assert_array_equal(inputs["proposal_scores"] > 0, listed)
        assert not real[~listed].any()
        if "crop_probability" not in changes and "scale_jitter" not in changes:
            np.testing.assert_array_equal(real, listed)
        for image, shape, boxes in zip(
            inputs["images"], inputs["image_shape"], inputs["proposals"], strict=True
        ):
            np.testing.assert_allclose(_white_box(image, shape), boxes[0], atol=1)


def test_the_best_proposals_are_taken_in_training_and_in_test(proposed):
    dataset, path = proposed
    config = CONFIG.replace(
        train_proposals=path, test_proposals=path, train_post_nms_top_k=3, test_post_nms_top_k=2
    )
    ((inputs, _),) = _take(pipeline.train_dataset(dataset, config, CAFFE), 1)
    assert inputs["proposals"].shape == (1, 3, 4)
    batches = _take(pipeline.eval_dataset(dataset, config, CAFFE), 4)
    assert [batch["proposals"].shape for batch in batches] == [(1, 2, 4)] * 4
    np.testing.assert_array_equal(batches[2]["proposal_scores"], [[3, 2]])
    for batch, record in zip(batches, dataset.records, strict=True):
        factors = np.tile(batch["image_shape"] / batch["original_shape"], 2)
        np.testing.assert_allclose(batch["proposals"][0, :1], record.boxes * factors, rtol=1e-6)


def test_only_images_that_will_be_drawn_need_proposals(make_dataset, tmp_path):
    dataset = make_dataset([(40, 60)] * 6)
    path = tmp_path / "some.npz"
    config = CONFIG.replace(batch_size=1, train_proposals=str(path))
    drawn = drawn_rows(dataset.records, config, 0, 2)
    rows = [(dataset.records[row].image_id, [[0, 0, 9, 9]], [1.0]) for row in drawn]
    proposals_file.write(path, rows)
    for inputs, _ in _take(pipeline.train_dataset(dataset, config, CAFFE, 0, 2), 2):
        assert float(tf.reduce_sum(inputs["proposals"])) > 0
    with pytest.raises(ValueError, match="has no proposals of 1 of 3 images"):
        pipeline.train_dataset(dataset, config, CAFFE, 0, 3)
    with pytest.raises(ValueError, match="has no proposals of 4 of 6 images"):
        pipeline.train_dataset(dataset, config, CAFFE)


def test_without_a_file_no_proposals_are_in_a_batch(make_dataset):
    dataset = make_dataset([(30, 50)])
    ((inputs, _),) = _take(pipeline.train_dataset(dataset, CONFIG, CAFFE), 1)
    assert sorted(inputs) == ["image_shape", "images", "index", "key", "original_shape"]


def test_a_file_that_lacks_an_image_is_refused_before_any_batch(proposed, make_dataset):
    dataset, path = proposed
    more = make_dataset([(30, 50)] * 5)
    for make, changes in (
        (pipeline.train_dataset, {"train_proposals": path}),
        (pipeline.eval_dataset, {"test_proposals": path}),
    ):
        with pytest.raises(ValueError, match=r"found\.npz has no proposals of 1 of 5 .* '4'"):
            make(more, CONFIG.replace(**changes), CAFFE)
