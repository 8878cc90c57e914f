"""The RPN's convolutions: values against loops, the order of rows, new weights."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.layers import AnchorGenerator, RPNHead
from tests.base import run_layer_test


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_values(rng):
    features = rng.normal(0, 1, (2, 3, 4, 5)).astype("float32")
    head = RPNHead(num_anchors=3, channels=6)
    head.build(features.shape)
    head.set_weights([rng.normal(0, 1, w.shape) for w in head.weights])
    # bfloat16 has 8 bits, and 45 products are summed twice.
    logits, deltas = run_layer_test(head, features, tolerance=1e-4, policy_tolerance=0.2)
    assert (logits.dtype, deltas.dtype) == (np.float32, np.float32)

    kernel, bias, cls_kernel, cls_bias, box_kernel, box_bias = (w.numpy() for w in head.weights)
    padded = np.pad(features, [(0, 0), (1, 1), (1, 1), (0, 0)])
    for b, y, x in np.ndindex(2, 3, 4):
        window = padded[b, y : y + 3, x : x + 3]
        hidden = np.maximum(np.einsum("yxc,yxck->k", window, kernel) + bias, 0)
        rows = slice((y * 4 + x) * 3, (y * 4 + x) * 3 + 3)
        expected = (hidden @ cls_kernel[0, 0] + cls_bias).reshape(3, 2)
        np.testing.assert_allclose(logits[b, rows], expected, atol=1e-3)
        expected = (hidden @ box_kernel[0, 0] + box_bias).reshape(3, 4)
        np.testing.assert_allclose(deltas[b, rows], expected, atol=1e-3)


def test_rows_are_in_the_order_of_the_anchors():
    head = RPNHead(num_anchors=9, channels=1)
    head.build((None, None, None, 1))
    kernel = np.zeros((3, 3, 1, 1))
    kernel[1, 1] = 1
    zero, ones = np.zeros(1), np.ones((1, 1, 1, 36))
    head.set_weights([kernel, zero, ones[..., :18], np.arange(18), ones, np.arange(36)])
    cells = np.arange(6, dtype="float32").reshape(1, 2, 3, 1) * 100
    logits, deltas = (t.numpy()[0].reshape(2, 3, 9, -1) for t in head(cells))
    anchors = AnchorGenerator()(cells).numpy().reshape(2, 3, 9, 4)
    for y, x, a in np.ndindex(2, 3, 9):
        np.testing.assert_array_equal(logits[y, x, a], cells[0, y, x] + [2 * a, 2 * a + 1])
        np.testing.assert_array_equal(deltas[y, x, a], cells[0, y, x] + np.arange(4 * a, 4 * a + 4))
        assert abs(anchors[y, x, a, ::2].mean() - (16 * y + 8)) < 1e-3


def test_new_weights():
    head = RPNHead(num_anchors=9, channels=64)
    head.build((None, None, None, 64))
    assert len(head.trainable_weights) == 6
    for weight in head.weights:
        if weight.path.endswith("bias"):
            assert (weight.numpy() == 0).all()
        else:
            np.testing.assert_allclose(np.std(weight), 0.01, rtol=0.15)
            assert abs(np.mean(weight)) < 0.002


def test_gradient_flows_to_weights_and_features(rng):
    features = tf.constant(rng.normal(0, 1, (1, 2, 2, 3)), tf.float32)
    head = RPNHead(num_anchors=1, channels=8)
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits, deltas = head(features)
        total = tf.reduce_sum(logits[..., 1]) + tf.reduce_sum(deltas)
    for gradient in tape.gradient(total, [features, *head.trainable_weights]):
        assert np.abs(gradient).max() > 0


def test_half_precision_changes_no_order():
    # The hidden map is bfloat16's, the scores are not: 1 + 1/512 and 1 would be one number there.
    head = RPNHead(num_anchors=1, channels=2, dtype="mixed_bfloat16")
    head.build((None, None, None, 2))
    kernel = np.zeros((3, 3, 2, 2))
    kernel[1, 1] = np.eye(2)
    objectness = np.array([[0.0, 1.0], [0.0, 2.0**-9]]).reshape(1, 1, 2, 2)
    zeros = np.zeros(2)
    head.set_weights([kernel, zeros, objectness, zeros, np.zeros((1, 1, 2, 4)), np.zeros(4)])
    logits, deltas = head(np.array([[[[1, 0], [1, 1]]]], "float32"))
    assert logits.dtype == deltas.dtype == tf.float32
    assert logits[0, :, 1].numpy().tolist() == [1, 1 + 2.0**-9]
    assert head.conv.compute_dtype == "bfloat16"
