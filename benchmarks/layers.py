"""Times the layers that are not convolutions, and the optimizer's update, at 600 x 800.

    python benchmarks/layers.py [--precision=mixed_bfloat16] [--calls=20]

Prints one table and one JSON line: median, fastest and slowest call in milliseconds after warm-up.
Compare figures of one run only: the machine's load moves them all.
"""

import argparse
import json
import platform
import statistics
import time

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from keras_frcnn import layers
from keras_frcnn.training.optimizers import FusedAdam, FusedSGD

_HEIGHT, _WIDTH, _STRIDE, _CHANNELS = 600, 800, 16, 512
_HEAD_SHAPES = ((25088, 1024), (1024, 1024))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--calls", type=int, default=20)
    args = parser.parse_args()
    dtype = "float32" if args.precision == "float32" else "bfloat16"

    figures = {
        name: measure(function, args.calls)
        for name, function in [*roi_layers(dtype), *proposals(), *optimizers()]
    }
    table = Table(title=f"{args.precision}, ms")
    for title in ("what", "median", "fastest", "slowest"):
        table.add_column(title, justify="left" if title == "what" else "right")
    for name, figure in figures.items():
        table.add_row(name, *(f"{figure[key]:.1f}" for key in ("median", "fastest", "slowest")))
    Console().print(table)
    machine = {
        "precision": args.precision,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "processor": platform.processor() or platform.machine(),
    }
    print(json.dumps({"machine": machine, "milliseconds": figures}))


def measure(function, calls):
    """Times a graph function; the first calls, which trace and warm up, are left out."""
    compiled = tf.function(lambda: function())  # defaults of the function stay Python's
    for _ in range(3):
        compiled()
    times = []
    for _ in range(calls):
        started = time.perf_counter()
        compiled()
        times.append(1000 * (time.perf_counter() - started))
    figures = {"median": statistics.median(times), "fastest": min(times), "slowest": max(times)}
    return {name: round(value, 3) for name, value in figures.items()}


def roi_layers(dtype):
    """RoIPooling and RoIAlign, forward and with the features' gradient, on 128 and 300 regions."""
    rng = np.random.default_rng(0)
    size = (1, _HEIGHT // _STRIDE, _WIDTH // _STRIDE, _CHANNELS)
    features = tf.cast(tf.constant(rng.normal(size=size)), dtype)
    for layer in (layers.RoIPooling(), layers.RoIAlign()):
        for count in (128, 300):
            rois = tf.constant(random_boxes(rng, count)[np.newaxis])

            def forward(layer=layer, rois=rois):
                return layer(features, rois)

            def gradient(layer=layer, rois=rois):
                with tf.GradientTape() as tape:
                    tape.watch(features)
                    total = tf.reduce_sum(tf.cast(layer(features, rois), tf.float32))
                return tape.gradient(total, features)

            name = f"{type(layer).__name__}, {count} regions"
            yield f"{name}, forward", forward
            yield f"{name}, forward + gradient", gradient


def proposals():
    """ProposalGenerator with the settings of training and of test."""
    rng = np.random.default_rng(0)
    anchors = layers.AnchorGenerator()(tf.zeros([1, _HEIGHT // _STRIDE, _WIDTH // _STRIDE, 1]))
    count = anchors.shape[0]
    logits = tf.constant(rng.normal(size=(1, count, 2)).astype("float32"))
    image_shape = tf.constant([[_HEIGHT, _WIDTH]])
    deltas = tf.constant(0.2 * rng.normal(size=(1, count, 4)).astype("float32"))
    for before, after in ((12000, 2000), (6000, 300)):
        layer = layers.ProposalGenerator(before, after)
        yield (
            f"ProposalGenerator, {before} -> {after}",
            lambda layer=layer: layer(logits, deltas, anchors, image_shape),
        )


def optimizers():
    """One update of a box head of 27 million weights, by Keras and in one pass."""
    rng = np.random.default_rng(0)
    for kind, settings in (
        (keras.optimizers.SGD, {"momentum": 0.9}),
        (FusedSGD, {"momentum": 0.9}),
        (keras.optimizers.Adam, {}),
        (FusedAdam, {}),
    ):
        variables = [
            keras.Variable(rng.normal(size=shape).astype("float32")) for shape in _HEAD_SHAPES
        ]
        gradients = [tf.constant(rng.normal(size=s).astype("float32")) for s in _HEAD_SHAPES]
        optimizer = kind(learning_rate=1e-6, **settings)
        optimizer.build(variables)

        def update(optimizer=optimizer, variables=variables, gradients=gradients):
            optimizer.apply(gradients, variables)

        yield f"{kind.__name__}, 27 M weights", update


def random_boxes(rng, count):
    """Boxes [count, 4] of 30 to 300 pixels a side inside the picture."""
    sides = rng.uniform(30, 300, (count, 2))
    corners = rng.uniform(0, 1, (count, 2)) * ([_HEIGHT, _WIDTH] - sides)
    return np.concatenate([corners, corners + sides], axis=1).astype("float32")


if __name__ == "__main__":
    main()
