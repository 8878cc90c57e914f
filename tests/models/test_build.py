"""Which setting is which argument."""

import pytest
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.data.images.preprocessing import CHOICES
from keras_frcnn.models import build
from keras_frcnn.models.roi_head import RoIHead
from keras_frcnn.models.rpn import RegionProposalNetwork
from tests import fakes

CONFIG = Config(
    scales=(11.0, 12.0),
    ratios=(0.25, 4.0),
    pool_size=5,
    sampling_ratio=3,
    box_delta_std=(0.3, 0.4, 0.5, 0.6),
    rpn_fg_iou_threshold=0.61,
    rpn_bg_iou_threshold=0.31,
    rpn_num_samples=101,
    rpn_fg_fraction=0.41,
    rpn_border_anchors=True,
    rpn_nms_iou_threshold=0.71,
    train_pre_nms_top_k=102,
    train_post_nms_top_k=103,
    test_pre_nms_top_k=104,
    test_post_nms_top_k=105,
    test_ranked_proposals=False,
    test_regressed_proposals=False,
    min_size=13.0,
    roi_fg_iou_threshold=0.62,
    roi_bg_iou_threshold=0.52,
    roi_bg_iou_threshold_low=0.12,
    roi_num_samples=106,
    roi_fg_fraction=0.22,
    append_gt_boxes=False,
    score_threshold=0.06,
    nms_iou_threshold=0.32,
    max_detections=107,
)


class _Levels:
    """What the stages ask a backbone for."""

    strides, channels, rpn_channels, num_roi_levels = (8,), (4,), 6, 1

    def make_head(self):
        return None


def stages(config, num_classes=3):
    """The RPN and the RoI head of some settings, built for one level of stride 8."""
    rpn, roi_head = build.build_rpn(config), build.build_roi_head(config, num_classes)
    for stage in (rpn, roi_head):
        stage.build_for(_Levels())
    return rpn, roi_head


def assert_settings(layer, expected):
    """Asserts a layer's settings; only names and number formats may be left out."""
    settings = layer.get_config()
    assert {name: settings[name] for name in expected} == expected
    assert set(settings) - set(expected) <= {"name", "trainable", "dtype"}


def test_every_setting_of_the_rpn_reaches_its_argument():
    config = CONFIG.replace(
        rpn_smooth_l1_beta=0.3,
        rpn_box_loss_weight=7.0,
        rpn_box_normalizer="positions",
        rpn_convolutions=3,
        rpn_channels=9,
        anchor_offset=0.2,
        anchor_rounding=True,
        rpn_score_threshold=0.04,
    )
    rpn, _ = stages(config)
    (anchors,) = rpn.anchor_generators
    expected = {"scales": (11.0, 12.0), "ratios": (0.25, 4.0), "stride": 8}
    assert_settings(anchors, {**expected, "offset": 0.2, "rounding": True})
    assert (rpn.head.channels, rpn.head.num_anchors, rpn.head.num_convolutions) == (9, 4, 3)
    without, _ = stages(CONFIG)
    assert without.head.channels == 6  # what the backbone asks for
    assert_settings(
        rpn.target_assigner,
        {
            "fg_iou_threshold": 0.61,
            "bg_iou_threshold": 0.31,
            "num_samples": 101,
            "fg_fraction": 0.41,
            "border_anchors": True,
        },
    )
    common = {"nms_iou_threshold": 0.71, "min_size": 13.0, "supports_jit": False}
    common["score_threshold"] = 0.04
    assert_settings(
        rpn.train_generator,
        {
            **common,
            "pre_nms_top_k": 102,
            "post_nms_top_k": 103,
            "on_cpu": not tf.config.list_physical_devices("GPU"),
            "ranked": True,
            "regressed": True,
        },
    )
    assert_settings(
        rpn.test_generator,
        {
            **common,
            "pre_nms_top_k": 104,
            "post_nms_top_k": 105,
            "on_cpu": False,
            "ranked": False,
            "regressed": False,
        },
    )
    losses = (rpn.num_samples, rpn.smooth_l1_beta, rpn.box_loss_weight, rpn.box_normalizer)
    assert losses == (101, 0.3, 7.0, "positions")


def test_every_setting_of_the_roi_head_reaches_its_argument():
    config = CONFIG.replace(
        head_units=(5, 6),
        head_dropout=0.25,
        roi_smooth_l1_beta=0.4,
        head_convolutions=(7,),
        class_agnostic_boxes=True,
        roi_box_loss="giou",
        roi_box_loss_weight=9.0,
        soft_nms_sigma=0.7,
    )
    _, roi_head = stages(config)
    assert_settings(
        roi_head.proposal_sampler,
        {
            "fg_iou_threshold": 0.62,
            "bg_iou_threshold": 0.52,
            "bg_iou_threshold_low": 0.12,
            "num_samples": 106,
            "fg_fraction": 0.22,
            "append_gt_boxes": False,
            "box_delta_std": (0.3, 0.4, 0.5, 0.6),
        },
    )
    (pooling,) = roi_head.poolings
    assert_settings(pooling, {"pool_size": 5, "stride": 8, "supports_jit": False})
    assert_settings(
        roi_head.detection_decoder,
        {
            "score_threshold": 0.06,
            "nms_iou_threshold": 0.32,
            "max_detections": 107,
            "box_delta_std": (0.3, 0.4, 0.5, 0.6),
            "supports_jit": False,
            "soft_nms_sigma": 0.7,
        },
    )
    head = roi_head.box_head
    assert (head.num_classes, head.units, head.dropout) == (3, (5, 6), 0.25)
    assert (head.convolutions, head.class_agnostic_boxes) == ((7,), True)
    assert (roi_head.box_loss_type, roi_head.box_loss_weight) == ("giou", 9.0)
    assert (roi_head.num_samples, roi_head.smooth_l1_beta) == (106, 0.4)
    _, aligned = stages(CONFIG.replace(roi_pooling="align", roi_half_pixel=False))
    (pooling,) = aligned.poolings
    assert_settings(
        pooling,
        {
            "pool_size": 5,
            "stride": 8,
            "sampling_ratio": 3,
            "supports_jit": False,
            "sparse_gradient": False,
            "half_pixel": False,
        },
    )


