"""Losses: values by hand, denominators, and samples that must not count."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.ops import losses
from tests import reference


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def value_and_gradient(function, x):
    """A scalar function's value and gradient at a tensor."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    assert value.dtype == tf.float32
    assert value.shape == ()
    return value.numpy(), tape.gradient(value, x)


@pytest.mark.parametrize(
    ("x", "beta", "expected", "slope"),
    [
        (0.0, 1.0, 0.0, 0.0),
        (0.5, 1.0, 0.125, 0.5),
        (-0.5, 1.0, 0.125, -0.5),
        (1.0, 1.0, 0.5, 1.0),
        (-3.0, 1.0, 2.5, -1.0),
        (0.1, 1 / 9, 0.045, 0.9),  # sigma 3: 0.5 * 9 * x^2
        (2.0, 1 / 9, 2 - 1 / 18, 1.0),
        (1e30, 1.0, 1e30, 1.0),
    ],
)
def test_smooth_l1_by_hand(x, beta, expected, slope):
    value, gradient = value_and_gradient(lambda t: losses.smooth_l1(t, beta), x)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, slope, rtol=1e-6)


@pytest.mark.parametrize("beta", [1.0, 1 / 9])
def test_smooth_l1_equals_huber_over_beta(rng, beta):
    x = rng.normal(0, 1, (50, 1)).astype("float32")
    huber = keras.losses.Huber(delta=beta, reduction="none")(x, np.zeros_like(x)) / beta
    np.testing.assert_allclose(losses.smooth_l1(x[:, 0], beta), huber, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(losses.smooth_l1(x, beta), reference.smooth_l1(x, beta), rtol=1e-5)


def test_classification_loss_by_hand():
    # Equal logits: each sample costs log K.
    value = losses.classification_loss(tf.zeros([2, 3, 5]), [[0, 1, 2]] * 2, tf.ones([2, 3]), 3)
    np.testing.assert_allclose(value, math.log(5), rtol=1e-6)
    logits = tf.constant([[[0.0, math.log(3)], [7.0, 7.0]]])
    weights = tf.constant([[1.0, 0.0]])
    for label, probability in ((1, 0.75), (0, 0.25)):
        value = losses.classification_loss(logits, [[label, 0]], weights, 1)
        np.testing.assert_allclose(value, -math.log(probability), rtol=1e-6)


def test_classification_loss_and_gradient_equal_the_reference(rng):
    logits = rng.normal(0, 3, (2, 4, 3)).astype("float32")
    labels = rng.integers(0, 3, (2, 4))
    weights = np.array([[1, 1, 0, 1], [0, 1, 1, 1]], "float32")

    def expected(logits):
        return np.sum(reference.cross_entropy(logits, labels) * weights) / (2 * 16)

    value, gradient = value_and_gradient(
        lambda x: losses.classification_loss(x, labels, weights, 16), logits
    )
    np.testing.assert_allclose(value, expected(logits), rtol=1e-5)
    np.testing.assert_allclose(gradient, reference.central_differences(expected, logits), atol=1e-6)


def test_box_loss_by_hand():
    deltas = tf.constant([[[0.5, -0.5, 2.0, 0.0], [9.0, 9.0, 9.0, 9.0]]])
    value = losses.box_loss(deltas, tf.zeros([1, 2, 4]), tf.constant([[1.0, 0.0]]), 128, 1.0)
    np.testing.assert_allclose(value, (0.125 + 0.125 + 1.5) / 128, rtol=1e-6)
    value = losses.box_loss(deltas, deltas, tf.constant([[1.0, 1.0]]), 128, 1.0)
    assert value == 0


def test_box_loss_and_gradient_equal_the_reference(rng):
    deltas, targets = rng.normal(0, 1, (2, 2, 3, 4)).astype("float32")
    weights = np.array([[1, 0, 1], [0, 1, 1]], "float32")

    def expected(deltas):
        return np.sum(reference.smooth_l1(deltas - targets, 1 / 9) * weights[..., None]) / (2 * 5)

    value, gradient = value_and_gradient(
        lambda x: losses.box_loss(x, targets, weights, 5, 1 / 9), deltas
    )
    np.testing.assert_allclose(value, expected(deltas), rtol=1e-5)
    np.testing.assert_allclose(gradient, reference.central_differences(expected, deltas), atol=1e-6)


STD = (0.1, 0.1, 0.2, 0.2)


def test_giou_loss_by_hand():
    # Relative to [0, 0, 1, 1]: the same box; half of it; a box beside it, with a gap of one.
    half, beside = [-2.5, 0.0, 5 * math.log(0.5), 0.0], [20.0, 0.0, 0.0, 0.0]
    targets = tf.zeros([1, 1, 4])
    for deltas, expected in (([0.0] * 4, 0.0), (half, 0.5), (beside, 1 + 1 / 3)):
        value = losses.giou_loss(tf.constant([[deltas]]), targets, tf.ones([1, 1]), 8, STD)
        np.testing.assert_allclose(value, expected / 8, atol=1e-7)


def test_giou_loss_is_that_of_the_boxes_wherever_the_region_is(rng):
    regions = reference.random_boxes(rng, (12,))
    deltas, targets = rng.normal(0, 2, (2, 2, 6, 4)).astype("float32")
    weights = (rng.random((2, 6)) < 0.7).astype("float32")

    def expected(deltas):
        boxes, wanted = (
            reference.decode(regions, one.reshape(-1, 4), STD) for one in (deltas, targets)
        )
        giou = []
        for a, b in zip(boxes, wanted, strict=True):
            hull = reference.area([*np.minimum(a, b)[:2], *np.maximum(a, b)[2:]])
            union = reference.area(a) + reference.area(b) - reference.intersection(a, b)
            giou.append(reference.intersection(a, b) / union - (hull - union) / hull)
        return np.sum((1 - np.array(giou)) * weights.ravel()) / (2 * 5)

    value, gradient = value_and_gradient(
        lambda x: losses.giou_loss(x, targets, weights, 5, STD), deltas
    )
    np.testing.assert_allclose(value, expected(deltas), rtol=1e-5)
    np.testing.assert_allclose(gradient, reference.central_differences(expected, deltas), atol=1e-5)


@pytest.mark.parametrize("hostile", [np.inf, -np.inf, np.nan, 3e38])
def test_samples_of_weight_zero_count_exactly_zero(hostile):
    logits = np.array([[[hostile, 0.0], [0.0, hostile]]], "float32")
    value, gradient = value_and_gradient(
        lambda x: losses.classification_loss(x, [[-1, 99]], tf.zeros([1, 2]), 2), logits
    )
    assert value == 0 and (gradient.numpy() == 0).all()
    deltas = np.full((1, 2, 4), hostile, "float32")
    for targets in (tf.zeros([1, 2, 4]), deltas):
        value, gradient = value_and_gradient(
            lambda x, targets=targets: losses.box_loss(x, targets, tf.zeros([1, 2]), 2, 1.0), deltas
        )
        assert value == 0 and (gradient.numpy() == 0).all()
        value, gradient = value_and_gradient(
            lambda x, targets=targets: losses.giou_loss(x, targets, tf.zeros([1, 2]), 2, STD),
            deltas,
        )
        assert value == 0 and (gradient.numpy() == 0).all()


def test_hostile_samples_do_not_disturb_their_neighbours():
    logits = np.array([[[0.0, 0.0], [np.inf, np.nan]]], "float32")
    value, gradient = value_and_gradient(
        lambda x: losses.classification_loss(x, [[1, 0]], tf.constant([[1.0, 0.0]]), 1), logits
    )
    np.testing.assert_allclose(value, math.log(2), rtol=1e-6)
    np.testing.assert_allclose(gradient, [[[0.5, -0.5], [0, 0]]], rtol=1e-6)
    deltas = np.array([[[2.0] * 4, [np.nan] * 4]], "float32")
    value, gradient = value_and_gradient(
        lambda x: losses.box_loss(x, tf.zeros([1, 2, 4]), tf.constant([[1.0, 0.0]]), 1, 1.0), deltas
    )
    assert value == 6
    np.testing.assert_array_equal(gradient, [[[1] * 4, [0] * 4]])


def test_the_denominator_does_not_depend_on_the_samples():
    logits, labels = tf.zeros([1, 4, 2]), [[0] * 4]
    full = losses.classification_loss(logits, labels, tf.ones([1, 4]), 4)
    half = losses.classification_loss(logits, labels, tf.constant([[1.0, 1.0, 0.0, 0.0]]), 4)
    np.testing.assert_allclose(half, full / 2)
    deltas, targets = tf.ones([1, 4, 4]), tf.zeros([1, 4, 4])
    full = losses.box_loss(deltas, targets, tf.ones([1, 4]), 4, 1.0)
    half = losses.box_loss(deltas, targets, tf.constant([[1.0, 1.0, 0.0, 0.0]]), 4, 1.0)
    np.testing.assert_allclose(half, full / 2)


def test_a_batch_costs_the_mean_of_its_images(rng):
    logits = rng.normal(0, 1, (2, 3, 4)).astype("float32")
    targets = rng.normal(0, 1, (2, 3, 4)).astype("float32")
    labels, weights = rng.integers(0, 4, (2, 3)), np.array([[1, 1, 1], [1, 0, 0]], "float32")
    for loss in (
        lambda b: losses.classification_loss(logits[b], labels[b], weights[b], 3),
        lambda b: losses.box_loss(logits[b], targets[b], weights[b], 3, 1.0),
    ):
        alone = (loss(slice(0, 1)) + loss(slice(1, 2))) / 2
        np.testing.assert_allclose(loss(slice(0, 2)), alone, rtol=1e-6)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_losses_are_computed_in_float32(dtype):
    # 4096 samples of log 2 sum to more than half precision can count; 300^2 overflows float16.
    logits = tf.zeros([1, 4096, 2], dtype)
    value = losses.classification_loss(logits, tf.zeros([1, 4096], tf.int32), tf.ones([1, 4096]), 1)
    np.testing.assert_allclose(value, 4096 * math.log(2), rtol=1e-5)
    deltas = tf.fill([1, 1, 4], tf.constant(300, dtype))
    value = losses.box_loss(deltas, tf.zeros([1, 1, 4]), tf.constant([[1.0]]), 1, 1.0)
    np.testing.assert_allclose(value, 4 * 299.5)


def test_confident_errors_stay_finite():
    value, gradient = value_and_gradient(
        lambda x: losses.classification_loss(x, [[0]], tf.constant([[1.0]]), 1),
        np.array([[[-1e4, 1e4]]], "float32"),
    )
    np.testing.assert_allclose(value, 2e4)
    np.testing.assert_allclose(gradient, [[[-1, 1]]])


def test_weight_decay_s_gradient_is_the_kernel_times_the_decay():
    kernels = [tf.constant([[1.0, -2.0]]), tf.constant([3.0], tf.float16)]
    value, gradient = value_and_gradient(
        lambda x: losses.weight_decay_loss([x, kernels[1]], 5e-4), kernels[0]
    )
    np.testing.assert_allclose(value, 5e-4 * (1 + 4 + 9) / 2, rtol=1e-6)
    np.testing.assert_allclose(gradient, [[5e-4, -1e-3]], rtol=1e-6)
