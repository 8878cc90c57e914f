"""Trains a detector with the settings of a ``Config`` and writes a run folder.

The order of the data, sampling, dropout and the learning rate are pure functions of the seed and
the number of steps taken, so a run that is stopped and resumed equals one that was never stopped.
``run_folder.py`` lists the files that a run writes.
"""

import dataclasses
import os
from pathlib import Path

from keras_frcnn.config import Config
from keras_frcnn.console import COMPILING, Console
from keras_frcnn.data import pipeline, proposals_file, splits, train_images
from keras_frcnn.data.epoch_order import aspects_of, drawn_rows
from keras_frcnn.data.images.decoding import naming_images
from keras_frcnn.inference.over_dataset import propose_dataset
from keras_frcnn.training import run_folder, schemes
from keras_frcnn.training.callbacks.checkpoints import Checkpoints
from keras_frcnn.training.callbacks.evaluation import Evaluator
from keras_frcnn.training.callbacks.graph import Graph
from keras_frcnn.training.callbacks.logging import Logger
from keras_frcnn.training.callbacks.profiler import Profiler
from keras_frcnn.training.callbacks.stop_on_signal import StopOnSignal
from keras_frcnn.training.phase_model import build_phase_model
from keras_frcnn.training.progress import ProgressBar
from keras_frcnn.training.run_data import RunData, load_data
from keras_frcnn.weights import checkpoint


def train(config: Config, console: Console | None = None, run_data: RunData | None = None) -> Path:
    """Trains a detector, or resumes the run if its folder holds a checkpoint.

    Args:
        config: the settings, with ``precision`` resolved.
        console: the console to print to; by default standard output.
        run_data: what ``read_data`` returned; by default the data is read now.

    Returns:
        The run folder.

    Raises:
        ValueError: If settings, data or a checkpoint are wrong, or if losses or weights are not
            finite. The error names what is wrong.
        SystemExit: After Ctrl-C, SIGTERM or SIGHUP, or if the reader of the console has gone, once
            the checkpoint is written. The exit code is 128 plus the signal's number.
    """
    console = console or Console()
    folder = Path(config.output_dir)
    train_data, eval_data = load_data(config, console, run_data)
    folder.mkdir(parents=True, exist_ok=True)
    splits.write(config)  # so that a resumed run has the same images
    train_images.write(train_data, config)
    phases = schemes.unfinished(config)
    _remove_stale_proposals(folder, phases)
    stop = StopOnSignal(console)
    with stop, ProgressBar(config, console, 0) as bar:
        for phase in phases:
            model = build_phase_model(phase, train_data.class_names, console)
            _resume(model, phase, console)
            _train_phase(model, phase, train_data, eval_data, bar, stop)
            if stop.received:
                break
            if not phase.is_final:
                os.replace(folder / run_folder.LAST_CHECKPOINT, folder / phase.result)
    if stop.received:
        console.print(f"Stopped at step {bar.step}. Run the same command again to resume.")
        raise SystemExit(128 + stop.received)
    return folder


def _remove_stale_proposals(folder, phases):
    """Removes the proposals files of an earlier run whose checkpoints were deleted."""
    is_new_run = not phases[0].first_step and not (folder / run_folder.LAST_CHECKPOINT).exists()
    for phase in phases:
        if is_new_run and phase.proposals_file:
            phase.proposals_file.unlink(missing_ok=True)


def _resume(model, phase, console):
    """Loads the phase's last checkpoint, if there is one, and drops later evaluations."""
    folder = Path(phase.config.output_dir)
    last = folder / run_folder.LAST_CHECKPOINT
    if last.exists():
        checkpoint.load_weights(model, last)
        console.print(f"Resuming from step {int(model.step)} of {last}")
    if last.exists() or phase.first_step:
        run_folder.drop_evaluations_after(folder, int(model.step))


