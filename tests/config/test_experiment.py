"""Config: what it refuses, and how it is copied and written as plain values."""

import dataclasses
import json
import math

import pytest

from keras_frcnn.config import Config, element_type, type_name


def problems(**changes) -> list[str]:
    """Returns the lines of the error that a changed default config raises."""
    with pytest.raises(ValueError) as caught:
        Config(**changes).validate()
    title, *lines = str(caught.value).splitlines()
    assert title == "Invalid settings:"
    return [line.removeprefix("  - ") for line in lines]


def test_the_defaults_are_valid_and_validate_returns_the_config():
    config = Config()
    assert config.validate() is config


def test_the_defaults_of_losses_and_training():
    """docs/differences.md names this test where a number is the source's; those of the layers are
    in tests/models/test_parts.py.
    """
    expected = {
        "backbone": "vgg16",
        "backbone_weights": "imagenet",
        "head_units": (4096, 4096),
        "pool_size": 7,
        "head_dropout": 0.5,
        "rpn_smooth_l1_beta": 1 / 9,
        "roi_smooth_l1_beta": 1.0,
        "rpn_box_normalizer": "samples",
        "rpn_box_loss_weight": 1.0,
        "weight_decay": 5e-4,
        "decay_biases": False,
        "scheme": "joint",
        "steps": 70000,
        "optimizer": "sgd",
        "learning_rate": 1e-3,
        "lr_schedule": "piecewise",
        "lr_boundaries": (50000,),
        "lr_decay_factor": 0.1,
        "warmup_steps": 500,
        "momentum": 0.9,
        "bias_lr_factor": 2.0,
        "gradient_clip_norm": 10.0,
        "accumulate_steps": 1,
        "batch_size": 1,
        "shorter_side": 600,
        "longer_side": 1000,
        "pixel_std": 1.0,
        "flip": "horizontal",
        "include_empty": True,
        "difficult": "auto",
    }
    config = Config()
    assert {name: getattr(config, name) for name in expected} == expected


def test_every_setting_has_help_and_a_group():
    for field in dataclasses.fields(Config):
        assert field.metadata["help"], field.name
        assert field.metadata["group"], field.name


def test_a_default_is_among_its_choices():
    for field in dataclasses.fields(Config):
        values = field.default if isinstance(field.default, tuple) else (field.default,)
        if field.metadata["choices"]:
            assert set(values) <= set(field.metadata["choices"]), field.name


def test_config_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().steps = 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": "10"}, "steps must be an integer. Received: '10'"),
        ({"steps": 10.0}, "steps must be an integer. Received: 10.0"),
        ({"steps": True}, "steps must be an integer. Received: True"),
        ({"learning_rate": "fast"}, "learning_rate must be a number. Received: 'fast'"),
        ({"learning_rate": False}, "learning_rate must be a number. Received: False"),
        ({"learning_rate": math.inf}, "learning_rate must be a number. Received: inf"),
        ({"learning_rate": math.nan}, "learning_rate must be a number. Received: nan"),
        ({"include_empty": 1}, "include_empty must be true or false. Received: 1"),
        ({"jit_compile": "auto"}, "jit_compile must be true or false. Received: 'auto'"),
        ({"output_dir": None}, "output_dir must be a text. Received: None"),
        ({"roi_pooling": "mean"}, "roi_pooling must be one of max, align. Received: 'mean'"),
        (
            {"dataset": ("voc", "yolo")},
            "dataset must be one of voc, coco, tfrecord, tfds. Received: ('voc', 'yolo')",
        ),
    ],
)
def test_wrong_types_and_choices(changes, message):
    assert problems(**changes) == [message]


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"scales": [128.0]}, "scales must be a list, each a number"),
        ({"scales": (128.0, "256")}, "scales must be a list, each a number"),
        ({"head_units": (4096.0,)}, "head_units must be a list, each an integer"),
        ({"train_split": ("trainval", 7)}, "train_split must be a list, each a text"),
        ({"data_dir": None}, "data_dir must be a list, each a text"),
        ({"dataset": ["voc"]}, "dataset must be a list, each a text"),
    ],
)
def test_wrong_lists(changes, start):
    (problem,) = problems(**changes)
    (value,) = changes.values()
    assert problem.startswith(start)
    assert problem.endswith(f"Received: {value!r}")


