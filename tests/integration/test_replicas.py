"""n replicas with an image each take the same steps as one with n images.

TensorFlow cuts a processor in two only before it is used, so this runs in a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_two_replicas_equal_one_with_twice_the_batch():
    result = subprocess.run(
        [sys.executable, "-W", "ignore", __file__],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.splitlines()[-4:] == [
        "joint, clipped: 16 weights are equal after 2 steps",
        "non_approximate: 16 weights are equal after 2 steps",
        "the RPN on frozen convolutions: 6 weights are equal after 2 steps",
        "the detector on proposals given: 10 weights are equal after 2 steps",
    ]


def main():
    import tensorflow as tf

    (processor,) = tf.config.list_physical_devices("CPU")
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(processor, halves)

    from keras_frcnn.training import schemes
    from tests import fakes

    images = [fakes.image(64, 96, seed) for seed in range(2)]
    objects = [
        [([5, 5, 30, 40], 0), ([20, 41, 60, 90], 2)],
        [([3, 4, 34, 30], 3), ([10, 10, 60, 60], 1)],
    ]

    def batch(*rows):
        return (
            fakes.inputs_of([images[row] for row in rows]),
            fakes.targets_of([objects[row] for row in rows]),
        )

    given = tf.random.stateless_uniform([2, 40, 2, 2], [0, 1], 0, 50)
    given = tf.concat([given[:, :, 0], given[:, :, 0] + given[:, :, 1]], axis=-1)

    def with_proposals(*rows):
        inputs, targets = batch(*rows)
        return {**inputs, "proposals": tf.gather(given, rows)}, targets

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for name, settings, frozen, batch_of in (
        ("joint, clipped", {"gradient_clip_norm": 0.1}, (), batch),
        ("non_approximate", {"scheme": "non_approximate", "roi_pooling": "align"}, (), batch),
        ("the RPN on frozen convolutions", {}, (schemes.BACKBONE, schemes.ROI_HEAD), batch),
        ("the detector on proposals given", {}, (schemes.RPN,), with_proposals),
    ):
        count = compare(strategy, settings, frozen, batch_of)
        print(f"{name}: {count} weights are equal after 2 steps")


def compare(strategy, settings, frozen, batch_of):
    """Trains one and two replicas; returns the number of weights that learn."""
    import tensorflow as tf

    from keras_frcnn.training.optimizers import make_optimizer
    from tests import fakes

    def detector():
        # Every labelled anchor and region is drawn, so that nothing depends on the draw.
        model = fakes.detector(
            **{"rpn_num_samples": 2000, "roi_num_samples": 600, "gradient_clip_norm": 0.0}
            | settings
        )
        for name in frozen:
            getattr(model, name).trainable = False
        model.compile(make_optimizer(model.config))
        model.optimizer.build(model.trainable_variables)
        return model

    one = detector()
    with strategy.scope():
        two = detector()

    @tf.function
    def step():
        def replica():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            return two.train_step(tf.cond(number == 0, lambda: batch_of(0), lambda: batch_of(1)))

        strategy.run(replica)

    before = [w.numpy() for w in one.trainable_weights]
    for _ in range(2):
        one.train_step(batch_of(0, 1))
        step()
    if two.step.numpy() != 2:
        raise ValueError(f"expected 2 steps. Received: {two.step.numpy()}")
    triples = zip(one.trainable_weights, two.trainable_weights, before, strict=True)
    for weight, other, start in triples:
        moved = np.abs(weight.numpy() - start).max()
        apart = np.abs(weight.numpy() - other.numpy()).max()
        if not apart < 1e-3 * moved:
            raise ValueError(f"{weight.path} moved by {moved} and is {apart} apart")
    return len(before)


if __name__ == "__main__":
    main()
