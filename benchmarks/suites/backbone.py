"""The backbone alone: forward, and forward + backward of its trained blocks."""

import tensorflow as tf

from benchmarks import flops, scene, timing
from benchmarks.cases import Case
from benchmarks.results import Result, timed_rows

FORWARD, BACKWARD = "backbone forward", "backbone forward + backward"


def run(case: Case) -> Result:
    """Times both in turn."""
    inputs, _ = scene.make_batch(case)
    backbone = scene.make_backbone(case)
    functions = {FORWARD: forward(backbone, inputs), BACKWARD: forward_backward(backbone, inputs)}
    count = flops.backbone(backbone, case.size, case.batch)
    gflop = {FORWARD: count.forward, BACKWARD: count.total}
    timings = timing.interleaved(functions, case.calls)
    rows = timed_rows(timings, gflop, ratio_to=FORWARD)
    return Result(rows, {"frozen_blocks": scene.make_config(case).resolved_frozen_blocks})


def forward(backbone, inputs):
    """Returns a blocking call of the backbone."""

    def features(images, image_shape):
        return [level.features for level in backbone(images, image_shape)]

    return timing.blocking(features, inputs["images"], inputs["image_shape"])


def forward_backward(backbone, inputs):
    """Returns a blocking call that computes the gradients of all trained weights."""
    weights = backbone.trainable_weights

    def step(images, image_shape):
        with tf.GradientTape() as tape:
            features = [level.features for level in backbone(images, image_shape)]
        # Any gradient of the features will do, as long as it is not a constant, which the graph
        # could simplify.
        return tape.gradient(features, weights, output_gradients=features)

    return timing.blocking(step, inputs["images"], inputs["image_shape"])