@pytest.mark.parametrize(
    "name",
    [
        "shorter_side",
        "longer_side",
        "pixel_std",
        "batch_size",
        "pool_size",
        "sampling_ratio",
        "rpn_num_samples",
        "train_pre_nms_top_k",
        "train_post_nms_top_k",
        "test_pre_nms_top_k",
        "test_post_nms_top_k",
        "roi_num_samples",
        "rpn_smooth_l1_beta",
        "roi_smooth_l1_beta",
        "steps",
        "learning_rate",
        "lr_decay_factor",
        "bias_lr_factor",
        "accumulate_steps",
        "log_every",
        "max_detections",
    ],
)
def test_positive_settings(name):
    assert f"{name} must be positive. Received: 0" in problems(**{name: 0})


@pytest.mark.parametrize(
    "name",
    [
        "seed",
        "min_size",
        "rpn_box_loss_weight",
        "weight_decay",
        "warmup_steps",
        "gradient_clip_norm",
        "eval_every",
        "num_images",
    ],
)
def test_settings_that_may_be_zero_but_not_below(name):
    assert problems(**{name: -1}) == [f"{name} must be at least 0. Received: -1"]
    Config(**{name: 0}).validate()


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
        "crop_probability",
        "crop_min_visible",
        "brightness",
        "contrast",
        "saturation",
        "grey_probability",
    ],
)
@pytest.mark.parametrize("value", [-0.01, 1.01])
def test_fractions(name, value):
    assert f"{name} must be between 0 and 1. Received: {value}" in problems(**{name: value})


@pytest.mark.parametrize("name", ["momentum", "head_dropout"])
def test_settings_below_one(name):
    words = f"{name} must be at least 0 and below 1. Received:"
    assert problems(**{name: 1.0}) == [f"{words} 1.0"]
    assert problems(**{name: -0.1}) == [f"{words} -0.1"]
    Config(**{name: 0.0}).validate()


@pytest.mark.parametrize("name", ["scales", "ratios", "head_units"])
@pytest.mark.parametrize("value", [(), (0,), (-1,)])
def test_lists_of_positive_numbers(name, value):
    assert problems(**{name: value}) == [
        f"{name} must be a list of positive numbers. Received: {value!r}"
    ]


