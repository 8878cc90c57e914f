"""n replicas take the same steps as one with n times as many images.

TensorFlow cuts a processor in two only before it is used, so this runs in a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SIZES = ((64, 96), (48, 80), (80, 64), (56, 56))
SCHEMES = {
    "joint": {},
    "joint, Adam": {"optimizer": "adam", "weight_decay": 0.01, "gradient_clip_norm": 0.5},
    "AdamW with averages": {
        "optimizer": "adamw",
        "ema_momentum": 0.9,
        "backbone_lr_factor": 0.5,
        "learning_rate": 0.001,
    },
    "accumulated": {"accumulate_steps": 2, "ema_momentum": 0.9},
    # With float32, because float16 rounds a sum over four images otherwise than two sums over two.
    "scaled, accumulated": {"loss_scale": 2.0**15, "accumulate_steps": 2},
    "scaled until the loss overflows": {"loss_scale": 3e38},
    "non-approximate": {"scheme": "non_approximate", "roi_pooling": "align"},
    "unshared": {"scheme": "unshared"},
    "the RPN on frozen convolutions": {"frozen": ("backbone", "roi_head")},
    "the second stage on its own": {"frozen": ("rpn",)},
    "cells as the normaliser": {"rpn_box_normalizer": "positions"},
}
STEPS = 4
FIT = "fit, with unequal parts"


@pytest.mark.slow
def test_two_replicas_equal_one_with_twice_the_batch():
    result = subprocess.run(
        [sys.executable, "-W", "ignore", __file__],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    expected = [f"{name}: equal after {STEPS} steps" for name in (*SCHEMES, FIT)]
    assert result.stdout.splitlines()[-len(expected) :] == expected


def main():
    import tensorflow as tf

    (processor,) = tf.config.list_physical_devices("CPU")
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(processor, halves)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for name in sys.argv[1:] or (*SCHEMES, FIT):
        compare(strategy, dict(SCHEMES.get(name, {})), is_fit=name == FIT)
        print(f"{name}: equal after {STEPS} steps", flush=True)


def batches_of(step, rows):
    """A batch of some of four images of unlike sizes, with keys that differ in every step."""
    import tensorflow as tf

    from tests import fakes

    objects = [
        [([5, 5, 30, 40], 0), ([20, 41, 60, 90], 2)],
        [([3, 4, 34, 30], 3), ([10, 10, 40, 60], 1)],
        [([20, 10, 70, 50], 1)],
        [],
    ]
    inputs = fakes.inputs_of([fakes.image(*SIZES[row], row) for row in rows])
    inputs["key"] = tf.constant([[step, row] for row in rows])
    return inputs, fakes.targets_of([objects[row] for row in rows])


def compare(strategy, settings, is_fit=False):
    """Trains one and two replicas, and compares losses and weights."""
    import keras
    import tensorflow as tf

    from keras_frcnn.training.optimizers import make_optimizer
    from keras_frcnn.training.phase_model import backbone_weights
    from keras_frcnn.training.steps.step import TrainingStep
    from tests import fakes

    frozen, loss_scale = settings.pop("frozen", ()), settings.pop("loss_scale", None)
    settings = {"batch_size": 4, "head_dropout": 0.5} | settings

    def detector():
        model = fakes.detector(**settings)
        for name in frozen:
            getattr(model, name).trainable = False
        optimizer = make_optimizer(model.config, backbone_weights(model))
        if loss_scale:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=loss_scale)
        model.compile(optimizer)
        if not is_fit:
            model.optimizer.build(model.trainable_variables)
        return model

    def spec(value):
        return tf.TensorSpec([None] * value.shape.rank, value.dtype)

    one = detector()
    with strategy.scope():
        two = detector()
    specs = tf.nest.map_structure(spec, batches_of(0, (0, 1)))
    inputs = specs[0]
    inputs["images"] = tf.TensorSpec([None, None, None, 3], tf.float32)
    inputs["image_shape"] = inputs["key"] = tf.TensorSpec([None, 2], tf.int32)
    specs[1]["boxes"] = tf.TensorSpec([None, None, 4], tf.float32)
    before = [w.numpy() for w in one.trainable_weights]
    if is_fit:  # Keras gives two images to a replica and one to the other
        for model in (one, two):
            batches = [batches_of(step, (0, 2, 1)) for step in range(STEPS)]
            batches = tf.nest.map_structure(lambda *values: tf.stack(values), *batches)
            stream = tf.data.Dataset.from_tensor_slices(batches)
            model.fit(stream, verbose=0, shuffle=False)
    steps = [TrainingStep(model, model.config, specs) for model in (one, two)]
    tolerance = 1e-3
    for step in range(0 if is_fit else STEPS):
        expected = steps[0](batches_of(step, (0, 1, 2, 3)))
        found = steps[1](batches_of(step, (0, 1)), batches_of(step, (2, 3)))
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=tolerance, err_msg=name)
    assert int(two.step.numpy()) == STEPS
    assert int(two.optimizer.iterations.numpy()) == int(one.optimizer.iterations)
    for weight, other, start in zip(
        one.trainable_weights, two.trainable_weights, before, strict=True
    ):
        moved = np.abs(weight.numpy() - start).max()
        for copy in strategy.experimental_local_results(other.value):
            apart = np.abs(weight.numpy() - copy.numpy()).max()
            assert apart < tolerance * moved, (weight.path, moved, apart)
    pairs = zip(one.optimizer.variables, two.optimizer.variables, strict=True)
    for weight, other in pairs:
        limit = tolerance * np.abs(weight.numpy()).max() + 1e-12
        np.testing.assert_allclose(other, weight, rtol=0, atol=limit, err_msg=weight.path)


if __name__ == "__main__":
    main()
