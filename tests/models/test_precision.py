"""What ``precision=auto`` becomes on which machine."""

import io

import pytest
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.models import precision


@pytest.fixture
def machine(monkeypatch):
    """Returns a function that pretends to be another machine."""

    def pretend(cpuinfo, gpus=()):
        def open_cpuinfo(path, **kwargs):
            if cpuinfo is None:
                raise FileNotFoundError(path)
            return io.StringIO(cpuinfo)

        monkeypatch.setattr(precision, "open", open_cpuinfo, raising=False)
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(gpus))
        monkeypatch.setattr(
            tf.config.experimental,
            "get_device_details",
            lambda gpu: {} if gpu is None else {"compute_capability": gpu},
        )

    return pretend


@pytest.mark.parametrize(
    ("cpuinfo", "gpus", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 amx_tile\n", [], "mixed_bfloat16"),
        ("flags\t\t: avx2 avx512_bf16\n", [], "mixed_bfloat16"),
        ("Features\t: fp asimd bf16\n", [], "mixed_bfloat16"),
        ("flags\t\t: fpu avx2 avx512f\n", [], "float32"),
        ("flags\t\t: not_amx_bf16_really\n", [], "float32"),
        ("bugs\t\t: amx_bf16\n", [], "float32"),
        ("", [], "float32"),
        (None, [], "float32"),  # not Linux
        ("flags\t\t: amx_bf16\n", [(7, 5)], "float32"),  # the GPU decides where there is one
        ("flags\t\t: fpu\n", [(8, 0)], "mixed_bfloat16"),
        ("flags\t\t: fpu\n", [(9, 0)], "mixed_bfloat16"),
        ("flags\t\t: fpu\n", [None], "float32"),
    ],
)
def test_auto_takes_bfloat16_where_the_hardware_has_it(cpuinfo, gpus, expected, machine):
    machine(cpuinfo, gpus)
    config, said = Config(seed=3), []
    assert precision.for_training(config, said.append) == config.replace(precision=expected)
    assert [line.startswith(f"precision: {expected} (") for line in said] == [True]


def test_the_reason_is_named(machine):
    said = []
    machine("flags\t\t: amx_bf16 avx512_bf16\n")
    precision.for_training(Config(), said.append)
    assert "amx_bf16, avx512_bf16" in said[0]
    machine("", [(7, 5)])
    precision.for_training(Config(), said.append)
    assert "the GPU does not multiply bfloat16" in said[1]


@pytest.mark.parametrize("name", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_choice_is_left_as_it_is(name, machine):
    machine("flags\t\t: amx_bf16\n", [(9, 0)])
    said = []
    assert precision.for_training(Config(precision=name), said.append).precision == name
    assert not said


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("auto", "bfloat16"),
        ("mixed_bfloat16", "bfloat16"),
        ("bfloat16", "bfloat16"),
        ("float32", "float32"),
        ("mixed_float16", "mixed_float16"),
    ],
)
def test_weights_that_do_not_learn_are_kept_as_they_are_multiplied(name, expected, machine):
    machine("flags\t\t: amx_bf16\n")
    assert precision.for_use(Config(precision=name), print).precision == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("float32", "float32"),
        ("auto", "bfloat16"),
        ("mixed_bfloat16", "bfloat16"),
        ("float16", "float16"),
        ("mixed_float16", "float16"),
    ],
)
def test_an_export_names_its_precision_whatever_the_model_learned_in(asked, expected, machine):
    machine("flags\t\t: amx_bf16\n")
    said, config = [], Config(precision="mixed_bfloat16", seed=3)
    exported = precision.for_export(config, asked, said.append)
    assert exported == config.replace(precision=expected)
    assert said[-1].startswith(f"precision of the SavedModel: {expected} (")


def test_nothing_learns_in_bfloat16():
    with pytest.raises(ValueError, match="Train with --precision=mixed_bfloat16"):
        precision.for_training(Config(precision="bfloat16"), print)
