"""Runs a detector on single images and keeps what each of its stages made of them."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.data import pipeline
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.images.decoding import naming_images
from keras_frcnn.layers import ProposalGenerator
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.models.preprocessing import resize_scale
from keras_frcnn.ops import boxes as box_ops
from keras_frcnn.ops import matching


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """What the stages of a detector make of one image.

    All boxes are yxyx pixels of the network's input. Rows of anchors name the boxes of the RPN, and
    rows of proposals the regions of the second stage.

    Attributes:
        image_shape: int [2], height and width of the network's input.
        scale: [2], that size over the size of the original image.
        anchors: [N, 4].
        rpn_boxes: [N, 4], the anchors after regression, clipped to the image.
        rpn_scores: [N], their probabilities of an object.
        ranks: int [N], the number of anchors on the same feature level that score better.
        levels: int [N], the feature level of each anchor.
        large: bool [N], whether the box is large enough for a proposal.
        proposals: int [P], the rows of the anchors that became proposals, best first.
        class_scores: [P, C], without background.
        class_boxes: [P, C, 4].
        detections: int [K, 2], the row of the proposal and the label of each detection, best first.
    """

    image_shape: np.ndarray
    scale: np.ndarray
    anchors: np.ndarray
    rpn_boxes: np.ndarray
    rpn_scores: np.ndarray
    ranks: np.ndarray
    levels: np.ndarray
    large: np.ndarray
    proposals: np.ndarray
    class_scores: np.ndarray
    class_boxes: np.ndarray
    detections: np.ndarray


def trace_dataset(model: FasterRCNN, dataset: Dataset, config: Config) -> Iterator[Trace]:
    """Runs a detector on all images of a data set, one after the other.

    Args:
        model: the detector.
        dataset: the images.
        config: the settings of the group data.

    Yields:
        The ``Trace`` of each image.

    Raises:
        ValueError: if an image cannot be decoded. The error names it.
    """
    config = config.replace(jit_compile=False)  # with XLA, images are padded
    batches = pipeline.eval_dataset(dataset, config, model.backbone.preprocessing)

    def step(inputs):
        return _run(model, inputs)

    if not model.run_eagerly:
        step = tf.function(step, input_signature=[batches.element_spec], autograph=False)
    with naming_images():
        for inputs in batches:
            yield _trace(step(inputs), model.rpn.test_generator)


def trace_of(model: FasterRCNN, inputs: dict[str, tf.Tensor]) -> Trace:
    """Runs a detector on a batch of one image, with its ``original_shape``."""
    return _trace(_run(model, inputs), model.rpn.test_generator)


def positive_anchors(
    model: FasterRCNN, trace: Trace, boxes: np.ndarray, ignore: np.ndarray
) -> np.ndarray:
    """Counts the anchors that would teach the RPN each object in training, before sampling.

    Args:
        model: the detector.
        trace: what it made of the image.
        boxes: [G, 4], the objects in pixels of the network's input.
        ignore: bool [G], objects that are not learned.

    Returns:
        int [G].
    """
    if not len(boxes):
        return np.zeros(0, np.int64)
    assignment, objects = model.rpn.target_assigner.assign(
        tf.constant(trace.anchors),
        tf.constant(boxes[np.newaxis], tf.float32),
        tf.zeros([1, len(boxes)], tf.int32),
        tf.constant(trace.image_shape[np.newaxis]),
        ignore=tf.constant(ignore[np.newaxis]),
    )
    positive = assignment[0].numpy() == matching.Assignment.POSITIVE
    return np.bincount(objects[0].numpy()[positive], minlength=len(boxes))


def _run(model: FasterRCNN, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Runs all stages on a batch of one image."""
    levels, shape = model.features(inputs), inputs["image_shape"]
    predictions = model.rpn.predict(model.rpn_levels(inputs, levels))
    anchors, generator = predictions.anchors, model.rpn.test_generator
    deltas = predictions.deltas * float(generator.regressed)
    rpn_boxes = box_ops.clip(box_ops.decode(anchors.boxes, deltas), shape)
    scale = resize_scale(inputs)
    rois, _, valid, rows = generator.choose(*predictions.to_propose_from(shape, scale))
    outputs = model.roi_head.classify(levels, rois)
    decoder = model.roi_head.detection_decoder
    class_boxes, class_scores = decoder.candidates(rois, valid, *outputs, shape)
    found = decoder(rois, valid, *outputs, shape)
    logits = tf.cast(predictions.objectness_logits, tf.float32)
    values = {
        "rpn_boxes": rpn_boxes,
        "objectness": logits[..., 1] - logits[..., 0],
        "proposals": rows,
        "valid": valid,
        "class_boxes": class_boxes,
        "class_scores": class_scores,
        "scale": scale,
        "image_shape": shape,
        **{f"found_{name}": found[name] for name in ("boxes", "scores", "labels")},
        "count": found["num_detections"],
    }
    values = {name: value[0] for name, value in values.items()}
    boxes = tf.reshape(anchors.boxes, [-1, 4])  # of the only image
    return {**values, "anchors": boxes, "level_sizes": tf.stack(anchors.level_sizes)}


def _trace(outputs: dict[str, tf.Tensor], generator: ProposalGenerator) -> Trace:
    values = {name: value.numpy() for name, value in outputs.items()}
    objectness, valid = values["objectness"], values["valid"]
    levels = np.repeat(np.arange(len(values["level_sizes"])), values["level_sizes"])
    ranks = np.empty(len(objectness), np.int64)
    for level in np.unique(levels):
        rows = np.flatnonzero(levels == level)
        ranks[rows[np.argsort(-objectness[rows], kind="stable")]] = np.arange(len(rows))
    sides = values["rpn_boxes"][:, 2:] - values["rpn_boxes"][:, :2]
    smallest = np.float32(generator.min_size) * values["scale"]
    boxes, scores = values["class_boxes"][valid], values["class_scores"][valid]
    return Trace(
        image_shape=values["image_shape"],
        scale=values["scale"],
        anchors=values["anchors"],
        rpn_boxes=values["rpn_boxes"],
        rpn_scores=1 / (1 + np.exp(-objectness.astype(np.float64))),
        ranks=ranks,
        levels=levels,
        large=np.all((sides >= smallest) & (sides > 0), axis=1),
        proposals=values["proposals"][valid],
        class_scores=scores,
        class_boxes=boxes,
        detections=_sources(values, boxes, scores),
    )


def _sources(values: dict[str, np.ndarray], boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Finds the proposal that each detection came from: the one with its box and its score."""
    sources = np.zeros((values["count"], 2), np.int64)
    for number in range(values["count"]):
        label = values["found_labels"][number]
        difference = np.abs(boxes[:, label] - values["found_boxes"][number]).sum(axis=1)
        difference += np.abs(scores[:, label] - values["found_scores"][number])
        sources[number] = np.argmin(difference), label
    return sources
