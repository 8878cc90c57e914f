"""Proposals from the RPN's output: step 4 of the way."""

import functools

import keras
import tensorflow as tf

from keras_frcnn.ops import boxes as box_ops
from keras_frcnn.ops import nms


@keras.saving.register_keras_serializable("keras_frcnn")
class ProposalGenerator(keras.layers.Layer):
    """Turns scored, regressed anchors into the best few hundred boxes of each image.

    1. Keep the ``pre_nms_top_k`` anchors of highest objectness, or any if not ``ranked``. Anchors
       that cross the border take part.
    2. Apply their deltas if ``regressed`` and clip the boxes to the image.
    3. Drop boxes with a side below ``min_size``.
    4. Non-maximum suppression at ``nms_iou_threshold``; keep the best ``post_nms_top_k``.

    Coordinates: yxyx pixels of the network's input, float32 under every policy. Where fewer boxes
    survive the result is padded with zero boxes. Gradient flows from the proposals to the deltas
    (the picks themselves have none): stop it outside for approximate joint training. Randomness:
    none, but if not ``ranked``; then equal logits draw equal boxes.

    Args:
        pre_nms_top_k: default 6000, the released code's value in test (12000 in training).
        post_nms_top_k: default 300, the paper's value in test (2000 in training).
        nms_iou_threshold: default 0.7.
        min_size: pixels of the *original* image, as in the released code. Default 0: keep all.
        on_cpu: suppress by a kernel that exists for processors only, there 2 to 3 times as fast.
            Default False: by one that GPUs have too.
        supports_jit: suppress by operations that XLA compiles, which take longer without it; goes
            before ``on_cpu``. Default False. Neither changes a proposal.
        ranked: False draws the boxes at random and suppresses none: the paper's "no cls" (table 2),
            which asks what the scores are worth. Default True.
        regressed: False takes the anchors as they are: its "no reg". Default True.

    Call arguments:
        objectness_logits: [B, N, 2], index 1 = object.
        deltas: [B, N, 4].
        anchors: [N, 4].
        image_shape: [B, 2] true heights and widths.
        valid: [B, N] bool, False for anchors of the batch's padding. None: all are true.
        scale: [B, 2] resized size over original size, for ``min_size``. None: 1.

    Returns:
        ``(proposals [B, P, 4], scores [B, P], valid [B, P])``, best first. A score is the object's
        probability.

    Differences from the paper: none. The released code drops small boxes before it keeps the best;
    here that is done after, on the kept ones, which matters only where more than ``pre_nms_top_k``
    anchors exist.

    Reference: Ren et al. 2015, section 3.3, "Implementation details".
    """

    def __init__(
        self,
        pre_nms_top_k=6000,
        post_nms_top_k=300,
        nms_iou_threshold=0.7,
        min_size=0.0,
        on_cpu=False,
        supports_jit=False,
        ranked=True,
        regressed=True,
        **kwargs,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.pre_nms_top_k = pre_nms_top_k
        self.post_nms_top_k = post_nms_top_k
        self.nms_iou_threshold = nms_iou_threshold
        self.min_size = min_size
        self.on_cpu = on_cpu
        self.supports_jit = supports_jit
        self.ranked = ranked
        self.regressed = regressed

    def call(self, objectness_logits, deltas, anchors, image_shape, valid=None, scale=None):
        objectness_logits = tf.cast(objectness_logits, tf.float32)
        # The difference of the two logits orders boxes as the softmax does, without its saturation
        # at 1.
        objectness = objectness_logits[..., 1] - objectness_logits[..., 0]
        if not self.ranked:
            objectness = _noise_of(objectness_logits)
        if not self.regressed:
            deltas = tf.zeros_like(deltas)
        if valid is not None:
            objectness = tf.where(valid, objectness, -tf.float32.max)
        k = tf.minimum(self.pre_nms_top_k, tf.shape(objectness)[1])
        objectness, best = tf.math.top_k(objectness, k)
        boxes = box_ops.decode(tf.gather(anchors, best), tf.gather(deltas, best, batch_dims=1))
        boxes = box_ops.clip(boxes, image_shape)

        usable = objectness > -tf.float32.max
        sides = boxes[..., 2:] - boxes[..., :2]
        smallest = tf.constant([self.min_size, self.min_size], tf.float32)
        if scale is not None:
            smallest *= tf.cast(scale, tf.float32)[:, tf.newaxis, :]
        usable &= tf.reduce_all((sides >= smallest) & (sides > 0.0), axis=-1)

        picks, kept = nms.suppress(
            tf.stop_gradient(boxes),
            objectness,
            usable,
            self.post_nms_top_k,
            self.nms_iou_threshold if self.ranked else 1.0,
            on_cpu=self.on_cpu,
            supports_jit=self.supports_jit,
        )
        proposals = tf.gather(boxes, picks, batch_dims=1)
        scores = tf.sigmoid(tf.gather(objectness, picks, batch_dims=1))
        return tf.where(kept[..., tf.newaxis], proposals, 0.0), tf.where(kept, scores, 0.0), kept

    def get_config(self):
        return {
            **super().get_config(),
            "pre_nms_top_k": self.pre_nms_top_k,
            "post_nms_top_k": self.post_nms_top_k,
            "nms_iou_threshold": self.nms_iou_threshold,
            "min_size": self.min_size,
            "on_cpu": self.on_cpu,
            "supports_jit": self.supports_jit,
            "ranked": self.ranked,
            "regressed": self.regressed,
        }


def _noise_of(objectness_logits):
    """Uniform numbers [B, N] that are a function of each image's logits [B, N, 2] alone."""
    seeds = tf.bitcast(objectness_logits[:, 0], tf.int32)
    shape = tf.shape(objectness_logits)[1:2]
    draw = functools.partial(tf.random.stateless_uniform, shape)
    return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec([None], tf.float32))
