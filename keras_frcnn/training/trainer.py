"""Trains a detector with the settings of a ``Config`` and writes a run folder.

The order of the data, sampling, dropout and the learning rate are pure functions of the seed and
the number of steps taken, so a run that is stopped and resumed equals one that was never stopped.
``run_folder.py`` lists the files that a run writes.
"""

import dataclasses
import math
import os
import time
from pathlib import Path

import keras

from keras_frcnn import files
from keras_frcnn.config import Config
from keras_frcnn.console import COMPILING, Console
from keras_frcnn.data import proposals_file, splits, train_images
from keras_frcnn.data.epoch_order import aspects_of, drawn_rows
from keras_frcnn.inference.over_dataset import propose_dataset
from keras_frcnn.models.replicas import Replicas
from keras_frcnn.training import distribution, run_folder, schemes
from keras_frcnn.training.callbacks.checkpoints import Checkpoints
from keras_frcnn.training.callbacks.evaluation import Evaluator, is_out_of_patience
from keras_frcnn.training.callbacks.graph import Graph
from keras_frcnn.training.callbacks.logging import Logger
from keras_frcnn.training.callbacks.profiler import Profiler
from keras_frcnn.training.callbacks.stop import Stop, Stopped
from keras_frcnn.training.phase_model import build_phase_model, restore
from keras_frcnn.training.progress import ProgressBar
from keras_frcnn.training.run_data import RunData, load_data
from keras_frcnn.training.steps.batches import Batches
from keras_frcnn.training.steps.recovery import Recovery
from keras_frcnn.training.steps.step import TrainingStep
from keras_frcnn.weights import checkpoint


def train(
    config: Config,
    console: Console | None = None,
    run_data: RunData | None = None,
    started: float | None = None,
) -> Path:
    """Trains a detector, or resumes the run if its folder holds a checkpoint.

    Args:
        config: the settings, with ``precision`` resolved.
        console: the console to print to; by default standard output.
        run_data: what ``read_data`` returned; by default the data is read now.
        started: the value of ``time.monotonic`` from which ``max_minutes`` count; by default now.

    Returns:
        The run folder.

    Raises:
        ValueError: If settings, data or a checkpoint are wrong, or if losses or weights are not
            finite. The error names what is wrong.
        SystemExit: After Ctrl-C, SIGTERM or SIGHUP, or if the reader of the console has gone, once
            the checkpoint is written. The exit code is 128 plus the signal's number.
    """
    console = console or Console()
    started = time.monotonic() if started is None else started
    strategy = distribution.strategy(config)
    with distribution.naming_lost_processes(distribution.find_place(config)):
        replicas = Replicas(strategy)
        if not replicas.is_first:
            console = Console(quiet=True)
        deadline = started + 60 * config.max_minutes if config.max_minutes else math.inf
        stop = Stop(console, deadline, replicas)
        _train(config, console, load_data(config, console, run_data), stop)
        replicas.wait()  # until the first process has written the last checkpoint
    if stop.received:
        raise SystemExit(128 + stop.received)
    return Path(config.output_dir)


def _train(config, console, run_data, stop):
    """Takes all steps of a run that are left, or as many as there is time for."""
    folder, replicas = Path(config.output_dir), stop.replicas
    train_data, eval_data = run_data
    phases, is_resumed = (), False
    if replicas.is_first:
        folder.mkdir(parents=True, exist_ok=True)
        splits.write(config)  # so that a resumed run has the same images
        train_images.write(train_data, config)
        phases = schemes.unfinished(config)
        is_resumed = _find_checkpoint(phases[0], console)
        if not phases[0].first_step and not is_resumed:
            _remove_stale_proposals(phases)
    phases = schemes.phases(config)[-replicas.of_first(len(phases)) :]
    is_resumed = replicas.of_first(is_resumed) > 0
    with stop, ProgressBar(config, console, 0) as bar:
        for phase in phases:
            # Nothing else is made in the scope: all processes must make the same variables there.
            with distribution.scope(distribution.strategy(config)):
                model = build_phase_model(phase, train_data.class_names, console, is_resumed)
            if is_resumed:
                restore(model, folder / run_folder.LAST_CHECKPOINT)
                console.print(
                    f"Resuming from step {int(model.step.numpy())} of "
                    f"{folder / run_folder.LAST_CHECKPOINT}"
                )
            if replicas.is_first:  # a run killed before its first checkpoint has some, too
                run_folder.drop_measurements_after(folder, int(model.step.numpy()))
            _train_phase(model, phase, train_data, eval_data, bar, stop)
            if stop.is_due:
                break
            if not phase.is_final:
                if replicas.is_first:
                    os.replace(folder / run_folder.LAST_CHECKPOINT, folder / phase.result)
                replicas.wait()
                is_resumed = False
    if stop.is_due:
        reason = "" if stop.received else f", because of --max_minutes={config.max_minutes:g}"
        again = "Run the same command again to resume."
        console.print(f"Stopped at step {bar.step}{reason}. {again}")


