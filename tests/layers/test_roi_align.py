"""RoIAlign: values by hand and against the reference, gradients against central differences."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.layers import RoIAlign, roi_align
from tests import reference
from tests.base import run_layer_test

# Rois in pixels of a map of 6 x 8 cells of 16 pixels.
HOSTILE = np.array(
    [
        [0, 0, 0, 0],  # padding
        [0, 0, 96, 128],  # the whole image
        [-40, -50, 30, 20],  # across the border
        [50, 60, 250, 300],
        [-500, -500, 500, 500],
        [40, 50, 40, 50],  # no area
        [70, 90, 20, 10],  # inverted
        [70, 10, 20, 90],
        [-500, -500, -300, -300],  # far outside
        [500, 500, 900, 900],
        [33.3, 17.2, 34.1, 18.9],  # within a cell
    ],
    "float32",
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(params=["crops", "supports_jit", "sparse_gradient"])
def make(request):
    """Makes the layer in each of its forms: ``make(pool_size, stride, sampling_ratio)``."""
    return functools.partial(
        RoIAlign, **({} if request.param == "crops" else {request.param: True})
    )


@pytest.fixture
def align(make):
    """Pools one image's map [h, w] of cells of 16 pixels."""

    def pool(features, rois, pool_size=2, sampling_ratio=2):
        features = np.asarray(features, "float32")[np.newaxis, ..., np.newaxis]
        layer = make(pool_size, 16, sampling_ratio)
        return layer(features, np.asarray([rois], "float32")).numpy()[0, ..., 0]

    return pool


def gradients_of(layer, features, rois, upstream, **kwargs):
    features, rois = tf.convert_to_tensor(features), tf.convert_to_tensor(rois)
    with tf.GradientTape() as tape:
        tape.watch([features, rois])
        pooled = layer(features, rois, **kwargs)
        total = tf.reduce_sum(tf.cast(pooled, tf.float32) * upstream)
    return tape.gradient(total, [features, rois])


@pytest.mark.parametrize("sampling_ratio", [1, 2, 3])
def test_a_ramp_gives_the_bins_centres(align, sampling_ratio):
    # The value at pixel y is y: cell i's centre lies at 16 i + 8.
    ramp = np.tile(np.arange(6)[:, np.newaxis] * 16.0 + 8, (1, 8))
    rois = [[20, 20, 60, 100], [60, 20, 20, 100], [33, 40, 33, 40]]
    pooled = align(ramp, rois, 2, sampling_ratio)
    np.testing.assert_allclose(pooled[0], [[30, 30], [50, 50]], rtol=1e-6)
    np.testing.assert_allclose(
        pooled[1], [[50, 50], [30, 30]], rtol=1e-6
    )  # inverted: read backwards
    np.testing.assert_allclose(pooled[2], [[33, 33], [33, 33]], rtol=1e-6)
    np.testing.assert_allclose(
        align(ramp.T, [[20, 20, 100, 60]], 2, sampling_ratio)[0], [[30, 50]] * 2, rtol=1e-6
    )


def test_samples_around_the_map(align):
    # One bin of one sample, at a pixel p: from a cell outside on the border's value, farther out 0.
    column = np.array([[1.0], [2.0], [5.0]])
    expected = {-8: 1, -8.2: 0, 0: 1, 8: 1, 16: 1.5, 24: 2, 32: 3.5, 40: 5, 48: 5, 55.9: 5, 56.2: 0}
    points = np.array(list(expected))
    rois = np.stack([points, points * 0 + 8] * 2, axis=1)
    np.testing.assert_allclose(
        align(column, rois, 1, 1)[:, 0, 0], list(expected.values()), atol=1e-5
    )


def test_far_regions_are_zero(align):
    assert (align(np.ones((4, 5)), [[500, 500, 900, 900], [-900, -900, -300, -300]]) == 0).all()


@pytest.mark.parametrize(
    ("pool_size", "sampling_ratio"), [(1, 1), (2, 2), (3, 1), (7, 2), (2, 3), (2, 0), (7, 0)]
)
def test_values_equal_the_reference(rng, make, pool_size, sampling_ratio):
    features = rng.normal(0, 1, (2, 6, 8, 3)).astype("float32")
    rois = reference.random_boxes(rng, (2, 12), (96, 128), 4, 100)
    layer = make(pool_size, 16, sampling_ratio)
    if sampling_ratio or not layer.supports_jit:  # which takes no RoIs that exceed the map
        rois = np.concatenate([rois, np.stack([HOSTILE, HOSTILE])], axis=1)
    pooled = run_layer_test(layer, features, rois, tolerance=1e-5, policy_tolerance=1e-5)
    for b in range(2):
        expected = reference.roi_align(features[b], rois[b], pool_size, 16, sampling_ratio)
        np.testing.assert_allclose(pooled[b], expected, atol=2e-4)


