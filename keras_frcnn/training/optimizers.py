"""Chooses and makes the optimizer of a run."""

import keras
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.training.fused_optimizers import FusedAdam, FusedSGD
from keras_frcnn.training.schedules import make_schedule


def make_optimizer(config: Config) -> keras.optimizers.Optimizer:
    """Makes the optimizer that the settings describe, in the form that suits the device at hand.

    - On a processor: ``FusedSGD`` or ``FusedAdam``. Measured there, they take half the time of
      Keras' own or less (docs/performance.md). They add the weight decay themselves, after
      clipping.
    - On any other device: Keras' own ``SGD`` or ``Adam``, since nothing was measured there. The
      weight decay is then part of the loss, so its gradient is clipped along with the others.

    ``FasterRCNN.train_step`` tells the two apart by the optimizer's ``l2``: a weight decay above 0
    that the optimizer adds, and the loss therefore leaves out. Under ``mixed_float16`` the decay is
    always part of the loss, because the optimizer is wrapped in one that scales the loss.
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
    """Whether the fused optimizers were measured to be faster on the device at hand."""
    return all(device.device_type == "CPU" for device in tf.config.get_visible_devices())
