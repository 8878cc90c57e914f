"""Trains a detector. To resume a run that was stopped, run the same command again.

Examples:
  keras-frcnn train --flagfile=configs/voc07.cfg --data_dir=VOCdevkit
  python train.py --flagfile=configs/bccd.cfg --data_dir=bccd --steps=2000 --output_dir=runs/short
  python train.py --flagfile=configs/voc07.cfg --data_dir=VOCdevkit --dry_run
  python train.py --flagfile=configs/quickstart.cfg --scheme=alternating --output_dir=runs/steps

The run folder (--output_dir) holds the checkpoints best.keras and last.keras, every setting in
config.cfg, and the logs for TensorBoard. With --scheme=alternating it also holds the checkpoint of
each of the four steps. With --eval_split=- nothing is evaluated, so there is no best.keras.
"""

import json
import shlex
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
from keras_frcnn.training import run_folder

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
    config, options = parse(COMMAND, argv)
    with user_errors(COMMAND, config.output_dir):
        check(config, options.dry_run)
        from keras_frcnn.training import run_data

        data = run_data.read_data(config)
        load_tensorflow()
        from keras_frcnn.training import trainer

        console = Console()
        config = precision.for_training(config, console.print)
        if options.dry_run:
            from keras_frcnn.training.dry_run import dry_run

            seconds = dry_run(config, console, data)
            if options.dry_run_file:
                Path(options.dry_run_file).parent.mkdir(parents=True, exist_ok=True)
                files.write_text(options.dry_run_file, json.dumps(seconds))
            return 0
        _record_settings(config)
        _print_next_commands(trainer.train(config, console, data))
    return 0


def check(config: Config, is_dry_run: bool = False) -> None:
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
        _check_changes(config)


def _is_resumed(config):
    """Returns whether the folder holds a run to resume: settings and a checkpoint."""
    folder = Path(config.output_dir)
    return (folder / run_folder.CONFIG).exists() and any(folder.glob("*.keras"))


def _record_settings(config):
    """Writes the settings into the run folder; refuses to resume a run with other settings."""
    changes = _check_changes(config)
    path = Path(config.output_dir) / run_folder.CONFIG
    new = [f"{_CHANGED}{text}" for name, text in changes.items() if name not in _FOLDERS]
    for line in new:
        say(line.removeprefix("# "))
    before = path.read_text(encoding="utf-8").splitlines() if _is_resumed(config) else []
    remarks = [line for line in before if line.startswith(_CHANGED)] + new
    path.parent.mkdir(parents=True, exist_ok=True)
    write_flagfile(config, path, remarks)


def _check_changes(config):
    """Refuses to resume a run with other settings; returns the changes that are allowed."""
    if not _is_resumed(config):
        return {}
    changes = _changes(config)
    may_change = {*run_folder.CHANGEABLE, *_FOLDERS}
    if len(config.phase_steps) == 1:
        may_change.add("steps")  # With several phases, this would change finished phases too.
    if config.precision == "auto":  # It is compared again once it is known what auto becomes.
        changes.pop("precision", None)
    forbidden = [text for name, text in changes.items() if name not in may_change]
    if forbidden:
        raise ValueError(
            f"{config.output_dir} holds a run with other settings. Use another --output_dir, "
            "or the settings of the run:\n" + "\n".join(forbidden)
        )
    return changes


def _changes(config):
    """Describes the settings that differ from those of the run, by name."""
    path = Path(config.output_dir) / run_folder.CONFIG
    # The folder may have moved since, so the recorded one need not be there.
    recorded, _ = parse(COMMAND, [f"--flagfile={path}", "--output_dir="])
    values = ((f, getattr(recorded, f.name), getattr(config, f.name)) for f in fields(Config))
    return {
        field.name: f"--{field.name} was {old}, is {new}"
        for field, old, new in values
        if old != new and field.metadata["group"] != "watching"
    }


def _print_next_commands(folder):
    title, checkpoint = "Best", folder / run_folder.BEST_CHECKPOINT
    if not checkpoint.exists():
        title, checkpoint = "Last", folder / run_folder.LAST_CHECKPOINT
    flag = f"--checkpoint={checkpoint}"
    say(
        f"\n{title} checkpoint: {checkpoint}"
        f"\nTensorBoard:     {shlex.join(['tensorboard', f'--logdir={folder}'])}"
        f"\nEvaluate:        {command_line('evaluate', flag)}"
        f"\nDetect:          {command_line('detect', flag, '--images=IMAGE', '--output_dir=found')}"
        f"\nExport:          {command_line('export', flag, '--output_dir=saved_model')}"
    )