def _remove_stale_proposals(phases):
    """Removes the proposals files of an earlier run whose checkpoints were deleted."""
    for phase in phases:
        if phase.proposals_file:
            phase.proposals_file.unlink(missing_ok=True)


def _find_checkpoint(phase, console) -> bool:
    """Finds the checkpoint from which a phase goes on, and puts it in the place of a damaged one.

    Returns:
        Whether there is one. It is ``last.keras`` then.

    Raises:
        ValueError: If ``last.keras`` is damaged and there is no other.
    """
    folder = Path(phase.config.output_dir)
    last = folder / run_folder.LAST_CHECKPOINT
    damage = checkpoint.damage(last)
    if not damage:
        return True
    for other in run_folder.checkpoints(folder, phase.first_step, phase.last_step):
        if other != last and not checkpoint.damage(other):
            console.print(f"{last} cannot be used: {damage}. {other} takes its place")
            if last.exists():
                os.replace(last, folder / run_folder.DAMAGED_CHECKPOINT)
                console.print(f"The damaged file is now {run_folder.DAMAGED_CHECKPOINT}")
            files.link_or_copy(other, last)
            return True
    if last.exists():
        raise ValueError(
            f"{last} is not a checkpoint of keras_frcnn, or it is damaged: {damage}. There is no "
            "earlier one. Delete it, and the same command starts again"
        )
    return False


def _train_phase(model, phase, train_data, eval_data, bar, stop):
    """Trains a model to the end of a phase, or until the run is stopped."""
    config, step = phase.config, int(model.step.numpy())
    num_images = len(aspects_of(train_data.records, config))
    bar.start_from(step, phase.first_step, num_images / config.batch_size)
    replicas = stop.replicas
    evaluator = Evaluator(phase, eval_data, bar, stop) if eval_data else None
    is_owed = replicas.of_first(replicas.is_first and _lacks_evaluation(phase, step))
    if evaluator and is_owed and not stop.is_due:
        evaluator.set_model(model)
        evaluator.evaluate()
    if replicas.of_first(replicas.is_first and is_out_of_patience(phase)):
        bar.console.print(f"Nothing to do: {config.output_dir} has ended early, at step {step}")
        return
    if step >= phase.last_step:
        if phase.is_final:
            bar.console.print(f"Nothing to do: {config.output_dir} has finished all {step} steps")
        return
    if replicas.is_first:
        checkpoint.check_space(model, config.output_dir)
    if phase.proposals_file and not write_proposals(model, phase, train_data, bar, stop):
        return
    if stop.is_due:
        return
    bar.console.print(COMPILING)
    batches = Batches(model, phase, train_data, step, phase.last_step - step)
    recovery = Recovery(TrainingStep(model, config, batches.spec), phase, batches, bar.console)
    callbacks = [stop, Graph(config, batches.spec)]
    if replicas.is_first:
        callbacks += [Logger(phase, bar), Checkpoints(config, stop)]
    callbacks += [evaluator] if evaluator else []
    if config.profile_steps and replicas.is_first:
        callbacks.append(Profiler(config))
    callbacks = keras.callbacks.CallbackList(callbacks, model=model)
    model.stop_training = False
    callbacks.on_train_begin()
    while step < phase.last_step and not model.stop_training:
        interval, taken = divmod(step - phase.first_step, config.steps_per_interval)
        end = min(step - taken + config.steps_per_interval, phase.last_step)
        callbacks.on_epoch_begin(interval)
        while step < end and not model.stop_training:
            callbacks.on_train_batch_begin(step)
            logs = recovery.take(*next(batches))
            step += 1
            callbacks.on_train_batch_end(step - 1, logs)
        callbacks.on_epoch_end(interval, logs)
    callbacks.on_train_end()


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
    replicas = stop.replicas
    if replicas.of_first(replicas.is_first and phase.proposals_file.exists()):
        return True
    rows = drawn_rows(dataset.records, phase.config, phase.first_step, phase.config.steps)
    drawn = dataclasses.replace(dataset, records=[dataset.records[row] for row in rows])
    bar.console.print(f"Writing the proposals of {len(rows)} images ...")
    found = propose_dataset(model, drawn, phase.config, training=True)
    proposals = []
    try:
        for of_image in bar.count(found, "propose", len(rows)):
            stop.check()
            proposals.append(of_image)
    except Stopped:
        return False
    if replicas.is_first:
        proposals_file.write(phase.proposals_file, proposals)
    replicas.wait()
    return True
