"""Settings of the network: what they refuse, and the defaults of feature pyramids."""

import pytest

from keras_frcnn.config import BACKBONES, PYRAMIDS, Config, ModelConfig
from keras_frcnn.config.flags import SETTINGS, summary

PYRAMID = ModelConfig().with_backbone("resnet50_fpn")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"backbone": "resnet50_fpn"},
            "backbone=resnet50_fpn has 5 feature levels, so the number of scales must be a "
            "multiple of 5. Received: (128.0, 256.0, 512.0)",
        ),
        ({"pyramid_norm": True}, "pyramid_norm needs a feature pyramid. Received: backbone=vgg16"),
        (
            {"bottleneck_stride": "3x3", "backbone": "zf"},
            "bottleneck_stride needs a ResNet. Received: backbone=zf",
        ),
        (
            {"norm_epsilon": 0.0},
            "norm_epsilon needs a backbone with batch normalisation. Received: backbone=vgg16",
        ),
        (
            {"head_convolutions": (256,), "backbone": "resnet101"},
            "head_convolutions needs a box head of its own, but that of backbone=resnet101 is the "
            "last stage of the ResNet",
        ),
        (
            {"symmetric_padding": True, "backbone": "resnet50"},
            "symmetric_padding needs a MobileNet. Received: backbone=resnet50",
        ),
        (
            {"roi_half_pixel": False},
            "roi_half_pixel=false needs roi_pooling=align. Received: roi_pooling=max",
        ),
        (
            {"head_stride": 2},
            "head_stride needs a ResNet without a feature pyramid. Received: backbone=vgg16",
        ),
        (
            {"head_stride": 3, "backbone": "resnet50"},
            "head_stride must be an integer between 1 and 2. Received: 3",
        ),
        (
            {"rpn_convolutions": 0},
            "rpn_convolutions must be an integer between 1 and 8. Received: 0",
        ),
        (
            {"head_convolutions": (256, 0)},
            "head_convolutions must be a list of positive integers. Received: (256, 0)",
        ),
    ],
)
def test_settings_that_contradict_each_other(changes, message, problems):
    assert problems(ModelConfig, **changes) == [message]


@pytest.mark.parametrize(
    "changes",
    [
        {"scales": tuple(float(n) for n in range(1, 11))},
        {"norm_epsilon": 0.0, "bottleneck_stride": "3x3", "pyramid_norm": True},
        {"rpn_convolutions": 2, "head_convolutions": (256,) * 4},
    ],
)
def test_a_pyramid_allows(changes):
    PYRAMID.replace(**changes).validate()


def test_a_pyramid_divides_the_scales_among_its_levels():
    assert PYRAMID.level_scales == ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))
    assert PYRAMID.anchors_per_cell == 3
    two = PYRAMID.replace(scales=tuple(float(n) for n in range(1, 11)), ratios=(1.0,))
    assert two.level_scales == ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0))
    assert two.anchors_per_cell == 2
    one = ModelConfig()
    assert (one.num_levels, one.level_scales, one.anchors_per_cell) == (1, one.scales, 9)


def test_a_pyramid_has_defaults_of_its_own():
    """Those of Lin et al. 2017, sections 4.1 and 5; NMS and dropout as in Detectron."""
    expected = {
        "backbone": "resnet50_fpn",
        "scales": (32.0, 64.0, 128.0, 256.0, 512.0),
        "roi_pooling": "align",
        "head_units": (1024, 1024),
        "head_dropout": 0.0,
        "rpn_border_anchors": True,
        "train_pre_nms_top_k": 2000,
        "test_pre_nms_top_k": 1000,
        "test_post_nms_top_k": 1000,
        "min_size": 0.0,
        "roi_num_samples": 512,
        "nms_iou_threshold": 0.5,
    }
    config = Config().with_backbone("resnet50_fpn").validate()
    assert config == Config(**expected)
    assert config.train_post_nms_top_k == 2000
    assert config.with_backbone("vgg16") == Config()


def test_what_was_chosen_is_kept_between_backbones():
    config = Config(roi_pooling="align", head_units=(7,), scales=(1.0,) * 5)
    changed = config.with_backbone("vgg16_fpn")
    assert (changed.head_units, changed.scales) == ((7,), (1.0,) * 5)
    assert changed.with_backbone("resnet50_fpn") == changed.replace(backbone="resnet50_fpn")
    assert config.with_backbone("zf") == config.replace(backbone="zf")


def test_help_tells_both_defaults():
    expected = (
        "one or more positive integers separated by commas; default 4096,4096, from the paper"
    )
    assert summary(SETTINGS["head_units"]) == f"{expected}; 1024,1024 with a feature pyramid"
    assert summary(SETTINGS["rpn_border_anchors"]).endswith("; true with a feature pyramid")


def test_every_backbone_names_its_module_and_class():
    assert list(BACKBONES)[:4] == ["vgg16", "zf", "resnet50", "resnet101"]
    for name, where in BACKBONES.items():
        module, _, maker = where.partition(":")
        assert module.startswith("keras_frcnn.backbones."), name
        assert maker.isidentifier(), name


def test_every_backbone_but_zf_can_have_a_pyramid():
    named = {f"{name}_fpn{end}" for name in BACKBONES for end in ("", "32")}
    assert named & {*BACKBONES} == {*PYRAMIDS}
    assert {*BACKBONES} - {*PYRAMIDS} - {name.partition("_fpn")[0] for name in PYRAMIDS} == {"zf"}
