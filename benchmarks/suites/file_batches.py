"""Detecting on image files in padded batches, beside one file after the other.

The files of a request have one size, or unlike ones: the case's size, its quarter turn, and both
with three quarters of the width. Both ways are called in turn in this process.
"""

import numpy as np
import tensorflow as tf

from benchmarks import scene, timing
from benchmarks.cases import Case
from benchmarks.results import Result, timed_rows
from keras_frcnn.serving.signatures import make_signatures

ALONE, PADDED = "one after the other", "padded batch"


def run(case: Case) -> Result:
    """Sends a request of ``case.batch`` files to ``serve_bytes`` of both kinds."""
    inputs, _ = scene.make_batch(case)
    model = scene.make_model(case, inputs)
    images, _ = scene.draw(case)
    height, width = case.size
    narrow = images[:, :, : 3 * width // 4]
    forms = [images, np.rot90(images, axes=(1, 2)), narrow, np.rot90(narrow, axes=(1, 2))]
    requests = {
        "equal sizes": list(images),
        "unlike sizes": [forms[row % len(forms)][row] for row in range(case.batch)],
    }
    ways = {ALONE: 0, PADDED: case.batch * max(height, width) ** 2}
    functions = {}
    for way, batch_pixels in ways.items():
        serve = make_signatures(model, batch_pixels)["serve_bytes"]
        for sizes, request in requests.items():
            files = tf.constant(
                [tf.io.encode_jpeg(np.ascontiguousarray(i)).numpy() for i in request]
            )
            functions[f"{sizes}, {way}"] = _request(serve, files)
    timings = timing.interleaved(functions, case.calls)
    rates = {
        f"images_per_s, {name}": round(1000 * case.batch / np.median(one.samples), 2)
        for name, one in timings.items()
    }
    return Result(timed_rows(timings, ratio_to=f"equal sizes, {ALONE}"), rates)


def _request(serve, files):
    return lambda: {name: value.numpy() for name, value in serve(files).items()}
