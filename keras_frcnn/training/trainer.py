"""Trains a detector from a ``Config``: the one way from settings to a run folder.

A run folder holds ``last.keras`` and TensorBoard's ``train``; if the run is evaluated also
``best.keras`` (by mean AP), ``evaluations.jsonl`` and TensorBoard's ``eval``; of alternating
training also the checkpoints of its steps (``step1.keras, unshared.keras, step3.keras``) and the
proposals that they train on; ``last.keras`` is then of the step in hand. The number of steps is the
run's only clock: data order, samples, dropout and learning rate are pure functions of it and of the
seed, so a run that was stopped goes on exactly as if it never had been.
"""

import dataclasses
import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console

from keras_frcnn import backbones, data
from keras_frcnn.config import Config
from keras_frcnn.data import pipeline, proposals_file
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.epoch_order import drawn_rows
from keras_frcnn.data.images.decoding import naming_images
from keras_frcnn.inference.collect import propose
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training import callbacks, schemes
from keras_frcnn.training.optimizers import FusedAdam, FusedSGD
from keras_frcnn.training.progress import ProgressBar
from keras_frcnn.training.schedules import make_schedule
from keras_frcnn.training.schemes import Phase
from keras_frcnn.weights import checkpoint
from keras_frcnn.weights.imagenet import load_pretrained
from keras_frcnn.weights.start_checkpoint import load_start


def load_data(config: Config, console: Console) -> tuple[Dataset, Dataset | None]:
    """Reads the training and evaluation splits and says what is in them.

    Returns:
        Both data sets, the second None if the run is not to be evaluated.

    Raises:
        ValueError: naming the file, split or flag that is wrong.
    """
    train, evaluation = data.load_images(config, config.train_split), None
    if config.is_evaluated:
        evaluation = data.load_images(config, config.eval_split, train.class_names)
    for name, dataset in (("train", train), ("evaluate", evaluation)):
        if dataset is None:
            console.print(f"{name}: nothing, as --eval_split says")
            continue
        labels = np.concatenate(
            [np.zeros(0, np.int32), *(record.labels for record in dataset.records)]
        )
        counts = np.bincount(labels, minlength=len(dataset.class_names))
        objects = ", ".join(f"{n} {c}" for n, c in zip(dataset.class_names, counts, strict=True))
        console.print(f"{name}: {len(dataset.records)} images; {objects}", highlight=False)
        for line in dataset.remarks:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
        for line in dataset.skipped:
            console.print(f"  skipped: {line}", highlight=False, markup=False, soft_wrap=True)
    return train, evaluation


def build(config: Config, class_names, console: Console, phase: Phase | None = None) -> FasterRCNN:
    """Makes the compiled model of a phase, by default of the run's first, with its starting
    weights.
    """
    phase = phase or schemes.phases(config)[0]
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    model = FasterRCNN(phase.model_config, class_names)
    start = _start(model, phase, console)
    schemes.prepare(model, phase)
    if phase.name:
        taken = f"; {', '.join(phase.takes)} from {phase.start}" if phase.start else ""
        console.print(
            f"{phase.name}: trains {', '.join(phase.trains)} for {phase.config.steps} steps{taken}",
            highlight=False,
        )
    console.print(
        f"model: {config.backbone}, {config.precision}, {model.count_params() / 1e6:.1f} M "
        f"weights; {start}; frozen: {', '.join(model.backbone.frozen) or 'nothing'}",
        highlight=False,
    )
    model.compile(make_optimizer(phase.config), jit_compile=config.jit_compile)
    model.optimizer.build(model.trainable_variables)
    return model


def _start(model, phase, console):
    """Gives a model the run's start weights, unless the phase has a checkpoint to go on from;
    returns what they are, in words.
    """
    config = phase.config
    if (Path(config.output_dir) / schemes.LAST).exists():
        return "weights of the run"
    if config.start_checkpoint:
        lines = load_start(model, config.start_checkpoint)
        if not phase.first_step:  # of later phases it would be the same once more
            console.print(f"start from {config.start_checkpoint}", highlight=False)
            for line in lines:
                console.print(f"  {line}", highlight=False)
        return f"weights of {config.start_checkpoint}"
    loaded = load_pretrained(model, config)
    return f"{len(loaded)} layers from {config.backbone_weights}" if loaded else "random start"


def make_optimizer(config: Config) -> keras.optimizers.Optimizer:
    """The optimizer of the settings.

    It adds the weight decay in its one pass over the weights, but for float16, where the loss'
    gradient has it.
    """
    is_float16 = config.precision == "mixed_float16"
    common = {
        "learning_rate": make_schedule(config),
        "global_clipnorm": config.gradient_clip_norm or None,
        "gradient_accumulation_steps": (
            config.accumulate_steps if config.accumulate_steps > 1 else None
        ),
        "l2": 0.0 if is_float16 else config.weight_decay,
        "decay_biases": config.decay_biases,
    }
    if config.optimizer == "adam":
        optimizer = FusedAdam(beta_1=config.momentum, **common)
    else:
        optimizer = FusedSGD(momentum=config.momentum, **common)
    return keras.optimizers.LossScaleOptimizer(optimizer) if is_float16 else optimizer


