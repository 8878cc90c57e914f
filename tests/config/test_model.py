"""Settings of the model: what they refuse, and what follows from them."""

import json

import pytest

from keras_frcnn.config import ModelConfig


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("shorter_side", "a positive integer"),
        ("longer_side", "a positive integer"),
        ("pixel_std", "a positive number"),
        ("pool_size", "a positive integer"),
        ("rpn_num_samples", "a positive integer"),
        ("train_pre_nms_top_k", "a positive integer"),
        ("train_post_nms_top_k", "a positive integer"),
        ("test_pre_nms_top_k", "a positive integer"),
        ("test_post_nms_top_k", "a positive integer"),
        ("roi_num_samples", "a positive integer"),
        ("rpn_smooth_l1_beta", "a positive number"),
        ("roi_smooth_l1_beta", "a positive number"),
        ("bias_lr_factor", "a positive number"),
        ("max_detections", "a positive integer"),
    ],
)
def test_positive_settings(name, form, problems):
    assert f"{name} must be {form}. Received: 0" in problems(ModelConfig, **{name: 0})


@pytest.mark.parametrize(
    ("name", "noun"),
    [
        ("seed", "an integer"),
        ("sampling_ratio", "an integer"),
        ("min_size", "a number"),
        ("rpn_box_loss_weight", "a number"),
        ("weight_decay", "a number"),
    ],
)
def test_settings_that_may_be_zero_but_not_below(name, noun, problems):
    message = f"{name} must be {noun} of at least 0. Received: -1"
    assert problems(ModelConfig, **{name: -1}) == [message]
    ModelConfig(**{name: 0}).validate()


@pytest.mark.parametrize(
    "name",
    [
        "rpn_fg_iou_threshold",
        "rpn_bg_iou_threshold",
        "rpn_fg_fraction",
        "rpn_nms_iou_threshold",
        "roi_fg_iou_threshold",
        "roi_bg_iou_threshold",
        "roi_bg_iou_threshold_low",
        "roi_fg_fraction",
        "score_threshold",
        "nms_iou_threshold",
    ],
)
@pytest.mark.parametrize("value", [-0.01, 1.01])
def test_fractions(name, value, problems):
    message = f"{name} must be a number between 0 and 1. Received: {value}"
    assert message in problems(ModelConfig, **{name: value})


@pytest.mark.parametrize("value", [1.0, -0.1])
def test_dropout_is_below_one(value, problems):
    message = f"head_dropout must be a number of at least 0 and below 1. Received: {value}"
    assert problems(ModelConfig, head_dropout=value) == [message]
    ModelConfig(head_dropout=0.0).validate()


