"""One update of all trained weights of the detector: ours beside Keras' own.

Both do what a training step asks for: clip by the global norm, add the weight decay, update.
Gradients come, as in a step, in the precision of the layers and are cast to float32.
"""

import keras
import tensorflow as tf

from benchmarks import measure, scene
from benchmarks.cases import Case, Result, timed_rows
from keras_frcnn.models import build
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.ops import losses
from keras_frcnn.training import trainer

_PAIRS = (("FusedSGD", "Keras' SGD"), ("FusedAdam", "Keras' Adam"))  # ours, theirs


def run(case: Case) -> Result:
    """Times all optimizers in turn, on the same weights and gradients."""
    config = scene.make_config(case)
    model = FasterRCNN(config, scene.CLASS_NAMES)
    weights = model.trainable_weights
    dtype = build.dtype_policy(config).compute_dtype
    gradients = [
        tf.cast(1e-3 * tf.random.stateless_normal(weight.shape, seed=(0, number)), dtype)
        for number, weight in enumerate(weights)
    ]
    common = {
        "learning_rate": config.learning_rate,
        "global_clipnorm": config.gradient_clip_norm,
    }
    optimizers = {
        "FusedSGD": trainer.make_optimizer(config.replace(optimizer="sgd")),
        "Keras' SGD": keras.optimizers.SGD(momentum=config.momentum, **common),
        "FusedAdam": trainer.make_optimizer(config.replace(optimizer="adam")),
        "Keras' Adam": keras.optimizers.Adam(beta_1=config.momentum, **common),
    }
    functions = {
        name: _update(optimizer, model, gradients) for name, optimizer in optimizers.items()
    }
    timings = measure.interleaved(functions, case.calls)
    rows = []
    for ours, theirs in _PAIRS:
        rows += timed_rows({name: timings[name] for name in (ours, theirs)}, ratio_to=ours)
    return Result(rows, {"weights": sum(int(tf.size(weight)) for weight in weights)})


def _update(optimizer, model, gradients):
    """A blocking update; the decay comes by the gradient where the optimizer does not add it."""
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

    return measure.blocking(update, gradients)
