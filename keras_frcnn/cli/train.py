"""Trains a detector, or goes on with a run that was stopped: give the same command again.

Examples:
  keras-frcnn train --flagfile=configs/voc07.cfg --data_dir=VOCdevkit
  python train.py --flagfile=configs/bccd.cfg --data_dir=bccd --steps=2000 --output_dir=runs/short
  python train.py --flagfile=configs/voc07.cfg --data_dir=VOCdevkit --dry_run
  python train.py --flagfile=configs/quickstart.cfg --scheme=alternating --output_dir=runs/steps

The run folder (--output_dir) holds best.keras and last.keras, config.cfg with every setting, and
what TensorBoard reads; under --scheme=alternating also the checkpoint of each of the four steps.
Under --eval_split=- nothing is evaluated, so there is no best.keras.
"""

import dataclasses
import json
from pathlib import Path

from keras_frcnn.cli.command import Command, parse, user_errors
from keras_frcnn.config import Config
from keras_frcnn.config.flags import Option, write_flagfile

CONFIG_FILE = "config.cfg"

COMMAND = Command(
    "train",
    __doc__,
    options=(
        Option(
            "dry_run",
            bool,
            False,
            "Take a few images through data, step, evaluation and export, and report parameters, "
            "memory and time. Writes nothing.",
        ),
        Option("dry_run_file", str, "", "A .json file for the seconds that --dry_run measures."),
    ),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Its flags; None: those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv)
    with user_errors(COMMAND):
        _check(config)
        print("Loading TensorFlow ...", flush=True)
        from rich.console import Console

        from keras_frcnn.training import precision, trainer

        console = Console()
        config = precision.for_training(config, console.print)
        if options.dry_run:
            from keras_frcnn.training.dry_run import dry_run

            seconds = dry_run(config, console)
            if options.dry_run_file:
                Path(options.dry_run_file).write_text(json.dumps(seconds), encoding="utf-8")
            return 0
        _record(config)
        folder = trainer.train(config, console)
    _say_what_next(folder)
    return 0


def _check(config):
    if not config.data_dir and set(config.dataset) != {"tfds"}:  # which have a folder of their own
        raise ValueError("--data_dir is missing: the data to train on")
    if not config.output_dir:
        raise ValueError("--output_dir is missing: a folder for the run")
    for splits in (config.train_split, *([config.eval_split] if config.is_evaluated else [])):
        config.sources(splits)  # raises what is wrong with them before anything is read


def _record(config):
    """Writes the run's settings beside its checkpoints; refuses to go on with other ones."""
    path = Path(config.output_dir) / CONFIG_FILE
    # Without a checkpoint, as after a mistake in the first command, there is nothing to go on with.
    if path.exists() and any(path.parent.glob("*.keras")):
        # A run of several phases cannot be lengthened: its finished ones would end elsewhere.
        may_change = {"output_dir", "data_dir"} | (
            {"steps"} if len(config.phase_steps) == 1 else set()
        )
        before, _ = parse(COMMAND, [f"--flagfile={path}"])
        changed = [
            f"--{field.name} was {getattr(before, field.name)}, is {getattr(config, field.name)}"
            for field in dataclasses.fields(Config)
            if getattr(before, field.name) != getattr(config, field.name)
            and field.metadata["group"] != "watching"
            and field.name not in may_change
        ]
        if changed:
            raise ValueError(
                f"{config.output_dir} holds a run with other settings. Use another --output_dir, "
                "or those of the run:\n" + "\n".join(changed)
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_flagfile(config, path)


def _say_what_next(folder):
    best = folder / "best.keras"
    words, checkpoint = ("Best", best) if best.exists() else ("Last", folder / "last.keras")
    print(
        f"\n{words} checkpoint: {checkpoint}"
        f"\nWatch:           tensorboard --logdir={folder}"
        f"\nEvaluate:        python evaluate.py --checkpoint={checkpoint}"
        f"\nDetect:          python detect.py --checkpoint={checkpoint} --images=IMAGE"
        f"\nExport:          python export.py --checkpoint={checkpoint} --output_dir=saved_model"
    )
