"""Which setting is which argument."""

import pytest
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.models import build

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
ROI_ALIGN = CONFIG.replace(roi_pooling="align")


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (
            build.anchor_generator(CONFIG, 8),
            {"scales": (11.0, 12.0), "ratios": (0.25, 4.0), "stride": 8},
        ),
        (
            build.anchor_target_assigner(CONFIG),
            {
                "fg_iou_threshold": 0.61,
                "bg_iou_threshold": 0.31,
                "num_samples": 101,
                "fg_fraction": 0.41,
                "border_anchors": True,
            },
        ),
        (
            build.proposal_generator(CONFIG, training=True),
            {
                "pre_nms_top_k": 102,
                "post_nms_top_k": 103,
                "nms_iou_threshold": 0.71,
                "min_size": 13.0,
                "on_cpu": not tf.config.list_physical_devices("GPU"),
                "ranked": True,
                "regressed": True,
                "supports_jit": False,
            },
        ),
        (
            build.proposal_generator(CONFIG, training=False),
            {
                "pre_nms_top_k": 104,
                "post_nms_top_k": 105,
                "nms_iou_threshold": 0.71,
                "min_size": 13.0,
                "on_cpu": False,
                "ranked": False,
                "regressed": False,
                "supports_jit": False,
            },
        ),
        (
            build.proposal_sampler(CONFIG),
            {
                "fg_iou_threshold": 0.62,
                "bg_iou_threshold": 0.52,
                "bg_iou_threshold_low": 0.12,
                "num_samples": 106,
                "fg_fraction": 0.22,
                "append_gt_boxes": False,
                "box_delta_std": (0.3, 0.4, 0.5, 0.6),
            },
        ),
        (build.roi_pooling(CONFIG, 8), {"pool_size": 5, "stride": 8, "supports_jit": False}),
        (
            build.roi_pooling(ROI_ALIGN, 8),
            {"pool_size": 5, "stride": 8, "sampling_ratio": 3, "supports_jit": False},
        ),
        (
            build.detection_decoder(CONFIG),
            {
                "score_threshold": 0.06,
                "nms_iou_threshold": 0.32,
                "max_detections": 107,
                "box_delta_std": (0.3, 0.4, 0.5, 0.6),
                "supports_jit": False,
            },
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_setting_reaches_its_argument(layer, expected):
    config = layer.get_config()
    assert {name: config[name] for name in expected} == expected
    assert set(config) - set(expected) <= {"name", "trainable", "dtype"}


def test_the_defaults_are_the_released_codes():
    """docs/differences.md names this test where a number is the source's."""
    config = Config()
    expected = {
        build.anchor_generator(config, 16): {
            "scales": (128.0, 256.0, 512.0),
            "ratios": (0.5, 1.0, 2.0),
        },
        build.anchor_target_assigner(config): {
            "fg_iou_threshold": 0.7,
            "bg_iou_threshold": 0.3,
            "num_samples": 256,
            "fg_fraction": 0.5,
            "border_anchors": False,
        },
        build.proposal_generator(config, training=True): {
            "pre_nms_top_k": 12000,
            "post_nms_top_k": 2000,
            "nms_iou_threshold": 0.7,
            "min_size": 16.0,
        },
        build.proposal_generator(config, training=False): {
            "pre_nms_top_k": 6000,
            "post_nms_top_k": 300,
            "nms_iou_threshold": 0.7,
            "min_size": 16.0,
        },
        build.proposal_sampler(config): {
            "fg_iou_threshold": 0.5,
            "bg_iou_threshold": 0.5,
            "bg_iou_threshold_low": 0.0,
            "num_samples": 128,
            "fg_fraction": 0.25,
            "append_gt_boxes": True,
            "box_delta_std": (0.1, 0.1, 0.2, 0.2),
        },
        build.roi_pooling(config, 16): {"pool_size": 7, "stride": 16},
        build.detection_decoder(config): {
            "score_threshold": 0.05,
            "nms_iou_threshold": 0.3,
            "max_detections": 100,
            "box_delta_std": (0.1, 0.1, 0.2, 0.2),
        },
    }
    assert type(build.roi_pooling(config, 16)).__name__ == "RoIPooling"
    for layer, values in expected.items():
        settings = layer.get_config()
        assert {name: settings[name] for name in values} == values, layer.name


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
    assert build.proposal_generator(CONFIG, training=True).on_cpu is not bool(gpus)
    assert not build.proposal_generator(CONFIG, training=False).on_cpu  # may go to another machine
