import fractions
import io
import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_frcnn.data.images import transforms

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 7, 3), np.uint8)


def _encode(image, kind="PNG", **settings):
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_turns_the_image_upright_as_pillow_does(orientation):
    image = Image.fromarray(PIXELS)
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    decoded = transforms.decode(_encode(Image.fromarray(PIXELS)), orientation)
    np.testing.assert_array_equal(decoded, upright)
    assert decoded.dtype == tf.uint8


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "1"])
def test_decode_makes_three_channels_of_any_png(mode):
    flat = Image.new("RGB", (7, 5), (255, 255, 255)).convert(mode)
    decoded = transforms.decode(_encode(flat))
    np.testing.assert_array_equal(decoded, np.full((5, 7, 3), 255))


def test_decode_takes_16_bit_png_and_grey_and_cmyk_jpeg():
    deep = Image.fromarray(np.full((5, 7), 0x8000, np.uint16))
    np.testing.assert_array_equal(transforms.decode(_encode(deep)), np.full((5, 7, 3), 128))
    for mode in ("L", "CMYK"):
        flat = Image.new("RGB", (7, 5), (120, 120, 120)).convert(mode)
        decoded = transforms.decode(_encode(flat, "JPEG", quality=100))
        np.testing.assert_allclose(decoded, np.full((5, 7, 3), 120), atol=2)


def test_decode_refuses_what_is_no_image():
    with pytest.raises(tf.errors.InvalidArgumentError):
        transforms.decode(b"no image")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((375, 500), (600, 800)),
        ((500, 375), (800, 600)),
        ((333, 500), (600, 901)),
        ((300, 500), (600, 1000)),
        ((299, 500), (598, 1000)),
        ((100, 1000), (100, 1000)),
        ((1200, 4000), (300, 1000)),
        ((1, 5000), (1, 1000)),
        ((600, 600), (600, 600)),
        ((30, 20), (900, 600)),
        ((1, 1), (600, 600)),
        ((90_000, 70_000), (771, 600)),
    ],
)
def test_target_shape_goldens(size, expected):
    assert tuple(int(side) for side in transforms.target_shape(*size, 600, 1000)) == expected


def test_target_shape_rounds_half_up():
    # A scale of 3/2 makes 7.5 of 5, and 4.5 of 3.
    assert [int(side) for side in transforms.target_shape(2, 5, 3, 100)] == [3, 8]
    assert [int(side) for side in transforms.target_shape(3, 2, 3, 100)] == [5, 3]


def test_target_shape_takes_sides_drawn_in_the_graph():
    sides = tf.data.Dataset.from_tensor_slices(([600, 30], [1000, 40]))
    found = sides.map(lambda *sides: transforms.target_shape(333, 500, *sides))
    assert list(found.as_numpy_iterator()) == [(600, 901), (27, 40)]


def test_target_shape_equals_exact_fractions():
    for height, width in RNG.integers(1, 3000, (200, 2)).tolist():
        scale = min(
            fractions.Fraction(600, min(height, width)),
            fractions.Fraction(1000, max(height, width)),
        )
        exact = [side * scale + fractions.Fraction(1, 2) for side in (height, width)]
        expected = [max(1, math.floor(side)) for side in exact]
        found = transforms.target_shape(height, width, 600, 1000)
        assert [int(side) for side in found] == expected, (height, width)


def test_resize_is_bilinear_with_half_pixel_centers():
    image = np.array([[[0, 0, 0], [4, 8, 12]]], np.uint8)  # 1 x 2
    resized = transforms.resize(tf.constant(image), 2, 4)
    assert resized.dtype == tf.float32 and resized.shape == (2, 4, 3)
    np.testing.assert_allclose(resized[0, :, 0], [0, 1, 3, 4])
    np.testing.assert_allclose(resized[1, :, 2], [0, 3, 9, 12])


def test_resize_of_a_large_image_gives_the_same(monkeypatch):
    image = tf.constant(RNG.integers(0, 256, (51, 33, 3), np.uint8))
    expected = transforms.resize(image, 20, 40), transforms.resize(image, 77, 120)
    monkeypatch.setattr(transforms, "_LARGE_VALUES", 51 * 33 * 3 - 1)
    found = transforms.resize(image, 20, 40), transforms.resize(image, 77, 120)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_resize_down_does_not_blur():
    image = np.tile(np.array([0, 90], np.uint8)[None, :, None], (6, 3, 3))  # 6 x 6, striped
    resized = transforms.resize(tf.constant(image), 2, 2)
    np.testing.assert_allclose(resized[..., 0], [[90, 0], [90, 0]])  # the middle of each three
    assert transforms.resize(tf.constant(image), 6, 6).dtype == tf.float32


