"""The losses of the two stages, from one pass (Ren et al. 2015, sections 3.1.2 and 3.2).

A stage is measured where its head learns: joint training has the losses of both, a phase of
alternating training those of one. The other's are then absent, and nothing is computed for them.
"""

import tensorflow as tf

from keras_frcnn.models import build
from keras_frcnn.ops import losses

STAGES = ("rpn", "roi")
DETECTION_LOSSES = ("rpn_cls_loss", "rpn_box_loss", "roi_cls_loss", "roi_box_loss")
LOSSES = (*DETECTION_LOSSES, "weight_decay_loss", "loss")
COUNTS = ("rpn_foreground", "roi_foreground")


def present(names, stages):
    """Returns those of the names above that exist where only ``stages`` learn."""
    absent = tuple(f"{stage}_" for stage in STAGES if stage not in stages)
    return [name for name in names if not name.startswith(absent)]


def all_losses(model, inputs, targets, seed, training):
    """Takes a batch the way of the stages that learn and measures it.

    Args:
        model: a ``FasterRCNN``; its ``learning_stages`` are measured.
        inputs: as for a call of the model.
        targets: dict of ``boxes`` [B, G, 4] in pixels of the network's input, ``labels`` [B, G]
            (-1: padding) and ``ignore`` [B, G] bool.
        seed: [2] int32; decides the samples and the dropout.
        training: whether dropout works.

    Returns:
        Dict of scalar float32: ``LOSSES``, and ``COUNTS``, the mean number of objects among a
        image's samples; without those of a stage that does not learn.
    """
    stages = model.learning_stages
    rpn_seed, roi_seed, dropout_seed = build.split_seed(seed)
    shared = model.shared(
        inputs, rpn="rpn" in stages or "proposals" not in inputs, features="roi" in stages
    )
    values = {}
    if "rpn" in stages:
        values |= rpn_losses(model, shared, inputs, targets, rpn_seed)
    if "roi" in stages:
        dropout_seed = dropout_seed if training else None
        values |= roi_losses(model, shared, inputs, targets, roi_seed, dropout_seed)
    values["weight_decay_loss"] = losses.weight_decay_loss(
        model.decayed_weights(), model.config.weight_decay
    )
    values["loss"] = tf.add_n([values[name] for name in LOSSES if name in values])
    return values


def rpn_losses(model, shared, inputs, targets, seed):
    """Measures the region proposal network on sampled anchors.

    Args:
        model: a ``FasterRCNN``.
        shared: what ``model.shared(inputs)`` gives, of which the RPN's half is read.
        inputs, targets: as for ``all_losses``.
        seed: [2] int32, decides the samples.

    Returns:
        Dict of ``rpn_cls_loss``, ``rpn_box_loss`` and ``rpn_foreground``.
    """
    config = model.config
    samples = model.anchor_target_assigner(
        shared["anchors"],
        targets["boxes"],
        targets["labels"],
        inputs["image_shape"],
        seed,
        shared["anchor_valid"],
        targets["ignore"],
    )
    foreground = samples["weights"] * tf.cast(samples["labels"] > 0, tf.float32)
    box_weights, box_normalizer = foreground, config.rpn_num_samples
    if config.rpn_box_normalizer == "positions":  # each image's own, whatever pads it
        positions = tf.reduce_prod(shared["feature_shape"], axis=1, keepdims=True)
        box_weights, box_normalizer = foreground / tf.cast(positions, tf.float32), 1
    return {
        "rpn_cls_loss": losses.classification_loss(
            tf.gather(shared["objectness_logits"], samples["indices"], batch_dims=1),
            samples["labels"],
            samples["weights"],
            config.rpn_num_samples,
        ),
        "rpn_box_loss": config.rpn_box_loss_weight
        * losses.box_loss(
            tf.gather(shared["deltas"], samples["indices"], batch_dims=1),
            samples["deltas"],
            box_weights,
            box_normalizer,
            config.rpn_smooth_l1_beta,
        ),
        "rpn_foreground": _mean_count(foreground),
    }


def roi_losses(model, shared, inputs, targets, seed, dropout_seed=None):
    """Measures the box head on regions sampled from the proposals.

    Args:
        model: a ``FasterRCNN``.
        shared: what ``model.shared(inputs)`` gives.
        inputs, targets: as for ``all_losses``. With ``inputs["proposals"]`` the RPN's half of
            ``shared`` is not read.
        seed: [2] int32, decides the samples.
        dropout_seed: [2] int32; None: no dropout.

    Returns:
        Dict of ``roi_cls_loss``, ``roi_box_loss`` and ``roi_foreground``.
    """
    config = model.config
    proposals, _, valid = model.propose(model.train_proposal_generator, shared, inputs)
    if config.scheme != "non_approximate":
        proposals = tf.stop_gradient(proposals)
    samples = model.proposal_sampler(
        proposals,
        valid,
        targets["boxes"],
        targets["labels"],
        seed,
        targets["ignore"],
    )
    class_logits, box_deltas = model.head(shared, samples["rois"], dropout_seed)
    foreground = samples["weights"] * tf.cast(samples["labels"] > 0, tf.float32)
    return {
        "roi_cls_loss": losses.classification_loss(
            class_logits, samples["labels"], samples["weights"], config.roi_num_samples
        ),
        "roi_box_loss": losses.box_loss(
            tf.gather(box_deltas, samples["labels"], batch_dims=2),
            samples["deltas"],
            foreground,
            config.roi_num_samples,
            config.roi_smooth_l1_beta,
        ),
        "roi_foreground": _mean_count(foreground),
    }


def _mean_count(foreground):
    return tf.reduce_sum(foreground) / tf.cast(tf.shape(foreground)[0], tf.float32)