@pytest.mark.parametrize("sampling_ratio", [2, 0])
def test_gradients_equal_central_differences(rng, make, sampling_ratio):
    features = rng.normal(0, 1, (1, 5, 6, 2)).astype("float32")
    rois = np.array(
        [[[10.3, 12.1, 61.7, 77.9], [-20.2, 3.3, 41.1, 55.5], [60, 50, 20, 10.7]]], "float32"
    )
    if sampling_ratio == 0:
        rois = np.stack([rois[0, 0], [3.3, 5.2, 75.4, 90.1], [2, 60.6, 20, 91.3]])[np.newaxis]
        rois = rois.astype("float32")
    layer = make(2, 16, sampling_ratio)
    upstream = rng.normal(0, 1, (1, 3, 2, 2, 2)).astype("float32")
    to_features, to_rois = gradients_of(layer, features, rois, upstream)

    def total(features, rois):
        return np.sum(
            reference.roi_align(features[0], rois[0], 2, 16, sampling_ratio) * upstream[0]
        )

    expected = reference.central_differences(lambda x: total(x, rois), features)
    np.testing.assert_allclose(to_features, expected, atol=1e-4)
    expected = reference.central_differences(lambda x: total(features, x), rois)
    assert np.abs(expected).min() > 1e-4
    np.testing.assert_allclose(to_rois, expected, atol=1e-4)


def test_products_read_exactly_a_cell_outside():
    column = np.array([1.0, 2.0, 5.0, 4.0], "float32").reshape(1, 4, 1, 1)
    rois = np.array([[[y, 8, y, 8] for y in (-8, 72, -8.01, 72.01)]], "float32")
    pooled = RoIAlign(1, 16, 1, supports_jit=True)(column, rois)
    assert pooled.numpy().ravel().tolist() == [1, 4, 0, 0]


def test_regions_share_cells_without_losing_gradient(rng, make):
    """Pooling is linear in the features, so its gradient is what its adjoint must be.

    TensorFlow's own gradient of ``crop_and_resize`` is not: its threads add without a lock.
    """
    features = rng.normal(0, 1, (2, 6, 8, 16)).astype("float32")
    corner, extent = rng.uniform(0, 60, (2, 200, 2)), rng.uniform(20, 90, (2, 200, 2))
    rois = np.concatenate([corner, corner + extent], axis=-1).astype("float32")
    upstream = rng.normal(0, 1, (2, 200, 3, 3, 16)).astype("float32")
    layer = make(3, 16)
    expected = np.sum(layer(features, rois).numpy().astype("float64") * upstream)
    for _ in range(10):
        to_features, _ = gradients_of(layer, features, rois, upstream)
        found = np.sum(to_features.numpy().astype("float64") * features)
        assert found == pytest.approx(expected, abs=0.01)


def test_gradients_take_the_slope_beside_a_cells_centre(make):
    column = np.array([1.0, 2.0, 5.0, 4.0], "float32").reshape(1, 4, 1, 1)
    slopes = {24: 3, 40: -1, 56: -1}  # the last cell has one on its left only
    rois = np.array([[[y, 8, y, 8] for y in slopes]], "float32")
    _, to_rois = gradients_of(make(1, 16, 1), column, rois, 1.0)
    np.testing.assert_allclose(to_rois[0, :, ::2].numpy().sum(-1) * 16, list(slopes.values()))


def test_gradients_of_hostile_regions_are_finite(rng, make):
    features = rng.normal(0, 1, (1, 6, 8, 2)).astype("float32")
    for gradient in gradients_of(make(3, 16), features, HOSTILE[np.newaxis], 1.0):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("sampling_ratio", [2, 0])
