"""One step of training: from a batch's losses to the update of what learns."""

import tensorflow as tf

from keras_frcnn.models.stage_losses import DETECTION_LOSSES


def take_step(model, inputs, targets):
    """Updates a detector's trainable weights once, and counts the step.

    Args:
        model: a compiled ``FasterRCNN``.
        inputs, targets: as for ``model.compute_losses``.

    Returns:
        The losses before the update.
    """
    seed = tf.stack([tf.cast(model.step, tf.int32), tf.constant(model.config.seed, tf.int32)])
    with tf.GradientTape() as tape:
        values = model.compute_losses(inputs, targets, seed)
        learned = values["loss"]
        if getattr(model.optimizer, "l2", 0.0):  # it adds the decay's gradient itself, cheaply
            learned = tf.add_n([values[name] for name in DETECTION_LOSSES if name in values])
        # Keras sums gradients over replicas, each of which has its share of the batch.
        share = learned / tf.distribute.get_strategy().num_replicas_in_sync
        scaled = model.optimizer.scale_loss(share)
    weights = model.trainable_weights
    gradients = tape.gradient(scaled, weights)
    factor = model.config.bias_lr_factor
    gradients = [g * factor if is_bias(w) else g for g, w in zip(gradients, weights, strict=True)]
    model.optimizer.apply(gradients, weights)
    model.step.assign_add(1)
    return values


def is_bias(weight):
    """Whether a weight is a bias, which learns faster and mostly does not decay."""
    return weight.path.endswith("bias")