def test_normalize_golden_and_equal_to_keras():
    image = np.array([[[1, 2, 3]]], np.uint8)
    expected = np.float32([3 - 103.939, 2 - 116.779, 1 - 123.68])
    np.testing.assert_allclose(transforms.normalize(image)[0, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(transforms.normalize(image, 58.0)[0, 0], expected / 58, rtol=1e-6)
    from keras.applications import vgg16

    keras_result = vgg16.preprocess_input(PIXELS.astype(np.float32))
    np.testing.assert_allclose(transforms.normalize(PIXELS), keras_result, atol=1e-4)


@pytest.mark.parametrize("pixel_std", [1.0, 58.0])
def test_denormalize_gives_the_image_back(pixel_std):
    image = RNG.integers(0, 256, (2, 9, 11, 3), np.uint8)
    back = transforms.denormalize(transforms.normalize(image, pixel_std), pixel_std)
    assert back.dtype == tf.uint8
    np.testing.assert_array_equal(back, image)


def test_denormalize_rounds_and_stays_in_range():
    bgr = np.float32([[[300, 9.4, -3], [254.6, 9.6, 0.4]]]) - np.float32(transforms.BGR_MEAN)
    np.testing.assert_array_equal(transforms.denormalize(bgr), [[[0, 9, 255], [0, 10, 255]]])


BOXES = np.array([[1, 2, 3, 5], [0, 0, 5, 7], [0.5, 6.0, 1.0, 6.5]], np.float32)


@pytest.mark.parametrize(
    ("horizontal", "vertical", "expected"),
    [
        (False, False, BOXES),
        (True, False, [[1, 2, 3, 5], [0, 0, 5, 7], [0.5, 0.5, 1.0, 1.0]]),
        (False, True, [[2, 2, 4, 5], [0, 0, 5, 7], [4.0, 6.0, 4.5, 6.5]]),
        (True, True, [[2, 2, 4, 5], [0, 0, 5, 7], [4.0, 0.5, 4.5, 1.0]]),
    ],
)
def test_flip_goldens(horizontal, vertical, expected):
    image, boxes = transforms.flip(PIXELS, BOXES, horizontal, vertical)
    np.testing.assert_array_equal(boxes, expected)
    rows, columns = (-1 if vertical else 1), (-1 if horizontal else 1)
    np.testing.assert_array_equal(image, PIXELS[::rows, ::columns])
    back = transforms.flip_boxes(boxes, [5, 7], horizontal, vertical)
    np.testing.assert_array_equal(back, BOXES)


def test_flip_of_no_boxes():
    _, boxes = transforms.flip(PIXELS, np.zeros((0, 4), np.float32), True, True)
    assert boxes.shape == (0, 4)


def test_scale_boxes_has_a_factor_for_each_axis():
    scaled = transforms.scale_boxes(BOXES, [5, 7], [10, 21])
    np.testing.assert_allclose(scaled, BOXES * [2, 3, 2, 3], rtol=1e-6)


def test_scale_boxes_of_many_images_at_once():
    scaled = transforms.scale_boxes(BOXES[:2], [[5, 7], [10, 10]], [[10, 21], [5, 40]])
    expected = BOXES[:2] * np.float32([[2, 3, 2, 3], [0.5, 4, 0.5, 4]])
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)


def test_scale_boxes_keeps_a_border_a_border():
    for old in RNG.integers(1, 2000, (200, 2)):
        new = RNG.integers(1, 1000, 2)
        scaled = transforms.scale_boxes(np.float32([[0, 0, *old]]), old, new)
        np.testing.assert_array_equal(scaled[0], [0, 0, *new])


def test_all_steps_run_in_tf_data_as_they_do_eagerly():
    def steps(image_bytes, orientation, mirrored):
        image = transforms.decode(image_bytes, orientation)
        shape = tf.shape(image)[:2]
        image, boxes = transforms.flip(image, tf.constant(BOXES[:1]), mirrored, False)
        image = transforms.normalize(transforms.resize(image, 10, 20), 2.0)
        return image, transforms.scale_boxes(boxes, shape, tf.shape(image)[:2])

    encoded = tf.constant([_encode(Image.fromarray(PIXELS))] * 3)
    arguments = (encoded, tf.constant([1, 6, 7]), tf.constant([True, False, True]))
    stream = tf.data.Dataset.from_tensor_slices(arguments).map(steps)
    for found, given in zip(stream, zip(*arguments, strict=True), strict=True):
        for a, b in zip(found, steps(*given), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
