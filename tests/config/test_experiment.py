"""All settings together: their defaults, checks across concerns, phases and old checkpoints."""

import dataclasses
import json

import pytest

from keras_frcnn.config import (
    AugmentationConfig,
    Config,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    SettingsError,
    TrainingConfig,
)

CONCERNS = (DataConfig, AugmentationConfig, ModelConfig, TrainingConfig, EvaluationConfig)


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


def test_the_concerns_are_joined_in_order_without_a_setting_twice():
    joined = [name for concern in CONCERNS for name in concern.options()]
    assert list(Config.options()) == joined
    assert len(set(joined)) == len(joined)
    for concern in CONCERNS:
        assert isinstance(Config(), concern)


def test_every_setting_has_help_and_a_group():
    for field in dataclasses.fields(Config):
        assert field.metadata["help"], field.name
        assert field.metadata["group"], field.name


def test_a_default_is_among_its_choices():
    for field in dataclasses.fields(Config):
        values = field.default if isinstance(field.default, tuple) else (field.default,)
        if field.metadata["choices"]:
            assert set(values) <= set(field.metadata["choices"]), field.name


def test_a_default_is_within_its_limits():
    assert [o.name for o in Config.options().values() if not o.allows(o.default)] == []


def test_a_former_name_is_of_one_setting_and_no_present_name():
    former = [name for option in Config.options().values() for name in option.former]
    assert former == ["check_pictures", "num_pictures"]
    assert not set(former) & set(Config.options())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"backbone_weights": "none", "frozen_blocks": 1},
            "frozen_blocks=1 with backbone_weights=none would freeze random weights: "
            "use frozen_blocks=-1 or 0",
        ),
        (
            {"backbone": "zf"},
            "backbone=zf has no pretrained weights in keras.applications: use "
            "backbone_weights=none. Received: backbone_weights=imagenet",
        ),
        (
            {"scheme": "unshared", "steps": 3},
            "every phase must have a step. Received: steps=3, which gives the phases 1, 0 steps. "
            "Use more steps, or alternating_steps",
        ),
        (
            {"scheme": "alternating", "epochs": 2.0, "alternating_steps": (1, 2, 1, 2)},
            "epochs cannot be combined with alternating_steps, which gives every phase its steps",
        ),
        ({"longer_side": 599}, "longer_side (599) is below shorter_side (600)"),
        ({"split": (0.5, 0.5)}, "split needs dataset=folder"),
    ],
)
def test_contradictions(changes, message, problems):
    assert problems(Config, **changes) == [message]


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone_weights": "none", "frozen_blocks": 0},
        {"eval_every": 3000},  # the rest of the run is an interval too
        {"backbone": "zf", "backbone_weights": "none"},
        {"backbone": "zf", "start_checkpoint": "a.keras"},  # backbone_weights has no effect
        {"backbone_weights": "none", "start_checkpoint": "a.keras", "frozen_blocks": 5},
        {"warmup_steps": 70000},  # becomes shorter
        {"eval_every": 0},
        {"eval_every": 70000},
        {"frozen_blocks": 5},
        {"scheme": "alternating", "steps": 6},
        {"scheme": "unshared", "alternating_steps": (501, 501, 1, 1)},
    ],
)
def test_the_last_value_before_a_contradiction_is_allowed(changes):
    Config(**changes).validate()


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


def test_the_models_settings_alone_rebuild_the_same_detector():
    config = Config(scales=(64.0,), backbone="resnet50", seed=3, steps=5)
    model = config.model_config()
    assert type(model) is ModelConfig
    assert (model.scales, model.backbone, model.seed) == ((64.0,), "resnet50", 3)
    assert (config.frozen_blocks, model.frozen_blocks) == (-1, 2)
    assert model.resolved_frozen_blocks == config.resolved_frozen_blocks
    assert ModelConfig.from_dict(json.loads(json.dumps(model.to_dict()))) == model


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


# --- checkpoints ---------------------------------------------------------------------------------


