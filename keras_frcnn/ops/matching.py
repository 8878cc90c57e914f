"""Which box belongs to which object, and which boxes are trained on: batched, masked, of fixed
size.
"""

import enum

import tensorflow as tf

from keras_frcnn.ops import boxes as box_ops


class Assignment(enum.IntEnum):
    """What a box (anchor or proposal) is trained as."""

    IGNORE = -1
    NEGATIVE = 0
    POSITIVE = 1


# Relative difference up to which two IoUs are equal. Anchors of one area around a small object all
# tie, but sides like 90.51 are rounded differently at each place; without a tolerance the last bit
# would pick a few of them.
TIE_TOLERANCE = 1e-5

# Random bits of a number: those of which TensorFlow makes a random float32.
RANDOM_BITS = 23

# Share of a box that must lie in a region to ignore (VOC difficult, COCO crowd) for it to stop
# being background.
IGNORE_IOA_THRESHOLD = 0.5


def assign(
    candidates,
    gt_boxes,
    gt_valid,
    *,
    fg_iou_threshold,
    bg_iou_threshold,
    bg_iou_threshold_low=0.0,
    force_best=False,
    eligible=None,
    ignore=None,
):
    """Assigns boxes to objects by IoU.

    1. A box is NEGATIVE if its best IoU lies in [``bg_iou_threshold_low``, ``bg_iou_threshold``).
    2. With ``force_best`` every box that shares the highest IoU of an object (all ties, above 0) is
       POSITIVE.
    3. A box is POSITIVE if its best IoU is at least ``fg_iou_threshold``. Positive wins over
       negative.
    4. A NEGATIVE box of which half or more lies in a region to ignore becomes IGNORE.

    Padding rows match nothing: an image without objects has negatives only.

    Args:
        candidates: boxes [N, 4] or [B, N, 4].
        gt_boxes: [B, G, 4], G may be 0.
        gt_valid: [B, G] bool, False for padding and for regions to ignore.
        fg_iou_threshold, bg_iou_threshold, bg_iou_threshold_low: see above.
        force_best: whether rule 2 holds.
        eligible: [B, N] bool; boxes that may take part (others are IGNORE and no object's best).
            None: all.
        ignore: [B, G] bool, the rows of ``gt_boxes`` that are regions to ignore. None: none.

    Returns:
        ``(assignment [B, N] int32, gt_index [B, N] int32, best_iou [B, N] float32)``. ``gt_index``
        is the first object of highest IoU, also for forced boxes (as the released code regresses
        them); read it through ``gather``. Nothing here has a gradient.
    """
    gt_boxes = tf.cast(gt_boxes, tf.float32)
    # Objects by boxes: the long axis last is the fast one.
    iou = tf.where(gt_valid[:, :, tf.newaxis], box_ops.iou(gt_boxes, candidates), -1.0)
    # One more row that matches nothing keeps max and argmax defined without objects.
    iou = tf.pad(iou, [[0, 0], [0, 1], [0, 0]], constant_values=-1.0)
    if eligible is not None:
        iou = tf.where(eligible[:, tf.newaxis, :], iou, -1.0)
    gt_index = tf.argmax(iou, axis=1, output_type=tf.int32)
    best_iou = tf.maximum(tf.reduce_max(iou, axis=1), 0.0)

    negative = (best_iou >= bg_iou_threshold_low) & (best_iou < bg_iou_threshold)
    positive = best_iou >= fg_iou_threshold
    if force_best:
        best_of_gt = tf.reduce_max(iou, axis=2, keepdims=True)
        ties = (iou >= best_of_gt * (1.0 - TIE_TOLERANCE)) & (best_of_gt > 0.0)
        positive |= tf.reduce_any(ties, axis=1)
    if ignore is not None:

        def is_outside():
            inside = tf.where(ignore[:, tf.newaxis, :], box_ops.ioa(candidates, gt_boxes), 0.0)
            return ~tf.reduce_any(inside >= IGNORE_IOA_THRESHOLD, axis=2)

        # Few images have regions to ignore.
        negative &= tf.cond(tf.reduce_any(ignore), is_outside, lambda: tf.ones_like(negative))
    assignment = tf.where(negative, int(Assignment.NEGATIVE), int(Assignment.IGNORE))
    assignment = tf.where(positive, int(Assignment.POSITIVE), assignment)
    if eligible is not None:
        assignment = tf.where(eligible, assignment, int(Assignment.IGNORE))
    return (
        tf.stop_gradient(assignment),
        tf.stop_gradient(gt_index),
        tf.stop_gradient(best_iou),
    )


def gather(values, index):
    """Gathers rows of [B, G, ...] by [B, M] indices of ``assign``; index G (or any, if G is 0)
    gives zeros.
    """
    padding = [[0, 0], [0, 1]] + [[0, 0]] * (values.shape.rank - 2)
    return tf.gather(tf.pad(values, padding), index, batch_dims=1)


def sample(assignment, num_samples, fg_fraction, seed):
    """Draws a fixed number of boxes from each image, objects first, background filling up.

    At most ``int(num_samples * fg_fraction)`` POSITIVE boxes are drawn, uniformly without
    replacement, then NEGATIVE ones up to ``num_samples``. Where an image has too few of both, the
    rest of its samples are padding.

    Args:
        assignment: [B, N] int32 of ``assign``.
        num_samples: S, a Python integer.
        fg_fraction: largest share of positives.
        seed: [2] int32, the stateless seed; the same seed draws the same boxes.

    Returns:
        ``(indices [B, S] int32, valid [B, S] bool)``; padding has index 0.
    """
    priority = random_bits(tf.shape(assignment), seed)
    # Two top-k draws and a merge: exact counts even where two random priorities are
    # equal.
    num_candidates = tf.shape(assignment)[1]
    positive = _draw(
        priority,
        assignment == int(Assignment.POSITIVE),
        int(num_samples * fg_fraction),
        num_candidates,
    )
    negative = _draw(priority, assignment == int(Assignment.NEGATIVE), num_samples, num_candidates)
    indices = tf.concat([positive[0], negative[0]], axis=1)
    drawn = tf.concat([positive[1], negative[1]], axis=1)
    valid, order = tf.math.top_k(
        tf.cast(drawn, tf.int32), num_samples
    )  # top_k keeps the order of equals
    indices = tf.gather(indices, order, batch_dims=1)
    return tf.where(valid > 0, indices, 0), valid > 0


def random_bits(shape, seed):
    """Draws whole numbers from 0 to ``2^RANDOM_BITS - 1``, the same with XLA and without it: of
    random floats XLA would draw other ones than the kernels do.

    Args:
        shape: of the result.
        seed: [2] int32, the stateless seed.

    Returns:
        int32 of that shape.
    """
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.int32, alg="philox")
    return tf.bitwise.bitwise_and(bits, 2**RANDOM_BITS - 1)


def _draw(priority, mask, k, num_candidates):
    """The ``k`` masked entries of highest priority: indices [B, k] and drawn [B, k], padded where
    there are fewer.
    """
    available = tf.minimum(k, num_candidates)
    values, indices = tf.math.top_k(tf.where(mask, priority, -1), available)
    padding = [[0, 0], [0, k - available]]
    indices = tf.ensure_shape(tf.pad(indices, padding), [None, k])
    return indices, tf.ensure_shape(tf.pad(values >= 0, padding), [None, k])
