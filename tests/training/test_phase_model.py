"""The model with which a phase begins: weights, what is frozen, how it is compiled."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn import backbones
from keras_frcnn.console import Console
from keras_frcnn.training import phase_model
from keras_frcnn.training.optimizers import make_optimizer
from keras_frcnn.training.phase_model import build_phase_model, prepare
from keras_frcnn.training.schemes import MODEL_PARTS, phases
from tests import fakes
from tests.training.weights import same, weights_of


@pytest.fixture
def build(config):
    """Returns a function that builds the first phase's model and returns what was printed."""

    def build(settings=config, class_names=("cat",)):
        output = io.StringIO()
        console = Console(file=output, width=500)
        model = build_phase_model(phases(settings)[0], class_names, console)
        return model, output.getvalue()

    return build


def test_a_built_model_is_compiled_and_the_same_for_the_same_seed(config, build):
    def weights(seed):
        model, output = build(config.replace(seed=seed), fakes.CLASS_NAMES)
        assert "random weights; frozen: nothing" in output
        assert len(model.optimizer.variables) > len(model.trainable_variables)
        return [w.numpy() for w in model.trainable_weights]

    one, again, other = weights(1), weights(1), weights(2)
    for a, b, c in zip(one, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any() or not a.any()


def test_a_warm_up_that_was_shortened_is_said(config, build):
    assert "warm-up" not in build(config.replace(warmup_steps=5, steps=6))[1]
    words = "warm-up: 2 steps instead of --warmup_steps=20, because training takes only 20 steps\n"
    assert words in build(config.replace(warmup_steps=20, steps=20))[1]


def test_a_drop_that_never_comes_is_said(config, build):
    steps = {"steps": 6, "lr_boundaries": (5,)}
    assert "does not drop" not in build(config.replace(**steps))[1]
    steps["lr_boundaries"] = (3, 6, 50000)
    words = "it does not drop at step 6, 50000 of --lr_boundaries, because training takes only 6 "
    assert words in build(config.replace(**steps))[1]
    assert "does not drop" not in build(config.replace(lr_schedule="cosine", **steps))[1]


@pytest.mark.parametrize(
    ("backbone", "frozen_blocks", "names"),
    [
        ("vgg16", 0, "nothing"),
        ("vgg16", 2, "block1, block2"),
        ("zf", 1, "block1"),
        ("resnet50", 0, "batch normalisation"),
        ("resnet50", 2, "conv1, conv2, batch normalisation"),
    ],
)
def test_what_is_frozen_is_said_by_name(build, monkeypatch, backbone, frozen_blocks, names):
    monkeypatch.setitem(backbones.BACKBONES, "vgg16", "keras_frcnn.backbones.vgg16:VGG16")
    monkeypatch.setattr(phase_model, "load_start", lambda model, path: [])
    changes = {"backbone": backbone, "frozen_blocks": frozen_blocks, "output_dir": "none"}
    _, output = build(fakes.SMALL.replace(start_checkpoint="a.keras", **changes))
    assert output.endswith(f"; frozen: {names}\n")


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_built_model_is_compiled_by_xla_if_the_settings_say_so(config, build, jit_compile):
    model, _ = build(config.replace(jit_compile=jit_compile))
    assert model.jit_compile is jit_compile


def test_deterministic_asks_tensorflow_for_it(config, build, monkeypatch):
    asked = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: asked.append(True))
    build(config)
    assert asked == []
    build(config.replace(deterministic=True))
    assert asked == [True]


@pytest.mark.parametrize(
    "changes",
    [{"accumulate_steps": 2}, {"precision": "mixed_bfloat16"}, {"optimizer": "adam"}],
    ids=str,
)
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_freezing_is_exact_whatever_takes_the_step(alternating, changes, number):
    settings = alternating.replace(momentum=0.9, **changes)
    phase = phases(settings)[number - 1]
    model = fakes.detector(scheme=phase.model_config.scheme, **changes)
    objects = [([5, 5, 30, 40], 0), ([20, 41, 60, 90], 2)]
    batch = fakes.inputs_of([fakes.image(64, 96)]), fakes.targets_of([objects])
    prepare(model, dataclasses.replace(phase, source=""))
    model.compile(make_optimizer(phase.config))
    model.optimizer.build(model.trainable_variables)
    before = {name: weights_of(model, name) for name in MODEL_PARTS}
    for _ in range(2):
        model.train_step(batch)
    for name in MODEL_PARTS:
        if before[name] is not None:
            assert same(before[name], weights_of(model, name)) is (name not in phase.trained)
