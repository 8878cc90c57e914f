"""Proposals: the best boxes of the RPN, after non-maximum suppression."""

import itertools

import keras
import tensorflow as tf

from keras_frcnn.ops import boxes as box_ops
from keras_frcnn.ops import nms, sampling


@keras.saving.register_keras_serializable("keras_frcnn")
class ProposalGenerator(keras.layers.Layer):
    """Turns scored and regressed anchors into the best few hundred boxes of each image.

    1. On each feature level, keep the ``pre_nms_top_k`` anchors of highest objectness, or random
       ones if not ``ranked``. Anchors that cross the border take part.
    2. Apply their deltas, if ``regressed``, and clip the boxes to the image.
    3. Drop boxes with a side below ``min_size`` or a score below ``score_threshold``.
    4. Suppress non-maxima on each level at ``nms_iou_threshold``, and keep the best
       ``post_nms_top_k`` boxes of all levels. Ties in score go to the earlier level.

    Coordinates: yxyx pixels of the network's input, float32 under every policy. If fewer boxes
    survive, the result is padded with zero boxes. Gradient: flows from the proposals to the deltas,
    not through the choice of boxes; stop it after this layer for approximate joint training.
    Randomness: none, unless not ``ranked``; equal logits then draw equal boxes.

    Args:
        pre_nms_top_k: number of anchors kept per level. Default 6000, the released code's value in
            test (12000 in training).
        post_nms_top_k: default 300, the paper's value in test (2000 in training).
        nms_iou_threshold: default 0.7.
        min_size: pixels of the *original* image, as in the released code. Default 0: keep all.
        score_threshold: smallest probability of an object. Default 0: keep all.
        on_cpu: suppress with a kernel that exists only for CPUs and is 2 to 3 times as fast there.
            Default False: a kernel that GPUs have too. The proposals are the same.
        supports_jit: suppress with operations that XLA compiles, which are slower without XLA. It
            takes precedence over ``on_cpu``. Default False. The proposals are the same.
        ranked: False draws the boxes at random and suppresses none. This is "no cls" in table 2 of
            the paper, which measures what the scores are worth. Default True.
        regressed: False takes the anchors as they are, "no reg" in the same table. Default True.

    Call arguments:
        objectness_logits: [B, N, 2], index 1 = object.
        deltas: [B, N, 4].
        anchors: [N, 4] or [B, N, 4].
        image_shape: [B, 2] true heights and widths.
        valid: [B, N] bool, False for anchors in the padding of the batch. None: all are valid.
        scale: [B, 2] resized size over original size, for ``min_size``. None: 1.
        level_sizes: the number of anchors of each feature level, a list that sums to N. None: one
            level.
        ids: int32 [N], numbers of the anchors that do not depend on the padding, for the random
            draw. None: their rows.

    Returns:
        ``(proposals [B, P, 4], scores [B, P], valid [B, P])``, best first. A score is the
        probability of an object.

    Differences from the paper: none. The released code drops small boxes before it keeps the best.
    Here they are dropped afterwards, which makes a difference only if there are more than
    ``pre_nms_top_k`` anchors.

    Reference: Ren et al. 2015, section 3.3, "Implementation details"; levels: Lin et al. 2017
    (Feature Pyramid Networks), section 4.1.
    """

    def __init__(
        self,
        pre_nms_top_k=6000,
        post_nms_top_k=300,
        nms_iou_threshold=0.7,
        min_size=0.0,
        score_threshold=0.0,
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
        self.score_threshold = score_threshold
        self.on_cpu = on_cpu
        self.supports_jit = supports_jit
        self.ranked = ranked
        self.regressed = regressed

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
        arguments = objectness_logits, deltas, anchors, image_shape, valid, scale, level_sizes, ids
        return self.choose(*arguments)[:3]

    def choose(
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
        """Returns the three results of a call, and for each proposal the row of its anchor [B, P]
        int32, 0 in the padding.
        """
        objectness_logits = tf.cast(objectness_logits, tf.float32)
        # The difference of the two logits orders boxes as the softmax does, without its saturation
        # at 1.
        objectness = objectness_logits[..., 1] - objectness_logits[..., 0]
        if not self.ranked:
            objectness = _noise_of(objectness_logits, ids)
        if not self.regressed:
            deltas = tf.zeros_like(deltas)
        if valid is not None:
            objectness = tf.where(valid, objectness, -tf.float32.max)
        smallest = tf.constant([self.min_size, self.min_size], tf.float32)
        if scale is not None:
            smallest *= tf.cast(scale, tf.float32)[:, tf.newaxis, :]
        arguments = (objectness, deltas, anchors)
        if level_sizes is None or len(level_sizes) == 1:
            found = self._best_of_level(*arguments, image_shape, smallest)
        else:
            splits = (
                tf.split(values, level_sizes, axis=axis, num=len(level_sizes))
                for values, axis in zip(arguments, (1, 1, -2), strict=True)
            )
            found = _best_of_levels(
                [
                    self._best_of_level(*level, image_shape, smallest)
                    for level in zip(*splits, strict=True)
                ],
                level_sizes,
                self.post_nms_top_k,
            )
        proposals, objectness, kept, rows = found
        return (
            tf.where(kept[..., tf.newaxis], proposals, 0.0),
            tf.where(kept, tf.sigmoid(objectness), 0.0),
            kept,
            tf.where(kept, rows, 0),
        )

    def _best_of_level(self, objectness, deltas, anchors, image_shape, smallest):
        """Returns boxes, objectness, validity and rows [B, P] of a level's best, the best first."""
        k = tf.minimum(self.pre_nms_top_k, tf.shape(objectness)[1])
        objectness, best = tf.math.top_k(objectness, k)
        boxes = box_ops.decode(
            box_ops.rows_of(anchors, best), tf.gather(deltas, best, batch_dims=1)
        )
        boxes = box_ops.clip(boxes, image_shape)
        usable = objectness > -tf.float32.max
        sides = boxes[..., 2:] - boxes[..., :2]
        if self.score_threshold > 0.0:
            usable &= tf.sigmoid(objectness) >= self.score_threshold
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
        boxes, objectness, rows = (
            tf.gather(values, picks, batch_dims=1) for values in (boxes, objectness, best)
        )
        return boxes, objectness, kept, rows

    def get_config(self):
        return {
            **super().get_config(),
            "pre_nms_top_k": self.pre_nms_top_k,
            "post_nms_top_k": self.post_nms_top_k,
            "nms_iou_threshold": self.nms_iou_threshold,
            "min_size": self.min_size,
            "score_threshold": self.score_threshold,
            "on_cpu": self.on_cpu,
            "supports_jit": self.supports_jit,
            "ranked": self.ranked,
            "regressed": self.regressed,
        }


def _best_of_levels(found, level_sizes, k):
    """Merges the survivors of several levels: the best ``k`` of all."""
    boxes, objectness, kept, rows = zip(*found, strict=True)
    starts = itertools.accumulate(level_sizes[:-1], initial=0)
    rows = [rows_of_level + start for rows_of_level, start in zip(rows, starts, strict=True)]
    values = boxes, objectness, kept, rows
    boxes, objectness, kept, rows = (tf.concat(one, axis=1) for one in values)
    objectness, best = tf.math.top_k(tf.where(kept, objectness, -tf.float32.max), k)
    boxes, kept, rows = (tf.gather(one, best, batch_dims=1) for one in (boxes, kept, rows))
    return boxes, objectness, kept, rows


def _noise_of(objectness_logits, ids):
    """Returns random numbers [B, N] that depend on each image's logits [B, N, 2] alone."""
    keys = tf.bitcast(objectness_logits[:, 0], tf.int32)
    ids = tf.range(tf.shape(objectness_logits)[1]) if ids is None else ids
    bits = sampling.random_bits(keys, ids, sampling.Purpose.ORDER)
    return tf.cast(bits, tf.float32) / 2**sampling.RANDOM_BITS