@pytest.mark.parametrize("name", ["scales", "ratios", "head_units"])
@pytest.mark.parametrize("value", [(), (0,), (-1,)])
def test_lists_of_positive_numbers(name, value, problems):
    noun = "integers" if name == "head_units" else "numbers"
    assert problems(ModelConfig, **{name: value}) == [
        f"{name} must be one or more positive {noun}. Received: {value!r}"
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"roi_pooling": "mean"}, "roi_pooling must be one of max, align. Received: 'mean'"),
        ({"scales": [128.0]}, "scales must be one or more positive numbers. Received: [128.0]"),
        (
            {"scales": (128.0, "256")},
            "scales must be one or more positive numbers. Received: (128.0, '256')",
        ),
        (
            {"head_units": (4096.0,)},
            "head_units must be one or more positive integers. Received: (4096.0,)",
        ),
        (
            {"box_delta_std": (0.1, 0.2)},
            "box_delta_std must be four positive numbers. Received: (0.1, 0.2)",
        ),
        (
            {"frozen_blocks": -2},
            "frozen_blocks must be an integer between -1 and 5. Received: -2",
        ),
        ({"frozen_blocks": 6}, "frozen_blocks must be an integer between -1 and 5. Received: 6"),
        (
            {"train_proposals": "", "test_proposals": "dense"},
            "train_proposals must be a non-empty string. Received: ''",
        ),
        ({"test_proposals": ""}, "test_proposals must be a non-empty string. Received: ''"),
        ({"longer_side": 599}, "longer_side (599) is below shorter_side (600)"),
        (
            {"rpn_bg_iou_threshold": 0.71},
            "rpn_bg_iou_threshold is above rpn_fg_iou_threshold: an anchor could be both "
            "foreground and background",
        ),
        (
            {"roi_bg_iou_threshold": 0.51},
            "roi_bg_iou_threshold is above roi_fg_iou_threshold: a region could be both "
            "foreground and background",
        ),
        (
            {"roi_bg_iou_threshold_low": 0.51},
            "roi_bg_iou_threshold_low is above roi_bg_iou_threshold: no background would be left",
        ),
        (
            {"scheme": "non_approximate"},
            "scheme=non_approximate needs roi_pooling=align: max pooling rounds the proposals' "
            "coordinates, so they have no gradient",
        ),
        (
            {"train_proposals": "found.npz"},
            "test_proposals=rpn needs a trained RPN, but with train_proposals=found.npz the RPN "
            "is not trained: use a proposals file or 'dense'",
        ),
        (
            {"test_proposals": "dense", "test_ranked_proposals": False},
            "test_ranked_proposals and test_regressed_proposals need test_proposals=rpn. "
            "Received: test_proposals=dense",
        ),
        (
            {"test_proposals": "a.npz", "test_regressed_proposals": False},
            "test_ranked_proposals and test_regressed_proposals need test_proposals=rpn. "
            "Received: test_proposals=a.npz",
        ),
        (
            {"scheme": "alternating", "train_proposals": "a.npz", "test_proposals": "a.npz"},
            "scheme=alternating trains on the RPN's own proposals: train_proposals=a.npz needs "
            "scheme=joint",
        ),
    ],
)
def test_other_problems(changes, message, problems):
    assert problems(ModelConfig, **changes) == [message]


@pytest.mark.parametrize(
    "changes",
    [
        {"longer_side": 600},
        {"rpn_bg_iou_threshold": 0.7},
        {"roi_bg_iou_threshold_low": 0.5},
        {"frozen_blocks": 5},
        {"scheme": "non_approximate", "roi_pooling": "align"},
        {"train_proposals": "found.npz", "test_proposals": "other.npz"},
        {"backbone": "zf"},
    ],
)
def test_the_last_value_before_a_problem_is_allowed(changes):
    ModelConfig(**changes).validate()


@pytest.mark.parametrize(("frozen_blocks", "expected"), [(-1, 0), (0, 0), (3, 3)])
def test_without_pretrained_weights_nothing_is_frozen_by_default(frozen_blocks, expected):
    assert ModelConfig(frozen_blocks=frozen_blocks).resolved_frozen_blocks == expected


def test_sizes_keep_the_proportion():
    assert ModelConfig().sizes(()) == [(600, 1000)]
    assert ModelConfig().sizes((480, 577)) == [(480, 800), (577, 962)]  # 961.67 rounds up
    assert ModelConfig(shorter_side=64, longer_side=96).sizes((33,)) == [(33, 50)]  # half up


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        ("rpn", "rpn", False),
        ("rpn", "a.npz", False),
        ("dense", "dense", False),
        ("a.npz", "dense", False),
        ("a.npz", "b.npz", True),
        ("dense", "b.npz", True),
    ],
)
def test_a_detector_without_regions_of_its_own(train, test, expected):
    config = ModelConfig(train_proposals=train, test_proposals=test).validate()
    assert config.needs_proposals_file is expected


def test_a_dict_of_the_model_goes_through_json_and_back():
    config = ModelConfig(scales=(64.0, 1 / 9), backbone="zf", frozen_blocks=3)
    values = json.loads(json.dumps(config.to_dict()))
    assert ModelConfig.from_dict(values) == config
    with pytest.raises(ValueError, match="^Unknown settings: steps$"):
        ModelConfig.from_dict({**values, "steps": 3})
