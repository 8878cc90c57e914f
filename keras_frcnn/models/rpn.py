"""The region proposal network: its head, anchors, targets, losses and proposals."""

from typing import NamedTuple

import keras
import tensorflow as tf

from keras_frcnn import layers
from keras_frcnn.models.anchors import Anchors, anchor_generators, joined, lay_anchors
from keras_frcnn.ops import boxes as box_ops
from keras_frcnn.ops import losses


class RPNPredictions(NamedTuple):
    """The network's predictions for all anchors, before any are dropped.

    Attributes:
        objectness_logits: [B, N, 2], index 1 = object.
        deltas: [B, N, 4].
        anchors: the ``Anchors``.
    """

    objectness_logits: tf.Tensor
    deltas: tf.Tensor
    anchors: Anchors

    def to_propose_from(self, image_shape, scale=None):
        """Returns the arguments of a ``ProposalGenerator``, from those of a call of the network."""
        anchors = self.anchors
        return (
            self.objectness_logits,
            self.deltas,
            anchors.boxes,
            image_shape,
            anchors.valid,
            scale,
            anchors.level_sizes,
            anchors.ids,
        )


class Proposals(NamedTuple):
    """Regions for the second stage.

    Attributes:
        boxes: [B, P, 4], yxyx pixels of the network's input, best first, 0 where not valid.
        scores: [B, P], 0 where not valid.
        valid: [B, P] bool.
        ids: [P] int32, numbers of the proposals that do not depend on the padding. None: their
            rows.
    """

    boxes: tf.Tensor
    scores: tf.Tensor
    valid: tf.Tensor
    ids: tf.Tensor | None = None

    @classmethod
    def of_inputs(cls, inputs):
        """Returns the proposals that came with a batch: ``proposals`` [B, P, 4], where boxes
        without area are not valid, and optional ``proposal_scores`` [B, P], 0 by default.
        """
        boxes = tf.cast(inputs["proposals"], tf.float32)
        valid = box_ops.area(boxes) > 0.0
        scores = tf.cast(inputs.get("proposal_scores", tf.zeros(tf.shape(valid))), tf.float32)
        return cls(
            tf.where(valid[..., tf.newaxis], boxes, 0.0), tf.where(valid, scores, 0.0), valid
        )