@pytest.mark.parametrize("value", [(), (1.0,), (0.5, 0.9, 1.0), (0.9, 0.5), (0.09, 1.0)])
@pytest.mark.parametrize(
    ("name", "highest", "too_high"),
    [("scale_jitter", 10, (0.5, 10.01)), ("crop_sides", 1, (0.5, 1.01))],
)
def test_ranges(name, highest, too_high, value):
    message = f"{name} must be two numbers between 0.1 and {highest}, the smaller one first."
    assert problems(**{name: value}) == [f"{message} Received: {value!r}"]
    assert problems(**{name: too_high}) == [f"{message} Received: {too_high!r}"]
    Config(**{name: (0.1, float(highest))}).validate()
    Config(**{name: (0.5, 0.5)}).validate()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hue": 0.51}, "hue must be between 0 and 0.5. Received: 0.51"),
        ({"hue": -0.01}, "hue must be between 0 and 0.5. Received: -0.01"),
        (
            {"train_shorter_sides": (400, 0)},
            "train_shorter_sides must be positive. Received: (400, 0)",
        ),
        (
            {"test_shorter_sides": (-1, 600)},
            "test_shorter_sides must be positive. Received: (-1, 600)",
        ),
        (
            {"box_delta_std": (0.1, 0.2)},
            "box_delta_std must have 4 numbers (ty, tx, th, tw). Received: (0.1, 0.2)",
        ),
        ({"frozen_blocks": -2}, "frozen_blocks must be between -1 and 5. Received: -2"),
        ({"frozen_blocks": 6}, "frozen_blocks must be between -1 and 5. Received: 6"),
        (
            {"profile_steps": (5,)},
            "profile_steps must be two steps, first and last. Received: (5,)",
        ),
        ({"longer_side": 599}, "longer_side (599) is below shorter_side (600)"),
        (
            {"rpn_bg_iou_threshold": 0.71},
            "rpn_bg_iou_threshold is above rpn_fg_iou_threshold: an anchor would be both",
        ),
        (
            {"roi_bg_iou_threshold": 0.51},
            "roi_bg_iou_threshold is above roi_fg_iou_threshold: a region would be both",
        ),
        (
            {"roi_bg_iou_threshold_low": 0.51},
            "roi_bg_iou_threshold_low is above roi_bg_iou_threshold: no background would be left",
        ),
        (
            {"backbone_weights": "none", "frozen_blocks": 1},
            "frozen_blocks=1 with backbone_weights=none would freeze random weights: "
            "use frozen_blocks=-1 or 0",
        ),
        (
            {"lr_boundaries": (60000, 50000)},
            "lr_boundaries must be rising steps. Received: (60000, 50000)",
        ),
        (
            {"lr_boundaries": (50000, 50000)},
            "lr_boundaries must be rising steps. Received: (50000, 50000)",
        ),
        (
            {"lr_boundaries": (0, 50000)},
            "lr_boundaries must be rising steps. Received: (0, 50000)",
        ),
        ({"warmup_steps": 70000}, "warmup_steps (70000) leave nothing of 70000 steps"),
        (
            {"profile_steps": (20, 10)},
            "profile_steps must be the first and a later last step. Received: (20, 10)",
        ),
        (
            {"backbone": "zf"},
            "backbone_weights=imagenet is not for zf, which keras.applications lacks: use "
            "backbone_weights=none",
        ),
        (
            {"jit_compile": True, "deterministic": True},
            "jit_compile does not go with deterministic: Keras does without XLA where kernels must "
            "be deterministic",
        ),
        ({"train_split": ()}, "train_split must name image sets. Received: ()"),
        (
            {"test_proposals": ""},
            "test_proposals must be 'rpn', 'dense' or a proposals file. Received: ''",
        ),
        (
            {"scheme": "non_approximate"},
            "scheme=non_approximate needs roi_pooling=align: max pooling rounds the proposals' "
            "coordinates and has no gradient in them",
        ),
        (
            {"train_proposals": "found.npz"},
            "test_proposals=rpn: with train_proposals=found.npz the RPN learns nothing; name a "
            "proposals file, or 'dense'",
        ),
        (
            {"test_proposals": "dense", "test_ranked_proposals": False},
            "test_ranked_proposals and test_regressed_proposals are about the RPN's proposals. "
            "Received: test_proposals=dense",
        ),
        (
            {"test_proposals": "a.npz", "test_regressed_proposals": False},
            "test_ranked_proposals and test_regressed_proposals are about the RPN's proposals. "
            "Received: test_proposals=a.npz",
        ),
        (
            {"scheme": "alternating", "train_proposals": "a.npz", "test_proposals": "a.npz"},
            "scheme=alternating trains on the RPN's own proposals: train_proposals=a.npz needs "
            "scheme=joint",
        ),
        (
            {"alternating_steps": (9000, 9000)},
            "alternating_steps must be four positive numbers, one for each step of alternating "
            "training, or empty. Received: (9000, 9000)",
        ),
        (
            {"alternating_lr_boundaries": (9, 0, 9, 9)},
            "alternating_lr_boundaries must be four positive numbers, one for each step of "
            "alternating training, or empty. Received: (9, 0, 9, 9)",
        ),
        (
            {"scheme": "alternating", "alternating_steps": (900, 900, 500, 900)},
            "warmup_steps (500) leave nothing of 500 steps",
        ),
        (
            {"scheme": "unshared", "steps": 3, "warmup_steps": 0},
            "warmup_steps (0) leave nothing of 0 steps",
        ),
    ],
)
def test_contradictions(changes, message):
    assert problems(**changes) == [message]


