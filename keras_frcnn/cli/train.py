"""Trains a detector. To resume a run that was stopped, run the same command again.

Examples:
  keras-frcnn train --flagfile=configs/voc07.cfg --data_dir=VOCdevkit
  python train.py --flagfile=configs/bccd.cfg --data_dir=bccd --steps=2000 --output_dir=runs/short
  python train.py --flagfile=configs/voc07.cfg --data_dir=VOCdevkit --dry_run
  python train.py --flagfile=configs/shapes.cfg --scheme=alternating --output_dir=runs/steps

The run folder (--output_dir) holds the checkpoints best.keras and last.keras, every setting in
config.cfg, and the logs for TensorBoard. With --scheme=alternating it also holds the checkpoint of
each of the four steps. With --eval_split=- nothing is evaluated, so there is no best.keras.
"""

import json
import shlex
import time
from dataclasses import fields
from pathlib import Path

from keras_frcnn import files
from keras_frcnn.cli.command import Command, check_files, parse, user_errors
from keras_frcnn.cli.output import command_line
from keras_frcnn.cli.startup import load_tensorflow
from keras_frcnn.config import Config
from keras_frcnn.config.flags import write_flagfile
from keras_frcnn.config.setting import Option
from keras_frcnn.console import Console, say
from keras_frcnn.models import precision
from keras_frcnn.training import distribution, run_folder, run_lock
from keras_frcnn.weights import checkpoint, shipped

COMMAND = Command(
    "train",
    __doc__,
    options=(
        Option(
            "dry_run",
            bool,
            False,
            "Rehearse the run on a few images: reading, training, evaluation and export. Print the "
            "number of parameters, the memory and the estimated time. Nothing is kept.",
        ),
        Option(
            "dry_run_file",
            str,
            "",
            "A .json file to which --dry_run writes the times that it measured, in seconds.",
            output="file",
            suffixes=(".json",),
        ),
        Option(
            "continue_with",
            tuple[str, ...],
            (),
            "Settings of the learning rate that are meant to differ from those with which the run "
            "began. The run continues with the new values from its last checkpoint on.",
            choices=(*run_folder.CHANGEABLE, "steps"),
        ),
    ),
    writes=run_folder.CONTENTS,
)