@keras.saving.register_keras_serializable("keras_frcnn")
class RegionProposalNetwork(keras.layers.Layer):
    """Proposes regions that may hold an object (Ren et al. 2015, section 3.1).

    ``call`` turns feature levels into proposals. ``compute_losses`` computes the losses of the same
    predictions on sampled anchors. Both start from ``predict``, which a training step runs once.
    The head is shared by all levels. A model gives the network its strides and channels with
    ``build_for``.

    To change a loss, override ``classification_loss`` or ``box_loss``.

    Args:
        scales: square roots of the anchors' areas in pixels, the same for every level; or one list
            of scales per level. Default (128, 256, 512).
        ratios: heights over widths of the anchors. Default (0.5, 1, 2).
        channels: width of the head's 3x3 convolution. Default None: what the backbone asks for.
        anchor_offset, anchor_rounding: ``offset`` and ``rounding`` of ``AnchorGenerator``. Defaults
            0.5 and False.
        anchor_stride: "level", or "map" for strides that are measured; see ``lay_anchors``.
        num_convolutions: number of such convolutions. Default 1.
        fg_iou_threshold, bg_iou_threshold, num_samples, fg_fraction, border_anchors: see
            ``AnchorTargetAssigner``. Defaults 0.7, 0.3, 256, 0.5, False.
        nms_iou_threshold, min_size, score_threshold: see ``ProposalGenerator``. Defaults 0.7, 16
            and 0.
        train_pre_nms_top_k, train_post_nms_top_k: boxes before and after suppression in training.
            Defaults 12000 and 2000.
        test_pre_nms_top_k, test_post_nms_top_k: the same in test. Defaults 6000 and 300.
        test_ranked, test_regressed: see ``ProposalGenerator``; in test only. Default True.
        train_dense, test_dense: take all anchors as proposals. Default False.
        smooth_l1_beta: where the box loss turns linear. Default 1 / 9.
        box_loss_weight: lambda of the paper's equation 1. Default 1.
        box_normalizer: what the box loss is divided by: "samples", ``num_samples`` as in the
            released code, or "positions", the number of the image's cells as in the paper.

    Call arguments, by keyword:
        levels: list of ``FeatureLevel``.
        image_shape: [B, 2] true heights and widths.
        scale: [B, 2] resized size over original size, for ``min_size``. None: 1.
        training: whether to give the many proposals that training samples from.

    Returns:
        ``Proposals``.

    Differences from the paper: see the layers.
    """

    def __init__(
        self,
        scales=(128.0, 256.0, 512.0),
        ratios=(0.5, 1.0, 2.0),
        channels=None,
        *,
        anchor_offset=0.5,
        anchor_rounding=False,
        anchor_stride="level",
        num_convolutions=1,
        fg_iou_threshold=0.7,
        bg_iou_threshold=0.3,
        num_samples=256,
        fg_fraction=0.5,
        border_anchors=False,
        nms_iou_threshold=0.7,
        min_size=16.0,
        score_threshold=0.0,
        train_pre_nms_top_k=12000,
        train_post_nms_top_k=2000,
        test_pre_nms_top_k=6000,
        test_post_nms_top_k=300,
        test_ranked=True,
        test_regressed=True,
        train_dense=False,
        test_dense=False,
        smooth_l1_beta=1 / 9,
        box_loss_weight=1.0,
        box_normalizer="samples",
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        if anchor_stride not in ("level", "map"):
            raise ValueError(f"anchor_stride must be 'level' or 'map'. Received: {anchor_stride!r}")
        if box_normalizer not in ("samples", "positions"):
            raise ValueError(
                f"box_normalizer must be 'samples' or 'positions'. Received: {box_normalizer!r}"
            )
        self._arguments = {
            "scales": scales,
            "ratios": ratios,
            "channels": channels,
            "anchor_offset": anchor_offset,
            "anchor_rounding": anchor_rounding,
            "anchor_stride": anchor_stride,
            "num_convolutions": num_convolutions,
            "fg_iou_threshold": fg_iou_threshold,
            "bg_iou_threshold": bg_iou_threshold,
            "num_samples": num_samples,
            "fg_fraction": fg_fraction,
            "border_anchors": border_anchors,
            "nms_iou_threshold": nms_iou_threshold,
            "min_size": min_size,
            "score_threshold": score_threshold,
            "train_pre_nms_top_k": train_pre_nms_top_k,
            "train_post_nms_top_k": train_post_nms_top_k,
            "test_pre_nms_top_k": test_pre_nms_top_k,
            "test_post_nms_top_k": test_post_nms_top_k,
            "test_ranked": test_ranked,
            "test_regressed": test_regressed,
            "train_dense": train_dense,
            "test_dense": test_dense,
            "smooth_l1_beta": smooth_l1_beta,
            "box_loss_weight": box_loss_weight,
            "box_normalizer": box_normalizer,
        }
        self.channels = channels
        self.num_samples = num_samples
        self.smooth_l1_beta = smooth_l1_beta
        self.box_loss_weight = box_loss_weight
        self.box_normalizer = box_normalizer
        self.target_assigner = layers.AnchorTargetAssigner(
            fg_iou_threshold, bg_iou_threshold, num_samples, fg_fraction, border_anchors
        )

        def generator(dense, pre_nms_top_k, post_nms_top_k, **options):
            if dense:
                return layers.DenseProposals()
            arguments = pre_nms_top_k, post_nms_top_k, nms_iou_threshold, min_size
            return layers.ProposalGenerator(*arguments, score_threshold, **options)

        # Training takes the faster kernel where there is no GPU. Test does not: it has few
        # proposals, and it is exported to machines that may have one.
        self.train_generator = generator(
            train_dense,
            train_pre_nms_top_k,
            train_post_nms_top_k,
            on_cpu=not tf.config.list_physical_devices("GPU"),
        )
        self.test_generator = generator(
            test_dense,
            test_pre_nms_top_k,
            test_post_nms_top_k,
            ranked=test_ranked,
            regressed=test_regressed,
        )
        self.anchor_generators, self.head = [], None

    def build_for(self, backbone):
        """Makes the anchors and the weights for the levels of a backbone.

        Raises:
            ValueError: if the scales do not fit the levels, or the levels differ in channels.
        """
        if len(set(backbone.channels)) != 1:
            raise ValueError(
                "The RPN's head is shared by all levels, which must have the same number of "
                f"channels. Received: {backbone.channels}"
            )
        self.anchor_generators = anchor_generators(
            self._arguments["scales"],
            self._arguments["ratios"],
            backbone.strides,
            offset=self._arguments["anchor_offset"],
            rounding=self._arguments["anchor_rounding"],
        )
        self.head = layers.RPNHead(
            self.anchor_generators[0].num_anchors,
            self.channels or backbone.rpn_channels,
            self._arguments["num_convolutions"],
            dtype=self.dtype_policy,
            name="rpn_head",
        )
        self.head.build((None, None, None, backbone.channels[0]))
        self.head.trainable = self.trainable
        self.built = True

    def predict(self, levels):
        """Returns ``RPNPredictions`` of a list of ``FeatureLevel``."""
        answers = (self.head(level.features, level.shape) for level in levels)
        logits, deltas = zip(*answers, strict=True)
        measured = self._arguments["anchor_stride"] == "map"
        anchors = lay_anchors(self.anchor_generators, levels, measured)
        return RPNPredictions(joined(logits, axis=1), joined(deltas, axis=1), anchors)

    def propose(self, predictions, image_shape, scale=None, training=False):
        """Turns ``RPNPredictions`` into ``Proposals``; the other arguments are those of a call."""
        generator = self.train_generator if training else self.test_generator
        proposals = generator(*predictions.to_propose_from(image_shape, scale))
        is_dense = isinstance(generator, layers.DenseProposals)
        return Proposals(*proposals, predictions.anchors.ids if is_dense else None)

    def call(self, levels, image_shape, scale=None, training=False):
        return self.propose(self.predict(levels), image_shape, scale, training)

    def compute_losses(self, predictions, image_shape, targets, seed):
        """Computes the losses of predictions on sampled anchors (Ren et al. 2015, section 3.1.2).

        Args:
            predictions: ``RPNPredictions``.
            image_shape: [B, 2] true heights and widths.
            targets: dict of ``boxes`` [B, G, 4] in pixels of the network's input, ``labels`` [B, G]
                (-1: padding) and ``ignore`` [B, G] bool.
            seed: int32 [B, 2], the images' keys, which decide the samples.

        Returns:
            Dict of scalars: ``rpn_cls_loss``, ``rpn_box_loss`` and ``rpn_foreground``, the mean
            number of objects among an image's samples.
        """
        anchors = predictions.anchors
        samples = self.target_assigner(
            anchors.boxes,
            targets["boxes"],
            targets["labels"],
            image_shape,
            seed,
            anchors.valid,
            targets["ignore"],
            anchors.ids,
        )
        foreground = samples["weights"] * tf.cast(samples["labels"] > 0, tf.float32)
        box_weights = foreground
        if self.box_normalizer == "positions":
            # Each image's own cells, however it is padded.
            box_weights = foreground / tf.cast(anchors.num_positions, tf.float32)
        logits = tf.gather(predictions.objectness_logits, samples["indices"], batch_dims=1)
        deltas = tf.gather(predictions.deltas, samples["indices"], batch_dims=1)
        return {
            "rpn_cls_loss": self.classification_loss(logits, samples["labels"], samples["weights"]),
            "rpn_box_loss": self.box_loss(deltas, samples["deltas"], box_weights),
            "rpn_foreground": mean_count(foreground),
        }

    def classification_loss(self, logits, labels, weights):
        """Returns the loss of objectness, a scalar.

        Args:
            logits: [B, S, 2].
            labels: [B, S] int32, 1 for an object and 0 for background.
            weights: [B, S], 0 for padding.
        """
        return losses.classification_loss(logits, labels, weights, self.num_samples)

    def box_loss(self, deltas, target_deltas, weights):
        """Returns the weighted loss of the boxes, a scalar.

        Args:
            deltas: [B, S, 4].
            target_deltas: [B, S, 4].
            weights: [B, S], above 0 for objects only; with ``box_normalizer="positions"`` already
                divided by the number of positions.
        """
        normalizer = self.num_samples if self.box_normalizer == "samples" else 1
        return self.box_loss_weight * losses.box_loss(
            deltas, target_deltas, weights, normalizer, self.smooth_l1_beta
        )

    def use_xla(self, enabled):
        """Chooses operations that XLA compiles, or those that are faster without it."""
        self.train_generator.supports_jit = self.test_generator.supports_jit = enabled

    def get_config(self):
        return {**super().get_config(), **self._arguments}


def mean_count(foreground):
    """Returns the mean number of objects among an image's samples, of weights [B, S]."""
    return tf.reduce_sum(foreground) / tf.cast(tf.shape(foreground)[0], tf.float32)
