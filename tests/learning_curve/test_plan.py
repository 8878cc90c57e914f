"""The rows of a learning curve, their commands, and how long they take."""

import dataclasses
import json

import pytest

from keras_frcnn.cli import evaluate, train
from keras_frcnn.cli.command import parse
from keras_frcnn.config import Config
from keras_frcnn.learning_curve.plan import Row, choose_sizes


def test_the_first_seed_gives_a_whole_curve_of_every_start(plan):
    rows = [(row.seed, row.size, row.start) for row in plan.rows]
    assert rows == [(s, n, w) for s in (0, 1) for n in (25, 50, 100) for w in ("random", "cats")]
    assert len({plan.folder(row) for row in plan.rows}) == 12


def test_a_row_is_a_training_run_and_its_evaluation(plan, monkeypatch, tmp_path):
    row = Row("cats", 50, 1)
    evaluation = plan.evaluation(row)
    (training,) = evaluation.needs
    folder = tmp_path / "curve" / "runs" / "cats" / "50_images" / "seed_1"
    assert (training.title, evaluation.title) == (
        "train cats, 50 images, seed 1",
        "evaluate cats, 50 images, seed 1",
    )
    config, options = parse(train.COMMAND, training.command_line[4:])
    given = {"start_checkpoint": "cats.keras", "train_images": 50, "seed": 1, "eval_split": ("-",)}
    assert config == Config(data_dir="mine", output_dir=str(folder), **given)
    assert not options.dry_run and training.result == folder / "done.json"
    base = plan.settings["cats"].replace(eval_split=("-",))
    monkeypatch.setattr("keras_frcnn.cli.evaluate.checkpoint_settings", lambda _: base)
    config, options = parse(evaluate.COMMAND, evaluation.command_line[4:])
    assert config.eval_split == ("val",) and options.resamples == 0
    assert options.checkpoint == str(folder / "last.keras")  # not the one that is best on val
    assert evaluation.result == folder / "evaluation" / "done.json"
    assert options.output_dir == str(evaluation.result.parent)


def test_the_settings_of_a_row_are_those_that_its_command_gives(plan):
    row = Row("random", 25, 0)
    full = plan.settings["random"]
    flags = tuple(f"--{name}={getattr(full, name)}" for name in ("steps", "backbone_weights"))
    plan = dataclasses.replace(plan, flags={"random": ("--data_dir=mine", *flags)})
    config, _ = parse(train.COMMAND, plan.training(row).command_line[4:])
    assert config == plan.config(row)


def test_a_start_is_timed_on_most_images_with_its_evaluation(plan):
    task = plan.timing("random")
    config, options = parse(train.COMMAND, task.command_line[4:])
    assert options.dry_run and options.dry_run_file == str(task.result)
    assert (config.train_images, config.eval_split) == (100, ("test",))  # of the flags


def test_times_of_the_tasks(plan):
    assert plan.seconds() == {}
    task = plan.timing("cats")
    task.result.parent.mkdir(parents=True)
    phases = [{"step": 2.0, "proposals": 0.0}]
    task.result.write_text(json.dumps({"images": 100, "phases": phases, "evaluation": 0.5}))
    seconds = plan.seconds()
    evaluation = plan.evaluation(Row("cats", 25, 1))
    assert seconds[evaluation.needs[0].result] == 200  # 100 steps
    assert seconds[evaluation.result] == 10  # 20 images
    assert len(seconds) == 2 * 6  # the other start was not timed


def test_what_must_not_change_is_named(plan):
    fixed = plan.fixed
    assert fixed["--steps of cats"] == 100
    assert fixed["--eval_split of random"] == ["val"]
    assert fixed["the number of training images"] == 120
    assert fixed["the number of evaluation images"] == 20
    free = ("output_dir", "data_dir", "seed", "train_images", "log_every")
    assert not any(f"--{name} of cats" in fixed for name in free)
    json.dumps(fixed)


@pytest.mark.parametrize(
    ("asked", "num_images", "expected"),
    [
        ((), 205, [25, 51, 102, 205]),
        ((), 3, [1, 3]),
        (("100", "25", "all"), 205, [25, 100, 205]),
        (("205", "all", "1"), 205, [1, 205]),
    ],
)
def test_sizes(asked, num_images, expected):
    assert choose_sizes(asked, num_images) == expected


@pytest.mark.parametrize("wrong", ["0", "206", "-1", "many", "2.5", ""])
def test_sizes_that_there_are_not(wrong):
    with pytest.raises(ValueError) as caught:
        choose_sizes(("25", wrong), 205)
    assert str(caught.value) == (
        "--sizes must be 'all' or integers from 1 to 205, the number of images to train on. "
        f"Received: {wrong}"
    )