@pytest.mark.parametrize(
    "changes",
    [
        {"longer_side": 600},
        {"rpn_bg_iou_threshold": 0.7},
        {"roi_bg_iou_threshold_low": 0.5},
        {"backbone_weights": "none", "frozen_blocks": 0},
        {"lr_boundaries": ()},
        {"lr_boundaries": (90000,)},  # a shortened run never reaches it
        {"eval_every": 3000},  # the rest of the run is an interval too
        {"backbone": "zf", "backbone_weights": "none"},
        {"backbone": "zf", "start_checkpoint": "a.keras"},  # backbone_weights is not looked at
        {"backbone_weights": "none", "start_checkpoint": "a.keras", "frozen_blocks": 5},
        {"warmup_steps": 69999},
        {"eval_every": 0},
        {"eval_every": 70000},
        {"profile_steps": (10, 20)},
        {"jit_compile": True},
        {"frozen_blocks": 5},
        {"scheme": "non_approximate", "roi_pooling": "align"},
        {"scheme": "alternating", "steps": 6, "warmup_steps": 0},
        {"scheme": "unshared", "alternating_steps": (501, 501, 1, 1)},
        {"train_proposals": "found.npz", "test_proposals": "other.npz"},
    ],
)
def test_the_last_value_before_a_contradiction_is_allowed(changes):
    Config(**changes).validate()


def test_all_problems_come_in_one_error():
    assert problems(batch_size=0, momentum=2.0, longer_side=10) == [
        "batch_size must be positive. Received: 0",
        "momentum must be at least 0 and below 1. Received: 2.0",
        "longer_side (10) is below shorter_side (600)",
    ]


@pytest.mark.parametrize(
    ("frozen_blocks", "weights", "expected"),
    [(-1, "imagenet", 2), (-1, "none", 0), (-1, "my.h5", 2), (0, "imagenet", 0), (4, "none", 4)],
)
def test_resolved_frozen_blocks(frozen_blocks, weights, expected):
    config = Config(frozen_blocks=frozen_blocks, backbone_weights=weights)
    assert config.resolved_frozen_blocks == expected


@pytest.mark.parametrize(("frozen_blocks", "expected"), [(-1, 2), (0, 0), (1, 1)])
def test_a_start_checkpoint_counts_as_pretrained(frozen_blocks, expected):
    config = Config(
        frozen_blocks=frozen_blocks, backbone_weights="none", start_checkpoint="a.keras"
    )
    assert config.validate().resolved_frozen_blocks == expected


def test_sizes_keep_the_proportion():
    assert Config().sizes(()) == [(600, 1000)]
    assert Config().sizes((480, 577)) == [(480, 800), (577, 962)]  # 961.67 rounds up
    assert Config(shorter_side=64, longer_side=96).sizes((33,)) == [(33, 50)]  # half up


@pytest.mark.parametrize(("eval_every", "expected"), [(0, 70000), (5000, 5000), (90000, 70000)])
def test_steps_per_interval(eval_every, expected):
    assert Config(eval_every=eval_every).steps_per_interval == expected


