"""A whole training step, as Keras' ``fit`` runs it, beside the backbone forward + backward.

The settings are the paper's: SGD with momentum, 12000 -> 2000 proposals, 128 regions per image.
"""

import math

import tensorflow as tf

from benchmarks import flops, scene, timing
from benchmarks.cases import Case
from benchmarks.results import Result, timed_rows
from benchmarks.suites import backbone
from keras_frcnn.training.optimizers import make_optimizer

STEP = "train step"


def run(case: Case) -> Result:
    """Times both in turn.

    Raises:
        ValueError: if the loss is not finite at the end, because the figures would mean nothing.
    """
    inputs, targets = scene.make_batch(case)
    model = scene.make_model(case, inputs)
    step = train_step(model, inputs, targets)
    functions = {STEP: step, backbone.BACKWARD: backbone.forward_backward(model.backbone, inputs)}
    timings = timing.interleaved(functions, case.calls)
    gflop = {
        STEP: flops.detector(model, case.size, case.batch, model.config.roi_num_samples).total,
        backbone.BACKWARD: flops.backbone(model.backbone, case.size, case.batch).total,
    }
    logs = step()
    if not math.isfinite(logs["loss"]):
        raise ValueError(f"the loss must be finite. Received: {logs['loss']}")
    facts = {name: round(logs[name], 3) for name in ("loss", "rpn_foreground", "roi_foreground")}
    return Result(timed_rows(timings, gflop, ratio_to=backbone.BACKWARD), facts)


def train_step(model, inputs, targets):
    """Returns a blocking call of the function that ``fit`` calls for each step; it gives the logs.

    It compiles the model as a run does.
    """
    model.compile(make_optimizer(model.config))
    model.optimizer.build(model.trainable_variables)
    batches = iter(tf.data.Dataset.from_tensors((inputs, targets)).repeat())
    model.make_train_function()

    def call():
        return {name: float(value) for name, value in model.train_function(batches).items()}

    return call