def train(config: Config, console: Console | None = None) -> Path:
    """Trains, or goes on training if the run folder has a checkpoint.

    Args:
        config: the settings, with ``precision`` resolved.
        console: where to write; by default standard output.

    Returns:
        The run folder.

    Raises:
        ValueError: naming what is wrong with settings, data or checkpoint; or which loss was not
            finite.
        SystemExit: with 128 + the signal's number after Ctrl-C or SIGTERM, when the checkpoint is
            written.
    """
    console = console or Console()
    folder = Path(config.output_dir)
    train_data, eval_data = load_data(config, console)
    os.makedirs(folder, exist_ok=True)
    phases = schemes.unfinished(config)
    if not phases[0].first_step and not (folder / schemes.LAST).exists():
        for phase in phases:  # of an earlier run, whose checkpoints are gone
            if phase.proposals:
                phase.proposals.unlink(missing_ok=True)
    stop = callbacks.StopOnSignal()
    with ProgressBar(config, console, 0) as bar, stop:
        for phase in phases:
            model = build(config, train_data.class_names, console, phase)
            _resume(model, phase, console)
            _run(model, phase, train_data, eval_data, bar, stop)
            if stop.received:
                break
            if not phase.is_final:
                os.replace(folder / schemes.LAST, folder / phase.result)
    if stop.received:
        console.print(f"Stopped at step {bar.step}. Give the same command again to go on.")
        raise SystemExit(128 + stop.received)
    return folder


def _run(model, phase, train_data, eval_data, bar, stop):
    """Takes a phase to its end, or until the run is stopped."""
    config, first_step = phase.config, int(model.step)
    bar.start_from(first_step)
    evaluator = callbacks.Evaluator(phase, eval_data, bar, stop) if eval_data else None
    if evaluator and not stop.received and _was_stopped_before_its_evaluation(phase, first_step):
        evaluator.set_model(model)
        evaluator.evaluate()
    if first_step >= phase.last_step:
        if phase.is_final:
            bar.console.print(
                f"Nothing to do: {config.output_dir} has all of its {first_step} steps",
                highlight=False,
            )
        return
    if phase.proposals and not write_proposals(model, phase, train_data, bar, stop):
        return
    preprocessing = backbones.preprocessing_of(config.backbone, config.pixel_std)
    batch_spec = pipeline.train_dataset(
        train_data, config, preprocessing, first_step, phase.last_step - first_step
    ).element_spec
    beside = [
        stop,
        callbacks.Graph(config, batch_spec),
        callbacks.Logger(config, bar),
        callbacks.Checkpoints(config),
        *([evaluator] if evaluator else []),
        *([callbacks.Profiler(config)] if config.profile_steps else []),
    ]
    done = first_step - phase.first_step
    for first, end, steps in _intervals(done, config.steps, config.steps_per_interval):
        if not stop.received:
            step = int(model.step)
            stream = pipeline.train_dataset(
                train_data, config, preprocessing, step, phase.last_step - step
            )
            _fit(model, stream, first, end, steps, beside)


def write_proposals(model, phase, dataset, bar, stop) -> bool:
    """Writes the proposals file that a phase trains on, of the RPN with which it began, if there is
    none yet; of all images that its steps draw.

    Returns:
        Whether there is one now: not where the run is stopped meanwhile.
    """
    if phase.proposals.exists():
        return True
    rows = drawn_rows(dataset.records, phase.config, phase.first_step, phase.config.steps)
    dataset = dataclasses.replace(dataset, records=[dataset.records[row] for row in rows])
    count, found = len(rows), []
    bar.console.print(f"Proposals of {count} images to train on ...", highlight=False)
    for row in bar.count(propose(model, dataset, phase.config, training=True), "propose", count):
        if stop.received:
            return False
        found.append(row)
    proposals_file.write(phase.proposals, found)
    return True


def _intervals(step, steps, interval):
    """Cuts a run into Keras' epochs: whole intervals, and what lies before and after them.

    Yields:
        ``(first epoch, end epoch, steps an epoch)``, for one ``fit`` each.
    """
    if step % interval:  # a run that was stopped within an interval first finishes it
        end = min(steps, step + interval - step % interval)
        yield step // interval, step // interval + 1, end - step
        step = end
    if steps // interval > step // interval:
        yield step // interval, steps // interval, interval
        step = steps // interval * interval
    if step < steps:
        yield step // interval, step // interval + 1, steps - step


def _was_stopped_before_its_evaluation(phase, step):
    """Whether the step that a run goes on from is the last of an interval that has no evaluation
    yet.
    """
    config, done = phase.config, step - phase.first_step
    evaluated = {evaluation["step"] for evaluation in callbacks.read_evaluations(config.output_dir)}
    ends_here = done % config.steps_per_interval == 0 or done == config.steps
    return done > 0 and ends_here and step not in evaluated


def _fit(model, stream, first, end, steps, beside):
    with naming_images():
        model.fit(
            stream,
            initial_epoch=first,
            epochs=end,
            steps_per_epoch=steps,
            callbacks=beside,
            shuffle=False,
            verbose=0,
        )


def _resume(model, phase, console):
    """Loads the phase's last checkpoint if there is one, and clears what came after it."""
    folder = Path(phase.config.output_dir)
    last = folder / schemes.LAST
    if last.exists():
        checkpoint.load_weights(model, last)
        console.print(f"Going on from step {int(model.step)} of {last}", highlight=False)
    if last.exists() or phase.first_step:
        callbacks.forget_evaluations_after(folder, int(model.step))
