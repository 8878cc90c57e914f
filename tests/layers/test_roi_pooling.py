"""Quantised max pooling: exact values and gradients by hand and against the reference."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.layers import RoIPooling, roi_pooling
from tests import reference
from tests.base import run_layer_test

# Rois in pixels of a map of 12 x 15 cells of 16 pixels: all that a region can be.
HOSTILE = np.array(
    [
        [0, 0, 0, 0],  # padding
        [0, 0, 192, 240],  # the whole image: its far cell lies outside
        [0, 0, 191, 239],
        [8, 8, 24, 40],  # halves: rounded away from zero
        [7.99, 7.99, 23.99, 39.99],
        [-8, -24, 40, 56],
        [100, 50, 100, 50],  # no area
        [100, 50, 40, 20],  # inverted
        [100, 50, 180, 20],  # inverted in x alone
        [-500, -500, -300, -300],  # far outside
        [500, 500, 900, 900],
        [-500, 30, 900, 60],  # across the whole map
        [-1e6, -1e6, 1e6, 1e6],
        [185, 230, 1e5, 1e5],
        [33.3, 17.2, 34.1, 18.9],  # within a cell
        [50, 0, 66, 239],  # flat
    ],
    "float32",
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def pool(features, rois, pool_size=2, stride=16, **kwargs):
    """Pools one image's map [h, w] or [h, w, C]."""
    features = np.asarray(features, "float32")
    features = features.reshape(1, *features.shape[:2], -1)
    result = RoIPooling(pool_size, stride)(features, np.asarray([rois], "float32"), **kwargs)
    return result.numpy()[0, ..., 0]


def gradient_of(layer, features, rois, upstream, **kwargs):
    features = tf.convert_to_tensor(features)
    with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = layer(features, rois, **kwargs)
        total = tf.reduce_sum(tf.cast(pooled, tf.float32) * upstream)
    return tape.gradient(total, features)


MAP = np.arange(20).reshape(4, 5)


def test_by_hand():
    # Corners 16..48 are cells 1..3: bins of 1..2 and 2..3, the middle cell in both.
    assert pool(MAP, [[16, 16, 48, 48]]).tolist() == [[[12, 13], [17, 18]]]
    # Cells 1..2, the far one included: one cell a bin.
    assert pool(MAP, [[16, 16, 32, 32]]).tolist() == [[[6, 7], [11, 12]]]


def test_halves_are_rounded_away_from_zero():
    row = np.arange(5)[np.newaxis]
    # 40 / 16 = 2.5 is cell 3 (to even, it would be 2); 24 / 16 = 1.5 is 2.
    assert pool(row, [[0, 40, 0, 40]], 1).item() == 3
    assert pool(row, [[0, 24, 0, 24]], 1).item() == 2
    # -8 / 16 = -0.5 is cell -1: the bins are cells -1, 0 and 1.
    assert pool(10 - row, [[0, -8, 0, 16]], 3)[0, 0].tolist() == [0, 10, 9]


def test_bins_outside_the_map_are_zero():
    ones = np.ones((4, 5))
    assert pool(-ones, [[48, 64, 112, 128]])[0].tolist() == [[-1, 0], [0, 0]]
    assert (pool(-ones, [[64, 80, 900, 900], [-900, -900, -32, -32]]) == 0).all()


def test_zero_boxes_pool_the_first_cell():
    assert (pool(MAP + 7, [[0, 0, 0, 0]], 3) == 7).all()


def test_negative_maxima_stay_negative():
    assert pool(MAP - 100, [[0, 0, 48, 64]], 1).item() == -81


@pytest.mark.parametrize("pool_size", [1, 2, 3, 7])
def test_values_and_gradient_equal_the_reference(rng, pool_size):
    # Few distinct values make many ties; whole numbers make the gradient's sums exact.
    features = rng.integers(-3, 4, (2, 12, 15, 2)).astype("float32")
    rois = reference.random_boxes(rng, (2, 20), (192, 240), 4, 200)
    rois = np.concatenate([rois, np.stack([HOSTILE, HOSTILE])], axis=1)
    layer = RoIPooling(pool_size, 16)
    pooled = run_layer_test(layer, features, rois, tolerance=0, policy_tolerance=0)
    upstream = rng.integers(-4, 5, pooled.shape).astype("float32")
    gradient = gradient_of(layer, features, rois, upstream)
    graph = tf.function(lambda *args: gradient_of(layer, *args))(features, rois, upstream)
    np.testing.assert_array_equal(gradient, graph)
    for b in range(2):
        args = features[b], rois[b]
        np.testing.assert_array_equal(pooled[b], reference.roi_pool(*args, pool_size, 16))
        expected = reference.roi_pool_gradient(*args, upstream[b], pool_size, 16)
        np.testing.assert_array_equal(gradient[b], expected)


