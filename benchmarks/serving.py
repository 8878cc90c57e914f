"""The serving side of the export suite: a process that needs only TensorFlow, not this package."""

import time

import numpy as np
import tensorflow as tf

from benchmarks import timing


def serve(folder: str, image_file: str, calls: int) -> dict:
    """Loads a SavedModel and sends it requests.

    Args:
        folder: the SavedModel.
        image_file: uint8 [1, H, W, 3], written by ``numpy.save``.
        calls: number of timed requests, after the first one and a warm-up.

    Returns:
        Milliseconds: ``load``, ``first_request`` and ``requests``, a list; and ``peak_memory``.
    """
    images = tf.constant(np.load(image_file))
    started = time.perf_counter()
    request = requests_to(tf.saved_model.load(folder), images)
    loaded = time.perf_counter()
    request()
    first = time.perf_counter()
    timings = timing.interleaved({"request": request}, calls)
    return {
        "load": 1000 * (loaded - started),
        "first_request": 1000 * (first - loaded),
        "requests": timings["request"].samples,
        "peak_memory": timing.peak_memory(),
    }


def requests_to(saved_model, images):
    """Returns a function that calls ``serving_default`` and copies the answer to the host."""
    signature = saved_model.signatures["serving_default"]
    return lambda: {name: value.numpy() for name, value in signature(input_tensor=images).items()}
