"""Runs: what is in the folder, exact resumption, stopping, and errors that end one."""

import io
import json
import math
import os
import signal
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from keras_frcnn.backbones import backbone as backbones
from keras_frcnn.data.writers import shapes
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training import callbacks, trainer
from keras_frcnn.weights import checkpoint
from tests import fakes

pytestmark = pytest.mark.usefixtures("eager")


def state_of(path, tmp_path):
    """Every number in a checkpoint, the optimizer's too, by its place in the file."""
    with zipfile.ZipFile(path) as archive:
        archive.extract("model.weights.h5", tmp_path)
    state = {}
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visititems(
            lambda name, item: (
                state.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return state


def assert_same_state(one, other, tmp_path):
    one, other = (state_of(path, tmp_path) for path in (one, other))
    assert sorted(one) == sorted(other)
    assert sum(name.startswith("optimizer") for name in one) > 5
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)


def evaluations(folder):
    path = folder / "evaluations.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


@pytest.fixture
def signal_at(monkeypatch):
    """Returns a function that has SIGTERM sent to the process during a step."""
    original = FasterRCNN.train_step

    def arrange(step, number=signal.SIGTERM):
        def train_step(self, data):
            result = original(self, data)
            if int(self.step) == step:
                os.kill(os.getpid(), number)
            return result

        monkeypatch.setattr(FasterRCNN, "train_step", train_step)

    return arrange


# --- the run folder -----------------------------------------------------------------------------


def test_what_a_run_leaves_in_its_folder(unbroken):
    names = sorted(path.name for path in unbroken.folder.iterdir())
    assert names == ["best.keras", "eval", "evaluations.jsonl", "last.keras", "train"]
    lines = evaluations(unbroken.folder)
    assert [line["step"] for line in lines] == [3, 6]
    assert sorted(lines[0]) == sorted(
        ["step", "mAP_area", "mAP_11point"]
        + [f"AP_area/{name}" for name in fakes.CLASS_NAMES]
        + [f"RPN_recall/{n}_proposals" for n in (50, 100, 200, 300)]
    )
    model = checkpoint.load(unbroken.folder / "last.keras")
    assert int(model.step) == 6
    assert model.class_names == fakes.CLASS_NAMES


def test_best_is_the_checkpoint_of_highest_map(config, train, tmp_path, monkeypatch):
    scores = iter([0.3, 0.6, math.nan, 0.6, 0.5])
    monkeypatch.setattr(callbacks.report, "print_table", lambda *args: None)
    monkeypatch.setattr(
        callbacks.measure.voc.Result, "map_area", property(lambda self: next(scores))
    )
    train(config.replace(output_dir=str(tmp_path), steps=5, eval_every=1, num_images=0))
    assert [line["mAP_area"] for line in evaluations(tmp_path)] == [0.3, 0.6, None, 0.6, 0.5]
    assert int(checkpoint.load(tmp_path / "best.keras").step) == 4  # of equals the later
    assert int(checkpoint.load(tmp_path / "last.keras").step) == 5


def test_there_is_a_best_even_where_map_is_undefined(config, train, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks.measure.voc.Result, "map_area", property(lambda self: math.nan))
    train(config.replace(output_dir=str(tmp_path), steps=1, eval_every=0, num_images=0))
    assert int(checkpoint.load(tmp_path / "best.keras").step) == 1


def test_a_half_written_checkpoint_is_never_visible(config, train, tmp_path, monkeypatch):
    save = FasterRCNN.save

    def die_while_writing(self, path, **kwargs):
        save(self, path, **kwargs)
        if int(self.step) == 4:
            os.truncate(path / "model.weights.h5", 1000)
            raise KeyboardInterrupt

    monkeypatch.setattr(FasterRCNN, "save", die_while_writing)
    settings = config.replace(output_dir=str(tmp_path), eval_every=2)
    with pytest.raises(KeyboardInterrupt):
        train(settings)
    for name in ("last.keras", "best.keras"):
        assert int(checkpoint.load(tmp_path / name).step) == 2
    monkeypatch.setattr(FasterRCNN, "save", save)
    assert "Going on from step 2 of" in train(settings)
    assert int(checkpoint.load(tmp_path / "last.keras").step) == 6
    assert not list(tmp_path.glob("*/model.weights.h5"))


def test_the_checkpoint_is_safe_before_its_evaluation_begins(config, train, tmp_path, monkeypatch):
    collect, seen = callbacks.collect, []

    def look(*args, **kwargs):
        seen.append(int(checkpoint.load(tmp_path / "last.keras").step))
        return collect(*args, **kwargs)

    monkeypatch.setattr(callbacks, "collect", look)
    train(config.replace(output_dir=str(tmp_path), steps=2, eval_every=1))
    assert seen == [1, 2]


# --- going on -----------------------------------------------------------------------------------


def test_a_run_lengthened_equals_one_in_one_go(config, train, unbroken, tmp_path):
    settings = config.replace(output_dir=str(tmp_path))
    train(settings.replace(steps=3))
    assert int(checkpoint.load(tmp_path / "last.keras").step) == 3
    output = train(settings)
    assert f"Going on from step 3 of {tmp_path}/last.keras" in output.replace("\n", "")
    assert_same_state(unbroken.folder / "last.keras", tmp_path / "last.keras", tmp_path)
    assert evaluations(tmp_path) == evaluations(unbroken.folder)


@pytest.mark.parametrize("step", [3, 4, 6])
def test_a_run_stopped_and_resumed_equals_one_in_one_go(
    step, config, train, unbroken, tmp_path, signal_at
):
    settings = config.replace(output_dir=str(tmp_path))
    signal_at(step)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        train(settings)
    assert caught.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is handler
    assert int(checkpoint.load(tmp_path / "last.keras").step) == step
    # Whoever stops a run does not wait for an evaluation.
    assert [line["step"] for line in evaluations(tmp_path)] == ([3] if step > 3 else [])
    signal_at(None)
    train(settings)
    assert_same_state(unbroken.folder / "last.keras", tmp_path / "last.keras", tmp_path)
    assert evaluations(tmp_path) == evaluations(unbroken.folder)
    for name in ("best.keras", "last.keras"):
        expected = int(checkpoint.load(unbroken.folder / name).step)
        assert int(checkpoint.load(tmp_path / name).step) == expected


@pytest.mark.parametrize("step", [3, 6])
def test_a_run_stopped_while_it_is_evaluated_goes_on_with_that(
    step, config, train, unbroken, tmp_path, monkeypatch
):
    original, settings = FasterRCNN.predict_step, config.replace(output_dir=str(tmp_path))
    seen = []

    def predict_step(self, data):
        seen.append(int(self.step))
        if seen[-1] == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, data)

    monkeypatch.setattr(FasterRCNN, "predict_step", predict_step)
    with pytest.raises(SystemExit) as caught:
        train(settings)
    assert caught.value.code == 128 + signal.SIGTERM
    assert seen.count(step) == 1  # of two images
    assert int(checkpoint.load(tmp_path / "last.keras").step) == step
    assert [line["step"] for line in evaluations(tmp_path)] == ([3] if step > 3 else [])
    monkeypatch.setattr(FasterRCNN, "predict_step", original)
    train(settings)
    assert_same_state(unbroken.folder / "last.keras", tmp_path / "last.keras", tmp_path)
    assert evaluations(tmp_path) == evaluations(unbroken.folder)


