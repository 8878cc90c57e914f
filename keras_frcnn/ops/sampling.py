"""Random draws that depend on an image's own key, and sampling of boxes by them.

A draw is a function of three numbers: the key of the image, the identity of what is drawn (an
anchor, a region) and the purpose of the draw. It does not depend on the image's row in the batch,
on the padding, on the other images or on the device. TensorFlow's generators number the elements of
one tensor, so they cannot do this. The hash below can, and it gives the same numbers with and
without XLA.
"""

import enum

import tensorflow as tf

from keras_frcnn.ops.matching import Assignment

RANDOM_BITS = 23
"""Random bits of a number: as many as TensorFlow puts into a random float32."""


class Purpose(enum.IntEnum):
    """What a draw is for. Different purposes draw independently from one key."""

    ANCHORS = 1
    ROIS = 2
    ORDER = 3
    DROPOUT = 4  # 5, 6, ... are the next hidden layers


def image_keys(seed, batch_size):
    """Returns one key per image.

    Args:
        seed: int [B, 2], the keys themselves, or int [2], from which each row of the batch gets a
            key of its own.
        batch_size: B.

    Returns:
        int32 [B, 2].
    """
    seed = tf.cast(tf.convert_to_tensor(seed), tf.int32)
    if seed.shape.rank == 2:
        return seed
    rows = tf.range(batch_size)
    second = _signed(_mix(_unsigned(rows + seed[1])))
    return tf.stack([tf.fill([batch_size], seed[0]), second], axis=1)


def random_bits(keys, ids, purpose):
    """Draws whole numbers from 0 to ``2^RANDOM_BITS - 1``.

    Args:
        keys: int32 [B, 2], the keys of the images.
        ids: int32 [N], or [B, N], the identity of each element within its image.
        purpose: a ``Purpose``, or a whole number above the last one.

    Returns:
        int32 [B, N].
    """
    first, second = _mixed_keys(keys, purpose)
    bits = _mix(_mix(_unsigned(ids) * 0x85EBCA77 + first) + second)
    return _signed(tf.bitwise.right_shift(bits, tf.constant(32 - RANDOM_BITS, tf.uint32)))


def random_bits_of_shape(keys, shape, purpose):
    """Draws whole numbers from 0 to ``2^RANDOM_BITS - 1`` for a shape that no padding changes.

    This is TensorFlow's generator, once per image: for many numbers it is much faster than
    ``random_bits``.

    Args:
        keys: int32 [B, 2], the keys of the images.
        shape: the shape of each image's numbers, which must not depend on the batch.
        purpose: a ``Purpose``, or a whole number above the last one.

    Returns:
        int32 [B, *shape].
    """
    seeds = tf.concat([_signed(key) for key in _mixed_keys(keys, purpose)], axis=1)

    def draw(seed):
        bits = tf.random.stateless_uniform(shape, seed, None, None, tf.int32, alg="philox")
        return tf.bitwise.bitwise_and(bits, 2**RANDOM_BITS - 1)

    return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec([None] * len(shape), tf.int32))


def _mixed_keys(keys, purpose):
    """Returns two numbers [B, 1] for each image and purpose, as different as random numbers."""
    keys = _unsigned(keys)
    first = _mix(keys[:, :1] + tf.constant(0x9E3779B9 * int(purpose) % 2**32, tf.uint32))
    return first, _mix(keys[:, 1:] ^ first)


def _unsigned(x):
    return tf.bitcast(tf.cast(x, tf.int32), tf.uint32)


def _signed(x):
    return tf.bitcast(x, tf.int32)


def _mix(x):
    """Mixes the bits of uint32 numbers: every bit of the input changes each bit of the output with
    a probability near one half. The constants are those of "lowbias32" (Wellons 2018).
    """
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ tf.bitwise.right_shift(x, tf.constant(shift, tf.uint32))) * factor
    return x ^ tf.bitwise.right_shift(x, tf.constant(16, tf.uint32))


def sample(assignment, num_samples, fg_fraction, keys, purpose, ids=None):
    """Draws a fixed number of boxes from each image: objects first, then background.

    At most ``int(num_samples * fg_fraction)`` POSITIVE boxes are drawn, uniformly and without
    replacement, and then NEGATIVE boxes up to ``num_samples``. If an image has too few of both, the
    rest of its samples are padding.

    Args:
        assignment: [B, N] int32, of ``matching.assign``.
        num_samples: S, a Python integer.
        fg_fraction: the largest share of positives.
        keys: int32 [B, 2]; equal keys draw equal boxes.
        purpose: a ``Purpose``.
        ids: int32 [N] or [B, N], the identity of each box, which must not depend on padding. None:
            the boxes are numbered in order.

    Returns:
        ``(indices [B, S] int32, valid [B, S] bool)``; padding has index 0.
    """
    num_candidates = tf.shape(assignment)[1]
    ids = tf.range(num_candidates) if ids is None else ids
    priority = random_bits(keys, ids, purpose)
    # Two top-k draws and a merge give exact counts even where two random priorities are equal.
    positive = _draw(
        priority,
        assignment == int(Assignment.POSITIVE),
        int(num_samples * fg_fraction),
        num_candidates,
    )
    negative = _draw(priority, assignment == int(Assignment.NEGATIVE), num_samples, num_candidates)
    indices = tf.concat([positive[0], negative[0]], axis=1)
    drawn = tf.concat([positive[1], negative[1]], axis=1)
    # top_k keeps the order of equal values.
    valid, order = tf.math.top_k(tf.cast(drawn, tf.int32), num_samples)
    indices = tf.gather(indices, order, batch_dims=1)
    return tf.where(valid > 0, indices, 0), valid > 0


def _draw(priority, mask, k, num_candidates):
    """Returns the ``k`` masked entries of highest priority as indices [B, k] and drawn [B, k],
    padded if there are fewer.
    """
    available = tf.minimum(k, num_candidates)
    values, indices = tf.math.top_k(tf.where(mask, priority, -1), available)
    padding = [[0, 0], [0, k - available]]
    indices = tf.ensure_shape(tf.pad(indices, padding), [None, k])
    return indices, tf.ensure_shape(tf.pad(values >= 0, padding), [None, k])
