"""Draws by an image's key: exact counts, fairness, independence of everything but key and id."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.ops import sampling
from keras_frcnn.ops.matching import Assignment
from keras_frcnn.ops.sampling import Purpose
from tests import reference

P, N, I = int(Assignment.POSITIVE), int(Assignment.NEGATIVE), int(Assignment.IGNORE)  # noqa: E741


def draw(labels, num_samples, fg_fraction=0.5, seed=(0, 0)):
    """Samples one image and returns the rows drawn, in order."""
    keys = tf.constant([seed], tf.int32)
    indices, valid = sampling.sample(
        tf.constant([labels]), num_samples, fg_fraction, keys, Purpose.ROIS
    )
    assert (indices.dtype, valid.dtype) == (tf.int32, tf.bool)
    assert indices.shape == valid.shape == (1, num_samples)
    indices, valid = indices[0].numpy(), valid[0].numpy()
    assert (indices[~valid] == 0).all()
    assert (np.diff(valid.astype(int)) <= 0).all()
    return indices[valid].tolist()


@pytest.mark.parametrize(
    ("positives", "negatives", "ignored", "num_samples", "fg_fraction", "expected"),
    [
        (100, 100, 10, 16, 0.5, (8, 8)),
        (100, 100, 0, 16, 0.25, (4, 12)),
        (3, 100, 10, 16, 0.5, (3, 13)),  # negatives fill up
        (100, 3, 10, 16, 0.5, (8, 3)),  # positives do not
        (0, 100, 0, 16, 0.5, (0, 16)),
        (100, 0, 0, 16, 0.5, (8, 0)),
        (2, 3, 100, 16, 0.5, (2, 3)),
        (0, 0, 100, 16, 0.5, (0, 0)),
        (20, 20, 0, 16, 0.0, (0, 16)),
        (20, 20, 0, 16, 1.0, (16, 0)),
        (5, 20, 0, 7, 0.5, (3, 4)),  # rounded down: at most half
        (1, 1, 0, 1, 0.5, (0, 1)),
        (0, 0, 0, 4, 0.5, (0, 0)),
    ],
)
def test_counts_are_exact(positives, negatives, ignored, num_samples, fg_fraction, expected):
    labels = np.array([P] * positives + [N] * negatives + [I] * ignored, "int32")
    np.random.default_rng(0).shuffle(labels)
    for seed in range(3):
        drawn = draw(labels, num_samples, fg_fraction, (seed, 1))
        assert len(set(drawn)) == len(drawn)
        kinds = labels[drawn].tolist()
        assert kinds == [P] * expected[0] + [N] * expected[1]  # objects first
    assert expected == reference.sample_counts(labels, num_samples, fg_fraction)


def test_the_seed_decides_the_draw():
    labels = np.array([P, N] * 50, "int32")
    assert draw(labels, 20, seed=(1, 2)) == draw(labels, 20, seed=(1, 2))
    others = [draw(labels, 20, seed=seed) for seed in ((1, 3), (2, 2), (2, 1))]
    assert all(draw(labels, 20, seed=(1, 2)) != other for other in others)


def test_images_with_other_keys_are_drawn_apart():
    labels, keys = tf.constant([[P, N] * 50] * 3), tf.constant([[0, 0], [0, 1], [0, 0]])
    indices, _ = sampling.sample(labels, 20, 0.5, keys, Purpose.ROIS)
    first, second, third = indices.numpy().tolist()
    assert first == third != second


def test_padding_and_the_other_rows_of_a_batch_change_no_draw():
    labels, ids = np.array([P, N, I, N] * 10, "int32"), np.arange(40) * 7
    alone, _ = sampling.sample(labels[np.newaxis], 12, 0.5, [[5, 6]], Purpose.ANCHORS, ids)
    # The same boxes among padding, in another row, at other places.
    places = np.sort(np.random.default_rng(0).permutation(100)[:40])
    padded = np.full((3, 100), I, "int32")
    padded_ids = np.arange(100) + 1000
    padded[1, places], padded_ids[places] = labels, ids
    keys = [[1, 2], [5, 6], [3, 4]]
    indices, valid = sampling.sample(padded, 12, 0.5, keys, Purpose.ANCHORS, padded_ids)
    assert valid[1].numpy().all()
    np.testing.assert_array_equal(indices[1], places[alone[0]])


@pytest.mark.parametrize("kind", [P, N])
def test_every_box_is_drawn_equally_often(kind):
    # 20 boxes of the kind, 5 drawn, 800 times: 200 expected each. The draws are fixed by their
    # seeds; the bound is chi-square's 99.9 % point for 19 degrees of freedom.
    labels = tf.constant([[kind, -kind + 1] * 20] * 800)
    keys = tf.stack([tf.range(800), tf.fill([800], 4)], axis=1)
    indices, valid = sampling.sample(labels, 10, 0.5, keys, Purpose.ROIS)
    assert valid.numpy().all()
    drawn = indices.numpy()[:, :5] if kind == P else indices.numpy()[:, 5:]
    counts = np.bincount(drawn.ravel(), minlength=40).reshape(20, 2)[:, 0]
    assert counts.sum() == 4000
    assert np.sum((counts - 200) ** 2 / 200) < 43.8
    # The first place of a draw is as fair as the others.
    first = np.bincount(drawn[:, 0], minlength=40).reshape(20, 2)[:, 0]
    assert np.sum((first - 40) ** 2 / 40) < 43.8


# --- the numbers --------------------------------------------------------------------------------


def slow_bits(key, number, purpose):
    """The draw in Python's whole numbers."""

    def mix(x):
        x %= 2**32
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            x = (x ^ (x >> shift)) * factor % 2**32
        return x ^ (x >> 16)

    first = mix(key[0] + 0x9E3779B9 * purpose)
    second = mix(key[1] % 2**32 ^ first)
    return mix(mix(number * 0x85EBCA77 + first) + second) >> 9