def test_settings_of_a_checkpoint_read_back_without_a_loss():
    config = Config(backbone="zf", backbone_weights="none", warmup_steps=3, steps=9).validate()
    assert Config.from_checkpoint(config.to_dict(), "a.keras") == (config, ())


def test_a_checkpoint_of_version_0_1_is_read():
    values = Config(num_images=3, data_dir="/voc").to_dict()
    values["num_pictures"] = values.pop("num_images")
    values["check_pictures"] = values.pop("check_images")
    del values["split"]
    read, dropped = Config.from_checkpoint(values, "a.keras")
    assert read == Config.from_dict(values) == Config(num_images=3, data_dir="/voc")
    assert dropped == ()


@pytest.mark.parametrize(
    ("changes", "dropped"),
    [
        ({"stepz": 1, "colour": None}, ("colour", "stepz")),
        ({"optimizer": "lion"}, ("optimizer",)),
        ({"log_every": 0, "lr_boundaries": [3, 2]}, ("log_every", "lr_boundaries")),
        ({"steps": "many", "dataset": ["sun"]}, ("dataset", "steps")),
        ({"data_dir": ["/a", "/b", "/c"]}, ("data_dir",)),
        ({"split": [0.5, 0.5]}, ("dataset", "split")),
        ({"jit_compile": True, "deterministic": True}, ("deterministic", "jit_compile")),
        (
            {"crop_sides": [3, 1], "num_images": -1, "stepz": 3},
            ("crop_sides", "num_images", "stepz"),
        ),
    ],
)
def test_other_settings_never_make_a_checkpoint_unreadable(changes, dropped):
    saved = Config(shorter_side=64, longer_side=96, pool_size=3, log_every=7, momentum=0.5)
    read, lost = Config.from_checkpoint({**saved.to_dict(), **changes}, "a.keras")
    assert lost == dropped
    defaults = {name: getattr(Config(), name) for name in dropped if name in Config.options()}
    assert read.validate() == saved.replace(**defaults)


@pytest.mark.parametrize(
    "model",
    [
        ModelConfig(),
        ModelConfig(backbone="zf"),
        ModelConfig(backbone="zf", frozen_blocks=2),
        ModelConfig(scheme="alternating", seed=3),
        ModelConfig(scheme="unshared"),
        ModelConfig(train_proposals="a.npz", test_proposals="b.npz"),
    ],
)
def test_the_models_settings_alone_make_a_config_that_starts_from_the_checkpoint(model):
    config, dropped = Config.from_checkpoint(model.to_dict(), "a.keras")
    assert config == Config(**vars(model), start_checkpoint="a.keras").validate()
    assert dropped == ()
    # Even if nothing else fits.
    others = {name: None for name in Config.options() if name not in ModelConfig.options()}
    config, dropped = Config.from_checkpoint({**model.to_dict(), **others}, "a.keras")
    assert config == Config(**vars(model), start_checkpoint="a.keras")
    assert dropped == tuple(sorted(others))


def test_a_run_that_starts_from_a_detector_keeps_what_the_detector_is():
    kept = {"roi_pooling": "align", "scales": (64, 128), "shorter_side": 400, "max_detections": 7}
    trained = {"weight_decay": 0.0, "scheme": "alternating", "seed": 3, "frozen_blocks": 4}
    start = ModelConfig(**kept, **trained, train_proposals="a.npz", precision="float32")
    assert Config.started_from(start) == Config(**kept)


def test_a_run_too_short_for_the_default_warm_up_is_read():
    model = ModelConfig(scheme="alternating").to_dict()
    values = {**model, "alternating_steps": [5, 5, 5, 5], "warmup_steps": -1}
    config, dropped = Config.from_checkpoint(values, "a.keras")
    assert config.phase_steps == (5, 5, 5, 5)
    assert dropped == ("warmup_steps",)


def test_the_models_settings_must_be_valid():
    with pytest.raises(SettingsError, match="pool_size must be a positive integer") as caught:
        Config.from_checkpoint({"pool_size": 0, "seed": -1, "steps": 0}, "a.keras")
    assert [problem.names for problem in caught.value.problems] == [{"pool_size"}, {"seed"}]
