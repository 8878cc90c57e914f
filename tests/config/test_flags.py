"""Config as flags, flags as Config, and the flagfile written from a Config."""

import dataclasses
import functools

import pytest
from absl import flags as absl_flags

from keras_frcnn.config import Config, flags
from keras_frcnn.config.flagfile import Reader, UsageError

# Every setting with another value than its default, unless it has one choice only.
CHANGED = Config(
    **{
        field.name: {
            bool: lambda f: not f.default,
            int: lambda f: f.default + 7,
            float: lambda f: f.default / 3 + 1 / 9,
            str: lambda f: [f"/data/my {f.name}=#1,x", *f.metadata["choices"]][-1],
            tuple[int, ...]: lambda f: (*f.default, 123456),
            tuple[float, ...]: lambda f: (*f.default, 1 / 3, 1e-7, 1e22),
            tuple[str, ...]: lambda f: f.metadata["choices"] or (*f.default, "VOC2012/train val"),
        }[field.type](field)
        for field in dataclasses.fields(Config)
    }
)


def read_back(config, path) -> Config:
    """Writes a config, then reads it into flags without validating it."""
    flags.write_flagfile(config, path)
    parsers = {n: functools.partial(flags.parse, o) for n, o in flags.SETTINGS.items()}
    reader = Reader(parsers)
    given = reader.read_flagfile(path)
    assert list(given) == list(flags.SETTINGS)
    return Config(**{name: entry.value for name, entry in given.items()})


@pytest.mark.parametrize("config", [Config(), CHANGED], ids=["defaults", "all changed"])
def test_every_setting_reads_back_from_a_flagfile_to_the_last_bit(config, tmp_path):
    again = read_back(config, tmp_path / "config.cfg")
    for field in dataclasses.fields(Config):
        assert repr(getattr(again, field.name)) == repr(getattr(config, field.name)), field.name


@pytest.mark.parametrize(
    "changes",
    [
        {"lr_boundaries": (), "profile_steps": (), "train_split": (), "scales": ()},
        {"data_dir": "", "output_dir": "C:\\runs\\ä ö"},
        {"rpn_smooth_l1_beta": 1 / 9, "learning_rate": 5e-324, "momentum": 0.1 + 0.2},
        {"seed": -1, "min_size": -0.0, "deterministic": True, "include_empty": False},
    ],
)
def test_unusual_values_read_back(changes, tmp_path):
    config = Config(**changes)
    assert repr(read_back(config, tmp_path / "config.cfg")) == repr(config)


def test_a_written_flagfile_holds_only_comments_and_name_value_lines(tmp_path):
    path = tmp_path / "config.cfg"
    flags.write_flagfile(Config(), path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert all(len(line) <= 100 for line in lines)
    kinds = {line[:2] if line else "" for line in lines}
    assert kinds == {"", "# ", "--"}
    assert sum(line.startswith("--") for line in lines) == len(dataclasses.fields(Config))
    assert "--scales=128,256,512" in lines
    assert "--deterministic=false" in lines
    start = lines.index("--batch_size=1")
    assert lines[start - 1] == "# integer; default 1)"
    assert lines[start - 2].startswith("# Number of images per step, on all devices together; ")


@pytest.mark.parametrize(
    "changes",
    [
        {"data_dir": "/data "},
        {"data_dir": "/data\n--seed=3"},
        {"data_dir": "/data\r"},
        {"data_dir": "/data #1"},
        {"data_dir": "'/data'"},
        {"train_split": ("a,b",)},
        {"train_split": ("",)},
    ],
)
def test_what_a_flagfile_cannot_hold_is_not_written_in_silence(changes, tmp_path):
    (name,) = changes
    expected = f"^{name} must be a value that a line of a flagfile can hold. Received: "
    with pytest.raises(ValueError, match=expected):
        flags.write_flagfile(Config(**changes), tmp_path / "config.cfg")
    assert not list(tmp_path.iterdir())


def test_settings_are_ordinary_absl_flags():
    flag_values = absl_flags.FlagValues()
    flags.define(flag_values, flags.SETTINGS.values())
    assert set(flag_values) == {field.name for field in dataclasses.fields(Config)}
    flag_values(["prog", "--steps=90000", "--nodecay_biases", "--scales=8,16", "--deterministic"])
    expected = Config(steps=90000, scales=(8.0, 16.0), deterministic=True)
    assert flags.to_config(flag_values) == expected


def test_a_backbone_with_a_pyramid_brings_its_defaults(tmp_path):
    flag_values = absl_flags.FlagValues()
    flags.define(flag_values, flags.SETTINGS.values())
    flag_values(["prog", "--backbone=resnet50_fpn", "--roi_pooling=max", "--nms_iou_threshold=0.4"])
    expected = Config().with_backbone("resnet50_fpn")
    expected = expected.replace(roi_pooling="max", nms_iou_threshold=0.4)
    assert flags.to_config(flag_values) == expected
    # A resumed or changed run keeps what it has.
    assert flags.to_config(flag_values, expected.replace(min_size=3.0)).min_size == 3.0


def test_settings_come_in_groups_with_the_common_ones_first():
    assert set(flags.SETTINGS) == set(Config.options())
    for group in flags.GROUPS:
        common = [flags.SETTINGS[name].common for name in flags.settings_of(group)]
        assert common == sorted(common, reverse=True)
    first = ("output_dir", "seed", "precision")
    assert flags.settings_of("run")[:3] == first
    run, of_data = flags.settings_of("run"), flags.settings_of("data")
    assert flags.settings_of("run", "data") == (*run, *of_data)
    assert of_data[:2] == ("dataset", "data_dir")
    assert [flags.settings_of(group)[0] for group in ("model", "training")] == ["backbone", "steps"]


def test_problems_name_flags(tmp_path):
    flag_values = absl_flags.FlagValues()
    flags.define(flag_values, flags.SETTINGS.values())
    flag_values(["prog", "--split=0.5,0.5", "--data_dir=steps=3,b", "--seed=-1"])
    with pytest.raises(UsageError) as caught:
        flags.to_config(flag_values)
    assert str(caught.value).splitlines() == [
        "--seed must be an integer of at least 0. Received: -1",
        "--data_dir must be one folder for all, or one for each of the 1 datasets (voc). "
        "Received: ('steps=3', 'b')",
        "--split needs --dataset=folder",
    ]


def test_the_summary_names_form_default_and_source():
    assert flags.summary(flags.SETTINGS["rpn_num_samples"]) == (
        "a positive integer; default 256, from the paper, section 3.1.3"
    )
    assert flags.summary(flags.SETTINGS["scales"]) == (
        "one or more positive numbers separated by commas; default 128,256,512, from the paper; "
        "32,64,128,256,512 with a feature pyramid"
    )
    assert flags.summary(flags.SETTINGS["classes_file"]) == "a string; default empty"
