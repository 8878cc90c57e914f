"""Writing, loading and calling a SavedModel, beside ``model.predict``.

The figures of serving, memory included, come from a process that has nothing but the SavedModel.
The comparison with ``model.predict`` is made in this process, in turn.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks import child, scene, serving, timing
from benchmarks.cases import Case
from benchmarks.results import Result, Row, timed_rows
from keras_frcnn.serving import export

REQUEST, PREDICT = "request, beside model.predict", "model.predict"


def run(case: Case) -> Result:
    """Exports a detector and calls it on one image of the case's size."""
    inputs, _ = scene.make_batch(case)
    model = scene.make_model(case, inputs)
    images, _ = scene.draw(case)
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        saved, image_file = str(Path(folder) / "saved_model"), f"{folder}/image.npy"
        np.save(image_file, images)
        started = time.perf_counter()
        export.save(model, saved)
        export_ms = 1000 * (time.perf_counter() - started)
        size = sum(path.stat().st_size for path in Path(saved).rglob("*"))
        served = child.call("benchmarks.serving:serve", saved, image_file, case.calls)
        loaded = tf.saved_model.load(saved)

    arrays = {name: value.numpy() for name, value in inputs.items()}
    functions = {
        REQUEST: serving.requests_to(loaded, tf.constant(images)),
        PREDICT: lambda: model.predict(arrays, batch_size=case.batch, verbose=0),
    }
    timings = timing.interleaved(functions, case.calls)
    once = {
        "export": export_ms,
        "load": served["load"],
        "first request": served["first_request"],
    }
    rows = [Row(name, timing.Timing((ms,))) for name, ms in once.items()]
    rows.append(Row("request", timing.Timing(tuple(served["requests"]))))
    facts = {f"serving_{name}": round(value) for name, value in served["peak_memory"].items()}
    return Result(
        [*rows, *timed_rows(timings, ratio_to=PREDICT)],
        {**facts, "saved_model_mib": round(size / timing.MIB)},
    )
