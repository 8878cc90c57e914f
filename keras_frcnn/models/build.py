"""Builds a detector from settings: the one place that knows which setting is which argument."""

import keras

from keras_frcnn import backbones
from keras_frcnn.config import Config
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.models.roi_head import RoIHead
from keras_frcnn.models.rpn import RegionProposalNetwork


def build_detector(config: Config, class_names) -> FasterRCNN:
    """Builds a detector with random weights.

    Args:
        config: the settings; those of the model are used.
        class_names: names of the C classes, without background, in the order of the labels.

    Returns:
        The detector, which keeps the settings as ``model.config``.

    Raises:
        ValueError: naming the settings that are wrong.
    """
    config.validate()
    backbone = build_backbone(config)
    rpn, roi_head = build_rpn(config), build_roi_head(config, len(class_names))
    for stage in (rpn, roi_head):
        stage.build_for(backbone)
    model = FasterRCNN(
        backbone,
        rpn,
        roi_head,
        class_names,
        # This comes last, so that all other weights start equal under every scheme.
        rpn_backbone=_rpn_backbone(config),
        shorter_side=config.shorter_side,
        longer_side=config.longer_side,
        resize_rounding=config.resize_rounding,
        resize_filter=config.resize_filter,
        # AdamW's weight decay is none of the loss: the optimizer shrinks the weights itself.
        weight_decay=0.0 if config.optimizer == "adamw" else config.weight_decay,
        decay_biases=config.decay_biases,
        bias_lr_factor=config.bias_lr_factor,
        proposal_gradient=config.scheme == "non_approximate",
        seed=config.seed,
    )
    # With proposals from another source, only the second stage learns: Fast R-CNN.
    model.rpn.trainable = config.train_proposals == "rpn"
    model.config = config
    return model


def build_backbone(config: Config) -> backbones.Backbone:
    """Builds the backbone, with its first blocks frozen."""
    options = {}  # that only some backbones have; the settings have been checked
    if config.bottleneck_stride != "1x1":
        options["bottleneck_stride"] = config.bottleneck_stride
    if config.head_stride != 1:
        options["head_stride"] = config.head_stride
    if config.norm_epsilon >= 0:
        options["norm_epsilon"] = config.norm_epsilon
    if config.pyramid_norm:
        options["pyramid_norm"] = True
    if config.symmetric_padding:
        options["symmetric_padding"] = True
    backbone = backbones.make(
        config.backbone,
        frozen_blocks=config.resolved_frozen_blocks,
        dtype=dtype_policy(config),
        **options,
    )
    backbone.preprocessing = backbones.preprocessing_of(
        config.backbone, config.pixel_std, config.preprocessing
    )
    backbone.size_divisor = config.size_divisor
    return backbone


def build_rpn(config: Config) -> RegionProposalNetwork:
    """Builds the region proposal network."""
    return RegionProposalNetwork(
        config.level_scales,
        config.ratios,
        config.rpn_channels or None,
        anchor_offset=config.anchor_offset,
        anchor_rounding=config.anchor_rounding,
        anchor_stride=config.anchor_stride,
        num_convolutions=config.rpn_convolutions,
        fg_iou_threshold=config.rpn_fg_iou_threshold,
        bg_iou_threshold=config.rpn_bg_iou_threshold,
        num_samples=config.rpn_num_samples,
        fg_fraction=config.rpn_fg_fraction,
        border_anchors=config.rpn_border_anchors,
        nms_iou_threshold=config.rpn_nms_iou_threshold,
        min_size=config.min_size,
        score_threshold=config.rpn_score_threshold,
        train_pre_nms_top_k=config.train_pre_nms_top_k,
        train_post_nms_top_k=config.train_post_nms_top_k,
        test_pre_nms_top_k=config.test_pre_nms_top_k,
        test_post_nms_top_k=config.test_post_nms_top_k,
        test_ranked=config.test_ranked_proposals,
        test_regressed=config.test_regressed_proposals,
        train_dense=config.train_proposals == "dense",
        test_dense=config.test_proposals == "dense",
        smooth_l1_beta=config.rpn_smooth_l1_beta,
        box_loss_weight=config.rpn_box_loss_weight,
        box_normalizer=config.rpn_box_normalizer,
        dtype=dtype_policy(config),
        name="rpn",
    )


def build_roi_head(config: Config, num_classes: int) -> RoIHead:
    """Builds the second stage."""
    return RoIHead(
        num_classes,
        config.roi_pooling,
        pool_size=config.pool_size,
        sampling_ratio=config.sampling_ratio,
        half_pixel=config.roi_half_pixel,
        convolutions=config.head_convolutions,
        units=config.head_units,
        dropout=config.head_dropout,
        fg_iou_threshold=config.roi_fg_iou_threshold,
        bg_iou_threshold=config.roi_bg_iou_threshold,
        bg_iou_threshold_low=config.roi_bg_iou_threshold_low,
        num_samples=config.roi_num_samples,
        fg_fraction=config.roi_fg_fraction,
        append_gt_boxes=config.append_gt_boxes,
        box_delta_std=config.box_delta_std,
        smooth_l1_beta=config.roi_smooth_l1_beta,
        class_agnostic_boxes=config.class_agnostic_boxes,
        box_loss_type=config.roi_box_loss,
        box_loss_weight=config.roi_box_loss_weight,
        score_threshold=config.score_threshold,
        nms_iou_threshold=config.nms_iou_threshold,
        max_detections=config.max_detections,
        soft_nms_sigma=config.soft_nms_sigma,
        dtype=dtype_policy(config),
        name="roi_head",
    )


def dtype_policy(config: Config) -> keras.DTypePolicy:
    """Returns the policy of layers with weights. An unresolved 'auto' is float32, which works
    everywhere.
    """
    name = "float32" if config.precision == "auto" else config.precision
    return keras.dtype_policies.get(name)


def _rpn_backbone(config):
    if config.scheme != "unshared":
        return None
    with keras.name_scope("rpn_backbone"):
        return build_backbone(config)
