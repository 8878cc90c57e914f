"""Chooses and creates the optimizer of a run, and puts averaged weights into its model."""

import contextlib
from collections.abc import Iterable, Iterator

import keras
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.models.replicas import is_replicated
from keras_frcnn.training.fused_optimizers import FusedAdam, FusedSGD
from keras_frcnn.training.schedules import make_schedule


def make_optimizer(
    config: Config, backbone_weights: Iterable[keras.Variable] = ()
) -> keras.optimizers.Optimizer:
    """Creates the optimizer that the settings describe, for the available device.

    - On a CPU it is ``FusedSGD`` or ``FusedAdam``, which take at most half the time of Keras'
      optimizers (docs/performance.md). They apply weight decay themselves, after clipping.
    - On any other device it is Keras' ``SGD`` or ``Adam``, because the fused ones were not measured
      there. Weight decay is then part of the loss, so its gradient is clipped with the others.
    - AdamW, averages of the weights and a learning rate of the backbone's own need the fused ones
      on any device. So do several replicas, because Keras' optimizers clip the gradients of each
      replica by themselves.

    ``FasterRCNN.train_step`` leaves weight decay out of the loss if the optimizer has an ``l2``
    above 0. Under ``mixed_float16`` weight decay is always part of the loss, because the optimizer
    is wrapped in a ``LossScaleOptimizer``. AdamW's weight decay is never part of it, because
    ``build_detector`` leaves it out.

    Args:
        config: the settings.
        backbone_weights: the weights to which ``backbone_lr_factor`` applies.
    """
    is_float16, is_adamw = config.precision == "mixed_float16", config.optimizer == "adamw"
    arguments = {
        "learning_rate": make_schedule(config),
        "global_clipnorm": config.gradient_clip_norm or None,
        "gradient_accumulation_steps": (
            config.accumulate_steps if config.accumulate_steps > 1 else None
        ),
    }
    factor = config.backbone_lr_factor
    decays = _is_fused_faster() or is_adamw or config.ema_momentum or factor != 1
    if decays or is_replicated():
        sgd, adam = FusedSGD, FusedAdam
        decays = decays and not is_float16 and not is_adamw
        arguments["l2"] = config.weight_decay if decays else 0.0
        arguments["decay_biases"] = config.decay_biases
        arguments["averaging"] = config.ema_momentum
        if factor != 1:
            arguments["lr_factors"] = {weight.path: factor for weight in backbone_weights}
    else:
        sgd, adam = keras.optimizers.SGD, keras.optimizers.Adam
    if is_adamw:
        arguments["weight_decay"] = config.weight_decay
    if config.optimizer == "sgd":
        optimizer = sgd(momentum=config.momentum, **arguments)
    else:
        optimizer = adam(beta_1=config.momentum, **arguments)
    return keras.optimizers.LossScaleOptimizer(optimizer) if is_float16 else optimizer


def swap_averages(model: keras.Model) -> None:
    """Exchanges the trainable weights and their moving averages, to the bit, if there are any."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    averages = getattr(optimizer, "averages", ())
    for weight, average in zip(model.trainable_weights, averages, strict=bool(averages)):
        value = tf.identity(weight.value)
        weight.assign(average)
        average.assign(value)


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Gives a model its averaged weights inside a ``with`` block, if there are any."""
    swap_averages(model)
    try:
        yield
    finally:
        swap_averages(model)


def _is_fused_faster():
    """Whether the fused optimizers were measured to be faster on the available device."""
    return all(device.device_type == "CPU" for device in tf.config.get_visible_devices())