def test_accumulated_gradients_survive_a_stop_between_two_of_them(
    config, train, tmp_path, signal_at
):
    settings = config.replace(accumulate_steps=2, eval_every=0, num_images=0)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(settings.replace(output_dir=str(whole)))
    signal_at(3)
    with pytest.raises(SystemExit):
        train(settings.replace(output_dir=str(broken)))
    signal_at(None)
    assert "Going on from step 3 of" in train(settings.replace(output_dir=str(broken)))
    assert_same_state(whole / "last.keras", broken / "last.keras", tmp_path)
    assert [line["step"] for line in evaluations(broken)] == [6]


def test_ctrl_c_stops_as_sigterm_does_and_twice_at_once(config, train, tmp_path, signal_at):
    signal_at(1, signal.SIGINT)
    with pytest.raises(SystemExit) as caught:
        train(config.replace(output_dir=str(tmp_path)))
    assert caught.value.code == 130
    stop = callbacks.StopOnSignal()
    with stop:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert stop.received == signal.SIGINT


def test_a_finished_run_has_nothing_to_do(config, train, unbroken):
    before = (unbroken.folder / "last.keras").stat().st_mtime_ns
    output = train(config.replace(output_dir=str(unbroken.folder)))
    assert f"Nothing to do: {unbroken.folder} has all of its 6 steps" in output.replace("\n", "")
    assert (unbroken.folder / "last.keras").stat().st_mtime_ns == before
    assert len(evaluations(unbroken.folder)) == 2


