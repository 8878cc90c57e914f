"""``FasterRCNN.detect``: what it takes, what it gives for one image and for several, and errors."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_frcnn.models.detections import DetectionBatch, ImageDetections
from tests import fakes


@pytest.fixture(scope="module")
def model():
    return fakes.detector()


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(model, image):
    (found,) = model.detect([image])
    assert len(found) > 5
    return found


def assert_same(found, expected):
    assert type(found) is ImageDetections
    assert len(found) == len(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


# --- one image or several -------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["array", "tensor", "variable", "path", "name", "PIL", "PIL file"])
def test_one_image_needs_no_list(form, model, image, expected, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    given = {
        "array": lambda: image,
        "tensor": lambda: tf.constant(image),
        "variable": lambda: tf.Variable(image),
        "path": lambda: path,
        "name": lambda: str(path),
        "PIL": lambda: Image.fromarray(image),
        "PIL file": lambda: Image.open(path),  # closes its file once it is read
    }[form]()
    found = model.detect(given)
    assert_same(found, expected)
    assert found.image is given
    assert found.class_names == fakes.CLASS_NAMES
    assert found.draw().size == (80, 64)


@pytest.mark.parametrize("pack", [list, tuple, np.stack, iter])
def test_several_images_give_as_many_results(pack, model, image, expected):
    batch = model.detect(pack([image, image]))
    assert type(batch) is DetectionBatch and len(batch) == 2
    assert batch["boxes"].shape == (2, 10, 4)
    for found in batch:
        assert_same(found, expected)
    assert len(model.detect(pack([image]))) == 1


def test_a_column_of_a_table_is_a_list(model, image, expected, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    objects = np.empty(2, object)
    objects[:] = [image, path]
    for column in (np.array([str(path)] * 2), objects):
        batch = model.detect(column)
        assert len(batch) == 2
        for found in batch:
            assert_same(found, expected)


def test_a_list_may_mix_all_forms(model, image, expected, tmp_path):
    Image.fromarray(image).save(tmp_path / "a.png")
    grey = Image.fromarray(image[..., 0])
    batch = model.detect([tmp_path / "a.png", grey, image])
    assert_same(batch[0], expected)
    assert_same(batch[1], model.detect(np.asarray(grey)))
    assert_same(batch[2], expected)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "detect needs at least one image. Received: none"),
        (np.zeros((0, 8, 8, 3), np.uint8), "detect needs at least one image"),
        (None, r"an image must be a file name .* Received: object \[\]"),
        (3, r"an image must be .* Received: int64 \[\]"),
        (b"bytes", r"an image must be .* Received: \|S5 \[\]"),
        (np.zeros((8, 8, 3), np.float32), r"uint8 array \[H, W, 3\].* Received: float32"),
        (np.full((8, 8, 3), np.nan), r"Received: float64 \[8, 8, 3\]"),
        (np.zeros((8, 8, 6), np.uint8), r"Received: uint8 \[8, 8, 6\]"),
        (np.zeros((3, 8, 8), np.uint8), r"Received: uint8 \[3, 8, 8\]"),
        (np.zeros((0, 8, 3), np.uint8), r"Received: uint8 \[0, 8, 3\]"),
        (np.zeros((1, 2, 8, 8, 3), np.uint8), r"Received: uint8 \[1, 2, 8, 8, 3\]"),
        (np.zeros((2, 8, 8, 6), np.uint8), r"images\[0\]: .* Received: uint8 \[8, 8, 6\]"),
        ([np.zeros((8, 8, 3), np.uint8), [[1], [1, 2]]], r"images\[1\]: an image must be"),
        ("gone.jpg", "^gone.jpg: unreadable image: there is no such file"),
        (np.array([], str), "detect needs at least one image"),
        (np.array([1, 2]), r"images\[0\]: an image must be .* Received: int64 \[\]"),
        (["gone.jpg", "gone.png"], "^gone.jpg: unreadable image: there is no such file"),
        (Image.new("F", (8, 8)), "a PIL image of mode F: .* convert it to mode RGB"),
        ([Image.new("F", (8, 8))] * 2, r"images\[0\]: a PIL image of mode F"),
        (Image.new("RGB", (0, 8)), r"Received: uint8 \[8, 0, 3\]"),
    ],
)
def test_what_is_no_image_is_named(model, images, message):
    with pytest.raises(ValueError, match=message):
        model.detect(images)


# --- the threshold --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def every_score(image):
    """What a model that was built without a threshold detects."""
    return fakes.detector(score_threshold=0.0, max_detections=100).detect(image)


@pytest.fixture(scope="module")
def strict_model():
    return fakes.detector(score_threshold=0.7, max_detections=100)


@pytest.mark.parametrize(
    ("threshold", "own"), [(None, 0.7), (0.9, 0.9), (np.float32(0.7), 0.7), (0.2, 0.2), (0, 0)]
)
def test_a_threshold_may_be_lower_and_higher_than_the_models(
    threshold, own, strict_model, image, every_score
):
    found = strict_model.detect(image, score_threshold=threshold)
    assert_same(found, every_score[every_score.scores > own])
    assert 0 < len(found) <= len(every_score)
    assert (len(found) == len(every_score)) == (own == 0)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, np.nan, "0.5"])
def test_an_impossible_threshold_is_refused(threshold, model, image):
    with pytest.raises(ValueError, match="score_threshold must be a number between 0 and 1"):
        model.detect(image, score_threshold=threshold)


# --- weights that are not finite ------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("is_new", [True, False])
def test_weights_that_are_not_finite_are_named_before_anything_is_found(value, is_new, image):
    model = fakes.detector()
    if not is_new:
        assert len(model.detect(image)) > 0
        model.step.assign_add(1)  # it is trained further
    bias = model.roi_head.box_head.classes.bias
    bias.assign(np.full(bias.shape, value))
    with pytest.raises(
        ValueError, match="the detector has weights .* The first is box_head/classes/bias"
    ):
        model.detect(image)


def test_nothing_found_is_no_error_with_sound_weights(model, image):
    assert len(model.detect(image, score_threshold=1)) == 0
