"""The losses of approximate joint training, all from one pass (Ren et al. 2015, section 3.2)."""

import tensorflow as tf

from keras_frcnn import losses

DETECTION_LOSSES = ("rpn_cls_loss", "rpn_box_loss", "roi_cls_loss", "roi_box_loss")
LOSSES = (*DETECTION_LOSSES, "weight_decay_loss", "loss")
COUNTS = ("rpn_foreground", "roi_foreground")


def joint_losses(model, inputs, targets, seed, training):
    """Takes a batch the whole way and measures it.

    Args:
        model: a ``FasterRCNN``.
        inputs: as for a call of the model.
        targets: dict of ``boxes`` [B, G, 4] in pixels of the network's input, ``labels`` [B, G]
            (-1: padding) and ``ignore`` [B, G] bool.
        seed: [2] int32; decides the samples and the dropout.
        training: whether dropout works.

    Returns:
        Dict of scalar float32: ``LOSSES``, and ``COUNTS``, the mean number of objects among a
        picture's samples.
    """
    config, image_shape = model.config, inputs["image_shape"]
    gt_boxes, gt_labels, ignore = targets["boxes"], targets["labels"], targets["ignore"]
    rpn_seed, roi_seed, dropout_seed = (tf.stack([seed[0] * 4 + i, seed[1]]) for i in range(3))

    shared = model.shared(inputs)
    rpn = model.anchor_target_assigner(
        shared["anchors"],
        gt_boxes,
        gt_labels,
        image_shape,
        rpn_seed,
        shared["anchor_valid"],
        ignore,
    )
    rpn_foreground = rpn["weights"] * tf.cast(rpn["labels"] > 0, tf.float32)
    rpn_box_weights, rpn_box_normalizer = rpn_foreground, config.rpn_num_samples
    if config.rpn_box_normalizer == "positions":  # each picture's own, whatever pads it
        positions = tf.reduce_prod(shared["feature_shape"], axis=1, keepdims=True)
        rpn_box_weights, rpn_box_normalizer = rpn_foreground / tf.cast(positions, tf.float32), 1

    proposals, _, valid = model.propose(model.train_proposal_generator, shared, inputs)
    roi = model.proposal_sampler(
        tf.stop_gradient(proposals), valid, gt_boxes, gt_labels, roi_seed, ignore
    )
    class_logits, box_deltas = model.head(shared, roi["rois"], dropout_seed if training else None)
    roi_foreground = roi["weights"] * tf.cast(roi["labels"] > 0, tf.float32)

    values = {
        "rpn_cls_loss": losses.classification_loss(
            tf.gather(shared["objectness_logits"], rpn["indices"], batch_dims=1),
            rpn["labels"],
            rpn["weights"],
            config.rpn_num_samples,
        ),
        "rpn_box_loss": config.rpn_box_loss_weight
        * losses.box_loss(
            tf.gather(shared["deltas"], rpn["indices"], batch_dims=1),
            rpn["deltas"],
            rpn_box_weights,
            rpn_box_normalizer,
            config.rpn_smooth_l1_beta,
        ),
        "roi_cls_loss": losses.classification_loss(
            class_logits, roi["labels"], roi["weights"], config.roi_num_samples
        ),
        "roi_box_loss": losses.box_loss(
            tf.gather(box_deltas, roi["labels"], batch_dims=2),
            roi["deltas"],
            roi_foreground,
            config.roi_num_samples,
            config.roi_smooth_l1_beta,
        ),
        "weight_decay_loss": losses.weight_decay_loss(model.decayed_weights(), config.weight_decay),
    }
    values["loss"] = tf.add_n(list(values.values()))
    batch_size = tf.cast(tf.shape(image_shape)[0], tf.float32)
    values["rpn_foreground"] = tf.reduce_sum(rpn_foreground) / batch_size
    values["roi_foreground"] = tf.reduce_sum(roi_foreground) / batch_size
    return values
