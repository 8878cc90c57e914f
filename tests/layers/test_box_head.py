"""The Fast R-CNN head: values against matrix products, order of inputs and outputs, dropout."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.layers import BoxHead
from tests.base import run_layer_test


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def random_head(rng, pooled_shape, **options):
    head = BoxHead(**options)
    head.build(pooled_shape)
    head.set_weights([rng.normal(0, 0.3, w.shape) for w in head.weights])
    return head


def test_values(rng):
    pooled = rng.normal(0, 1, (2, 3, 2, 2, 5)).astype("float32")
    head = random_head(rng, pooled.shape, num_classes=4, units=(6, 7))
    logits, deltas = run_layer_test(head, pooled, tolerance=1e-4, policy_tolerance=0.1)
    assert logits.shape == (2, 3, 5) and deltas.shape == (2, 3, 5, 4)

    w1, b1, w2, b2, w_classes, b_classes, w_boxes, b_boxes = (w.numpy() for w in head.weights)
    x = pooled.reshape(6, 20)  # rows, columns, channels
    x = np.maximum(np.maximum(x @ w1 + b1, 0) @ w2 + b2, 0)
    np.testing.assert_allclose(logits.reshape(6, 5), x @ w_classes + b_classes, atol=1e-4)
    np.testing.assert_allclose(deltas.reshape(6, 20), x @ w_boxes + b_boxes, atol=1e-4)


def test_classes_may_share_their_boxes(rng):
    pooled = rng.normal(0, 1, (2, 3, 1, 1, 4)).astype("float32")
    head = random_head(rng, pooled.shape, num_classes=4, units=(5,), class_agnostic_boxes=True)
    assert head.boxes.kernel.shape == (5, 4)
    _, deltas = run_layer_test(head, pooled, tolerance=1e-4, policy_tolerance=0.1)
    hidden = np.maximum(pooled.reshape(6, 4) @ head.hidden[0].kernel + head.hidden[0].bias, 0)
    expected = hidden @ head.boxes.kernel + head.boxes.bias
    for label in range(5):
        np.testing.assert_allclose(deltas[:, :, label].reshape(6, 4), expected, atol=1e-4)


def test_regions_do_not_meet(rng):
    pooled = rng.normal(0, 1, (2, 3, 1, 1, 4)).astype("float32")
    head = random_head(rng, pooled.shape, num_classes=2, units=(5,))
    together = head(pooled)
    alone = head(pooled[1:, 2:])
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one[1, 2], other[0, 0], rtol=1e-5, atol=1e-6)


def test_no_regions(rng):
    head = random_head(rng, (None, None, 2, 2, 3), num_classes=2, units=(5,))
    logits, deltas = head(np.zeros((2, 0, 2, 2, 3), "float32"))
    assert logits.shape == (2, 0, 3) and deltas.shape == (2, 0, 3, 4)


def test_new_weights():
    head = BoxHead(num_classes=20, units=(400, 300))
    head.build((None, None, 3, 3, 32))
    deviations = {w.path.split("/", 1)[1]: float(np.std(w)) for w in head.weights}
    assert sorted(deviations) == [
        "boxes/bias", "boxes/kernel", "classes/bias", "classes/kernel",
        "fc1/bias", "fc1/kernel", "fc2/bias", "fc2/kernel",
    ]  # fmt: skip
    assert all(value == 0 for name, value in deviations.items() if name.endswith("bias"))
    np.testing.assert_allclose(deviations["classes/kernel"], 0.01, rtol=0.05)
    np.testing.assert_allclose(deviations["boxes/kernel"], 0.001, rtol=0.05)
    np.testing.assert_allclose(deviations["fc1/kernel"], np.sqrt(2 / 288), rtol=0.05)
    np.testing.assert_allclose(deviations["fc2/kernel"], np.sqrt(2 / 400), rtol=0.05)


def identity_head(dropout, dtype=None):
    """Returns a head whose class logits are its 1000 hidden units, all 1 before dropout."""
    head = BoxHead(num_classes=999, units=(1000,), dropout=dropout, dtype=dtype)
    head.build((None, None, 1, 1, 1))
    kernel = np.ones((1, 1000))
    zeros = np.zeros(1000)
    boxes = [np.zeros(w.shape) for w in head.weights[4:]]
    head.set_weights([kernel, zeros, np.eye(1000), zeros, *boxes])
    return head


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_dropout_drops_its_share_and_scales_the_rest(dtype):
    head, pooled = identity_head(0.25, dtype), np.ones((1, 4, 1, 1, 1), "float32")
    logits = head(pooled, seed=tf.constant([1, 2]))[0].numpy()
    np.testing.assert_allclose(np.unique(logits), [0, 4 / 3], rtol=0.003)
    np.testing.assert_allclose(np.mean(logits == 0), 0.25, atol=0.03)
    assert (logits[0, 0] != logits[0, 1]).any()  # each region has its own


def test_dropout_is_random_by_its_seed_alone():
    head, pooled = identity_head(0.5), np.ones((1, 1, 1, 1, 1), "float32")
    logits = {
        seed: head(pooled, seed=tf.constant(seed))[0].numpy().tobytes()
        for seed in ((1, 2), (1, 3), (2, 2))
    }
    assert len(set(logits.values())) == 3
    assert head(pooled, seed=tf.constant([1, 2]))[0].numpy().tobytes() == logits[1, 2]


def test_xla_drops_the_same_units():
    head, pooled = identity_head(0.3), np.ones((2, 5, 1, 1, 1), "float32")
    seed = tf.constant([[7, 8], [9, 10]])
    compiled = tf.function(head, jit_compile=True)
    np.testing.assert_allclose(compiled(pooled, seed=seed)[0], head(pooled, seed=seed)[0])


def test_an_image_drops_the_same_units_alone_and_in_any_row():
    head, pooled = identity_head(0.5), np.ones((3, 4, 1, 1, 1), "float32")
    together = head(pooled, seed=tf.constant([[1, 2], [3, 4], [1, 2]]))[0].numpy()
    alone = head(pooled[:1], seed=tf.constant([[3, 4]]))[0].numpy()
    np.testing.assert_array_equal(together[1], alone[0])
    np.testing.assert_array_equal(together[0], together[2])
    assert (together[0] != together[1]).any()


def test_hidden_layers_drop_different_units(rng):
    head = BoxHead(num_classes=99, units=(100, 100), dropout=0.5)
    head.build((None, None, 1, 1, 1))
    zeros, boxes = np.zeros(100), [np.zeros(w.shape) for w in head.weights[6:]]
    head.set_weights([np.ones((1, 100)), zeros, np.eye(100), zeros, np.eye(100), zeros, *boxes])
    logits = head(np.ones((1, 20, 1, 1, 1), "float32"), seed=tf.constant([0, 0]))[0].numpy()
    assert set(np.unique(logits)) == {0, 4}
    np.testing.assert_allclose(np.mean(logits > 0), 0.25, atol=0.04)  # 0.5 were the draws the same


def test_without_a_seed_nothing_is_dropped():
    head, pooled = identity_head(0.5), np.ones((1, 1, 1, 1, 1), "float32")
    assert (head(pooled)[0].numpy() == 1).all()
    whole = identity_head(0.0)
    assert (whole(pooled, seed=tf.constant([1, 2]))[0].numpy() == 1).all()


def test_gradient_flows_to_weights_and_features(rng):
    pooled = tf.constant(rng.normal(0, 1, (1, 2, 2, 2, 3)), tf.float32)
    head = random_head(rng, pooled.shape, num_classes=2, units=(9,))
    with tf.GradientTape() as tape:
        tape.watch(pooled)
        logits, deltas = head(pooled)
        total = tf.reduce_sum(logits[..., 1]) + tf.reduce_sum(deltas)
    for gradient in tape.gradient(total, [pooled, *head.trainable_weights]):
        assert np.abs(gradient).max() > 0


def test_outputs_are_float32_under_a_mixed_policy(rng):
    head = random_head(
        rng, (None, None, 1, 1, 2), num_classes=1, units=(3,), dtype="mixed_bfloat16"
    )
    outputs = head(tf.ones([1, 1, 1, 1, 2], tf.bfloat16))
    assert [t.dtype for t in outputs] == [tf.float32, tf.float32]
    assert head.hidden[0].compute_dtype == "bfloat16"
