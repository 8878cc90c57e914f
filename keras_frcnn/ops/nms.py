"""Non-maximum suppression for batches of images, with masks and results of fixed size.

A box is suppressed if its IoU with a better box is *above* the threshold. Ties in score go to the
lower index. Boxes without area suppress nothing and are not suppressed. Everything is float32:
TensorFlow has no bfloat16 NMS, and areas overflow in float16 (a box of 1000 x 600 has 6e5 square
pixels).

Soft-NMS lowers the scores of overlapping boxes instead; it is one loop of plain operations.

There are three ways to the same result of the hard rule, since no operation of TensorFlow is good
everywhere:

- ``NonMaxSuppressionV4`` has kernels for CPUs and GPUs, and takes one call per image.
- ``CombinedNonMaxSuppression`` is 2 to 3 times as fast on a CPU, whose cores share the images and
  classes, but it has no GPU kernel.
- ``_survivors`` consists of plain tensor operations, for XLA. XLA cannot compile the second kernel,
  and runs the first one box by box.
"""

import tensorflow as tf

from keras_frcnn.ops import boxes as box_ops

# The number of boxes that ``_survivors`` decides on at once.
_BLOCK = 256


def suppress(
    boxes, scores, valid, max_output_size, iou_threshold, *, on_cpu=False, supports_jit=False
):
    """Keeps the best boxes of each image, whatever their class (the RPN's proposals).

    Args:
        boxes: [B, N, 4].
        scores: [B, N].
        valid: [B, N] bool; False rows (padding, too small) are not kept and suppress nothing.
        max_output_size: K, the boxes kept per image, a Python integer.
        iou_threshold: IoU above which the worse box is dropped.
        on_cpu: whether to use a faster kernel that only CPUs have. It keeps the same boxes.
        supports_jit: whether to use operations that XLA compiles; takes precedence over ``on_cpu``.
            They keep the same boxes.

    Returns:
        ``(indices [B, K] int32, kept [B, K] bool)``: rows of ``boxes``, best first. If fewer than K
        boxes survive, ``kept`` is False and the index is 0 for the rest.
    """
    boxes, scores = tf.cast(boxes, tf.float32), tf.cast(scores, tf.float32)
    valid &= scores > tf.float32.min  # False for NaN too
    if on_cpu or supports_jit:
        indices, kept = _best_of_lists(
            boxes[:, tf.newaxis],
            scores[:, tf.newaxis],
            valid[:, tf.newaxis],
            max_output_size,
            iou_threshold,
            supports_jit,
        )
        return tf.where(kept, indices, 0), kept

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

    signature = (tf.TensorSpec([max_output_size], tf.int32), tf.TensorSpec([], tf.int32))
    scores = tf.where(valid, scores, tf.float32.min)
    picks, counts = tf.map_fn(one, (boxes, scores), fn_output_signature=signature)
    kept = tf.range(max_output_size) < counts[:, tf.newaxis]
    return tf.where(kept, picks, 0), kept