@pytest.mark.parametrize("stride", [8, 10, 3])
def test_other_strides_equal_the_reference(rng, stride):
    features = rng.normal(0, 1, (1, 9, 7, 1)).astype("float32")
    # Halves of the stride, exactly and nearly.
    rois = (rng.integers(-2, 16, (1, 60, 4)) * stride / 2).astype("float32")
    pooled = run_layer_test(RoIPooling(3, stride), features, rois)
    np.testing.assert_array_equal(pooled[0], reference.roi_pool(features[0], rois[0], 3, stride))


@pytest.mark.parametrize(("pool_size", "first"), [(7, 57), (13, 7), (14, 57)])
def test_bins_of_long_regions_are_those_of_float32(pool_size, first):
    # From some length on, bins in float32 now and then take in a cell more than in whole numbers.
    # Of a rising and a falling ramp, the maxima are a bin's last and first cell.
    ramp = np.arange(130, dtype="float32")
    features = np.stack([ramp, -ramp], axis=-1)[np.newaxis, np.newaxis]
    lengths = range(1, 131)
    rois = np.array([[[0, 0, 0, 16 * (n - 1)] for n in lengths]], "float32")
    pooled = RoIPooling(pool_size, 16)(features, rois).numpy()[0]
    np.testing.assert_array_equal(pooled, reference.roi_pool(features[0], rois[0], pool_size, 16))
    last = [[-(-(i + 1) * n // pool_size) - 1 for i in range(pool_size)] for n in lengths]
    differs = (pooled[:, 0, :, 0] != last).any(axis=1)
    assert np.argmax(differs) + 1 == first


def test_regions_longer_than_any_table():
    ramp = np.arange(10.0)[np.newaxis]
    # 4000 cells in two bins of 2000, from cell -1995 on: five of the map lie in the first bin.
    assert pool(ramp, [[0, -1995 * 16, 0, 2004 * 16]])[0, 0].tolist() == [4, 9]
    assert pool(ramp, [[0, -1e9, 0, 1e9]], 1)[0, 0].tolist() == [9]


def test_infinite_and_undefined_corners_stay_defined():
    for corners in ([-np.inf, -np.inf, np.inf, np.inf], [np.nan] * 4, [0, np.nan, np.inf, 20]):
        assert np.isfinite(pool(MAP, [corners])).all()
    assert pool(MAP, [[-np.inf, -np.inf, np.inf, np.inf]], 1).item() == 19
    assert pool(MAP + 7, [[np.nan] * 4], 1).item() == 7  # as 0


def test_the_gradient_of_equal_maxima_goes_to_the_first_in_row_order():
    features = np.zeros((1, 5, 6, 1), "float32")
    features[0, 3, 1] = features[0, 2, 4] = features[0, 2, 5] = 1
    gradient = gradient_of(
        RoIPooling(1, 16), features, np.array([[[0, 0, 64, 80]]], "float32"), 1.0
    )
    assert np.argwhere(gradient.numpy()).tolist() == [[0, 2, 4, 0]]
    gradient = gradient_of(
        RoIPooling(1, 16), features * 0, np.array([[[16, 16, 64, 80]]], "float32"), 1.0
    )
    assert np.argwhere(gradient.numpy()).tolist() == [[0, 1, 1, 0]]


def test_gradients_of_overlapping_regions_add_up():
    rois = np.array([[[0, 0, 64, 80]] * 3 + [[500, 500, 600, 600]]], "float32")
    features = np.arange(30, dtype="float32").reshape(1, 5, 6, 1)
    gradient = gradient_of(RoIPooling(1, 16), features, rois, 2.0).numpy()
    assert gradient[0, 4, 5, 0] == 6
    assert gradient.sum() == 6  # an empty bin gives none


def test_no_gradient_to_the_regions():
    features = tf.random.stateless_normal([1, 4, 4, 2], (0, 0))
    rois = tf.constant([[[3.0, 3.0, 40.0, 50.0]]])
    with tf.GradientTape() as tape:
        tape.watch(rois)
        total = tf.reduce_sum(RoIPooling()(features, rois))
    assert tape.gradient(total, rois) is None


def test_a_batch_of_two_sizes_equals_its_images(rng):
    sizes, rois = [(6, 9), (4, 5)], np.stack([HOSTILE / 2, HOSTILE / 2])
    features = rng.normal(0, 1, (2, 6, 9, 3)).astype("float32")  # padding holds numbers, not zeros
    feature_shape = np.array(sizes, "int32")
    layer = RoIPooling(3, 16)
    together = run_layer_test(layer, features, rois, feature_shape=feature_shape)
    gradient = gradient_of(layer, features, rois, 1.0, feature_shape=feature_shape).numpy()
    for b, (h, w) in enumerate(sizes):
        alone = features[b : b + 1, :h, :w]
        np.testing.assert_array_equal(together[b], layer(alone, rois[b : b + 1])[0])
        expected = gradient_of(layer, alone, rois[b : b + 1], 1.0)
        np.testing.assert_array_equal(gradient[b, :h, :w], expected[0])
        assert (gradient[b, h:] == 0).all() and (gradient[b, :, w:] == 0).all()


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_half_precision_is_exact(rng, dtype):
    features = tf.cast(rng.normal(0, 1, (1, 70, 9, 2)), dtype)
    # 1001 and 1003 are one number in bfloat16; 1000 / 16 = 62.5 lies between two cells.
    rois = np.array([[[1001, 0, 1003, 60], [999.9, 5, 1000.1, 90], [1000, 5, 1000, 90]]], "float32")
    layer = RoIPooling(2, 16, dtype=f"mixed_{dtype.name}")
    pooled = layer(features, rois)
    assert pooled.dtype == dtype
    whole = tf.cast(features, tf.float32).numpy()
    np.testing.assert_array_equal(
        tf.cast(pooled, tf.float32)[0], reference.roi_pool(whole[0], rois[0], 2, 16)
    )
    gradient = gradient_of(layer, features, rois, 1.0)
    assert gradient.dtype == dtype
    expected = reference.roi_pool_gradient(whole[0], rois[0], np.ones(pooled.shape[1:]), 2, 16)
    np.testing.assert_array_equal(tf.cast(gradient, tf.float32)[0], expected)


def test_half_precision_gradients_are_summed_in_float32():
    # 300 regions share a cell; counting by ones, bfloat16 would stop at 256.
    features = tf.zeros([1, 2, 2, 1], tf.bfloat16)
    gradient = gradient_of(RoIPooling(1, 16), features, np.zeros((1, 300, 4), "float32"), 1.0)
    assert float(gradient[0, 0, 0, 0]) == 300


def test_no_regions_and_single_cells():
    layer = RoIPooling(7, 16)
    assert layer(tf.zeros([2, 3, 4, 5]), tf.zeros([2, 0, 4])).shape == (2, 0, 7, 7, 5)
    assert (layer(tf.ones([1, 1, 1, 1]), tf.constant([[[0.0, 0.0, 7.0, 7.0]]])).numpy() == 1).all()
    gradient = gradient_of(layer, tf.zeros([1, 3, 3, 1]), tf.zeros([1, 0, 4]), 1.0)
    assert (gradient.numpy() == 0).all()


def test_undefined_features_stay_where_they_are():
    features = np.zeros((1, 4, 4, 1), "float32")
    features[0, 0, 0] = np.nan
    rois = np.array([[[0, 0, 16, 16], [32, 32, 48, 48]]], "float32")
    pooled = RoIPooling(1, 16)(features, rois).numpy()
    assert np.isnan(pooled[0, 0]).all() and (pooled[0, 1] == 0).all()


# --- the gradient's argmax, which packs a value and its cell into one number


@pytest.mark.parametrize("has_gpu", [False, True])
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16, tf.float16])
def test_the_first_of_equal_values_gets_the_gradient_in_every_type(
    rng, monkeypatch, dtype, has_gpu
):
    monkeypatch.setattr(roi_pooling, "_has_gpu", lambda: has_gpu)
    extremes = np.array([-np.inf, -3e4, -1e-7, -0.0, 0.0, 1e-7, 3e4, np.inf], "float32")
    features = tf.cast(rng.choice(extremes, (1, 12, 15, 3)), dtype)
    upstream = rng.integers(-4, 5, (1, len(HOSTILE), 2, 2, 3)).astype("float32")
    gradient = gradient_of(RoIPooling(2, 16), features, HOSTILE[np.newaxis], upstream)
    values = tf.cast(features, tf.float32)[0].numpy()
    expected = reference.roi_pool_gradient(values, HOSTILE, upstream[0], 2, 16)
    np.testing.assert_array_equal(tf.cast(gradient, tf.float32)[0], expected)


@pytest.mark.parametrize("cells", [2**16, 2**16 + 1])
def test_maps_of_more_cells_than_16_bits_number(cells):
    features = np.zeros((1, 1, cells, 1), "float32")
    features[0, 0, -1] = 1
    rois = np.array([[[0, 16 * (cells - 3), 0, 16 * cells]]], "float32")
    gradient = gradient_of(RoIPooling(1, 16), tf.cast(features, tf.bfloat16), rois, 5.0)
    assert np.argwhere(gradient.numpy() == 5).tolist() == [[0, 0, cells - 1, 0]]


def test_compiled_by_xla_it_is_the_same_function(rng):
    features = rng.integers(-3, 4, (2, 12, 15, 2)).astype("float32")
    rois = np.stack([HOSTILE, reference.random_boxes(rng, (len(HOSTILE),), (192, 240))])
    shape = np.array([[12, 15], [7, 9]], "int32")

    def both(layer):
        pooled = layer(features, rois, feature_shape=shape)
        return pooled, gradient_of(layer, features, rois, pooled, feature_shape=shape)

    layer = RoIPooling(3, 16, supports_jit=True)
    assert RoIPooling.from_config(layer.get_config()).supports_jit
    compiled = tf.function(lambda: both(layer), jit_compile=True)()
    for one, other in zip(both(RoIPooling(3, 16)), compiled, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.any(compiled[1])
