"""Anchor targets: which anchors the RPN learns from, and what it learns from them."""

import keras
import tensorflow as tf

from keras_frcnn.ops import boxes as box_ops
from keras_frcnn.ops import matching, sampling


@keras.saving.register_keras_serializable("keras_frcnn")
class AnchorTargetAssigner(keras.layers.Layer):
    """Labels all anchors by their IoU with the objects and samples those that the RPN learns from.

    1. Anchors that cross the image's true border take no part, unless ``border_anchors``. Anchors
       in the padding of the batch never take part.
    2. An anchor is positive if it has the highest IoU with some object, or an IoU of at least
       ``fg_iou_threshold`` with any object. It is negative if its IoU with every object is below
       ``bg_iou_threshold``. All other anchors are left out, and so are negatives that lie half or
       more inside a region to ignore.
    3. ``num_samples`` anchors are drawn, at most ``fg_fraction`` of them positive. The others are
       negative.
    4. Each positive anchor regresses onto the object with which its IoU is highest.

    Coordinates: yxyx pixels of the network's input. Padding rows of objects (label -1) match
    nothing. Padding rows of the result have weight 0. Gradient: none. Randomness: the draw depends
    on the image's seed and the anchors' ids alone.

    Args:
        fg_iou_threshold, bg_iou_threshold, num_samples, fg_fraction: see above. Defaults 0.7, 0.3,
            256, 0.5.
        border_anchors: whether anchors that cross the border take part. Default False.

    Call arguments:
        anchors: [N, 4] or [B, N, 4].
        gt_boxes: [B, G, 4].
        gt_labels: [B, G] int, -1 for padding.
        image_shape: [B, 2] true heights and widths.
        seed: int [B, 2], one seed per image; or [2], from which each row gets its own.
        valid: [B, N] bool, False for anchors in the padding of the batch. None: all are valid.
        ignore: [B, G] bool, rows that are regions to ignore. None: none.
        ids: int32 [N], numbers of the anchors that do not depend on the padding. None: their rows.

    Returns:
        Dict of ``indices`` [B, S] int32 (rows of ``anchors``), ``labels`` [B, S] int32 (1 object, 0
        background), ``deltas`` [B, S, 4] (0 but for objects) and ``weights`` [B, S] float32 (0 for
        padding).

    Differences from the paper: none.

    Reference: Ren et al. 2015, sections 3.1.2 and 3.1.3.
    """

    def __init__(
        self,
        fg_iou_threshold=0.7,
        bg_iou_threshold=0.3,
        num_samples=256,
        fg_fraction=0.5,
        border_anchors=False,
        **kwargs,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.fg_iou_threshold = fg_iou_threshold
        self.bg_iou_threshold = bg_iou_threshold
        self.num_samples = num_samples
        self.fg_fraction = fg_fraction
        self.border_anchors = border_anchors

    def assign(self, anchors, gt_boxes, gt_labels, image_shape, valid=None, ignore=None):
        """Applies rules 1 and 2 to all anchors, before sampling.

        Returns:
            ``(assignment [B, N], gt_index [B, N])`` as ``matching.assign`` gives them.
        """
        gt_valid = gt_labels >= 0
        if ignore is not None:
            ignore &= gt_valid
            gt_valid &= ~ignore
        eligible = (
            tf.ones([tf.shape(gt_boxes)[0], tf.shape(anchors)[-2]], tf.bool)
            if valid is None
            else valid
        )
        if not self.border_anchors:
            eligible &= box_ops.inside(anchors, image_shape)
        assignment, gt_index, _ = matching.assign(
            anchors,
            gt_boxes,
            gt_valid,
            fg_iou_threshold=self.fg_iou_threshold,
            bg_iou_threshold=self.bg_iou_threshold,
            force_best=True,
            eligible=eligible,
            ignore=ignore,
        )
        return assignment, gt_index

    def call(
        self, anchors, gt_boxes, gt_labels, image_shape, seed, valid=None, ignore=None, ids=None
    ):
        assignment, gt_index = self.assign(anchors, gt_boxes, gt_labels, image_shape, valid, ignore)
        keys = sampling.image_keys(seed, tf.shape(assignment)[0])
        indices, sampled = sampling.sample(
            assignment, self.num_samples, self.fg_fraction, keys, sampling.Purpose.ANCHORS, ids
        )
        positive = sampled & (
            tf.gather(assignment, indices, batch_dims=1) == int(matching.Assignment.POSITIVE)
        )
        matched_boxes = matching.gather(gt_boxes, tf.gather(gt_index, indices, batch_dims=1))
        deltas = box_ops.encode(box_ops.rows_of(anchors, indices), matched_boxes)
        return {
            "indices": indices,
            "labels": tf.cast(positive, tf.int32),
            "deltas": tf.stop_gradient(tf.where(positive[..., tf.newaxis], deltas, 0.0)),
            "weights": tf.cast(sampled, tf.float32),
        }

    def get_config(self):
        return {
            **super().get_config(),
            "fg_iou_threshold": self.fg_iou_threshold,
            "bg_iou_threshold": self.bg_iou_threshold,
            "num_samples": self.num_samples,
            "fg_fraction": self.fg_fraction,
            "border_anchors": self.border_anchors,
        }
