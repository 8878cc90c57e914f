"""Runs the steps of training on one image, so that their results can be drawn.

The model's own layers are called as the losses call them, with the same keys for random draws.
"""

import numpy as np
import tensorflow as tf

from keras_frcnn.backbones import Backbone, FeatureLevel
from keras_frcnn.config import Config
from keras_frcnn.models import anchors as anchor_levels
from keras_frcnn.models import build
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.ops import boxes as box_ops
from keras_frcnn.ops import matching


def lay_anchors(
    config: Config, backbone: Backbone, image_shape: tf.Tensor
) -> anchor_levels.Anchors:
    """Lays anchors over an image without computing features.

    Args:
        config: the settings of the anchors are read.
        backbone: gives strides and the sizes of the maps.
        image_shape: int32 [1, 2], height and width of the network's input.

    Returns:
        The ``Anchors`` of all levels.
    """
    generators = anchor_levels.anchor_generators(
        config.level_scales,
        config.ratios,
        backbone.strides,
        offset=config.anchor_offset,
        rounding=config.anchor_rounding,
    )
    levels = [
        FeatureLevel(tf.zeros([1, *shape[0].numpy(), 1]), shape, stride)
        for shape, stride in zip(backbone.level_shapes(image_shape), backbone.strides, strict=True)
    ]
    anchors = anchor_levels.lay_anchors(generators, levels, config.anchor_stride == "map")
    return anchors._replace(boxes=tf.reshape(anchors.boxes, [-1, 4]))  # of the only image


def match_anchors(
    config: Config, anchors: anchor_levels.Anchors, inputs: dict, targets: dict
) -> dict[str, np.ndarray]:
    """Matches and samples the anchors of an image; this needs no weights.

    Args:
        config: settings of the group rpn.
        anchors: the result of ``lay_anchors``.
        inputs: the inputs of a batch of one image, see ``pipeline.train_dataset``.
        targets: the targets of that batch.

    Returns:
        ``anchors`` [N, 4]; ``positive``, ``negative`` and ``sampled``, bool [N]. For positive
        anchors, ``objects`` [N] are the rows of the targets that they belong to, and ``ious`` [N]
        the IoUs with these.
    """
    assigner = build.build_rpn(config).target_assigner
    arguments = targets["boxes"], targets["labels"], inputs["image_shape"]
    assignment, objects = assigner.assign(anchors.boxes, *arguments, ignore=targets["ignore"])
    samples = assigner(
        anchors.boxes, *arguments, inputs["key"], None, targets["ignore"], anchors.ids
    )
    sampled = np.zeros(len(anchors.boxes), bool)
    sampled[samples["indices"].numpy()[samples["weights"].numpy() > 0]] = True
    own = matching.gather(targets["boxes"], objects)[0]
    ious = box_ops.iou(anchors.boxes[:, tf.newaxis], own[:, tf.newaxis])[:, 0, 0].numpy()
    assignment = assignment[0].numpy()
    return {
        "anchors": anchors.boxes.numpy(),
        "positive": assignment == matching.Assignment.POSITIVE,
        "negative": assignment == matching.Assignment.NEGATIVE,
        "sampled": sampled,
        "objects": objects[0].numpy(),
        "ious": ious,
    }


def sample_rois(model: FasterRCNN, inputs: dict, targets: dict) -> dict[str, np.ndarray]:
    """Makes an image's proposals and samples the RoIs that the box head learns from.

    Args:
        model: the detector.
        inputs: the inputs of a batch of one image, see ``pipeline.train_dataset``.
        targets: the targets of that batch.

    Returns:
        ``proposals`` [P, 4] and ``scores`` [P], best first; ``rois`` [R, 4] and ``labels`` [R], 0
        for background and c + 1 for class c. No padding rows.
    """
    proposals = model.propose(inputs, training=True)
    samples = model.roi_head.proposal_sampler(
        proposals.boxes,
        proposals.valid,
        targets["boxes"],
        targets["labels"],
        inputs["key"],
        targets["ignore"],
        proposals.ids,
    )
    drawn, valid = samples["weights"][0].numpy() > 0, proposals.valid[0].numpy()
    return {
        "proposals": proposals.boxes[0].numpy()[valid],
        "scores": proposals.scores[0].numpy()[valid],
        "rois": samples["rois"][0].numpy()[drawn],
        "labels": samples["labels"][0].numpy()[drawn],
    }
