"""What the settings of every concern can do: here, those of the whole ``Config``."""

import dataclasses
import json
import pickle

import pytest

from keras_frcnn.config import BACKBONES, Config, DataConfig, EvaluationConfig, SettingsError
from keras_frcnn.config.concern import Problem


def test_the_defaults_of_every_concern_are_valid_and_validate_returns_the_settings():
    for concern in (*Config.__mro__[1:-2], Config):
        settings = concern()
        assert settings.validate() is settings


def test_config_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().steps = 3


def test_all_problems_come_in_one_error(problems):
    assert problems(Config, batch_size=0, momentum=2.0, longer_side=10) == [
        "batch_size must be a positive integer. Received: 0",
        "momentum must be a number of at least 0 and below 1. Received: 2.0",
        "longer_side (10) is below shorter_side (600)",
    ]


def test_ranges_are_looked_at_only_among_values_of_the_right_type(problems):
    assert problems(Config, batch_size=0, steps="10", backbone="vgg") == [
        f"backbone must be one of {', '.join(BACKBONES)}. Received: 'vgg'",
        "steps must be a positive integer. Received: '10'",
    ]


def test_a_problem_knows_its_settings_and_writes_them_as_flags():
    problem = Problem(
        "{shorter_side} is {shorter_side.value}, {longer_side} is {words}",
        {"longer_side": 2, "shorter_side": "{seed}", "seed": 3},
        {"words": "{seed}"},
    )
    assert problem.text() == "shorter_side is {seed}, longer_side is {seed}"
    assert problem.text(dashes="--") == "--shorter_side is {seed}, --longer_side is {seed}"
    assert problem.names == {"shorter_side", "longer_side"}


def test_the_error_goes_through_pickle():
    with pytest.raises(SettingsError) as caught:
        Config(steps=0).validate()
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problems == caught.value.problems
    assert str(again) == str(caught.value)


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


def test_a_string_does_for_a_list_of_one_as_settings_had_it_before_there_could_be_several():
    config = Config(dataset="coco", data_dir="/a,b", train_split="train2017").validate()
    assert (config.dataset, config.data_dir) == (("coco",), ("/a,b",))
    assert config.replace(data_dir="").data_dir == ()
    assert config.replace(eval_split="val2017").eval_split == ("val2017",)
    saved = {"dataset": "coco", "data_dir": "/a,b", "train_split": ["train2017"]}
    assert Config.from_dict(saved) == config


def test_from_dict_names_unknown_settings():
    with pytest.raises(ValueError, match="^Unknown settings: colour, stepz$"):
        Config.from_dict({"stepz": 1, "seed": 2, "colour": "red"})


def test_a_setting_is_read_under_its_former_name():
    assert DataConfig.from_dict({"check_pictures": False}) == DataConfig(check_images=False)
    assert EvaluationConfig.from_dict({"num_pictures": 3}) == EvaluationConfig(num_images=3)
    both = {"num_pictures": 3, "check_pictures": False, "num_images": 3}
    assert Config.from_dict(both) == Config(num_images=3, check_images=False)
    assert both == {"num_pictures": 3, "check_pictures": False, "num_images": 3}
    message = "^num_pictures is a former name of num_images, so both must be equal. Received: 3 and"
    with pytest.raises(ValueError, match=message):
        Config.from_dict({"num_pictures": 3, "num_images": 4})