def test_a_batch_of_two_sizes_equals_its_images(rng, make, sampling_ratio):
    sizes, rois = [(6, 8), (4, 5)], np.stack([HOSTILE, HOSTILE])
    if sampling_ratio == 0:
        rois = np.clip(rois, 0, [64, 80] * 2).astype("float32")
    features = rng.normal(0, 1, (2, 6, 8, 3)).astype("float32")  # padding holds numbers, not zeros
    feature_shape = np.array(sizes, "int32")
    layer = make(3, 16, sampling_ratio)
    together = run_layer_test(
        layer, features, rois, feature_shape=feature_shape, tolerance=1e-5, policy_tolerance=1e-5
    )
    gradients = gradients_of(layer, features, rois, 1.0, feature_shape=feature_shape)
    for b, (h, w) in enumerate(sizes):
        args = features[b : b + 1, :h, :w], rois[b : b + 1]
        np.testing.assert_allclose(together[b], layer(*args)[0], atol=2e-4)
        to_features, to_rois = gradients_of(layer, *args, 1.0)
        np.testing.assert_allclose(gradients[0][b, :h, :w], to_features[0], atol=2e-3)
        np.testing.assert_allclose(gradients[1][b], to_rois[0], atol=2e-3)
        assert (gradients[0][b, h:].numpy() == 0).all() and (
            gradients[0][b, :, w:].numpy() == 0
        ).all()


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_half_precision_leaves_coordinates_alone(rng, make, dtype):
    features = tf.cast(rng.normal(0, 1, (1, 70, 6, 2)), dtype)
    rois = np.array([[[1001, 3, 1003, 60], [995, 5, 1009.3, 90]]], "float32")  # one row in bfloat16
    layer = make(2, 16, dtype=f"mixed_{dtype.name}")
    pooled = layer(features, rois)
    assert pooled.dtype == dtype
    expected = reference.roi_align(tf.cast(features, tf.float32)[0].numpy(), rois[0], 2, 16, 2)
    np.testing.assert_allclose(tf.cast(pooled, tf.float32)[0], expected, rtol=0.01, atol=0.01)
    for gradient, kind in zip(
        gradients_of(layer, features, rois, 1.0), (dtype, tf.float32), strict=True
    ):
        assert gradient.dtype == kind
        assert np.abs(tf.cast(gradient, tf.float32)).max() > 0


@pytest.mark.parametrize("sampling_ratio", [2, 0])
def test_no_regions_and_single_cells(make, sampling_ratio):
    layer = make(7, 16, sampling_ratio)
    assert layer(tf.zeros([2, 3, 4, 5]), tf.zeros([2, 0, 4])).shape == (2, 0, 7, 7, 5)
    assert (
        layer(tf.ones([1, 1, 1, 1]), tf.constant([[[0.0, 0.0, 16.0, 16.0]]])).numpy() == 1
    ).all()


def test_each_region_has_its_own_number_of_samples_however_many_are_taken_at_once(
    rng, make, monkeypatch
):
    # A column of squares: the mean of the samples tells where they are.
    column = (np.arange(9.0, dtype="float32") ** 2).reshape(1, 9, 1, 1)
    rois = np.array([[[8, 8, 24, 8.1], [8, 8, 56, 8.1], [8, 8, 24, 8.1], [8, 8, 8, 9]]], "float32")
    found = make(1, 16, 0)(column, rois).numpy().ravel()
    middle = 0.25  # of cells 0 and 1, at 0.5: (0 + 1) / 2
    np.testing.assert_allclose(found, [2 * middle, (0.5 + 2.5 + 6.5) / 3, 2 * middle, 0], rtol=1e-5)
    features = rng.normal(0, 1, (2, 9, 9, 3)).astype("float32")
    rois = reference.random_boxes(rng, (2, 12), (144, 144), 4, 140)
    together = make(3, 16, 0)(features, rois)
    monkeypatch.setattr(roi_align, "_MOST_SAMPLES", 200)
    np.testing.assert_allclose(make(3, 16, 0)(features, rois), together, atol=1e-6)


def test_without_half_pixels_cells_lie_at_whole_numbers_and_regions_have_at_least_one(make):
    # The value at pixel y is y: cell i's centre lies at 16 i.
    ramp = np.tile(np.arange(6.0, dtype="float32")[:, np.newaxis] * 16, (1, 8))
    rois = np.array([[[20, 20, 60, 100], [33, 40, 33, 40], [16, 0, 20, 9]]], "float32")
    pooled = make(2, 16, 2, half_pixel=False)(ramp[np.newaxis, ..., np.newaxis], rois)
    expected = [[[30, 30], [50, 50]], [[37, 37], [45, 45]], [[20, 20], [28, 28]]]
    np.testing.assert_allclose(pooled[0, ..., 0], expected, rtol=1e-6)
