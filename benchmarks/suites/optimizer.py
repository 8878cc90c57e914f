"""One update of all trained weights of the detector, by our optimizers and by Keras' own.

All do what a training step asks for: clip by the global norm, add the weight decay, update. As in a
step, the gradients come in the precision of the layers and are cast to float32.
"""

import keras
import tensorflow as tf

from benchmarks import scene, timing
from benchmarks.cases import Case
from benchmarks.results import Result, timed_rows
from keras_frcnn.models import build
from keras_frcnn.ops import losses
from keras_frcnn.training.fused_optimizers import FusedAdam, FusedSGD

_PAIRS = (("FusedSGD", "Keras' SGD"), ("FusedAdam", "Keras' Adam"))  # ours, Keras'


def run(case: Case) -> Result:
    """Times all optimizers in turn, on the same weights and gradients."""
    config = scene.make_config(case)
    model = build.build_detector(config, scene.CLASS_NAMES)
    weights = model.trainable_weights
    dtype = build.dtype_policy(config).compute_dtype
    gradients = [
        tf.cast(1e-3 * tf.random.stateless_normal(weight.shape, seed=(0, number)), dtype)
        for number, weight in enumerate(weights)
    ]
    common = {
        "learning_rate": config.learning_rate,
        "global_clipnorm": config.gradient_clip_norm or None,
    }
    fused = {**common, "l2": config.weight_decay, "decay_biases": config.decay_biases}
    optimizers = {
        "FusedSGD": FusedSGD(momentum=config.momentum, **fused),
        "Keras' SGD": keras.optimizers.SGD(momentum=config.momentum, **common),
        "FusedAdam": FusedAdam(beta_1=config.momentum, **fused),
        "Keras' Adam": keras.optimizers.Adam(beta_1=config.momentum, **common),
    }
    functions = {
        name: _update(optimizer, model, gradients) for name, optimizer in optimizers.items()
    }
    timings = timing.interleaved(functions, case.calls)
    rows = []
    for ours, keras_own in _PAIRS:
        pair = {name: timings[name] for name in (ours, keras_own)}
        rows += timed_rows(pair, ratio_to=ours)
    return Result(rows, {"weights": sum(int(tf.size(weight)) for weight in weights)})


def _update(optimizer, model, gradients):
    """Returns a blocking update. For an optimizer without ``l2`` it adds the gradient of the weight
    decay first.
    """
    weights = model.trainable_weights
    optimizer.build(weights)
    decay = 0.0 if getattr(optimizer, "l2", 0.0) else model.config.weight_decay

    def update(gradients):
        gradients = [tf.cast(gradient, tf.float32) for gradient in gradients]
        if decay:
            with tf.GradientTape() as tape:
                loss = losses.weight_decay_loss(model.decayed_weights(), decay)
            decays = tape.gradient(loss, weights)
            gradients = [
                gradient if own is None else gradient + own
                for gradient, own in zip(gradients, decays, strict=True)
            ]
        optimizer.apply(gradients, weights)
        return tf.identity(weights[-1].value)

    return timing.blocking(update, gradients)