@pytest.mark.parametrize(
    ("changes", "steps", "boundaries"),
    [
        ({}, (70000,), ((50000,),)),
        ({"scheme": "joint", "alternating_steps": (1, 2, 3, 4)}, (70000,), ((50000,),)),
        ({"lr_boundaries": (3, 4), "steps": 5}, (5,), ((3, 4),)),
        (
            {"scheme": "alternating", "steps": 140},
            (46, 24, 46, 24),
            ((int(46 / 140 * 50000),), (int(24 / 140 * 50000),)) * 2,
        ),
        (
            {"scheme": "alternating", "steps": 120, "lr_boundaries": (60, 61, 90)},
            (40, 20, 40, 20),
            ((20, 30), (10, 15)) * 2,
        ),
        (
            {"scheme": "unshared", "steps": 120, "lr_boundaries": ()},
            (40, 20),
            ((), ()),
        ),
        (
            {
                "scheme": "alternating",
                "alternating_steps": (80, 40, 80, 40),
                "alternating_lr_boundaries": (60, 30, 50, 20),
            },
            (80, 40, 80, 40),
            ((60,), (30,), (50,), (20,)),
        ),
        (
            {
                "scheme": "unshared",
                "alternating_steps": (80, 40, 80, 40),
                "alternating_lr_boundaries": (60, 30, 50, 20),
            },
            (80, 40),
            ((60,), (30,)),
        ),
    ],
)
def test_phases_of_the_schemes(changes, steps, boundaries):
    config = Config(**changes)
    assert config.phase_steps == steps
    assert config.phase_lr_boundaries == boundaries
    assert config.total_steps == sum(steps)


@pytest.mark.parametrize(
    ("scheme", "sizes", "expected"),
    [
        ("joint", (1, 2, 3, 4), (5,)),
        ("alternating", (), (5, 5, 5, 5)),
        ("alternating", (1, 2, 3, 4), (1, 2, 3, 4)),
        ("unshared", (1, 2, 3, 4), (1, 2)),
    ],
)
def test_images_a_step_of_the_phases(scheme, sizes, expected):
    config = Config(scheme=scheme, batch_size=5, alternating_batch_sizes=sizes)
    assert config.phase_batch_sizes == expected


def test_replace_changes_a_copy():
    config = Config()
    changed = config.replace(steps=3, scales=(64.0,))
    assert (changed.steps, changed.scales, changed.seed) == (3, (64.0,), 0)
    assert (config.steps, config.scales) == (70000, (128.0, 256.0, 512.0))


def test_a_dict_goes_through_json_and_back():
    config = Config(scales=(64.0, 1 / 9), profile_steps=(), data_dir="/a b", include_empty=False)
    values = json.loads(json.dumps(config.to_dict()))
    assert values["scales"] == [64.0, 1 / 9]
    assert Config.from_dict(values) == config


def test_a_text_does_for_a_list_of_one_as_settings_had_it_before_there_could_be_several():
    config = Config(dataset="coco", data_dir="/a,b", train_split="train2017").validate()
    assert (config.dataset, config.data_dir) == (("coco",), ("/a,b",))
    assert config.replace(data_dir="").data_dir == ()
    assert config.replace(eval_split="val2017").eval_split == ("val2017",)
    saved = {"dataset": "coco", "data_dir": "/a,b", "train_split": ["train2017"]}
    assert Config.from_dict(saved) == config


def test_from_dict_names_unknown_settings():
    with pytest.raises(ValueError, match="^Unknown settings: colour, stepz$"):
        Config.from_dict({"stepz": 1, "seed": 2, "colour": "red"})


def test_types_in_words():
    assert element_type(tuple[int, ...]) is int
    assert element_type(int) is None
    assert type_name(bool) == "true or false"
    assert type_name(tuple[float, ...]).startswith("a list")


@pytest.mark.parametrize(
    ("form", "difficult", "resolved"),
    [
        ("voc", "auto", "drop"),
        ("coco", "auto", "ignore"),
        ("voc", "keep", "keep"),
        ("coco", "drop", "drop"),
    ],
)
def test_what_becomes_of_difficult_objects_depends_on_the_form_of_the_data(
    form, difficult, resolved
):
    assert Config(difficult=difficult).validate().resolve_difficult(form) == resolved


