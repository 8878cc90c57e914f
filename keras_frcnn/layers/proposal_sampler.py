"""RoI targets: which proposals the box head learns from, and what it learns from them."""

import keras
import tensorflow as tf

from keras_frcnn.ops import boxes as box_ops
from keras_frcnn.ops import matching, sampling

# Objects are numbered apart from the proposals, whose number differs between batches.
_FIRST_OBJECT_ID = 2**30


@keras.saving.register_keras_serializable("keras_frcnn")
class ProposalSampler(keras.layers.Layer):
    """Samples RoIs from the proposals and gives each its class and regression target.

    1. The true boxes join the proposals (``append_gt_boxes``), so that the head sees objects from
       the first step on.
    2. A proposal is foreground if its best IoU is at least ``fg_iou_threshold``. It is background
       if its best IoU is in [``bg_iou_threshold_low``, ``bg_iou_threshold``), unless half of it or
       more lies in a region to ignore.
    3. ``num_samples`` RoIs are drawn, at most ``fg_fraction`` of them foreground. The others are
       background.
    4. Each foreground RoI regresses onto the object with which its IoU is highest. Targets are
       divided by ``box_delta_std``.

    Coordinates: yxyx pixels of the network's input. Padding rows of proposals and objects are never
    drawn. Padding rows of the result are zero boxes of weight 0. Gradient: flows to the proposals
    from the rois and from the targets, which are relative to them; stop it before this layer for
    approximate joint training. The choices themselves have no gradient. Randomness: the draw
    depends on the image's seed and the proposals' ids alone.

    Args:
        fg_iou_threshold, bg_iou_threshold, bg_iou_threshold_low: defaults 0.5, 0.5, 0.
        num_samples: RoIs per image. Default 128.
        fg_fraction: default 0.25.
        append_gt_boxes: default True.
        box_delta_std: divisors of (ty, tx, th, tw). Default (0.1, 0.1, 0.2, 0.2).

    Call arguments:
        proposals: [B, P, 4].
        valid: [B, P] bool.
        gt_boxes: [B, G, 4].
        gt_labels: [B, G] int, 0..C-1, -1 for padding.
        seed: int [B, 2], one seed per image; or [2], from which each row gets its own.
        ignore: [B, G] bool, rows that are regions to ignore. None: none.
        ids: int32 [P], numbers of the proposals that do not depend on the padding. None: their
            rows.

    Returns:
        Dict of ``rois`` [B, R, 4], ``labels`` [B, R] int32 (0 background, c + 1 for class c),
        ``deltas`` [B, R, 4] (0 but for foreground) and ``weights`` [B, R] float32 (0 for padding).

    Differences from the paper: the lower bound of background is 0, as in the released code's
    experiments. With 0.1 an image can be left without any background.

    Reference: Girshick 2015 (Fast R-CNN), section 2.3.
    """

    def __init__(
        self,
        fg_iou_threshold=0.5,
        bg_iou_threshold=0.5,
        bg_iou_threshold_low=0.0,
        num_samples=128,
        fg_fraction=0.25,
        append_gt_boxes=True,
        box_delta_std=(0.1, 0.1, 0.2, 0.2),
        **kwargs,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.fg_iou_threshold = fg_iou_threshold
        self.bg_iou_threshold = bg_iou_threshold
        self.bg_iou_threshold_low = bg_iou_threshold_low
        self.num_samples = num_samples
        self.fg_fraction = fg_fraction
        self.append_gt_boxes = append_gt_boxes
        self.box_delta_std = tuple(box_delta_std)

    def call(self, proposals, valid, gt_boxes, gt_labels, seed, ignore=None, ids=None):
        gt_valid = gt_labels >= 0
        if ignore is not None:
            ignore &= gt_valid
            gt_valid &= ~ignore
        ids = tf.range(tf.shape(proposals)[1]) if ids is None else ids
        if self.append_gt_boxes:
            ids = tf.concat([ids, _FIRST_OBJECT_ID + tf.range(tf.shape(gt_boxes)[1])], axis=0)
            proposals = tf.concat([proposals, tf.cast(gt_boxes, tf.float32)], axis=1)
            valid = tf.concat([valid, gt_valid & (box_ops.area(gt_boxes) > 0.0)], axis=1)
        assignment, gt_index, _ = matching.assign(
            tf.stop_gradient(proposals),
            gt_boxes,
            gt_valid,
            fg_iou_threshold=self.fg_iou_threshold,
            bg_iou_threshold=self.bg_iou_threshold,
            bg_iou_threshold_low=self.bg_iou_threshold_low,
            eligible=valid,
            ignore=ignore,
        )
        keys = sampling.image_keys(seed, tf.shape(assignment)[0])
        indices, sampled = sampling.sample(
            assignment, self.num_samples, self.fg_fraction, keys, sampling.Purpose.ROIS, ids
        )
        foreground = sampled & (
            tf.gather(assignment, indices, batch_dims=1) == int(matching.Assignment.POSITIVE)
        )
        rois = tf.where(sampled[..., tf.newaxis], tf.gather(proposals, indices, batch_dims=1), 0.0)
        matched = tf.gather(gt_index, indices, batch_dims=1)
        labels = tf.cast(matching.gather(gt_labels, matched), tf.int32) + 1
        deltas = box_ops.encode(rois, matching.gather(gt_boxes, matched), self.box_delta_std)
        return {
            "rois": rois,
            "labels": tf.where(foreground, labels, 0),
            "deltas": tf.where(foreground[..., tf.newaxis], deltas, 0.0),
            "weights": tf.cast(sampled, tf.float32),
        }

    def get_config(self):
        return {
            **super().get_config(),
            "fg_iou_threshold": self.fg_iou_threshold,
            "bg_iou_threshold": self.bg_iou_threshold,
            "bg_iou_threshold_low": self.bg_iou_threshold_low,
            "num_samples": self.num_samples,
            "fg_fraction": self.fg_fraction,
            "append_gt_boxes": self.append_gt_boxes,
            "box_delta_std": self.box_delta_std,
        }
