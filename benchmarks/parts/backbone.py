"""The backbone alone: forward, and forward + backward of its trained blocks."""

import tensorflow as tf

from benchmarks import flops, measure, scene
from benchmarks.cases import Case, Result, timed_rows

FORWARD, BACKWARD = "backbone forward", "backbone forward + backward"


def run(case: Case) -> Result:
    """Times both in turn."""
    inputs, _ = scene.make_batch(case)
    backbone = scene.make_backbone(case)
    functions = {FORWARD: forward(backbone, inputs), BACKWARD: forward_backward(backbone, inputs)}
    count = flops.backbone(backbone, case.size, case.batch)
    gflop = {FORWARD: count.forward, BACKWARD: count.total}
    timings = measure.interleaved(functions, case.calls)
    rows = timed_rows(timings, gflop, ratio_to=FORWARD)
    return Result(rows, {"frozen_blocks": scene.make_config(case).resolved_frozen_blocks})


def forward(backbone, inputs):
    """A blocking call of the backbone."""
    return measure.blocking(backbone, inputs["images"], inputs["image_shape"])


def forward_backward(backbone, inputs):
    """A blocking call that gives the gradients of all trained weights."""
    weights = backbone.trainable_weights

    def step(images, image_shape):
        with tf.GradientTape() as tape:
            features, _ = backbone(images, image_shape)
        # Any gradient of the features will do, if it is no constant that the graph could use.
        return tape.gradient(features, weights, output_gradients=features)

    return measure.blocking(step, inputs["images"], inputs["image_shape"])