def suppress_per_class(
    boxes,
    scores,
    max_output_size,
    iou_threshold,
    score_threshold,
    *,
    soft_sigma=0.0,
    supports_jit=False,
):
    """Keeps the best detections of each image: suppresses within each class, then takes the best
    of all classes.

    Ties in score go to the lower class, then to the lower RoI.

    Args:
        boxes: [B, R, C, 4], one box for each RoI and class.
        scores: [B, R, C] without the background's column; 0 for padding.
        max_output_size: K, the detections kept per image, of all classes together.
        iou_threshold: IoU above which the worse box of a class is dropped.
        score_threshold: only scores above it take part.
        soft_sigma: if above 0, no box is dropped for its IoU: each box that is kept multiplies the
            scores of the others of its class by ``exp(-IoU^2 / soft_sigma)`` (Bodla et al. 2017,
            Soft-NMS, equation 4), and the results have these scores.
        supports_jit: whether to use operations that XLA compiles; otherwise they run on the CPU.
            The detections are the same.

    Returns:
        ``(boxes [B, K, 4], scores [B, K], classes [B, K] int32, counts [B] int32)``, best first;
        rows past the count have zero boxes and scores and class -1.
    """
    boxes = tf.transpose(tf.cast(boxes, tf.float32), [0, 2, 1, 3])
    scores = tf.transpose(tf.cast(scores, tf.float32), [0, 2, 1])
    batch_size, num_classes, num_regions = tf.unstack(tf.shape(scores))
    usable = scores > score_threshold
    if soft_sigma:
        # Only kept boxes keep a score above the threshold, so that nothing is left to suppress.
        scores = _soften(boxes, scores, usable, max_output_size, soft_sigma, score_threshold)
        usable, iou_threshold = scores > score_threshold, 1.0
    indices, kept = _best_of_lists(
        boxes, scores, usable, max_output_size, iou_threshold, supports_jit
    )
    total = num_classes * num_regions
    # Boxes that are not kept have the index past the end, where zeros are.
    boxes = tf.pad(tf.reshape(boxes, [batch_size, total, 4]), [[0, 0], [0, 1], [0, 0]])
    scores = tf.pad(tf.reshape(scores, [batch_size, total]), [[0, 0], [0, 1]])
    return (
        tf.gather(boxes, indices, batch_dims=1),
        tf.gather(scores, indices, batch_dims=1),
        tf.where(kept, indices // tf.maximum(num_regions, 1), -1),
        tf.reduce_sum(tf.cast(kept, tf.int32), axis=1),
    )


def _soften(boxes, scores, usable, k, sigma, score_threshold):
    """Lowers the scores of boxes that overlap better ones of their list, one better box at a time.

    Args:
        boxes: [B, L, N, 4].
        scores: [B, L, N].
        usable: [B, L, N] bool.
        k: the boxes to keep of each list, a Python integer.
        sigma: see ``suppress_per_class``.
        score_threshold: boxes are not kept once their score has sunk to this.

    Returns:
        [B, L, N]: the scores of the boxes that are kept, and -1 for all others.
    """
    n = tf.shape(scores)[2]

    def goes_on(number, rest, kept):
        return (number < k) & tf.reduce_any(rest > score_threshold)

    def keep_best(number, rest, kept):
        is_best = tf.one_hot(tf.argmax(rest, axis=2), n, True, False, dtype=tf.bool)
        is_best &= rest > score_threshold
        best = tf.reduce_sum(tf.where(is_best[..., tf.newaxis], boxes, 0.0), axis=2, keepdims=True)
        overlap = box_ops.iou(best, boxes)[:, :, 0]
        kept = tf.where(is_best, rest, kept)
        return number + 1, tf.where(is_best, -1.0, rest * tf.exp(-(overlap**2) / sigma)), kept

    rest = tf.where(usable, scores, -1.0)
    _, _, kept = tf.while_loop(goes_on, keep_best, (0, rest, tf.fill(tf.shape(scores), -1.0)))
    return kept


def _best_of_lists(boxes, scores, usable, k, iou_threshold, supports_jit):
    """Suppresses within each of L lists of an image, then takes the best of all lists.

    Scores are replaced by their ranks. Ranks differ where scores tie, so that there is one right
    answer; and they identify a box where an operation returns only the scores of what it kept.

    Args:
        boxes: [B, L, N, 4].
        scores: [B, L, N], without NaN where usable.
        usable: [B, L, N] bool.
        k: K, a Python integer.
        iou_threshold: IoU above which the worse box of a list is dropped.
        supports_jit: whether XLA must be able to compile it.

    Returns:
        ``(indices [B, K] int32, kept [B, K] bool)``, best first; indices are ``l * N + n``, and ``L
        * N`` past the end.
    """
    shape = tf.shape(scores)
    batch_size, total = shape[0], shape[1] * shape[2]
    flat = tf.reshape(tf.where(usable, scores, tf.float32.min), [batch_size, total])
    _, order = tf.math.top_k(flat, total)  # keeps the order of equals
    rows = tf.broadcast_to(tf.range(batch_size)[:, tf.newaxis], [batch_size, total])
    ranks = tf.cast(tf.range(total, 0, -1), tf.float32)  # the best: the highest; exact up to 2^24
    ranks = tf.broadcast_to(ranks, [batch_size, total])
    ranks = tf.scatter_nd(tf.stack([rows, order], axis=-1), ranks, [batch_size, total])
    ranks = tf.where(usable, tf.reshape(ranks, shape), 0.0)

    keep = _keep_in_blocks if supports_jit else _keep_on_cpu
    best = tf.cast(keep(boxes, ranks, k, iou_threshold), tf.int32)
    places = tf.pad(order, [[0, 0], [0, 1]], constant_values=total)
    return tf.gather(places, total - best, batch_dims=1), best > 0


def _keep_on_cpu(boxes, ranks, k, iou_threshold):
    """Returns the K highest ranks [B, K] that survive, then zeros, with TensorFlow's kernel.

    Only CPUs have the kernel, so it is placed there on purpose.
    """
    with tf.device("CPU:0"):
        _, ranks, _, _ = tf.image.combined_non_max_suppression(
            tf.transpose(boxes, [0, 2, 1, 3]),
            tf.transpose(ranks, [0, 2, 1]),
            max_output_size_per_class=k,
            max_total_size=k,
            iou_threshold=iou_threshold,
            score_threshold=0.0,
            clip_boxes=False,
        )
    return ranks


def _keep_in_blocks(boxes, ranks, k, iou_threshold):
    """Returns the K highest ranks [B, K] that survive, then zeros, with what XLA compiles."""
    batch_size, num_lists, n, _ = tf.unstack(tf.shape(boxes))
    rows = batch_size * num_lists
    ranks, order = tf.math.top_k(tf.reshape(ranks, [rows, n]), n)
    boxes = tf.gather(tf.reshape(boxes, [rows, n, 4]), order, batch_dims=1)

    # Of positive numbers, because exporters to ONNX round the quotient of negative ones up.
    missing = (tf.maximum(n, k) + _BLOCK - 1) // _BLOCK * _BLOCK - n
    ranks = tf.pad(ranks, [[0, 0], [0, missing]])
    boxes = tf.pad(boxes, [[0, 0], [0, missing], [0, 0]])
    alive = _survivors(boxes, ranks > 0.0, k, iou_threshold)
    ranks, _ = tf.math.top_k(tf.where(alive, ranks, 0.0), k)
    ranks, _ = tf.math.top_k(tf.reshape(ranks, [batch_size, num_lists * k]), k)
    return ranks


def _survivors(boxes, alive, k, iou_threshold):
    """Suppresses boxes that overlap a better one, one block of rows after the other.

    Args:
        boxes: [M, N, 4], the best of each list first; N is a multiple of the block.
        alive: [M, N] bool, False for rows that take no part.
        k: the number of rows needed; rows after the k-th survivor of a list may stay undecided.
        iou_threshold: IoU above which the worse box is dropped.

    Returns:
        [M, N] bool.
    """
    columns = tf.range(tf.shape(boxes)[1])
    unknown = tf.TensorShape([None, None])

    def overlaps(block, others):
        return box_ops.iou(block, others) > iou_threshold

    def unfinished(first, alive):
        decided = tf.cast(alive & (columns < first), tf.int32)
        return tf.reduce_any(tf.reduce_sum(decided, axis=1) < k) & (first < tf.size(columns))

    def decide(first, alive):
        rows = first + tf.range(_BLOCK)
        block, candidates = tf.gather(boxes, rows, axis=1), tf.gather(alive, rows, axis=1)
        worse = overlaps(block, block) & (rows[:, tf.newaxis] < rows)

        # Each round settles at least one more row for good; a few rounds settle all.
        def again(keep, before):
            del before
            return candidates & ~_any_of(worse, keep), keep

        keep, _ = tf.while_loop(
            lambda keep, before: tf.reduce_any(keep != before),
            again,
            again(candidates, None),
            shape_invariants=(unknown, unknown),
        )
        worse = overlaps(block, boxes) & (rows[:, tf.newaxis] < columns)
        return first + _BLOCK, alive & ~_any_of(worse, keep)

    _, alive = tf.while_loop(
        unfinished, decide, (0, alive), shape_invariants=(tf.TensorShape([]), unknown)
    )
    return alive


def _any_of(pairs, chosen):
    """Returns which columns [M, N] of pairs [M, R, N] are True in any of the chosen rows [M, R]."""
    return tf.reduce_any(pairs & chosen[:, :, tf.newaxis], axis=1)
