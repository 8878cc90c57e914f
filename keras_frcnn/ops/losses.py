"""Detection losses with fixed denominators.

Each loss is a sum over samples, divided by a number that does not depend on how many samples are
positive or valid. So n replicas with one image each equal one replica with n images. Inputs may
have any float type; everything is computed in float32. Samples of weight 0 contribute exactly 0 to
value and gradient, even if their logits or deltas are not finite.
"""

import tensorflow as tf

from keras_frcnn.ops import boxes as box_ops


def smooth_l1(x, beta):
    """Returns smooth L1: ``0.5 x^2 / beta`` below ``beta`` and ``|x| - beta / 2`` above (Fast
    R-CNN, equation 3).

    The released code's "sigma" is ``beta = 1 / sigma^2``.
    """
    size = tf.abs(x)
    return tf.where(size < beta, 0.5 * size * size / beta, size - 0.5 * beta)


def classification_loss(logits, labels, weights, normalizer):
    """Computes the softmax cross-entropy.

    Args:
        logits: [B, S, K].
        labels: [B, S] int; any value where the weight is 0.
        weights: [B, S].
        normalizer: the sum is divided by ``B * normalizer``.

    Returns:
        Scalar float32.
    """
    used = weights > 0
    logits = tf.where(used[..., tf.newaxis], tf.cast(logits, tf.float32), 0.0)
    labels = tf.where(used, labels, 0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return _normalized_sum(losses, weights, normalizer)


def box_loss(deltas, target_deltas, weights, normalizer, beta):
    """Computes smooth L1 over the four deltas of the weighted samples.

    Args:
        deltas: [B, S, 4].
        target_deltas: [B, S, 4].
        weights: [B, S], above 0 for objects only.
        normalizer: the sum is divided by ``B * normalizer``.
        beta: see ``smooth_l1``.

    Returns:
        Scalar float32.
    """
    used = (weights > 0)[..., tf.newaxis]
    difference = tf.where(used, tf.cast(deltas, tf.float32), 0.0) - tf.where(
        used, target_deltas, 0.0
    )
    return _normalized_sum(tf.reduce_sum(smooth_l1(difference, beta), axis=-1), weights, normalizer)


def giou_loss(deltas, target_deltas, weights, normalizer, std):
    """Computes ``1 - GIoU`` between predicted boxes and targets (Rezatofighi et al. 2019).

    The boxes of deltas are taken relative to a reference box of one pixel: moving both boxes, or
    stretching both along an axis, changes no ratio of areas.

    Args:
        deltas: [B, S, 4].
        target_deltas: [B, S, 4].
        weights: [B, S], above 0 for objects only.
        normalizer: the sum is divided by ``B * normalizer``.
        std: the divisors of the deltas, as in ``boxes.encode``.

    Returns:
        Scalar float32.
    """
    used = (weights > 0)[..., tf.newaxis]
    unit = tf.constant([0.0, 0.0, 1.0, 1.0])
    boxes, targets = (
        tf.stack(tf.unstack(box_ops.decode(unit, tf.where(used, one, 0.0), std), axis=-1))
        for one in (tf.cast(deltas, tf.float32), target_deltas)
    )
    near, far = tf.maximum(boxes[:2], targets[:2]), tf.minimum(boxes[2:], targets[2:])
    first, last = tf.minimum(boxes[:2], targets[:2]), tf.maximum(boxes[2:], targets[2:])
    shared = tf.reduce_prod(tf.maximum(far - near, 0.0), axis=0)
    union = sum(tf.reduce_prod(one[2:] - one[:2], axis=0) for one in (boxes, targets)) - shared
    hull = tf.reduce_prod(last - first, axis=0)
    losses = 1.0 - shared / union + (hull - union) / hull
    return _normalized_sum(losses, weights, normalizer)


def weight_decay_loss(kernels, weight_decay):
    """Returns L2 as Caffe means it: half the squared sum, with gradient ``weight_decay * w``."""
    return weight_decay * tf.add_n(
        [tf.nn.l2_loss(tf.cast(kernel, tf.float32)) for kernel in kernels]
    )


def nan_if_inputs_are(loss, images, boxes, labels):
    """Returns a loss, or NaN if an image or the box of an object is not finite.

    Otherwise the loss might stay finite, because max pooling can skip NaN and no anchor matches a
    box of NaN. But the gradient would become NaN, and then the weights.

    Args:
        loss: scalar.
        images: [B, H, W, 3].
        boxes: [B, G, 4].
        labels: [B, G]; negative for padding, which may hold any numbers.

    Returns:
        Scalar of the loss's type.
    """
    is_finite = tf.reduce_all(tf.math.is_finite(boxes) | (labels < 0)[..., tf.newaxis])
    is_finite &= tf.reduce_all(tf.math.is_finite(images))
    return tf.where(is_finite, loss, float("nan"))


def _normalized_sum(losses, weights, normalizer):
    batch_size = tf.cast(tf.shape(losses)[0], tf.float32)
    return tf.reduce_sum(losses * weights) / (batch_size * tf.cast(normalizer, tf.float32))