_FOLDERS = ("output_dir", "data_dir")
_CHANGED = "# Changed since the run began: "


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code.
    """
    started = time.monotonic()
    config, options = parse(COMMAND, argv)
    if config.start_checkpoint:
        config, options = parse(COMMAND, argv, base=lambda options: _started(config))
    with user_errors(COMMAND, config.output_dir):
        check(config, options.dry_run, options.continue_with)
        from keras_frcnn.training import run_data

        place = distribution.find_place(config)
        is_first = place.number == 0
        if place.count > 1:
            say(f"process {place.number + 1} of {place.count}, by {place.source}")
            with distribution.naming_lost_processes(place):
                distribution.strategy(config)  # before TensorFlow computes anything
        data = run_data.read_data(config)
        config = run_data.with_steps(config, data[0])
        load_tensorflow()
        from keras_frcnn.training import trainer

        console = Console(quiet=not is_first)
        config = precision.for_training(config, console.print)
        if options.dry_run:
            from keras_frcnn.training.dry_run import dry_run

            seconds = dry_run(config, console, data)
            if options.dry_run_file and is_first:
                Path(options.dry_run_file).parent.mkdir(parents=True, exist_ok=True)
                files.write_text(options.dry_run_file, json.dumps(seconds))
            return 0
        if not is_first:
            trainer.train(config, console, data, started)
            return 0
        folder = config.output_dir
        with run_folder.without_traces_if_refused(folder), run_lock.held(folder):
            _record_settings(config, options.continue_with)
            _print_next_commands(trainer.train(config, console, data, started), config)
    return 0


def check(config: Config, is_dry_run: bool = False, continue_with: tuple[str, ...] = ()) -> None:
    """Refuses settings with which no run can start, before TensorFlow is loaded."""
    needs_folder = set(config.dataset) != {"tfds"}  # TensorFlow Datasets has a folder of its own.
    if needs_folder and not config.data_dir:
        raise ValueError("--data_dir is missing: the folder of the data to train on")
    if not config.output_dir:
        raise ValueError("--output_dir is missing: the folder for the run")
    for splits in (config.train_split, *([config.eval_split] if config.is_evaluated else [])):
        config.sources(splits)
    precision.check_training(config)
    if is_dry_run or not _is_resumed(config):
        start = "start_checkpoint" if config.start_checkpoint else "backbone_weights"
        check_files(config, start)
    check_files(config, "train_proposals", *(["test_proposals"] if config.is_evaluated else []))
    if not is_dry_run:
        if distribution.find_place(config).number == 0:  # the one process that takes the lock
            run_lock.check(config.output_dir)
        _check_changes(config, continue_with, is_early=True)


def _is_resumed(config):
    """Returns whether the folder holds a run to resume: settings and a checkpoint."""
    folder = Path(config.output_dir)
    return (folder / run_folder.CONFIG).exists() and any(
        any(place.glob("*.keras")) for place in (folder, folder / run_folder.EARLIER_CHECKPOINTS)
    )


def _started(config):
    """Returns the settings of a run with a start checkpoint, where no flag gives another value."""
    if _is_resumed(config):  # The start checkpoint need not be there any more.
        return Config.started_from(_recorded(config))
    if not shipped.find(config.start_checkpoint).is_file():
        return Config()
    return Config.started_from(checkpoint.read_settings(config.start_checkpoint)[0])


def _record_settings(config, continue_with):
    """Writes the settings into the run folder; refuses to resume a run with other settings."""
    changes = _check_changes(config, continue_with)
    folder = Path(config.output_dir)
    path = folder / run_folder.CONFIG
    step = checkpoint.read_step(folder / run_folder.LAST_CHECKPOINT)
    since = "" if step is None else f", from step {step} on"
    new = [f"{_CHANGED}{text}{since}" for name, text in changes.items() if name not in _FOLDERS]
    for line in new:
        say(line.removeprefix("# "))
    before = path.read_text(encoding="utf-8").splitlines() if _is_resumed(config) else []
    remarks = [line for line in before if line.startswith(_CHANGED)] + new
    path.parent.mkdir(parents=True, exist_ok=True)
    write_flagfile(config, path, remarks)


def _check_changes(config, continue_with, is_early=False):
    """Refuses to resume a run with other settings; returns the changes that are allowed.

    What ``auto`` precision and a number of epochs amount to is not compared early.
    """
    if not _is_resumed(config):
        return {}
    changes = _changes(config)
    if config.precision == "auto":
        changes.pop("precision", None)
    if config.epochs and is_early:
        changes.pop("steps", None)
    may_change = {*run_folder.CHANGEABLE, *_FOLDERS, "distribution"}
    if len(config.phase_steps) == 1:
        may_change |= {"steps", "epochs"}  # With several phases, finished ones would change too.
    forbidden = [text for name, text in changes.items() if name not in may_change]
    if forbidden:
        raise ValueError(
            f"{config.output_dir} holds a run with other settings. Use another --output_dir, "
            "or the settings of the run:\n" + "\n".join(forbidden)
        )
    decisions = {*run_folder.CHANGEABLE} - {*continue_with}
    if config.lr_schedule != "piecewise" and "steps" not in continue_with:
        decisions.add("steps")  # which all other schedules depend on
    unstated = [name for name in changes if name in decisions]
    if unstated:
        raise ValueError(
            f"{config.output_dir} holds a run that began with other settings. To continue it with "
            f"the new ones, add --continue_with={','.join(unstated)}:\n"
            + "\n".join(changes[name] for name in unstated)
        )
    return changes


def _changes(config):
    """Describes the settings that differ from those of the run, by name."""
    recorded = _recorded(config)
    values = ((f, getattr(recorded, f.name), getattr(config, f.name)) for f in fields(Config))
    return {
        field.name: f"--{field.name} was {old}, is {new}"
        for field, old, new in values
        if old != new and field.metadata["group"] not in ("checkpoints", "watching")
    }


def _recorded(config):
    """Returns the settings that the run in the folder has recorded."""
    path = Path(config.output_dir) / run_folder.CONFIG
    # The folder may have moved since, so the recorded one need not be there.
    return parse(COMMAND, [f"--flagfile={path}", "--output_dir="])[0]


def _print_next_commands(folder, config):
    title, path = "Best", folder / run_folder.BEST_CHECKPOINT
    if not path.exists():
        title, path = "Last", folder / run_folder.LAST_CHECKPOINT
    if not path.exists():  # the time was over before the first step
        return
    flag = f"--checkpoint={path}"
    split = [] if config.is_evaluated else ["--eval_split=SPLIT"]
    say(
        f"\n{title} checkpoint: {path}"
        f"\nTensorBoard:     {shlex.join(['tensorboard', f'--logdir={folder}'])}"
        f"\nEvaluate:        {command_line('evaluate', flag, *split)}"
        f"\nDetect:          {command_line('detect', flag, '--images=IMAGE', '--output_dir=found')}"
        f"\nExport:          {command_line('export', flag, '--output_dir=saved_model')}"
    )
