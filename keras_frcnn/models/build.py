"""Makes the detector's parts from a ``Config``: which setting is which argument."""

import keras
import tensorflow as tf

from keras_frcnn import layers
from keras_frcnn.backbones.backbone import Backbone
from keras_frcnn.config import Config
from keras_frcnn.ops import boxes as box_ops


def dtype_policy(config: Config) -> keras.DTypePolicy:
    """The policy of layers with weights; an unresolved 'auto' is float32, which works anywhere."""
    name = "float32" if config.precision == "auto" else config.precision
    return keras.dtype_policies.get(name)


def backbone(config: Config) -> Backbone:
    """The convolutions, with the first blocks frozen."""
    return Backbone(config.backbone, config.resolved_frozen_blocks, dtype=dtype_policy(config))


def rpn_head(config: Config, num_anchors: int, channels: int) -> layers.RPNHead:
    """The RPN's own layers, on a backbone that asks for ``channels`` of them."""
    return layers.RPNHead(num_anchors, channels, dtype=dtype_policy(config), name="rpn_head")


def box_head(config: Config, num_classes: int, backbone: Backbone) -> layers.BoxHead:
    """The head that classifies regions, with the backbone's last stage where it has one to give."""
    return layers.BoxHead(
        num_classes,
        config.head_units,
        config.head_dropout,
        backbone.make_head and backbone.make_head(),
        dtype=dtype_policy(config),
        name="box_head",
    )


def anchor_generator(config: Config, stride: int) -> layers.AnchorGenerator:
    """Anchors of the settings' scales and ratios."""
    return layers.AnchorGenerator(config.scales, config.ratios, stride)


def anchor_valid(features: tf.Tensor, feature_shape: tf.Tensor, num_anchors: int) -> tf.Tensor:
    """Returns [B, N] bool: which anchors are of an image's own cells, not of its padding."""
    shape = tf.shape(features)
    rows = tf.range(shape[1]) < feature_shape[:, :1]
    columns = tf.range(shape[2]) < feature_shape[:, 1:]
    cells = tf.reshape(rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :], [shape[0], -1])
    return tf.repeat(cells, num_anchors, axis=1)


def anchor_target_assigner(config: Config) -> layers.AnchorTargetAssigner:
    """Targets of the RPN, by the ``rpn_...`` settings."""
    return layers.AnchorTargetAssigner(
        fg_iou_threshold=config.rpn_fg_iou_threshold,
        bg_iou_threshold=config.rpn_bg_iou_threshold,
        num_samples=config.rpn_num_samples,
        fg_fraction=config.rpn_fg_fraction,
        border_anchors=config.rpn_border_anchors,
    )


def proposal_generator(
    config: Config, training: bool
) -> layers.ProposalGenerator | layers.DenseProposals:
    """Proposals, many to sample from in training, few to classify in test.

    On a machine without a GPU training takes the processor's own kernel. Test does not: its
    proposals are few, and it is exported, to machines that may have one.
    """
    if (config.train_proposals if training else config.test_proposals) == "dense":
        return layers.DenseProposals()
    return layers.ProposalGenerator(
        pre_nms_top_k=config.train_pre_nms_top_k if training else config.test_pre_nms_top_k,
        post_nms_top_k=config.train_post_nms_top_k if training else config.test_post_nms_top_k,
        nms_iou_threshold=config.rpn_nms_iou_threshold,
        min_size=config.min_size,
        on_cpu=training and not tf.config.list_physical_devices("GPU"),
        ranked=training or config.test_ranked_proposals,
        regressed=training or config.test_regressed_proposals,
    )


def given_proposals(inputs: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Proposals that came with a batch, in the form in which ``ProposalGenerator`` gives its own.

    Args:
        inputs: ``proposals`` [B, P, 4], boxes without area past the end; optional
            ``proposal_scores`` [B, P].

    Returns:
        ``(proposals [B, P, 4], scores [B, P], valid [B, P])``; scores are 0 where none were given.
    """
    proposals = tf.cast(inputs["proposals"], tf.float32)
    valid = box_ops.area(proposals) > 0.0
    scores = tf.cast(inputs.get("proposal_scores", tf.zeros(tf.shape(valid))), tf.float32)
    return tf.where(valid[..., tf.newaxis], proposals, 0.0), tf.where(valid, scores, 0.0), valid


def to_original(boxes: tf.Tensor, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
    """Carries boxes [B, N, 4] from the network's input to the images before resizing, where their
    sizes are known.
    """
    if "original_shape" not in inputs:
        return boxes
    return box_ops.rescale(boxes, inputs["image_shape"], inputs["original_shape"])


def proposal_sampler(config: Config) -> layers.ProposalSampler:
    """Targets of the head, by the ``roi_...`` settings."""
    return layers.ProposalSampler(
        fg_iou_threshold=config.roi_fg_iou_threshold,
        bg_iou_threshold=config.roi_bg_iou_threshold,
        bg_iou_threshold_low=config.roi_bg_iou_threshold_low,
        num_samples=config.roi_num_samples,
        fg_fraction=config.roi_fg_fraction,
        append_gt_boxes=config.append_gt_boxes,
        box_delta_std=config.box_delta_std,
    )


def roi_pooling(config: Config, stride: int) -> layers.RoIPooling | layers.RoIAlign:
    """The pooling that ``roi_pooling`` names."""
    if config.roi_pooling == "align":
        return layers.RoIAlign(config.pool_size, stride, config.sampling_ratio)
    return layers.RoIPooling(config.pool_size, stride)


def detection_decoder(config: Config) -> layers.DetectionDecoder:
    """Detections, by the settings of that group."""
    return layers.DetectionDecoder(
        score_threshold=config.score_threshold,
        nms_iou_threshold=config.nms_iou_threshold,
        max_detections=config.max_detections,
        box_delta_std=config.box_delta_std,
    )


def split_seed(seed: tf.Tensor) -> list[tf.Tensor]:
    """Returns the seeds of a step's draws: anchors, regions, dropout; each int32 [2] as ``seed``.

    Args:
        seed: step and the run's seed.
    """
    return [tf.stack([seed[0] * 4 + i, seed[1]]) for i in range(3)]


def set_jit_compile(model: keras.Model, jit_compile: bool) -> None:
    """Gives a detector's layers the forms that XLA compiles, or takes these back.

    Raises:
        ValueError: if ``jit_compile`` is neither True nor False, or True on several devices.
    """
    if not isinstance(jit_compile, bool):
        raise ValueError(
            "jit_compile must be True or False: XLA is never chosen for you. "
            f"Received: {jit_compile!r}"
        )
    replicas = model.distribute_strategy.num_replicas_in_sync
    if jit_compile and replicas > 1:
        raise ValueError(
            "jit_compile=True needs one device: XLA does not compile a step on several. "
            f"Received: {replicas} replicas"
        )
    for layer in (
        model.train_proposal_generator,
        model.test_proposal_generator,
        model.roi_pooling,
        model.detection_decoder,
    ):
        layer.supports_jit = jit_compile
