"""A rehearsal of a run on a few pictures: does it work, how large is it, how long will it take?"""

import resource
import statistics
import sys
import tempfile
import time

import tensorflow as tf
from rich.console import Console

from keras_frcnn.config import Config
from keras_frcnn.data import pipeline
from keras_frcnn.data.records import Dataset
from keras_frcnn.evaluation import voc
from keras_frcnn.evaluation.collect import collect
from keras_frcnn.serving.export import export
from keras_frcnn.training import fit

_STEPS = 5
_EVALUATED = 4


def dry_run(config: Config, console: Console) -> None:
    """Takes a few pictures through data, step, evaluation and export, and reports. Writes nothing
    that stays.

    Raises:
        ValueError: whatever a run would raise.
    """
    train_data, eval_data = fit.load_data(config, console)
    model = fit.build(config, train_data.class_names, console)
    trainable = sum(int(tf.size(w)) for w in model.trainable_weights)
    console.print(f"parameters: {model.count_params():,}, trained: {trainable:,}", highlight=False)

    seconds = []
    stream = iter(pipeline.train_dataset(train_data, config))
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

    few = Dataset(eval_data.class_names, eval_data.records[:_EVALUATED])
    collect(model, few, config)  # traces the graph
    started = time.perf_counter()
    detections, _ = collect(model, few, config)
    picture_seconds = (time.perf_counter() - started) / len(few.records)
    result = voc.evaluate(few, detections)
    console.print(
        f"evaluation: {picture_seconds:.2f} s a picture, mAP of {len(few.records)} pictures "
        f"{result.map_area:.3f}",
        highlight=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        export(model, f"{folder}/saved_model")
    console.print("export: works")

    evaluations = config.steps // config.steps_per_interval
    total = config.steps * step_seconds + evaluations * len(eval_data.records) * picture_seconds
    console.print(f"memory: {_peak_memory()}", highlight=False)
    console.print(
        f"estimate: {_duration(config.steps * step_seconds)} for {config.steps} steps, "
        f"{_duration(total)} with {evaluations} evaluations of {len(eval_data.records)} pictures",
        highlight=False,
    )


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