@pytest.mark.parametrize("split", ["labels/val.json", "val.json:images"])
def test_a_coco_file_as_split_needs_coco_as_dataset(split):
    Config(dataset="coco", eval_split=(split,)).validate()
    with pytest.raises(ValueError, match=f"eval_split={split} is a COCO file: that needs dataset="):
        Config(eval_split=("test", split)).validate()
    Config(dataset=("voc", "coco"), eval_split=("test", f"train+{split}")).validate()


# --- joined data ---------------------------------------------------------------------------------


def wanted(dataset, splits, **settings):
    """Returns (form, folder, image sets) for each source that entries of image sets ask for."""
    config = Config(dataset=dataset, **settings).validate()
    return [(s.dataset, s.data_dir, s.splits) for s in config.sources(splits)]


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("trainval",), ("trainval",)),
        (("VOC2007/trainval", "VOC2012/trainval"), ("VOC2007/trainval", "VOC2012/trainval")),
        (("VOC2007/trainval+VOC2012/trainval",), ("VOC2007/trainval", "VOC2012/trainval")),
        (("a+b", "c"), ("a", "b", "c")),
        (("a", "-"), ("a",)),
        (("cat_train-2",), ("cat_train-2",)),
    ],
)
def test_a_lone_dataset_joins_its_image_sets_by_commas_or_plus(splits, expected):
    assert wanted("voc", splits, data_dir="/voc") == [("voc", "/voc", expected)]


def test_of_several_datasets_each_has_its_entry():
    both = {"dataset": ("voc", "coco"), "data_dir": ("/voc", "/coco")}
    assert wanted(splits=("VOC2007/trainval+VOC2012/trainval", "train2017:a+b.json"), **both) == [
        ("voc", "/voc", ("VOC2007/trainval", "VOC2012/trainval")),
        ("coco", "/coco", ("train2017:a", "b.json")),
    ]
    assert wanted(splits=("VOC2007/test", "-"), **both) == [("voc", "/voc", ("VOC2007/test",))]
    assert wanted(splits=("-", "val2017"), **both) == [("coco", "/coco", ("val2017",))]


@pytest.mark.parametrize(
    ("data_dir", "expected"),
    [
        ((), ["", ""]),
        (("/data",), ["/data", "/data"]),
        (("/a", "/b"), ["/a", "/b"]),
        (("-", "/b"), ["", "/b"]),
    ],
)
def test_one_folder_for_all_or_one_each(data_dir, expected):
    sources = wanted(("voc", "voc"), ("train", "val"), data_dir=data_dir)
    assert [folder for _, folder, _ in sources] == expected


@pytest.mark.parametrize(
    ("dataset", "splits", "received"),
    [
        (("voc", "coco"), ("train",), "voc, coco: .*Received: train$"),
        (("voc", "coco"), ("train", "val", "test"), "Received: train,val,test$"),
        (("voc", "coco"), ("-", "-"), "Received: -,-$"),
        (("voc",), ("-",), "Received: -$"),
        (("voc",), (), "Received: none$"),
    ],
)
def test_entries_that_do_not_fit_the_datasets(dataset, splits, received):
    with pytest.raises(ValueError, match=received):
        Config(dataset=dataset).sources(splits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_dir": ("/a", "/b")}, "one for each of 1 datasets (voc). Received: ('/a', '/b')"),
        ({"dataset": ("voc", "coco"), "data_dir": ("/a", "/b", "/c")}, "each of 2 datasets"),
        ({"dataset": ()}, "dataset must name at least one. Received: ()"),
        ({"train_split": ("a+",)}, "train_split must name image sets. Received: ('a+',)"),
        ({"eval_split": ("a++b",)}, "eval_split must name image sets. Received: ('a++b',)"),
    ],
)
def test_datasets_folders_and_image_sets_that_cannot_be_meant(changes, message):
    (problem,) = problems(**changes)
    assert message in problem