def _train_phase(model, phase, train_data, eval_data, bar, stop):
    """Trains a model to the end of a phase, or until the run is stopped."""
    config, step = phase.config, int(model.step)
    num_images = len(aspects_of(train_data.records, config))
    bar.start_from(step, phase.first_step, num_images / config.batch_size)
    evaluator = Evaluator(phase, eval_data, bar, stop) if eval_data else None
    if evaluator and not stop.received and _lacks_evaluation(phase, step):
        evaluator.set_model(model)
        evaluator.evaluate()
    if step >= phase.last_step:
        if phase.is_final:
            bar.console.print(f"Nothing to do: {config.output_dir} has finished all {step} steps")
        return
    if phase.proposals_file and not write_proposals(model, phase, train_data, bar, stop):
        return
    if stop.received:
        return
    bar.console.print(COMPILING)
    batches = _batches(model, train_data, phase, step)
    callbacks = [
        stop,
        Graph(config, batches.element_spec),
        Logger(config, bar),
        Checkpoints(config),
        *([evaluator] if evaluator else []),
        *([Profiler(config)] if config.profile_steps else []),
    ]
    for first_epoch, end_epoch, steps_per_epoch in _epochs(
        step - phase.first_step, config.steps, config.steps_per_interval
    ):
        with naming_images():
            model.fit(
                batches,
                initial_epoch=first_epoch,
                epochs=end_epoch,
                steps_per_epoch=steps_per_epoch,
                callbacks=callbacks,
                shuffle=False,
                verbose=0,
            )
        step = int(model.step)
        if stop.received or step == phase.last_step:
            return
        batches = _batches(model, train_data, phase, step)


def _lacks_evaluation(phase, step):
    """Whether the run was stopped between the last step of an interval and its evaluation."""
    config, steps_taken = phase.config, step - phase.first_step
    evaluations = run_folder.read_evaluations(config.output_dir)
    is_evaluated = step in {evaluation["step"] for evaluation in evaluations}
    ends_interval = steps_taken % config.steps_per_interval == 0 or steps_taken == config.steps
    return steps_taken > 0 and ends_interval and not is_evaluated


def write_proposals(model, phase, dataset, bar, stop) -> bool:
    """Writes the proposals that a phase trains on, unless the file exists.

    The RPN at the start of the phase finds them in all images that the phase's steps draw.

    Returns:
        Whether the file exists now. It does not if the run was stopped in the meantime.
    """
    if phase.proposals_file.exists():
        return True
    rows = drawn_rows(dataset.records, phase.config, phase.first_step, phase.config.steps)
    drawn = dataclasses.replace(dataset, records=[dataset.records[row] for row in rows])
    bar.console.print(f"Writing the proposals of {len(rows)} images ...")
    found = propose_dataset(model, drawn, phase.config, training=True)
    proposals = []
    for of_image in bar.count(found, "propose", len(rows)):
        if stop.received:
            return False
        proposals.append(of_image)
    proposals_file.write(phase.proposals_file, proposals)
    return True


def _batches(model, train_data, phase, step):
    """Returns the batches of a phase, starting after ``step`` steps of the run."""
    steps = phase.last_step - step
    return pipeline.train_dataset(
        train_data, phase.config, model.backbone.preprocessing, step, steps
    )


def _epochs(steps_taken, steps, interval):
    """Divides the rest of a phase into Keras epochs, each of which ends with an evaluation.

    An epoch is one interval. Only the first epoch after a stop inside an interval, and the last
    epoch of a phase, may be shorter.

    Yields:
        ``(first epoch, end epoch, steps per epoch)`` for each call of ``fit``.
    """
    if steps_taken % interval:
        end = min(steps, steps_taken + interval - steps_taken % interval)
        yield steps_taken // interval, steps_taken // interval + 1, end - steps_taken
        steps_taken = end
    if steps // interval > steps_taken // interval:
        yield steps_taken // interval, steps // interval, interval
        steps_taken = steps // interval * interval
    if steps_taken < steps:
        yield steps_taken // interval, steps_taken // interval + 1, steps - steps_taken
