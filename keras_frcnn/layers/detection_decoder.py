"""Detections: the box head's output, decoded and suppressed class by class."""

import keras
import tensorflow as tf

from keras_frcnn.ops import boxes as box_ops
from keras_frcnn.ops import nms


@keras.saving.register_keras_serializable("keras_frcnn")
class DetectionDecoder(keras.layers.Layer):
    """Turns class logits and per-class deltas into the detections of each image.

    1. Take the softmax over all classes with background, and drop the column of background.
    2. Move each RoI by its deltas for each class, clip the boxes to the image, and drop boxes that
       have no area left.
    3. Within each class, drop scores up to ``score_threshold`` and suppress at
       ``nms_iou_threshold``, or lower the scores of overlapping boxes if ``soft_nms_sigma`` is
       given.
    4. Keep the best ``max_detections`` of all classes. Ties in score go to the lower class, then to
       the lower RoI. An RoI may be detected as several classes.

    Coordinates: yxyx pixels of the network's input, float32 under every policy. Padding RoIs give
    no detection. Rows past ``num_detections`` have zero boxes and scores and label -1. Gradient:
    not meant to be used. Randomness: none.

    Args:
        score_threshold: only scores above this are kept. Default 0.05.
        nms_iou_threshold: IoU above which the worse box of a class is dropped. Default 0.3.
        max_detections: detections per image, of all classes together. Default 100.
        box_delta_std: the divisors of the training targets. Default (0.1, 0.1, 0.2, 0.2).
        soft_nms_sigma: if above 0, Soft-NMS with this sigma replaces the suppression at
            ``nms_iou_threshold``. Default 0.
        supports_jit: suppress with operations that XLA compiles. Default False: on the CPU, which
            is faster without XLA, even beside a GPU. The detections are the same.

    Call arguments:
        rois: [B, R, 4].
        valid: [B, R] bool.
        class_logits: [B, R, C + 1], class 0 = background.
        box_deltas: [B, R, C + 1, 4].
        image_shape: [B, 2] true heights and widths.
        score_threshold: scalar that replaces the argument of the same name. Default None.

    Returns:
        Dict of ``boxes`` [B, K, 4], ``scores`` [B, K], ``labels`` [B, K] int32 in 0..C-1 and
        ``num_detections`` [B] int32, best first.

    Differences from the paper: none, except that ``soft_nms_sigma`` is new.

    Reference: Girshick 2015 (Fast R-CNN), section 3; Bodla et al. 2017 (Soft-NMS), section 3.
    """

    def __init__(
        self,
        score_threshold=0.05,
        nms_iou_threshold=0.3,
        max_detections=100,
        box_delta_std=(0.1, 0.1, 0.2, 0.2),
        supports_jit=False,
        soft_nms_sigma=0.0,
        **kwargs,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.score_threshold = score_threshold
        self.nms_iou_threshold = nms_iou_threshold
        self.max_detections = max_detections
        self.box_delta_std = tuple(box_delta_std)
        self.supports_jit = supports_jit
        self.soft_nms_sigma = soft_nms_sigma

    def call(self, rois, valid, class_logits, box_deltas, image_shape, score_threshold=None):
        boxes, scores = self.candidates(rois, valid, class_logits, box_deltas, image_shape)
        boxes, scores, labels, counts = nms.suppress_per_class(
            boxes,
            scores,
            self.max_detections,
            self.nms_iou_threshold,
            self.score_threshold if score_threshold is None else score_threshold,
            soft_sigma=self.soft_nms_sigma,
            supports_jit=self.supports_jit,
        )
        return {"boxes": boxes, "scores": scores, "labels": labels, "num_detections": counts}

    def candidates(self, rois, valid, class_logits, box_deltas, image_shape):
        """Returns what enters suppression: ``(boxes [B, R, C, 4], scores [B, R, C])``, score 0 for
        boxes that cannot be detected. The arguments are those of a call.
        """
        deltas = tf.transpose(box_deltas[:, :, 1:, :], [0, 2, 1, 3])
        boxes = box_ops.decode(rois[:, tf.newaxis], deltas, self.box_delta_std)  # [B, C, R, 4]
        boxes = box_ops.clip(boxes, tf.cast(image_shape, tf.float32)[:, tf.newaxis])
        boxes = tf.transpose(boxes, [0, 2, 1, 3])
        scores = tf.nn.softmax(tf.cast(class_logits, tf.float32))[..., 1:]
        usable = valid[..., tf.newaxis] & (box_ops.area(boxes) > 0.0)  # False for NaN too
        return boxes, tf.where(usable, scores, 0.0)

    def get_config(self):
        return {
            **super().get_config(),
            "score_threshold": self.score_threshold,
            "nms_iou_threshold": self.nms_iou_threshold,
            "max_detections": self.max_detections,
            "box_delta_std": self.box_delta_std,
            "supports_jit": self.supports_jit,
            "soft_nms_sigma": self.soft_nms_sigma,
        }
