import fractions
import io
import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_frcnn.data.images import transforms
from keras_frcnn.data.images.preprocessing import CAFFE, Preprocessing
from keras_frcnn.ops import boxes as box_ops

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 7, 3), np.uint8)
TORCH = Preprocessing("rgb", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
MINUS_ONE_TO_ONE = Preprocessing("rgb", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
PREPROCESSINGS = {
    "caffe": CAFFE,
    "caffe, divided": CAFFE.divided_by(58.0),
    "torch": TORCH,
    "from -1 to 1": MINUS_ONE_TO_ONE,
}


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


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (800, 1066)),
        ((427, 640), (800, 1199)),
        ((333, 500), (800, 1201)),
        ((612, 612), (800, 800)),
        ((250, 999), (333, 1333)),
        ((3, 5000), (1, 1333)),
    ],
)
def test_target_shape_rounds_down_as_torchvision_does(size, expected):
    scale = min(800 / min(size), 1333 / max(size))  # torchvision's rule, in Python's floats
    assert expected == tuple(max(1, math.floor(side * scale)) for side in size)
    assert tuple(map(int, transforms.target_shape(*size, 800, 1333, "down"))) == expected


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


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        ((48, 64), (80, 133)),
        ((100, 150), (60, 100)),
        ((97, 131), (97, 999)),
        ((333, 500), (97, 133)),
        ((7, 300), (50, 100)),
        ((20, 30), (30, 45)),
    ],
)
def test_pillows_filter_gives_pillows_pixels(size, sides):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    resize = tf.function(lambda image: transforms.resize(image, *sides, method="pillow"))
    resized = resize(image).numpy()
    pixels = Image.fromarray(image).resize(resized.shape[1::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resized, np.asarray(pixels))
    batch = transforms.resize(np.stack([image, image[::-1]]), *sides, method="pillow")
    np.testing.assert_array_equal(batch[0], resized)
    floats = transforms.resize(image.astype("float32"), *sides, method="pillow")
    np.testing.assert_array_equal(floats, resized)


def test_normalize_golden_and_equal_to_keras():
    image = np.array([[[1, 2, 3]]], np.uint8)
    expected = np.float32([3 - 103.939, 2 - 116.779, 1 - 123.68])
    np.testing.assert_allclose(transforms.normalize(image, CAFFE)[0, 0], expected, rtol=1e-6)
    divided = transforms.normalize(image, CAFFE.divided_by(58.0))[0, 0]
    np.testing.assert_allclose(divided, expected / 58, rtol=1e-6)
    from keras.applications import vgg16

    keras_result = vgg16.preprocess_input(PIXELS.astype(np.float32))
    np.testing.assert_allclose(transforms.normalize(PIXELS, CAFFE), keras_result, atol=1e-4)


def test_normalize_in_rgb_with_numbers_for_each_channel_equals_keras():
    from keras.applications import imagenet_utils

    for preprocessing, mode in ((TORCH, "torch"), (MINUS_ONE_TO_ONE, "tf")):
        expected = imagenet_utils.preprocess_input(PIXELS.astype(np.float32), mode=mode)
        found = transforms.normalize(PIXELS, preprocessing)
        assert found.dtype == tf.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("pixel_std", [1.0, 58.0, 57.375])
def test_normalize_is_the_same_to_the_bit_by_rows_and_by_pixels(pixel_std):
    image = RNG.integers(0, 256, (2, 9, 11, 3), np.uint8)
    expected = (np.float32(image[..., ::-1]) - np.float32(CAFFE.mean)) / np.float32(pixel_std)
    found = transforms.normalize(image, CAFFE.divided_by(pixel_std))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", PREPROCESSINGS)
def test_denormalize_gives_the_image_back(name):
    image = RNG.integers(0, 256, (2, 9, 11, 3), np.uint8)
    preprocessing = PREPROCESSINGS[name]
    back = transforms.denormalize(transforms.normalize(image, preprocessing), preprocessing)
    assert back.dtype == tf.uint8
    np.testing.assert_array_equal(back, image)


def test_denormalize_rounds_and_stays_in_range():
    bgr = np.float32([[[300, 9.4, -3], [254.6, 9.6, 0.4]]]) - np.float32(CAFFE.mean)
    back = transforms.denormalize(bgr, CAFFE)
    np.testing.assert_array_equal(back, [[[0, 9, 255], [0, 10, 255]]])


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


def test_all_steps_run_in_tf_data_as_they_do_eagerly():
    def steps(image_bytes, orientation, mirrored):
        image = transforms.decode(image_bytes, orientation)
        shape = tf.shape(image)[:2]
        image, boxes = transforms.flip(image, tf.constant(BOXES[:1]), mirrored, False)
        image = transforms.normalize(transforms.resize(image, 10, 20), CAFFE.divided_by(2.0))
        return image, box_ops.rescale(boxes, shape, tf.shape(image)[:2])

    encoded = tf.constant([_encode(Image.fromarray(PIXELS))] * 3)
    arguments = (encoded, tf.constant([1, 6, 7]), tf.constant([True, False, True]))
    stream = tf.data.Dataset.from_tensor_slices(arguments).map(steps)
    for found, given in zip(stream, zip(*arguments, strict=True), strict=True):
        for a, b in zip(found, steps(*given), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
