"""Dense proposals: every anchor becomes a proposal, for one-stage detection."""

import keras
import tensorflow as tf

from keras_frcnn.ops import boxes as box_ops


@keras.saving.register_keras_serializable("keras_frcnn")
class DenseProposals(keras.layers.Layer):
    """Proposes every anchor, clipped to its image, so that the second stage works as the detector.

    Coordinates: yxyx pixels of the network's input, float32. Gradient: none. No randomness.

    Call arguments:
        objectness_logits, deltas, scale, level_sizes, ids: not used. They are here so that this
            layer can replace ``ProposalGenerator``.
        anchors: [N, 4] or [B, N, 4].
        image_shape: [B, 2] true heights and widths.
        valid: [B, N] bool, False for anchors in the padding of the batch. None: all are valid.

    Returns:
        ``(proposals [B, N, 4], scores [B, N], valid [B, N])`` in the order of the anchors. Scores
        are 1. Boxes and scores are 0 where not valid.

    Differences from the paper: its windows have the shapes of anchors but are not clipped.

    Reference: Ren et al. 2015, section 4.1, "One-Stage Detection vs. Two-Stage Proposal +
    Detection", after OverFeat.
    """

    supports_jit = True

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def call(
        self,
        objectness_logits,
        deltas,
        anchors,
        image_shape,
        valid=None,
        scale=None,
        level_sizes=None,
        ids=None,
    ):
        shape = [tf.shape(image_shape)[0], tf.shape(anchors)[-2], 4]
        boxes = box_ops.clip(tf.broadcast_to(anchors, shape), image_shape)
        usable = box_ops.area(boxes) > 0.0
        if valid is not None:
            usable &= valid
        return tf.where(usable[..., tf.newaxis], boxes, 0.0), tf.cast(usable, tf.float32), usable
