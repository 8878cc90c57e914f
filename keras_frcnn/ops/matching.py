"""Assignment of boxes to objects by IoU, for batches of images."""

import enum

import tensorflow as tf

from keras_frcnn.ops import boxes as box_ops


class Assignment(enum.IntEnum):
    """What a box (anchor or proposal) is trained as."""

    IGNORE = -1
    NEGATIVE = 0
    POSITIVE = 1


# Two IoUs count as equal up to this relative difference. All anchors of one area around a small
# object tie, but sides like 90.51 are rounded differently at each position: without a tolerance the
# last bit would pick a few of them.
TIE_TOLERANCE = 1e-5

# A box stops being background if this share of it lies in a region to ignore (VOC's difficult
# objects, COCO's crowds).
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

    1. A box is NEGATIVE if its best IoU is in [``bg_iou_threshold_low``, ``bg_iou_threshold``).
    2. With ``force_best``, each object's box of highest IoU is POSITIVE, and so are all that tie
       with it, if that IoU is above 0.
    3. A box is POSITIVE if its best IoU is at least ``fg_iou_threshold``. Positive wins over
       negative.
    4. A NEGATIVE box becomes IGNORE if half of it or more lies in a region to ignore.

    Padding rows match nothing. An image without objects has only negatives.

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
    # [objects, boxes] is faster, because the long axis is the last one.
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
