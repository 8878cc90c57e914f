"""A rehearsal of a run on a few images: does it work, how large is it, how long will it take?"""

import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tensorflow as tf
from rich.console import Console

from keras_frcnn.config import Config
from keras_frcnn.data import pipeline, proposals_file
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.epoch_order import drawn_rows
from keras_frcnn.evaluation.metrics.evaluate import evaluate
from keras_frcnn.evaluation.report import scalars
from keras_frcnn.inference.collect import collect, propose
from keras_frcnn.serving.export import export
from keras_frcnn.training import schemes, trainer
from keras_frcnn.weights import checkpoint

_STEPS = 5
_BATCHES = 4
_EVALUATED = 4


def dry_run(config: Config, console: Console) -> dict[str, Any]:
    """Takes a few images through data, step, evaluation and export, and reports. Writes nothing
    that stays.

    Returns:
        "images", the number of those to train on; and "phases", a list with the seconds of each
        for a "step", and for the "proposals" of one image if it makes them before its first step,
        else 0.

    Raises:
        ValueError: whatever a run would raise.
    """
    train_data, eval_data = trainer.load_data(config, console)
    with tempfile.TemporaryDirectory() as folder:
        config = config.replace(output_dir=folder)
        phase_seconds = []
        for phase in schemes.phases(config):
            model, seconds = _rehearse(phase, train_data, console)
            phase_seconds.append(seconds)
        if eval_data:
            image_seconds = _evaluate(model, eval_data, config, console)
        if config.needs_proposals_file:
            console.print("export: not without regions of its own")
        else:
            export(model, f"{folder}/saved_model")
            console.print("export: works")

    evaluations, training_seconds = 0, 0.0
    for phase, seconds in zip(schemes.phases(config), phase_seconds, strict=True):
        evaluations += -(-phase.config.steps // phase.config.steps_per_interval)
        training_seconds += phase.config.steps * seconds["step"]
        if phase.proposals:
            rows = drawn_rows(
                train_data.records, phase.config, phase.first_step, phase.config.steps
            )
            training_seconds += len(rows) * seconds["proposals"]
    words = f"{_duration(training_seconds)} for {config.total_steps} steps"
    if eval_data:
        total = training_seconds + evaluations * len(eval_data.records) * image_seconds
        words += f", {_duration(total)} with {evaluations} evaluations of "
        words += f"{len(eval_data.records)} images"
    console.print(f"memory: {_peak_memory()}", highlight=False)
    console.print(f"estimate: {words}", highlight=False)
    return {"images": len(train_data.records), "phases": phase_seconds}


def _rehearse(phase, dataset, console):
    """Takes a few steps of a phase; returns its model, and what it takes in seconds."""
    model = trainer.build(phase.config, dataset.class_names, console, phase)
    trainable = sum(int(tf.size(w)) for w in model.trainable_weights)
    console.print(f"parameters: {model.count_params():,}, trained: {trainable:,}", highlight=False)
    proposals_seconds = 0.0
    if phase.proposals:
        few = Dataset(dataset.class_names, dataset.records[: phase.config.batch_size * _BATCHES])
        proposing = propose(model, few, phase.config, training=True)
        found = [next(proposing)]  # traces the graph
        started = time.perf_counter()
        found += proposing
        proposals_seconds = (time.perf_counter() - started) / max(len(found) - 1, 1)
        proposals_file.write(phase.proposals, found)
        dataset = few

    seconds = []
    stream = iter(pipeline.train_dataset(dataset, phase.config))
    step = tf.function(lambda: model.train_step(next(stream)))
    for _ in range(1 + _STEPS):
        started = time.perf_counter()
        logs = {name: float(value) for name, value in step().items()}
        seconds.append(time.perf_counter() - started)
    step_seconds = statistics.median(seconds[1:])
    console.print(
        f"train step: {step_seconds:.2f} s (the first one {seconds[0]:.1f} s), "
        f"loss {logs['loss']:.3f}",
        highlight=False,
    )
    if not phase.is_final:
        checkpoint.save(model, Path(phase.config.output_dir) / phase.result)
    return model, {"step": step_seconds, "proposals": proposals_seconds}


def _evaluate(model, dataset, config, console):
    """Evaluates a few images; returns the seconds of one."""
    few = Dataset(dataset.class_names, dataset.records[:_EVALUATED])
    collect(model, few, config)  # traces the graph
    started = time.perf_counter()
    detections, _ = collect(model, few, config)
    seconds = (time.perf_counter() - started) / len(few.records)
    result = evaluate(few, detections)
    name, value = next(iter(scalars.of_result(result, {}).items()))
    console.print(
        f"evaluation: {seconds:.2f} s an image, {name} of {len(few.records)} images {value:.3f}",
        highlight=False,
    )
    return seconds


def _peak_memory():
    unit = 1 if sys.platform == "darwin" else 1024
    words = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.1f} GiB at most"
    for gpu in tf.config.list_logical_devices("GPU"):
        peak = tf.config.experimental.get_memory_info(gpu.name.removeprefix("/device:"))["peak"]
        words += f", {gpu.name} {peak / 2**30:.1f} GiB"
    return words


def _duration(seconds):
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
