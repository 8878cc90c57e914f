"""Runs: what is in the folder, exact resumption, stopping, and errors that end one."""

import json
import math
import os
import shutil
import signal

import numpy as np
import pytest
from rich.console import Console

from keras_frcnn.console import COMPILING
from keras_frcnn.data.writers import shapes
from keras_frcnn.evaluation.metrics import voc
from keras_frcnn.models.faster_rcnn import LOSSES, FasterRCNN
from keras_frcnn.training import run_folder, trainer
from keras_frcnn.training.callbacks import evaluation
from keras_frcnn.training.run_folder import read_evaluations, read_lines
from keras_frcnn.weights import checkpoint
from tests import fakes
from tests.training.checkpoint_state import assert_same_state, state_of

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def signal_at(monkeypatch):
    """Returns a function that has SIGTERM sent to the process during a step."""
    original = FasterRCNN.apply_gradients

    def arrange(step, number=signal.SIGTERM):
        def apply_gradients(self, *args, **options):
            result = original(self, *args, **options)
            if int(self.step) == step:
                os.kill(os.getpid(), number)
            return result

        monkeypatch.setattr(FasterRCNN, "apply_gradients", apply_gradients)

    return arrange


# --- the run folder -----------------------------------------------------------------------------


def test_what_a_run_leaves_in_its_folder(unbroken):
    names = sorted(path.name for path in unbroken.folder.iterdir())
    written = ["best.keras", "earlier", "eval", "evaluations.jsonl", "last.keras", "metrics.jsonl"]
    assert names == [*written, "train"]
    of_the_command = {"config.cfg", "run.lock", "runner.json"}
    assert {*names} | of_the_command == {name.removesuffix("/") for name in run_folder.CONTENTS}
    lines = read_evaluations(unbroken.folder)
    assert [line["step"] for line in lines] == [3, 6]
    assert sorted(lines[0]) == sorted(
        ["step", "mAP_area", "mAP_11point", *LOSSES]
        + [f"AP_area/{name}" for name in fakes.CLASS_NAMES]
        + [f"RPN_recall/{n}_proposals" for n in (50, 100, 200, 300)]
    )
    model = checkpoint.load(unbroken.folder / "last.keras")
    assert int(model.step) == 6
    assert model.class_names == fakes.CLASS_NAMES


def test_a_run_says_that_it_compiles(unbroken):
    lines = unbroken.output.splitlines()
    assert lines.index(COMPILING) < next(n for n, line in enumerate(lines) if "step 2/6" in line)
    assert lines.count(COMPILING) == lines.count(f"evaluation: {COMPILING}") == 1


def test_best_is_the_checkpoint_of_highest_map(config, train, tmp_path, monkeypatch):
    scores = iter([0.3, 0.6, math.nan, 0.6, 0.5])
    monkeypatch.setattr(evaluation.console_tables, "print_table", lambda *args: None)
    monkeypatch.setattr(voc.Result, "map_area", property(lambda self: next(scores)))
    train(config.replace(output_dir=str(tmp_path), steps=5, eval_every=1))
    assert [line["mAP_area"] for line in read_evaluations(tmp_path)] == [0.3, 0.6, None, 0.6, 0.5]
    assert int(checkpoint.load(tmp_path / "best.keras").step) == 4  # of equals the later
    assert int(checkpoint.load(tmp_path / "last.keras").step) == 5


def test_there_is_a_best_even_where_map_is_undefined(config, train, tmp_path, monkeypatch):
    monkeypatch.setattr(voc.Result, "map_area", property(lambda self: math.nan))
    train(config.replace(output_dir=str(tmp_path), steps=1, eval_every=0))
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
    assert "Resuming from step 2 of" in train(settings)
    assert int(checkpoint.load(tmp_path / "last.keras").step) == 6
    assert not list(tmp_path.glob("*/model.weights.h5"))