def test_a_new_learning_rate_holds_after_going_on(config, train, tmp_path):
    settings = config.replace(output_dir=str(tmp_path), eval_every=0, num_images=0, momentum=0.0)
    train(settings.replace(steps=2))
    before = state_of(tmp_path / "last.keras", tmp_path)
    train(settings.replace(steps=3, learning_rate=1e-12, weight_decay=0.0))
    after = state_of(tmp_path / "last.keras", tmp_path)
    kernel = "backbone/stack/conv2d_1/vars/0"
    np.testing.assert_allclose(after[kernel], before[kernel], atol=1e-9)


def test_evaluations_of_steps_that_are_taken_again_are_forgotten(config, train, tmp_path):
    settings = config.replace(output_dir=str(tmp_path), num_images=0)
    train(settings.replace(steps=3))
    (line,) = evaluations(tmp_path)
    with (tmp_path / "evaluations.jsonl").open("a") as file:  # of a run that was then lost
        file.write(json.dumps({**line, "step": 6, "mAP_area": 0.99}) + "\n")
    train(settings)
    lines = evaluations(tmp_path)
    assert [one["step"] for one in lines] == [3, 6]
    assert lines[0] == line
    assert lines[1]["mAP_area"] < 0.99


def test_a_checkpoint_of_other_classes_is_refused(config, train, tmp_path):
    second = fakes.detector(("cat", "dog"))
    second.save(tmp_path / "last.keras")
    with pytest.raises(
        ValueError, match=r"last\.keras detects other classes .* Received: cat, dog"
    ):
        train(config.replace(output_dir=str(tmp_path)))


# --- what ends a run ----------------------------------------------------------------------------


@pytest.mark.parametrize("log_every", [2, 100])
def test_a_loss_that_is_not_finite_ends_the_run(log_every, config, train, tmp_path):
    settings = config.replace(output_dir=str(tmp_path), learning_rate=1e30, log_every=log_every)
    with pytest.raises(ValueError) as caught:
        train(settings)
    message = str(caught.value)
    assert message.startswith("Training stopped: ")
    assert " loss is not finite between steps 1 and " in message
    assert "Try a lower --learning_rate" in message
    assert not (tmp_path / "last.keras").exists()  # of no use to anyone


def test_data_is_read_before_the_model_is_built(config, train, tmp_path, monkeypatch):
    def forbid(*args):
        raise AssertionError("built")

    monkeypatch.setattr(trainer, "build", forbid)
    for changes, message in (
        ({"data_dir": str(tmp_path / "none")}, "data_dir must be an existing folder"),
        ({"train_split": ("nope",)}, "'nope'"),
        ({"eval_split": ("nope",)}, "'nope'"),
    ):
        with pytest.raises(ValueError, match=message):
            train(config.replace(output_dir=str(tmp_path / "run"), **changes))


@pytest.mark.parametrize("check_images", [True, False])
def test_an_image_that_cannot_be_decoded_is_named(config, train, tmp_path, check_images):
    folder = shapes.make(tmp_path, 3, 1, 0, shorter_side=(64, 72), longer_side=(80, 96))
    for path in sorted((folder / "JPEGImages").glob("train_*")):
        header, _, _ = path.read_bytes().partition(b"\xff\xda")
        path.write_bytes(header + b"\xff\xd9")  # no pixels, but a sound header and an end
    settings = config.replace(
        data_dir=str(folder), output_dir=str(tmp_path / "run"), check_images=check_images
    )
    with pytest.raises(ValueError, match="(?s)problem.*train_" if check_images else ": unread"):
        train(settings)
    assert (tmp_path / "run").exists() != check_images  # it is found before the run begins


# --- parts --------------------------------------------------------------------------------------


def test_what_is_said_about_the_data(config):
    output = io.StringIO()
    train_data, eval_data = trainer.load_data(config, Console(file=output, width=120))
    assert (len(train_data.records), len(eval_data.records)) == (5, 2)
    assert train_data.class_names == eval_data.class_names == fakes.CLASS_NAMES
    counts = np.bincount(np.concatenate([r.labels for r in train_data.records]), minlength=4)
    words = ", ".join(f"{name} {n}" for name, n in zip(fakes.CLASS_NAMES, counts, strict=True))
    assert f"train: 5 images; {words}\n" in output.getvalue()
    assert "evaluate: 2 images; " in output.getvalue()


