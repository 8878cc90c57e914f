"""Chooses and creates the optimizer of a run."""

import keras
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.training.fused_optimizers import FusedAdam, FusedSGD
from keras_frcnn.training.schedules import make_schedule


def make_optimizer(config: Config) -> keras.optimizers.Optimizer:
    """Creates the optimizer that the settings describe, for the available device.

    - On a CPU it is ``FusedSGD`` or ``FusedAdam``, which take at most half the time of Keras'
      optimizers (docs/performance.md). They apply weight decay themselves, after clipping.
    - On any other device it is Keras' ``SGD`` or ``Adam``, because the fused ones were not measured
      there. Weight decay is then part of the loss, so its gradient is clipped with the others.

    ``FasterRCNN.train_step`` leaves weight decay out of the loss if the optimizer has an ``l2``
    above 0. Under ``mixed_float16`` weight decay is always part of the loss, because the optimizer
    is wrapped in a ``LossScaleOptimizer``.
    """
    is_float16 = config.precision == "mixed_float16"
    arguments = {
        "learning_rate": make_schedule(config),
        "global_clipnorm": config.gradient_clip_norm or None,
        "gradient_accumulation_steps": (
            config.accumulate_steps if config.accumulate_steps > 1 else None
        ),
    }
    if _is_fused_faster():
        sgd, adam = FusedSGD, FusedAdam
        arguments["l2"] = 0.0 if is_float16 else config.weight_decay
        arguments["decay_biases"] = config.decay_biases
    else:
        sgd, adam = keras.optimizers.SGD, keras.optimizers.Adam
    if config.optimizer == "adam":
        optimizer = adam(beta_1=config.momentum, **arguments)
    else:
        optimizer = sgd(momentum=config.momentum, **arguments)
    return keras.optimizers.LossScaleOptimizer(optimizer) if is_float16 else optimizer


def _is_fused_faster():
    """Whether the fused optimizers were measured to be faster on the available device."""
    return all(device.device_type == "CPU" for device in tf.config.get_visible_devices())