def test_a_disk_without_room_for_a_checkpoint_is_said_before_the_first_step(
    config, train, unbroken, tmp_path, monkeypatch
):
    size = (unbroken.folder / "last.keras").stat().st_size
    usage = shutil.disk_usage(tmp_path)
    free = {"bytes": size // 2}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free["bytes"]))
    settings = config.replace(output_dir=str(tmp_path), steps=1, eval_every=0)
    with pytest.raises(ValueError, match="must have .* MB free for a checkpoint. Received: "):
        train(settings)
    assert not (tmp_path / "last.keras").exists()
    free["bytes"] = 3 * size
    train(settings)
    assert (tmp_path / "last.keras").exists()


def test_the_checkpoint_is_safe_before_its_evaluation_begins(config, train, tmp_path, monkeypatch):
    detect_dataset, seen = evaluation.detect_dataset, []

    def look(*args, **kwargs):
        seen.append(int(checkpoint.load(tmp_path / "last.keras").step))
        return detect_dataset(*args, **kwargs)

    monkeypatch.setattr(evaluation, "detect_dataset", look)
    train(config.replace(output_dir=str(tmp_path), steps=2, eval_every=1))
    assert seen == [1, 2]


# --- resuming -----------------------------------------------------------------------------------


def test_a_run_lengthened_equals_one_in_one_go(config, train, unbroken, tmp_path):
    settings = config.replace(output_dir=str(tmp_path))
    train(settings.replace(steps=3))
    assert int(checkpoint.load(tmp_path / "last.keras").step) == 3
    output = train(settings)
    assert f"Resuming from step 3 of {tmp_path}/last.keras" in output.replace("\n", "")
    assert_same_state(unbroken.folder / "last.keras", tmp_path / "last.keras")
    assert read_evaluations(tmp_path) == read_evaluations(unbroken.folder)


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
    assert [line["step"] for line in read_evaluations(tmp_path)] == ([3] if step > 3 else [])
    signal_at(None)
    train(settings)
    assert_same_state(unbroken.folder / "last.keras", tmp_path / "last.keras")
    assert read_evaluations(tmp_path) == read_evaluations(unbroken.folder)
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
    assert [line["step"] for line in read_evaluations(tmp_path)] == ([3] if step > 3 else [])
    monkeypatch.setattr(FasterRCNN, "predict_step", original)
    train(settings)
    assert_same_state(unbroken.folder / "last.keras", tmp_path / "last.keras")
    assert read_evaluations(tmp_path) == read_evaluations(unbroken.folder)


def test_accumulated_gradients_survive_a_stop_between_two_of_them(
    config, train, tmp_path, signal_at
):
    settings = config.replace(accumulate_steps=2, eval_every=0)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(settings.replace(output_dir=str(whole)))
    signal_at(3)
    with pytest.raises(SystemExit):
        train(settings.replace(output_dir=str(broken)))
    signal_at(None)
    assert "Resuming from step 3 of" in train(settings.replace(output_dir=str(broken)))
    assert_same_state(whole / "last.keras", broken / "last.keras")
    assert [line["step"] for line in read_evaluations(broken)] == [6]


def test_ctrl_c_stops_as_sigterm_does(config, train, tmp_path, signal_at):
    signal_at(1, signal.SIGINT)
    with pytest.raises(SystemExit) as caught:
        train(config.replace(output_dir=str(tmp_path)))
    assert caught.value.code == 130


def test_a_reader_that_leaves_stops_a_run_as_ctrl_c_does(config, tmp_path, monkeypatch):
    original = FasterRCNN.compute_gradients
    reading, writing = os.pipe()

    def compute_gradients(self, data):
        if int(self.step) == 1:
            os.close(reading)
        return original(self, data)

    monkeypatch.setattr(FasterRCNN, "compute_gradients", compute_gradients)
    settings = config.replace(output_dir=str(tmp_path), eval_split=("-",), eval_every=0)
    with open(writing, "w") as pipe, pytest.raises(SystemExit) as caught:
        trainer.train(settings.replace(log_every=1), Console(file=pipe))
    assert caught.value.code == 128 + signal.SIGPIPE
    assert int(checkpoint.load(tmp_path / "last.keras").step) == 3  # step 2 noticed it


def test_a_run_whose_time_is_over_goes_on_later(config, train, unbroken, tmp_path, monkeypatch):
    original, now = FasterRCNN.apply_gradients, [0.0]

    def apply_gradients(self, *args, **options):
        now[0] += 60
        return original(self, *args, **options)

    settings = config.replace(output_dir=str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("time.monotonic", lambda: now[0])
        patch.setattr(FasterRCNN, "apply_gradients", apply_gradients)
        output = train(settings.replace(max_minutes=5))
    assert output.splitlines()[-1] == (
        "Stopped at step 4, because of --max_minutes=5. Run the same command again to resume."
    )
    train(settings)
    assert_same_state(unbroken.folder / "last.keras", tmp_path / "last.keras")
    assert read_evaluations(tmp_path) == read_evaluations(unbroken.folder)


def test_averaged_weights_are_saved_and_measured_and_survive_a_stop(
    config, train, tmp_path, signal_at, monkeypatch
):
    detect_dataset, measured = evaluation.detect_dataset, []

    def look(model, *args, **kwargs):
        measured.append([w.numpy() for w in model.trainable_weights])
        return detect_dataset(model, *args, **kwargs)

    settings = config.replace(ema_momentum=0.5, checkpoint_every="2", accumulate_steps=2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "detect_dataset", look)
        train(settings.replace(output_dir=str(whole)))
    saved = checkpoint.load(whole / "last.keras").trainable_weights
    for one, other in zip(measured[-1], saved, strict=True):
        np.testing.assert_array_equal(one, other)
    plain = tmp_path / "plain"
    train(settings.replace(output_dir=str(plain), ema_momentum=0.0))
    without, state = state_of(plain / "last.keras"), state_of(whole / "last.keras")
    kernel = "backbone/network/layers/conv2d_1/vars/0"
    assert np.abs(without[kernel] - state[kernel]).max() > 1e-6
    # The averages do not change the training: its weights are in the optimizer's state.
    states = [value for name, value in state.items() if name.startswith("optimizer")]
    assert any(np.array_equal(value, without[kernel]) for value in states)
    signal_at(3)
    with pytest.raises(SystemExit):
        train(settings.replace(output_dir=str(broken)))
    signal_at(None)
    train(settings.replace(output_dir=str(broken)))
    assert_same_state(whole / "last.keras", broken / "last.keras")
    assert read_evaluations(broken) == read_evaluations(whole)


def test_a_run_ends_early_when_map_no_longer_rises(config, train, tmp_path, monkeypatch):
    scores = iter([0.3, 0.6, 0.6, 0.5, 0.7])
    monkeypatch.setattr(evaluation.console_tables, "print_table", lambda *args: None)
    monkeypatch.setattr(voc.Result, "map_area", property(lambda self: next(scores)))
    settings = config.replace(output_dir=str(tmp_path), steps=6, eval_every=1, patience=2)
    output = train(settings)
    assert "Ending at step 4: no better mAP_area in 2 evaluations (--patience)\n" in output
    assert int(checkpoint.load(tmp_path / "last.keras").step) == 4
    assert f"Nothing to do: {tmp_path} has ended early, at step 4\n" in train(settings)
    train(settings.replace(steps=5, patience=3))  # more patience goes on
    assert int(checkpoint.load(tmp_path / "best.keras").step) == 5


def test_a_finished_run_has_nothing_to_do(config, train, unbroken):
    before = (unbroken.folder / "last.keras").stat().st_mtime_ns
    output = train(config.replace(output_dir=str(unbroken.folder)))
    assert f"Nothing to do: {unbroken.folder} has finished all 6 steps" in output.replace("\n", "")
    assert (unbroken.folder / "last.keras").stat().st_mtime_ns == before
    assert len(read_evaluations(unbroken.folder)) == 2


def test_a_new_learning_rate_holds_after_going_on(config, train, tmp_path):
    settings = config.replace(output_dir=str(tmp_path), eval_every=0, momentum=0.0)
    train(settings.replace(steps=2))
    before = state_of(tmp_path / "last.keras")
    train(settings.replace(steps=3, learning_rate=1e-12, weight_decay=0.0))
    after = state_of(tmp_path / "last.keras")
    kernel = "backbone/network/layers/conv2d_1/vars/0"
    np.testing.assert_allclose(after[kernel], before[kernel], atol=1e-9)


def test_evaluations_of_steps_that_are_taken_again_are_forgotten(config, train, tmp_path):
    settings = config.replace(output_dir=str(tmp_path))
    train(settings.replace(steps=3))
    (line,) = read_evaluations(tmp_path)
    with (tmp_path / "evaluations.jsonl").open("a") as file:  # of a run that was then lost
        file.write(json.dumps({**line, "step": 6, "mAP_area": 0.99}) + "\n")
    train(settings)
    lines = read_evaluations(tmp_path)
    assert [one["step"] for one in lines] == [3, 6]
    assert lines[0] == line
    assert lines[1]["mAP_area"] < 0.99


def test_a_run_killed_before_its_first_checkpoint_measures_anew(config, train, tmp_path):
    settings = config.replace(output_dir=str(tmp_path), log_every=1, steps=2)
    for name in ("metrics.jsonl", "evaluations.jsonl", "nan.jsonl"):
        (tmp_path / name).write_text('{"step": 1, "mAP_area": 2}\n{"step": 2, "mA')
    train(settings)
    lines = read_lines(tmp_path, "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2] and "mAP_area" not in lines[0]
    assert [one["step"] for one in read_evaluations(tmp_path)] == [2]
    assert (tmp_path / "nan.jsonl").read_text() == ""


def test_a_checkpoint_of_other_classes_is_refused(config, train, tmp_path):
    second = fakes.detector(("cat", "dog"))
    second.save(tmp_path / "last.keras")
    with pytest.raises(ValueError, match=r"last\.keras has other classes .* Received: cat, dog"):
        train(config.replace(output_dir=str(tmp_path)))


# --- what ends a run ----------------------------------------------------------------------------


def test_data_is_read_before_the_model_is_built(config, train, tmp_path, monkeypatch):
    def forbid(*args):
        raise AssertionError("built")

    monkeypatch.setattr(trainer, "build_phase_model", forbid)
    for changes, message in (
        ({"data_dir": str(tmp_path / "none")}, "--data_dir must be an existing folder"),
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