@pytest.mark.parametrize("jit_compile", [False, True])
def test_bits_are_a_function_of_key_id_and_purpose(jit_compile):
    # What a key draws is part of a run that is resumed: it stays as it is.
    keys, ids = [[0, 0], [7, -3], [2**31 - 1, 5]], [0, 1, 2**31 - 1, -1, 12345]
    draw = tf.function(sampling.random_bits, jit_compile=jit_compile)
    for purpose in (Purpose.ANCHORS, Purpose.DROPOUT + 3):
        bits = draw(tf.constant(keys), tf.constant(ids), purpose).numpy()
        expected = [[slow_bits(key, number, int(purpose)) for number in ids] for key in keys]
        np.testing.assert_array_equal(bits, expected)


def test_bits_are_uniform_and_unrelated_between_ids_keys_and_purposes():
    keys = tf.constant([[3, 4], [3, 5], [4, 4]])
    ids = tf.range(2**16)
    bits = sampling.random_bits(keys, ids, Purpose.ANCHORS).numpy()
    assert bits.min() >= 0 and bits.max() < 2**sampling.RANDOM_BITS
    # Chi-square of 64 cells with 1024 expected each; 104 is the 99.9 % point for 63 degrees.
    for row in bits:
        counts = np.bincount(row >> (sampling.RANDOM_BITS - 6), minlength=64)
        assert np.sum((counts - 1024) ** 2 / 1024) < 104
    other = sampling.random_bits(keys[:1], ids, Purpose.ROIS).numpy()
    rows = np.concatenate([bits, other, bits[:1, ::-1], np.roll(bits[:1], 1)])
    related = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(related).max() < 0.02  # five standard deviations


def test_bits_of_a_shape_are_each_images_own():
    keys = tf.constant([[3, 4], [3, 5], [3, 4]])
    bits = sampling.random_bits_of_shape(keys, (50, 80), Purpose.DROPOUT).numpy()
    np.testing.assert_array_equal(bits[0], bits[2])
    alone = sampling.random_bits_of_shape(keys[1:2], (50, 80), Purpose.DROPOUT).numpy()
    np.testing.assert_array_equal(alone[0], bits[1])
    assert np.abs(np.corrcoef(bits[0].ravel(), bits[1].ravel())[0, 1]) < 0.08
    next_layer = sampling.random_bits_of_shape(keys[:1], (50, 80), Purpose.DROPOUT + 1).numpy()
    assert (next_layer != bits[:1]).mean() > 0.99


def test_keys_of_a_batch_come_from_one_seed_or_are_given():
    given = [[1, 2], [3, 4]]
    np.testing.assert_array_equal(sampling.image_keys(given, 2), given)
    keys = sampling.image_keys([5, 6], 3).numpy()
    assert keys[:, 0].tolist() == [5, 5, 5] and len(set(keys[:, 1])) == 3
    np.testing.assert_array_equal(sampling.image_keys([5, 6], 2), keys[:2])
