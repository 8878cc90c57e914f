"""What the layers make of one image in training, step by step, to look at.

These are the model's own layers, called as the losses call them and drawing from the same seeds.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_frcnn.backbones import stacks
from keras_frcnn.config import Config
from keras_frcnn.models import build
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.ops import boxes as box_ops
from keras_frcnn.ops import matching


def lay_anchors(
    config: Config, layers: Sequence[keras.layers.Layer], stride: int, image_shape: tf.Tensor
) -> tf.Tensor:
    """Lays anchors over an image; this needs no weights.

    Args:
        config: settings ``scales`` and ``ratios``.
        layers: of the backbone, built or not.
        stride: of the backbone.
        image_shape: int32 [1, 2], height and width of the network's input.

    Returns:
        [N, 4], as ``model.shared`` has them.
    """
    rows, columns = stacks.true_shape(layers, image_shape)[0]
    return build.anchor_generator(config, stride)(tf.zeros([1, rows, columns, 1]))


def match_anchors(
    config: Config, anchors: tf.Tensor, image_shape: tf.Tensor, targets: dict, seed: tf.Tensor
) -> dict[str, np.ndarray]:
    """Matches and samples the anchors of an image; this needs no weights.

    Args:
        config: settings of the group rpn.
        anchors: [N, 4].
        image_shape: int32 [1, 2], height and width of the network's input.
        targets: of a batch of one, see ``pipeline.train_dataset``.
        seed: int32 [2], step and the run's seed, as for ``compute_losses``.

    Returns:
        ``anchors`` [N, 4]; ``positive``, ``negative`` and ``sampled``, bool [N]; and, for positive
        ones, ``objects`` [N], the rows of the targets that they belong to, and ``ious`` [N] with
        these.
    """
    assigner = build.anchor_target_assigner(config)
    arguments = targets["boxes"], targets["labels"], image_shape
    assignment, objects = assigner.assign(anchors, *arguments, ignore=targets["ignore"])
    samples = assigner(anchors, *arguments, build.split_seed(seed)[0], None, targets["ignore"])
    sampled = np.zeros(len(anchors), bool)
    sampled[samples["indices"].numpy()[samples["weights"].numpy() > 0]] = True
    own = matching.gather(targets["boxes"], objects)[0]
    ious = box_ops.iou(anchors[:, tf.newaxis], own[:, tf.newaxis])[:, 0, 0].numpy()
    assignment = assignment[0].numpy()
    return {
        "anchors": anchors.numpy(),
        "positive": assignment == matching.Assignment.POSITIVE,
        "negative": assignment == matching.Assignment.NEGATIVE,
        "sampled": sampled,
        "objects": objects[0].numpy(),
        "ious": ious,
    }


def sample_regions(
    model: FasterRCNN, inputs: dict, targets: dict, seed: tf.Tensor
) -> dict[str, np.ndarray]:
    """Makes an image's proposals and samples the regions that the box head learns from.

    Args:
        model: the detector.
        inputs: of a batch of one, see ``pipeline.train_dataset``.
        targets: likewise.
        seed: int32 [2], step and the run's seed, as for ``compute_losses``.

    Returns:
        ``proposals`` [P, 4] and ``scores`` [P], best first; ``rois`` [R, 4] and ``labels`` [R], 0
        for background and c + 1 for class c. No padding rows.
    """
    shared = model.shared(inputs)
    proposals, scores, valid = model.propose(model.train_proposal_generator, shared, inputs)
    roi_seed = build.split_seed(seed)[1]
    objects = targets["boxes"], targets["labels"]
    samples = model.proposal_sampler(proposals, valid, *objects, roi_seed, targets["ignore"])
    drawn = samples["weights"][0].numpy() > 0
    return {
        "proposals": proposals[0].numpy()[valid[0].numpy()],
        "scores": scores[0].numpy()[valid[0].numpy()],
        "rois": samples["rois"][0].numpy()[drawn],
        "labels": samples["labels"][0].numpy()[drawn],
    }
