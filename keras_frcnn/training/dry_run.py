"""Rehearses a run on a few images to find errors and to estimate its memory and its time."""

import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.console import COMPILING, Console
from keras_frcnn.data import proposals_file
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.epoch_order import drawn_rows
from keras_frcnn.evaluation.metrics.evaluate import evaluate
from keras_frcnn.evaluation.report import scalars
from keras_frcnn.evaluation.report.formats import duration
from keras_frcnn.inference.over_dataset import detect_dataset, propose_dataset
from keras_frcnn.serving.export import export
from keras_frcnn.training import distribution, schemes
from keras_frcnn.training.phase_model import build_phase_model
from keras_frcnn.training.run_data import RunData, load_data
from keras_frcnn.training.steps.batches import Batches
from keras_frcnn.training.steps.recovery import Recovery
from keras_frcnn.training.steps.step import TrainingStep
from keras_frcnn.weights import checkpoint

_TIMED_STEPS = 5
_PROPOSAL_BATCHES = 4
_EVALUATED_IMAGES = 4


def dry_run(config: Config, console: Console, run_data: RunData | None = None) -> dict[str, Any]:
    """Reads, trains on, evaluates and exports with a few images.

    Prints the number of parameters, the memory and the estimated time of the run. All files are
    temporary.

    Args:
        config: the settings, with ``precision`` resolved.
        console: the console to print to.
        run_data: what ``read_data`` returned; by default the data is read now.

    Returns:
        ``images``, the number of training images; ``phases``, a dict for each phase with the
        seconds per training ``step`` and the seconds per image for writing ``proposals``, which is
        0 if the phase writes none; and ``evaluation``, the seconds per evaluated image.

    Raises:
        ValueError: If the run itself would raise it.
    """
    distribution.strategy(config)  # before TensorFlow computes anything
    train_data, eval_data = load_data(config, console, run_data)
    with tempfile.TemporaryDirectory() as folder:
        config = config.replace(output_dir=folder, on_nan="stop")
        phases = schemes.phases(config)
        phase_seconds = []
        for phase in phases:
            model, seconds = _rehearse_phase(phase, train_data, console)
            phase_seconds.append(seconds)
        image_seconds = _rehearse_evaluation(model, eval_data, config, console)
        if config.needs_proposals_file:
            console.print("export: skipped, because the detector has no proposals of its own")
        else:
            export(model, f"{folder}/saved_model")
            console.print("export: works")
    console.print(f"memory: {_peak_memory()}")
    _print_estimate(phases, phase_seconds, image_seconds, train_data, eval_data, console)
    return {
        "images": len(train_data.records),
        "phases": phase_seconds,
        "evaluation": image_seconds,
    }


def _rehearse_phase(phase, train_data, console):
    """Runs a few steps of a phase; returns its model and its times in seconds."""
    with distribution.scope(distribution.strategy(phase.config)):
        model = build_phase_model(phase, train_data.class_names, console)
    num_trainable = sum(int(tf.size(weight)) for weight in model.trainable_weights)
    console.print(f"parameters: {model.count_params():,}, trained: {num_trainable:,}")
    proposals_seconds = 0.0
    if phase.proposals_file:
        train_data = _first_images(train_data, phase.config.batch_size * _PROPOSAL_BATCHES)
        proposals_seconds = _rehearse_proposals(model, phase, train_data)
    console.print(COMPILING)
    step_seconds = _rehearse_steps(model, phase, train_data, console)
    if not phase.is_final:
        checkpoint.save(model, Path(phase.config.output_dir) / phase.result)
    return model, {"step": step_seconds, "proposals": proposals_seconds}


def _rehearse_proposals(model, phase, dataset):
    """Writes the proposals of a few images; returns the seconds per image."""
    found = propose_dataset(model, dataset, phase.config, training=True)
    proposals = [next(found)]  # The first call traces the graph, so it is not timed.
    started = time.perf_counter()
    proposals += found
    seconds = (time.perf_counter() - started) / max(len(proposals) - 1, 1)
    proposals_file.write(phase.proposals_file, proposals)
    return seconds


def _rehearse_steps(model, phase, dataset, console):
    """Runs a few training steps; returns the median time of all but the first, in seconds."""
    batches = Batches(model, phase, dataset)
    step = TrainingStep(model, phase.config, batches.spec)
    run = Recovery(step, phase, batches, console)
    seconds = []
    for _ in range(1 + _TIMED_STEPS):
        started = time.perf_counter()
        losses = {name: float(value) for name, value in run.take(*next(batches)).items()}
        seconds.append(time.perf_counter() - started)
    median = statistics.median(seconds[1:])
    console.print(
        f"train step: {median:.2f} s (the first one {seconds[0]:.1f} s), loss {losses['loss']:.3f}"
    )
    return median


def _rehearse_evaluation(model, eval_data, config, console):
    """Evaluates a few images; returns the seconds per image, or 0 if the run has no evaluation."""
    if not eval_data:
        return 0.0
    dataset = _first_images(eval_data, _EVALUATED_IMAGES)
    console.print(f"evaluation: {COMPILING}")
    detect_dataset(model, dataset, config)  # The first call traces the graph, so it is not timed.
    started = time.perf_counter()
    detections, _ = detect_dataset(model, dataset, config)
    seconds = (time.perf_counter() - started) / len(dataset.records)
    result = evaluate(dataset, detections)
    name, value = next(iter(scalars.of_result(result, {}).items()))
    console.print(
        f"evaluation: {seconds:.2f} s per image, {name} on {len(dataset.records)} images "
        f"{value:.3f}"
    )
    return seconds


def _print_estimate(phases, phase_seconds, image_seconds, train_data, eval_data, console):
    """Prints the estimated time of the run, without and with its evaluations."""
    num_evaluations, training_seconds = 0, 0.0
    for phase, seconds in zip(phases, phase_seconds, strict=True):
        num_evaluations += -(-phase.config.steps // phase.config.steps_per_interval)
        training_seconds += phase.config.steps * seconds["step"]
        if phase.proposals_file:
            rows = drawn_rows(
                train_data.records, phase.config, phase.first_step, phase.config.steps
            )
            training_seconds += len(rows) * seconds["proposals"]
    text = f"{duration(training_seconds)} for {phases[-1].last_step} steps"
    if eval_data:
        num_images = len(eval_data.records)
        total_seconds = training_seconds + num_evaluations * num_images * image_seconds
        text += f", {duration(total_seconds)} with {num_evaluations} evaluations of "
        text += f"{num_images} images"
    console.print(f"estimate: {text}")


def _first_images(dataset, count):
    return Dataset(dataset.class_names, dataset.records[:count])


def _peak_memory():
    unit = 1 if sys.platform == "darwin" else 1024
    text = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.1f} GiB at most"
    for gpu in tf.config.list_logical_devices("GPU"):
        peak = tf.config.experimental.get_memory_info(gpu.name.removeprefix("/device:"))["peak"]
        text += f", {gpu.name} {peak / 2**30:.1f} GiB"
    return text
