"""Which proposals the box head learns from, and what: a training-only step on the way."""

import keras
import tensorflow as tf

from keras_frcnn.ops import boxes as box_ops
from keras_frcnn.ops import matching


@keras.saving.register_keras_serializable("keras_frcnn")
class ProposalSampler(keras.layers.Layer):
    """Samples regions from the proposals and gives each its class and regression target.

    1. The true boxes join the proposals (``append_gt_boxes``), so that objects are seen from the
       first step on.
    2. Foreground: IoU >= ``fg_iou_threshold``. Background: IoU in [``bg_iou_threshold_low``,
       ``bg_iou_threshold``); half inside a region to ignore is neither.
    3. ``num_samples`` are drawn, at most ``fg_fraction`` of them foreground; background fills up.
    4. Foreground regresses onto its object of highest IoU; targets are divided by
       ``box_delta_std``.

    Coordinates: yxyx pixels of the network's input. Padding rows of proposals and objects are never
    drawn; padding rows of the result are zero boxes of weight 0. Gradient flows to the proposals
    from the rois and from the targets, which are relative to them: stop it before for approximate
    joint training. The choices themselves have none. Random by ``seed`` alone.

    Args:
        fg_iou_threshold, bg_iou_threshold, bg_iou_threshold_low: defaults 0.5, 0.5, 0.
        num_samples: regions an image. Default 128.
        fg_fraction: default 0.25.
        append_gt_boxes: default True.
        box_delta_std: divisors of (ty, tx, th, tw). Default (0.1, 0.1, 0.2, 0.2).

    Call arguments:
        proposals: [B, P, 4].
        valid: [B, P] bool.
        gt_boxes: [B, G, 4].
        gt_labels: [B, G] int, 0..C-1, -1 for padding.
        seed: [2] int32.
        ignore: [B, G] bool, rows that are regions to ignore. None: none.

    Returns:
        Dict of ``rois`` [B, R, 4], ``labels`` [B, R] int32 (0 background, c + 1 for class c),
        ``deltas`` [B, R, 4] (0 but for foreground) and ``weights`` [B, R] float32 (0 for padding).

    Differences from the paper: the lower background bound is 0, as in the released code's
    experiments; 0.1 can leave an image without any background.

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

    def call(self, proposals, valid, gt_boxes, gt_labels, seed, ignore=None):
        gt_valid = gt_labels >= 0
        if ignore is not None:
            ignore &= gt_valid
            gt_valid &= ~ignore
        if self.append_gt_boxes:
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
        indices, sampled = matching.sample(assignment, self.num_samples, self.fg_fraction, seed)
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
