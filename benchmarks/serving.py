"""The serving side of the export benchmark: a process that has TensorFlow and nothing of ours."""

import time

import numpy as np
import tensorflow as tf

from benchmarks import measure


def serve(folder: str, image_file: str, calls: int) -> dict:
    """Loads a SavedModel and asks it.

    Args:
        folder: the SavedModel.
        image_file: uint8 [1, H, W, 3], by ``numpy.save``.
        calls: requests after the first one and a warm-up.

    Returns:
        Milliseconds: ``load``, ``first_request`` and ``requests``, a list; and ``peak_memory``.
    """
    images = tf.constant(np.load(image_file))
    started = time.perf_counter()
    request = requests_to(tf.saved_model.load(folder), images)
    loaded = time.perf_counter()
    request()
    first = time.perf_counter()
    timing = measure.interleaved({"request": request}, calls)["request"]
    return {
        "load": 1000 * (loaded - started),
        "first_request": 1000 * (first - loaded),
        "requests": timing.samples,
        "peak_memory": measure.peak_memory(),
    }


def requests_to(saved_model, images):
    """A function that asks ``serving_default`` and has the answer on the host."""
    signature = saved_model.signatures["serving_default"]
    return lambda: {name: value.numpy() for name, value in signature(input_tensor=images).items()}