def test_settings_of_the_whole_model_reach_it():
    config = fakes.SMALL.replace(
        weight_decay=0.02, decay_biases=True, bias_lr_factor=3.0, seed=5, scheme="non_approximate",
        roi_pooling="align", resize_rounding="down", resize_filter="pillow",
        preprocessing="torch", size_divisor=16,
    )  # fmt: skip
    with fakes.small_backbone():
        model = build.build_detector(config, ("cat", "dog"))
    assert model.get_config()["config"] == config.to_dict()
    expected = {
        "shorter_side": 64,
        "longer_side": 96,
        "resize_rounding": "down",
        "resize_filter": "pillow",
        "weight_decay": 0.02,
        "decay_biases": True,
        "bias_lr_factor": 3.0,
        "proposal_gradient": True,
        "seed": 5,
    }
    model.config = None  # as if it had been composed
    assert {name: model.get_config()[name] for name in expected} == expected
    assert model.backbone.preprocessing == CHOICES["torch"].divided_by(58.0)
    assert model.backbone.size_divisor == 16


def test_the_defaults_are_the_released_codes():
    """docs/differences.md names this test where a number is the source's."""
    config = Config()
    rpn, roi_head = stages(config)
    expected = {
        rpn.anchor_generators[0]: {"scales": (128.0, 256.0, 512.0), "ratios": (0.5, 1.0, 2.0)},
        rpn.target_assigner: {
            "fg_iou_threshold": 0.7,
            "bg_iou_threshold": 0.3,
            "num_samples": 256,
            "fg_fraction": 0.5,
            "border_anchors": False,
        },
        rpn.train_generator: {
            "pre_nms_top_k": 12000,
            "post_nms_top_k": 2000,
            "nms_iou_threshold": 0.7,
            "min_size": 16.0,
        },
        rpn.test_generator: {
            "pre_nms_top_k": 6000,
            "post_nms_top_k": 300,
            "nms_iou_threshold": 0.7,
            "min_size": 16.0,
        },
        roi_head.proposal_sampler: {
            "fg_iou_threshold": 0.5,
            "bg_iou_threshold": 0.5,
            "bg_iou_threshold_low": 0.0,
            "num_samples": 128,
            "fg_fraction": 0.25,
            "append_gt_boxes": True,
            "box_delta_std": (0.1, 0.1, 0.2, 0.2),
        },
        roi_head.poolings[0]: {"pool_size": 7},
        roi_head.detection_decoder: {
            "score_threshold": 0.05,
            "nms_iou_threshold": 0.3,
            "max_detections": 100,
            "box_delta_std": (0.1, 0.1, 0.2, 0.2),
        },
    }
    assert type(roi_head.poolings[0]).__name__ == "RoIPooling"
    for layer, values in expected.items():
        settings = layer.get_config()
        assert {name: settings[name] for name in values} == values, layer.name


@pytest.mark.parametrize("stage", ["rpn", "roi_head"])
def test_the_defaults_of_the_stages_are_those_of_the_settings(stage):
    built = {"rpn": build.build_rpn(Config()), "roi_head": build.build_roi_head(Config(), 3)}[stage]
    alone = {"rpn": RegionProposalNetwork(), "roi_head": RoIHead(3)}[stage]
    differing = {"name", "dtype"}
    expected = {k: v for k, v in alone.get_config().items() if k not in differing}
    assert {k: v for k, v in built.get_config().items() if k not in differing} == expected


@pytest.mark.parametrize(
    ("precision", "policy"),
    [
        ("auto", "float32"),
        ("float32", "float32"),
        ("mixed_bfloat16", "mixed_bfloat16"),
        ("mixed_float16", "mixed_float16"),
    ],
)
def test_the_policy_of_the_layers_with_weights(precision, policy):
    assert build.dtype_policy(Config(precision=precision)).name == policy


@pytest.mark.parametrize("gpus", [[], ["one"]])
def test_only_training_without_a_gpu_takes_the_processors_kernel(monkeypatch, gpus):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    rpn = build.build_rpn(CONFIG)
    assert rpn.train_generator.on_cpu is not bool(gpus)
    assert not rpn.test_generator.on_cpu  # it may go to another machine
