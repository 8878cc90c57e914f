"""The second stage: it samples, pools, classifies and regresses the proposed regions."""

import keras
import tensorflow as tf

from keras_frcnn import layers
from keras_frcnn.models.rpn import mean_count
from keras_frcnn.ops import losses

# A region of this size is pooled from the level whose stride is 16 (Lin et al. 2017, equation 1).
_CANONICAL_SIZE, _CANONICAL_STRIDE = 224, 16


@keras.saving.register_keras_serializable("keras_frcnn")
class RoIHead(keras.layers.Layer):
    """Turns proposals into detections (Girshick 2015, Fast R-CNN).

    ``call`` pools each proposal's features, classifies it and regresses its box.
    ``compute_losses`` does the same on sampled proposals and computes the losses. With several
    feature levels each region is pooled from one of them, by its size. A model gives the head its
    strides and channels with ``build_for``.

    To change a loss, override ``classification_loss`` or ``box_loss``.

    Args:
        num_classes: C, without background.
        pooling: "max", the paper's quantised max pooling, or "align", RoIAlign.
        pool_size: cells per side of a pooled region. Default 7.
        sampling_ratio, half_pixel: see ``RoIAlign``. Defaults 2 and True.
        convolutions: widths of the box head's 3x3 convolutions. Default (): none.
        units: widths of the box head's dense layers. Default (4096, 4096).
        dropout: the share of units that is dropped after each of these in training. Default 0.5.
        head: a layer of your own in place of ``BoxHead``: called as ``head(pooled, seed)`` with
            pooled features [B, R, p, p, channels] and the images' keys [B, 2] (None in inference),
            it returns ``(class_logits [B, R, C + 1], box_deltas [B, R, C + 1, 4])`` with background
            as class 0. Default None: a ``BoxHead``, or the backbone's last stage if it has one.
        fg_iou_threshold, bg_iou_threshold, bg_iou_threshold_low, num_samples, fg_fraction,
            append_gt_boxes, box_delta_std: see ``ProposalSampler``. Defaults 0.5, 0.5, 0, 128,
            0.25, True and (0.1, 0.1, 0.2, 0.2).
        smooth_l1_beta: where the box loss turns linear. Default 1.
        class_agnostic_boxes: see ``BoxHead``. Default False.
        box_loss_type: "smooth_l1", the paper's loss of deltas, or "giou", the generalised IoU of
            boxes. Default "smooth_l1".
        box_loss_weight: factor of the box loss. Default 1.
        score_threshold, nms_iou_threshold, max_detections, soft_nms_sigma: see
            ``DetectionDecoder``. Defaults 0.05, 0.3, 100 and 0.

    Call arguments, by keyword:
        levels: list of ``FeatureLevel``.
        proposals: ``Proposals``.
        image_shape: [B, 2] true heights and widths.
        score_threshold: scalar that replaces the argument of the same name. Default None.

    Returns:
        Dict of ``boxes`` [B, K, 4], ``scores`` [B, K], ``labels`` [B, K] (-1 past the end) and
        ``num_detections`` [B]. Boxes are in pixels of the network's input.

    Differences from the paper: see the layers.
    """

    def __init__(
        self,
        num_classes,
        pooling="max",
        *,
        pool_size=7,
        sampling_ratio=2,
        half_pixel=True,
        convolutions=(),
        units=(4096, 4096),
        dropout=0.5,
        head=None,
        fg_iou_threshold=0.5,
        bg_iou_threshold=0.5,
        bg_iou_threshold_low=0.0,
        num_samples=128,
        fg_fraction=0.25,
        append_gt_boxes=True,
        box_delta_std=(0.1, 0.1, 0.2, 0.2),
        smooth_l1_beta=1.0,
        class_agnostic_boxes=False,
        box_loss_type="smooth_l1",
        box_loss_weight=1.0,
        score_threshold=0.05,
        nms_iou_threshold=0.3,
        max_detections=100,
        soft_nms_sigma=0.0,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        if pooling not in ("max", "align"):
            raise ValueError(f"pooling must be 'max' or 'align'. Received: {pooling!r}")
        if box_loss_type not in ("smooth_l1", "giou"):
            raise ValueError(
                f"box_loss_type must be 'smooth_l1' or 'giou'. Received: {box_loss_type!r}"
            )
        self._arguments = {
            "num_classes": num_classes,
            "pooling": pooling,
            "pool_size": pool_size,
            "sampling_ratio": sampling_ratio,
            "half_pixel": half_pixel,
            "convolutions": convolutions,
            "units": units,
            "dropout": dropout,
            "fg_iou_threshold": fg_iou_threshold,
            "bg_iou_threshold": bg_iou_threshold,
            "bg_iou_threshold_low": bg_iou_threshold_low,
            "num_samples": num_samples,
            "fg_fraction": fg_fraction,
            "append_gt_boxes": append_gt_boxes,
            "box_delta_std": box_delta_std,
            "smooth_l1_beta": smooth_l1_beta,
            "class_agnostic_boxes": class_agnostic_boxes,
            "box_loss_type": box_loss_type,
            "box_loss_weight": box_loss_weight,
            "score_threshold": score_threshold,
            "nms_iou_threshold": nms_iou_threshold,
            "max_detections": max_detections,
            "soft_nms_sigma": soft_nms_sigma,
        }
        self.num_classes = num_classes
        self.num_samples = num_samples
        self.smooth_l1_beta = smooth_l1_beta
        self.box_loss_type = box_loss_type
        self.box_loss_weight = box_loss_weight
        self.box_head = head
        self._has_own_head = head is not None
        self.proposal_sampler = layers.ProposalSampler(
            fg_iou_threshold,
            bg_iou_threshold,
            bg_iou_threshold_low,
            num_samples,
            fg_fraction,
            append_gt_boxes,
            box_delta_std,
        )
        self.detection_decoder = layers.DetectionDecoder(
            *(score_threshold, nms_iou_threshold, max_detections, box_delta_std),
            soft_nms_sigma=soft_nms_sigma,
        )
        self.poolings = []

    def build_for(self, backbone):
        """Makes the pooling and the weights for the levels of a backbone.

        Raises:
            ValueError: if the levels differ in channels.
        """
        if len(set(backbone.channels)) != 1:
            raise ValueError(
                "RoIHead pools from all levels, which must have the same number of channels. "
                f"Received: {backbone.channels}"
            )
        size = self._arguments["pool_size"]
        strides = backbone.strides[: backbone.num_roi_levels]
        self.poolings = [self._pooling(stride, len(strides) > 1) for stride in strides]
        if self.box_head is None:
            self.box_head = layers.BoxHead(
                self.num_classes,
                self._arguments["units"],
                self._arguments["dropout"],
                backbone.make_head(),
                self._arguments["convolutions"],
                self._arguments["class_agnostic_boxes"],
                dtype=self.dtype_policy,
                name="box_head",
            )
        if not self.box_head.built:
            self.box_head.build((None, None, size, size, backbone.channels[0]))
        self.built = True

    def _pooling(self, stride, is_one_of_several):
        size = self._arguments["pool_size"]
        if self._arguments["pooling"] == "align":
            return layers.RoIAlign(
                size,
                stride,
                self._arguments["sampling_ratio"],
                sparse_gradient=is_one_of_several,
                half_pixel=self._arguments["half_pixel"],
            )
        return layers.RoIPooling(size, stride)

    def pool(self, levels, rois):
        """Returns the pooled features [B, R, p, p, channels] of regions [B, R, 4].

        Of several levels, each pools as many regions as belong to it in any image. Their results
        are laid side by side, and each region takes its own from there.
        """
        levels = levels[: len(self.poolings)]
        if len(levels) == 1:
            return self.poolings[0](levels[0].features, rois, levels[0].shape)
        chosen = level_of(rois, [level.stride for level in levels])
        num_rois = tf.shape(rois)[1]
        order = tf.argsort(chosen, axis=1, stable=True)  # the regions of the finest level first
        is_of_level = chosen[..., tf.newaxis] == tf.range(len(levels))
        counts = tf.reduce_sum(tf.cast(is_of_level, tf.int32), axis=1)
        starts = tf.cumsum(counts, axis=1, exclusive=True)
        # XLA must know the number of regions before it sees one.
        use_xla = self.poolings[0].supports_jit
        widths = [num_rois] * len(levels) if use_xla else tf.unstack(tf.reduce_max(counts, axis=0))
        parts = []
        for number, (width, pooling, level) in enumerate(
            zip(widths, self.poolings, levels, strict=True)
        ):
            places = tf.minimum(starts[:, number, tf.newaxis] + tf.range(width), num_rois - 1)
            own = tf.gather(rois, tf.gather(order, places, batch_dims=1), batch_dims=1)
            # Where an image has fewer, zero boxes follow, whose features nothing reads.
            is_own = tf.range(width) < counts[:, number, tf.newaxis]
            own = tf.where(is_own[..., tf.newaxis], own, 0.0)
            parts.append(pooling(level.features, own, level.shape))
        shift = tf.cumsum(tf.stack(widths), exclusive=True) - starts
        place = tf.argsort(order, axis=1) + tf.gather(shift, chosen, batch_dims=1)
        return tf.gather(tf.concat(parts, axis=1), place, batch_dims=1)

    def classify(self, levels, rois, seed=None):
        """Classifies regions and regresses their boxes.

        Args:
            levels: list of ``FeatureLevel``.
            rois: [B, R, 4].
            seed: int32 [B, 2], the images' keys, which switches dropout on. None: no dropout.

        Returns:
            ``(class_logits [B, R, C + 1], box_deltas [B, R, C + 1, 4])``.
        """
        return self.box_head(self.pool(levels, rois), seed)

    def call(self, levels, proposals, image_shape, score_threshold=None):
        class_logits, box_deltas = self.classify(levels, proposals.boxes)
        return self.detection_decoder(
            *(proposals.boxes, proposals.valid, class_logits, box_deltas, image_shape),
            score_threshold=score_threshold,
        )

    def candidates(self, levels, proposals, image_shape):
        """Returns what enters suppression, for those who suppress elsewhere.

        Args:
            levels: list of ``FeatureLevel``.
            proposals: ``Proposals``.
            image_shape: [B, 2] true heights and widths.

        Returns:
            ``(boxes [B, R, C, 4], scores [B, R, C])``: a box and a score of each proposal for each
            class; score 0 for boxes that cannot be detected.
        """
        predictions = self.classify(levels, proposals.boxes)
        return self.detection_decoder.candidates(
            proposals.boxes, proposals.valid, *predictions, image_shape
        )

    def compute_losses(self, levels, proposals, targets, seed, training=True):
        """Computes the losses on regions sampled from the proposals (Fast R-CNN, section 2.3).

        Args:
            levels: list of ``FeatureLevel``.
            proposals: ``Proposals``.
            targets: dict of ``boxes`` [B, G, 4] in pixels of the network's input, ``labels`` [B, G]
                (-1: padding) and ``ignore`` [B, G] bool.
            seed: int32 [B, 2], the images' keys, which decide the samples and the dropout.
            training: whether dropout is on.

        Returns:
            Dict of scalars: ``roi_cls_loss``, ``roi_box_loss`` and ``roi_foreground``, the mean
            number of objects among an image's samples.
        """
        samples = self.proposal_sampler(
            proposals.boxes,
            proposals.valid,
            targets["boxes"],
            targets["labels"],
            seed,
            targets["ignore"],
            proposals.ids,
        )
        class_logits, box_deltas = self.classify(
            levels, samples["rois"], seed if training else None
        )
        foreground = samples["weights"] * tf.cast(samples["labels"] > 0, tf.float32)
        deltas = tf.gather(box_deltas, samples["labels"], batch_dims=2)
        return {
            "roi_cls_loss": self.classification_loss(
                class_logits, samples["labels"], samples["weights"]
            ),
            "roi_box_loss": self.box_loss(deltas, samples["deltas"], foreground),
            "roi_foreground": mean_count(foreground),
        }

    def classification_loss(self, logits, labels, weights):
        """Returns the loss of the classes, a scalar.

        Args:
            logits: [B, R, C + 1].
            labels: [B, R] int32, 0 for background and c + 1 for class c.
            weights: [B, R], 0 for padding.
        """
        return losses.classification_loss(logits, labels, weights, self.num_samples)

    def box_loss(self, deltas, target_deltas, weights):
        """Returns the loss of the boxes, a scalar.

        Args:
            deltas: [B, R, 4], of each region's own class.
            target_deltas: [B, R, 4].
            weights: [B, R], above 0 for objects only.
        """
        arguments = deltas, target_deltas, weights, self.num_samples
        if self.box_loss_type == "giou":
            loss = losses.giou_loss(*arguments, self._arguments["box_delta_std"])
        else:
            loss = losses.box_loss(*arguments, self.smooth_l1_beta)
        return loss * self.box_loss_weight

    def use_xla(self, enabled):
        """Chooses operations that XLA compiles, or those that are faster without it."""
        for layer in (*self.poolings, self.detection_decoder):
            layer.supports_jit = enabled

    def get_config(self):
        head = keras.saving.serialize_keras_object(self.box_head) if self._has_own_head else None
        return {**super().get_config(), **self._arguments, "head": head}

    @classmethod
    def from_config(cls, config):
        head = config.get("head") and keras.saving.deserialize_keras_object(config["head"])
        return cls(**{**config, "head": head})


def level_of(rois, strides):
    """Returns the level that each region is pooled from, by its size.

    A region of 224 pixels belongs to stride 16, one of half the size to half the stride, and so on
    to the finest and the coarsest level (Lin et al. 2017, equation 1).

    Args:
        rois: [B, R, 4].
        strides: of the levels, in rising order.

    Returns:
        [B, R] int32, indices of ``strides``.
    """
    height, width = rois[..., 2] - rois[..., 0], rois[..., 3] - rois[..., 1]
    size = tf.sqrt(tf.maximum(height, 0.0) * tf.maximum(width, 0.0))
    smallest = tf.constant(strides[1:], tf.float32) * (_CANONICAL_SIZE / _CANONICAL_STRIDE)
    return tf.reduce_sum(tf.cast(size[..., tf.newaxis] >= smallest, tf.int32), axis=-1)
