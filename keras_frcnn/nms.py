"""Non-maximum suppression: batched, masked, of fixed size.

Two boxes of which the worse is suppressed have IoU *above* the threshold. Ties in score go to the
lower index. Boxes without area suppress nothing and are suppressed by nothing. Everything is
float32: TensorFlow has no bfloat16 NMS, and float16 areas overflow (a 1000 x 600 box has 6e5 square
pixels).
"""

import tensorflow as tf


def suppress(boxes, scores, valid, max_output_size, iou_threshold):
    """Keeps the best boxes of each picture, without regard to class (the RPN's proposals).

    Args:
        boxes: [B, N, 4].
        scores: [B, N].
        valid: [B, N] bool; False rows (padding, too small) are neither kept nor suppress others.
        max_output_size: K, boxes kept a picture, a Python integer.
        iou_threshold: IoU above which the worse box goes.

    Returns:
        ``(indices [B, K] int32, kept [B, K] bool)``: rows of ``boxes``, best first. Where fewer
        than K survive, ``kept`` is False and the index is 0.
    """
    scores = tf.where(valid, tf.cast(scores, tf.float32), -tf.float32.max)

    def one(args):
        picks, count = tf.raw_ops.NonMaxSuppressionV4(
            boxes=args[0],
            scores=args[1],
            max_output_size=max_output_size,
            iou_threshold=iou_threshold,
            score_threshold=tf.float32.min,
            pad_to_max_output_size=True,
        )
        return picks, count

    signature = (tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32))
    picks, counts = tf.map_fn(
        one, (tf.cast(boxes, tf.float32), scores), fn_output_signature=signature
    )
    kept = tf.range(max_output_size) < counts[:, tf.newaxis]
    return tf.where(kept, tf.ensure_shape(picks, [None, max_output_size]), 0), kept


def suppress_per_class(boxes, scores, max_output_size, iou_threshold, score_threshold):
    """Keeps the best detections of each picture: suppression within each class, then the best of
    all classes.

    Args:
        boxes: [B, R, C, 4], one box for each region and class.
        scores: [B, R, C] without the background's column; 0 for padding.
        max_output_size: K, detections kept a picture, all classes together.
        iou_threshold: IoU above which the worse box of a class goes.
        score_threshold: only scores above it take part.

    Returns:
        ``(boxes [B, K, 4], scores [B, K], classes [B, K] int32, counts [B] int32)``, best first;
        rows past the count have zero boxes and scores and class -1.
    """
    # The op has no GPU kernel. It reads a few hundred boxes, so it is placed on the processor on
    # purpose.
    with tf.device("CPU:0"):
        boxes, scores, classes, counts = tf.image.combined_non_max_suppression(
            tf.cast(boxes, tf.float32),
            tf.cast(scores, tf.float32),
            max_output_size_per_class=max_output_size,
            max_total_size=max_output_size,
            iou_threshold=iou_threshold,
            score_threshold=score_threshold,
            clip_boxes=False,
        )
    kept = tf.range(max_output_size) < counts[:, tf.newaxis]
    return boxes, scores, tf.where(kept, tf.cast(classes, tf.int32), -1), counts