def test_what_is_left_out_of_the_data_is_named(config, data_dir, tmp_path):
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / name).symlink_to(data_dir / name)
    lines = (data_dir / "ImageSets/Main/train.txt").read_text()
    for split in ("train", "val"):
        (tmp_path / f"ImageSets/Main/{split}.txt").write_text(lines + "missing\n")
    settings = config.replace(data_dir=str(tmp_path), on_bad_record="skip")
    output = io.StringIO()
    trainer.load_data(settings, Console(file=output, width=500))
    assert output.getvalue().count("missing.xml: the annotation is missing; image left out") == 2


def test_a_built_model_is_compiled_and_the_same_for_the_same_seed(config):
    def weights(seed):
        output = io.StringIO()
        settings = config.replace(seed=seed)
        model = trainer.build(settings, fakes.CLASS_NAMES, Console(file=output, width=200))
        assert "random start; frozen: nothing" in output.getvalue()
        assert len(model.optimizer.variables) > len(model.trainable_variables)
        return [w.numpy() for w in model.trainable_weights]

    one, again, other = weights(1), weights(1), weights(2)
    for a, b, c in zip(one, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any() or not a.any()


@pytest.mark.parametrize(
    ("backbone", "frozen_blocks", "words"),
    [
        ("vgg16", 0, "nothing"),
        ("vgg16", 2, "block1, block2"),
        ("zf", 1, "block1"),
        ("resnet50", 0, "batch normalisation"),
        ("resnet101", 2, "conv1, conv2, batch normalisation"),
    ],
)
def test_what_is_frozen_is_said_by_name(monkeypatch, backbone, frozen_blocks, words):
    monkeypatch.setitem(backbones.BACKBONES, "vgg16", backbones.vgg16)  # the real one
    monkeypatch.setattr(trainer, "load_start", lambda model, path: [])
    changes = {"backbone": backbone, "frozen_blocks": frozen_blocks, "output_dir": "none"}
    output = io.StringIO()
    settings = fakes.SMALL.replace(start_checkpoint="a.keras", **changes)
    trainer.build(settings, fakes.CLASS_NAMES, Console(file=output, width=500))
    assert output.getvalue().endswith(f"; frozen: {words}\n")


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_built_model_is_compiled_by_xla_if_the_settings_say_so(config, jit_compile):
    settings = config.replace(jit_compile=jit_compile)
    model = trainer.build(settings, ("cat",), Console(file=io.StringIO()))
    assert model.jit_compile is jit_compile


def test_deterministic_asks_tensorflow_for_it(config, monkeypatch):
    asked = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: asked.append(True))
    console = Console(file=io.StringIO())
    trainer.build(config, ("cat",), console)
    assert asked == []
    trainer.build(config.replace(deterministic=True), ("cat",), console)
    assert asked == [True]


def test_the_optimizer_of_the_settings(config):
    settings = config.replace(
        momentum=0.7, gradient_clip_norm=3.0, accumulate_steps=4, learning_rate=0.3, warmup_steps=5
    )
    optimizer = trainer.make_optimizer(settings)
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert (optimizer.momentum, optimizer.global_clipnorm) == (0.7, 3.0)
    assert optimizer.gradient_accumulation_steps == 4
    assert float(optimizer.learning_rate) == pytest.approx(0.03)
    assert optimizer.weight_decay is None  # it is part of the loss
    plain = trainer.make_optimizer(settings.replace(gradient_clip_norm=0.0, accumulate_steps=1))
    assert (plain.global_clipnorm, plain.gradient_accumulation_steps) == (None, None)
    half = trainer.make_optimizer(settings.replace(precision="mixed_float16"))
    assert isinstance(half, keras.optimizers.LossScaleOptimizer)
    assert half.inner_optimizer.momentum == 0.7
    adam = trainer.make_optimizer(settings.replace(optimizer="adam"))
    assert isinstance(adam, keras.optimizers.Adam)
    assert (adam.beta_1, adam.global_clipnorm, adam.weight_decay) == (0.7, 3.0, None)


@pytest.mark.parametrize(
    ("step", "steps", "interval", "expected"),
    [
        (0, 8, 4, [(0, 2, 4)]),
        (0, 8, 8, [(0, 1, 8)]),
        (4, 8, 4, [(1, 2, 4)]),
        (3, 8, 4, [(0, 1, 1), (1, 2, 4)]),
        (6, 8, 4, [(1, 2, 2)]),
        (8, 8, 4, []),
        (5, 12, 4, [(1, 2, 3), (2, 3, 4)]),
        (4, 10, 10, [(0, 1, 6)]),
    ],
)
def test_the_intervals_that_are_left_of_a_run(step, steps, interval, expected):
    assert list(trainer._intervals(step, steps, interval)) == expected
