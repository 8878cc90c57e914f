"""Augmentation in the stream: boxes are found where they are drawn, whatever is switched on."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_frcnn.config import Config
from keras_frcnn.data import pipeline
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.data.images import transforms
from keras_frcnn.data.images.preprocessing import CAFFE

# Six colours that differ in which channels are bright, drawn on black. An edge blurred by resizing
# is a mixture with black, so that half of a colour's brightness tells what belongs to it.
COLORS = np.array(list(itertools.product((0, 1), repeat=3))[1:-1], bool)
PLAIN = Config(flip="none", shorter_side=150, longer_side=260, seed=3)
CROP = {"crop_probability": 1.0, "crop_sides": (0.3, 1.0)}
PHOTOMETRIC = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.02}
GEOMETRIC = {
    "flip": "both",
    "train_shorter_sides": (100, 150, 201),
    "scale_jitter": (0.6, 1.6),
    **CROP,
}
SIZES = [(150, 200), (200, 150), (160, 161), (60, 300), (300, 70), (240, 400), (90, 90)]
EPOCHS = 6


def _draw(rng, height, width):
    """Draws a rectangle of each colour somewhere in its own cell of a grid, up to its border.

    Returns:
        The image and the boxes, rows as ``COLORS``.
    """
    pixels = np.zeros((height, width, 3), np.uint8)
    rows, columns = (2, 3) if width >= height else (3, 2)
    boxes = []
    for number, color in enumerate(COLORS):
        cell = np.array([height // rows, width // columns])
        start = cell * [number // columns, number % columns]
        near = start + rng.integers(0, cell // 3)
        far = np.minimum(start + rng.integers(2 * cell // 3, cell) - 1, [height, width])
        if number == len(COLORS) - 1:
            far = np.array([height, width])
        near = np.zeros(2, int) if number == 0 else near
        pixels[near[0] : far[0], near[1] : far[1]] = 255 * color
        boxes.append([*near, *far])
    return pixels, np.array(boxes, np.float32)


def _find(image):
    """Returns {colour's number: (box, pixels)} of the colours that are seen in uint8 [H, W, 3]."""
    image = image.astype(np.float32)
    low, high = image.min(axis=2), image.max(axis=2)
    bright = image > (low + high)[..., None] / 2
    found = {}
    for number, color in enumerate(COLORS):
        strength = np.where(np.all(bright == color, axis=2), high - low, 0)
        inside = strength > max(strength.max() / 2, 50)
        if np.any(inside):
            rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
            box = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
            found[number] = np.array(box), inside.sum()
    return found


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Images of coloured rectangles; the fourth object of each is difficult."""
    folder = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(5)
    records = []
    for row, (height, width) in enumerate(SIZES):
        pixels, boxes = _draw(rng, height, width)
        path = folder / f"{row}.png"
        Image.fromarray(pixels).save(path)
        labels, difficult = np.arange(len(COLORS), dtype=np.int32), np.arange(len(COLORS)) == 3
        records.append(Record(str(row), str(path), height, width, boxes, labels, difficult))
    return Dataset(tuple("abcdef"), records)


def _images(dataset, config):
    """All images of some epochs as uint8: (row, image, targets)."""
    stream = pipeline.train_dataset(dataset, config, CAFFE).take(EPOCHS * len(dataset.records))
    for inputs, targets in stream.as_numpy_iterator():
        height, width = inputs["image_shape"][0]
        image = transforms.denormalize(inputs["images"][0, :height, :width], CAFFE)
        valid = targets["labels"][0] >= 0
        targets = {name: column[0][valid] for name, column in targets.items()}
        yield inputs["index"][0], image.numpy(), targets


@pytest.mark.parametrize(
    "changes",
    [
        {"flip": "both", "difficult": "keep"},
        {"train_shorter_sides": (100, 150, 201)},
        {"scale_jitter": (0.6, 1.0)},
        {"scale_jitter": (1.0, 2.0)},
        CROP,
        {**CROP, "jit_compile": True},
        PHOTOMETRIC,
        GEOMETRIC,
        {**GEOMETRIC, **PHOTOMETRIC},
        {**GEOMETRIC, **PHOTOMETRIC, "difficult": "keep"},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_boxes_are_found_where_they_are_drawn(drawn, changes):
    num_compared = num_gone = num_newly_ignored = 0
    difficult = changes.get("difficult", "ignore")
    for row, image, targets in _images(drawn, PLAIN.replace(**{"difficult": "ignore", **changes})):
        found = _find(image)
        record = drawn.records[row]
        for box, label, ignore in zip(*targets.values(), strict=True):
            assert np.all(box >= 0) and np.all(box[2:] <= image.shape[:2])
            if np.min(box[2:] - box[:2]) < 3:
                found.pop(label, None)
                continue
            place, num_pixels = found.pop(label)
            np.testing.assert_allclose(place, box, atol=1.01)
            num_compared += 1
            assert num_pixels >= 0.95 * np.prod(place[2:] - place[:2])
            if difficult == "ignore" and record.difficult[label]:
                assert ignore
                continue
            num_newly_ignored += ignore
        assert not found  # what is seen has its row
        num_gone += len(COLORS) - len(targets["labels"])
        wanted = ~record.difficult if difficult == "ignore" else np.ones(len(COLORS), bool)
        kept = targets["labels"][~targets["ignore"]]
        assert set(kept) <= set(np.flatnonzero(wanted)) and len(kept) >= 1
    assert num_compared > 60
    cuts = "crop_probability" in changes or changes.get("scale_jitter", (1, 1))[1] > 1
    assert (num_gone > 20) == (num_newly_ignored > 5) == cuts


def test_cut_objects_are_ignored_by_the_share_that_is_left(drawn):
    """Seen from the pixels: the crop is known from what of the image is left at which scale."""
    flags = []
    for row, image, targets in _images(drawn, PLAIN.replace(scale_jitter=(1.2, 2.0))):
        record = drawn.records[row]
        nominal = PLAIN.shorter_side / min(SIZES[row])
        if nominal * max(SIZES[row]) > PLAIN.longer_side:
            nominal = PLAIN.longer_side / max(SIZES[row])
        found = _find(image)
        whole = [  # objects that touch no border have kept their size, times the factor
            (box, record.boxes[label])
            for box, label in zip(targets["boxes"], targets["labels"], strict=True)
            if np.all(box[:2] > 0.01) and np.all(box[2:] < np.array(image.shape[:2]) - 0.01)
        ]
        if not whole:
            continue
        box, original = max(whole, key=lambda pair: np.prod(pair[0][2:] - pair[0][:2]))
        scale = (box[2:] - box[:2]) / (original[2:] - original[:2])
        assert np.all(scale > 1.1 * nominal) and np.all(scale < 2.1 * nominal)
        for label, ignore in zip(targets["labels"], targets["ignore"], strict=True):
            sides = record.boxes[label][2:] - record.boxes[label][:2]
            if label in found:
                share = found[label][1] / np.prod(sides * scale)
                if abs(share - 0.3) > 0.1:  # a few pixels more or less
                    flags.append((share < 0.3, ignore))
    flags = np.array(flags)
    np.testing.assert_array_equal(flags[:, 0], flags[:, 1])
    assert flags[:, 0].sum() > 5 and (~flags[:, 0]).sum() > 50


@pytest.mark.parametrize("changes", [PHOTOMETRIC, {"grey_probability": 1.0}])
def test_colors_change_and_boxes_do_not(drawn, changes):
    geometric = PLAIN.replace(**GEOMETRIC)
    plain = _images(drawn, geometric)
    for (_, image, targets), (_, other, others) in zip(
        plain, _images(drawn, geometric.replace(**changes)), strict=True
    ):
        tf.nest.map_structure(np.testing.assert_array_equal, targets, others)
        assert image.shape == other.shape and np.any(image != other)


@pytest.mark.parametrize(
    "changes",
    [
        {"crop_probability": 1.0, "crop_sides": (1.0, 1.0)},
        {"crop_sides": (0.2, 0.5), "crop_min_visible": 1.0},  # with no image to crop
        {"train_shorter_sides": (150,)},
        {"train_shorter_sides": (150, 150)},
    ],
)
def test_settings_that_change_nothing_change_no_bit(drawn, changes):
    plain = PLAIN.replace(flip="both", batch_size=2)
    expected = pipeline.train_dataset(drawn, plain, CAFFE).take(6).as_numpy_iterator()
    found = (
        pipeline.train_dataset(drawn, plain.replace(**changes), CAFFE).take(6).as_numpy_iterator()
    )
    for one, other in zip(found, expected, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_images_of_their_own_size_are_as_in_the_file(drawn):
    """Nothing is lost on the way to an image to look at."""
    config = PLAIN.replace(shorter_side=240, longer_side=400)
    preprocessing = CAFFE.divided_by(58.0)
    ((inputs, targets),) = pipeline.training_examples(drawn, config, preprocessing, [5])
    image, targets = pipeline.image_of(inputs, preprocessing), pipeline.objects_of(targets)
    record = drawn.records[5]
    np.testing.assert_array_equal(image, np.asarray(Image.open(record.path)))
    np.testing.assert_array_equal(targets["boxes"], record.boxes[[0, 1, 2, 4, 5]])
    assert targets["labels"].tolist() == [0, 1, 2, 4, 5] and not targets["ignore"].any()
    assert (
        image.dtype == np.uint8 and list(pipeline.training_examples(drawn, config, CAFFE, [])) == []
    )


# --- what is drawn depends on seed, epoch and image alone

ALL = {**GEOMETRIC, **PHOTOMETRIC, "crop_probability": 0.5, "grey_probability": 0.2}


def _by_place(dataset, config, num_batches, start_step=0):
    """Reads batches; returns {(row, how often it has come): (image, targets)}, unpadded."""
    stream = pipeline.train_dataset(dataset, config, CAFFE, start_step).take(num_batches)
    found = {}
    for inputs, targets in stream.as_numpy_iterator():
        for item, row in enumerate(inputs["index"].tolist()):
            height, width = inputs["image_shape"][item]
            image = inputs["images"][item]
            assert not image[height:].any() and not image[:, width:].any()
            valid = targets["labels"][item] >= 0
            number = sum(one == row for one, _ in found)
            values = {name: column[item][valid] for name, column in targets.items()}
            found[row, number] = image[:height, :width], values
    return found


@pytest.mark.parametrize("changes", [{"batch_size": 2}, {"batch_size": 3, "jit_compile": True}])
def test_an_image_is_the_same_in_any_batch(drawn, changes):
    alone = _by_place(drawn, PLAIN.replace(**ALL), 7 * len(SIZES))
    together = _by_place(drawn, PLAIN.replace(**ALL, **changes), 12)
    assert len(together) == 12 * changes["batch_size"]
    for place, image in together.items():
        tf.nest.map_structure(np.testing.assert_array_equal, image, alone[place])


def test_a_resumed_stream_equals_an_unbroken_one(drawn):
    config = PLAIN.replace(**ALL, batch_size=2)
    whole = list(pipeline.train_dataset(drawn, config, CAFFE).take(12).as_numpy_iterator())
    for start in (1, 4, 9):
        stream = pipeline.train_dataset(drawn, config, CAFFE, start).take(3).as_numpy_iterator()
        for got, expected in zip(stream, whole[start:], strict=False):
            tf.nest.map_structure(np.testing.assert_array_equal, got, expected)


def test_images_to_look_at_are_those_of_the_stream(drawn):
    config = PLAIN.replace(**ALL)
    in_stream = _by_place(drawn, config, 3 * len(SIZES))
    for epoch in (2, 0):
        examples = list(pipeline.training_examples(drawn, config, CAFFE, [4, 1], epoch))
        for row, (inputs, targets) in zip([4, 1], examples, strict=True):
            normalized, expected = in_stream[row, epoch]
            np.testing.assert_array_equal(inputs["images"][0], normalized)
            objects = pipeline.objects_of(targets)
            tf.nest.map_structure(np.testing.assert_array_equal, objects, expected)
            image = pipeline.image_of(inputs, CAFFE)
            rgb = normalized[..., ::-1] + np.array([123.68, 116.779, 103.939])
            np.testing.assert_allclose(image, rgb, atol=0.501)


def test_another_epoch_or_seed_is_another_image(drawn):
    first = _by_place(drawn, PLAIN.replace(**ALL), 2 * len(SIZES))
    other = _by_place(drawn, PLAIN.replace(**ALL, seed=4), len(SIZES))
    for row in range(len(SIZES)):
        images = [first[row, 0][0], first[row, 1][0], other[row, 0][0]]
        for one, another in itertools.combinations(images, 2):
            assert one.shape != another.shape or np.any(one != another)


def test_one_change_leaves_the_draws_of_the_others(drawn):
    """With crops switched on, the same images are mirrored, and to the same colours."""
    few = PLAIN.replace(flip="horizontal", train_shorter_sides=(100, 150, 201))
    many = few.replace(crop_probability=0.5, grey_probability=0.5)
    pairs = list(zip(_images(drawn, few), _images(drawn, many), strict=True))
    whole = [
        (one, other)
        for (_, one, targets), (_, other, others) in pairs
        if np.array_equal(targets["boxes"], others["boxes"])
    ]
    assert 10 < len(whole) < len(pairs) - 10
    same = sum(np.array_equal(one, other) for one, other in whole)
    assert 3 < same < len(whole) - 3  # the others are grey
    assert all(one.shape == other.shape for one, other in whole)


# --- batches of fixed shapes


@pytest.mark.parametrize("batch_size", [1, 2])
def test_batches_for_xla_have_one_of_two_shapes(drawn, batch_size):
    config = PLAIN.replace(**ALL, batch_size=batch_size, jit_compile=True)
    shapes = {
        inputs["images"].shape[1:3]
        for inputs, _ in pipeline.train_dataset(drawn, config, CAFFE).take(40).as_numpy_iterator()
    }
    assert shapes == {(201, 348), (348, 201)}  # 201 / 150 * 260 = 348.4


def test_a_square_crop_of_a_portrait_is_padded_as_a_portrait(tmp_path):
    Image.new("RGB", (100, 101)).save(tmp_path / "a.png")
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool)
    record = Record("a", str(tmp_path / "a.png"), 101, 100, *nothing)
    config = PLAIN.replace(crop_probability=1.0, crop_sides=(0.3, 0.35), jit_compile=True)
    stream = pipeline.train_dataset(Dataset(("a",), [record]), config, CAFFE)
    squares = 0
    for inputs, _ in stream.take(40).as_numpy_iterator():
        assert inputs["images"].shape == (1, 260, 150, 3)
        squares += inputs["original_shape"][0, 0] == inputs["original_shape"][0, 1]
    assert squares > 5


def test_original_shape_tells_the_scale(drawn):
    """By it min_size, given in pixels of the original image, is scaled."""
    config = PLAIN.replace(**ALL)
    for inputs, _ in pipeline.train_dataset(drawn, config, CAFFE).take(40).as_numpy_iterator():
        height, width = SIZES[inputs["index"][0]]
        before, after = inputs["original_shape"][0], inputs["image_shape"][0]
        assert np.all(before <= [height, width])
        factors = after / before
        assert abs(factors[0] / factors[1] - 1) < 0.04  # by rounding
        assert factors.min() > 0.6 * 100 / 150 * 0.5


# --- hostile images


HOSTILE = [
    ((1, 1), [[0, 0, 1, 1]]),
    ((1, 400), [[0, 0, 1, 400], [0, 399, 1, 400]]),
    ((400, 1), []),
    ((40, 50), []),
    ((40, 50), [[0, 0, 40, 50]]),
    ((40, 50), [[39.5, 49.5, 40, 50]]),
    ((300, 400), [[0, 0, 0.01, 0.01]]),
    ((33, 3000), [[0, 0, 33, 3000]]),
]


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_hostile_images(tmp_path, ignored, jit_compile):
    records = []
    for row, (size, boxes) in enumerate(HOSTILE):
        path = tmp_path / f"{row}.png"
        Image.new("RGB", size[::-1], (200, 100, 50)).save(path)
        boxes = np.array(boxes, np.float32).reshape(-1, 4)
        labels, flags = np.zeros(len(boxes), np.int32), np.full(len(boxes), ignored)
        records.append(Record(str(row), str(path), *size, boxes, labels, flags))
    config = PLAIN.replace(
        **{**ALL, "scale_jitter": (0.1, 10.0)}, difficult="ignore", jit_compile=jit_compile
    )
    stream = pipeline.train_dataset(Dataset(("a",), records), config, CAFFE)
    for inputs, targets in stream.take(25 * len(HOSTILE)).as_numpy_iterator():
        height, width = inputs["image_shape"][0]
        assert min(height, width) >= 1 and np.all(np.isfinite(inputs["images"]))
        valid = targets["labels"][0] >= 0
        found = targets["boxes"][0][valid]
        assert np.all(found[:, :2] < found[:, 2:]) and np.all(found >= 0)
        assert np.all(found[:, 2:] <= [height, width])
        _, boxes = HOSTILE[inputs["index"][0]]
        objects = valid & ~targets["ignore"][0]
        assert objects.any() == (len(boxes) > 0 and not ignored)
