"""Runs a detector, or only its RPN, on all images of a data set."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.data import pipeline
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.images.decoding import naming_images
from keras_frcnn.models.detections import NAMES, DetectionBatch, ImageDetections
from keras_frcnn.models.replicas import Rounds
from keras_frcnn.ops import nms

_SORTED_ROUNDS = 8  # rounds whose images are sorted together


def detect_dataset(
    model, dataset: Dataset, config: Config, batch_size: int | None = None, callbacks=()
) -> tuple[dict[str | int, ImageDetections], list[dict[str, np.ndarray]]]:
    """Runs a detector on all images of a data set, on all replicas of its model.

    The answers do not depend on the number of replicas, and only to rounding on ``batch_size``.

    Args:
        model: a ``FasterRCNN``.
        dataset: the images.
        config: the settings of the groups data and detections. With several
            ``test_shorter_sides``, the detector runs on every image at each size, and the
            detections are merged.
        batch_size: number of images per batch and replica; by default ``test_batch_size``.
        callbacks: Keras callbacks; ``on_predict_batch_end`` is called after every image.

    Returns:
        ``(detections, proposals)``: the detections by image id; and for each record the proposals
        at the first size, ``boxes`` [P, 4] and ``scores`` [P], best first. All boxes are yxyx
        pixels of the original images.

    Raises:
        ValueError: If an image cannot be decoded. The error names it.
    """
    by_size, proposals = [], []
    for shorter_side, longer_side in config.sizes(config.test_shorter_sides):
        at_size = config.replace(shorter_side=shorter_side, longer_side=longer_side)
        found = _each_image(model, dataset, at_size, model.predict_rounds, batch_size)
        outputs = [{}] * len(dataset.records)
        for row, of_image in found:
            outputs[row] = of_image
            for callback in callbacks:
                callback.on_predict_batch_end(row, None)
        proposals = proposals or [_proposals(one) for one in outputs]
        outputs = {name: np.stack([one[name] for one in outputs]) for name in NAMES}
        by_size.append(DetectionBatch(outputs, dataset.class_names, dataset.records))
    detections, num_classes = by_size[0], len(dataset.class_names)
    if len(by_size) > 1:
        detections = [
            dataclasses.replace(of_image[0], **merge_detections(of_image, num_classes, config))
            for of_image in zip(*by_size, strict=True)
        ]
    image_ids = (record.image_id for record in dataset.records)
    return dict(zip(image_ids, detections, strict=True)), proposals


def merge_detections(
    by_size: Sequence[Mapping[str, np.ndarray]], num_classes: int, config: Config
) -> dict[str, np.ndarray]:
    """Merges the detections on one image at several sizes by suppression within each class.

    Args:
        by_size: for each size ``boxes`` [K, 4], ``scores`` [K] and ``labels`` [K]. The boxes of all
            sizes must be in pixels of the original image.
        num_classes: the number of classes.
        config: the settings; ``nms_iou_threshold`` and ``max_detections`` are used.

    Returns:
        ``boxes``, ``scores`` and ``labels`` of the remaining detections, best first.
    """
    boxes, scores, labels = (
        np.concatenate([detections[name] for detections in by_size])
        for name in ("boxes", "scores", "labels")
    )
    is_class = labels[:, np.newaxis] == np.arange(num_classes)
    boxes, scores, labels, counts = nms.suppress_per_class(
        np.repeat(boxes[np.newaxis, :, np.newaxis], num_classes, axis=2),
        np.where(is_class, scores[:, np.newaxis], -1.0)[np.newaxis],
        config.max_detections,
        config.nms_iou_threshold,
        -1.0,
    )
    merged = {"boxes": boxes, "scores": scores, "labels": labels}
    return {name: values[0, : counts[0]].numpy() for name, values in merged.items()}


def propose_dataset(
    model, dataset: Dataset, config: Config, training: bool = False
) -> Iterator[tuple[str | int, np.ndarray, np.ndarray]]:
    """Runs only the RPN of a detector on all images of a data set, on all replicas of its model.

    Args:
        model: a ``FasterRCNN``.
        dataset: the images.
        config: the settings of the data group, and ``test_batch_size``.
        training: whether the numbers of proposals are those of training instead of inference.

    Yields:
        For each record its id, the boxes [P, 4] of its proposals in yxyx pixels of the original
        image, and their scores [P], best first.

    Raises:
        ValueError: If an image cannot be decoded. The error names it.
    """
    config = config.replace(test_proposals="rpn")

    def step(inputs):
        boxes, scores, valid = model.propose_step(inputs, training)[:3]
        return {"boxes": boxes, "scores": scores, "valid": tf.cast(valid, tf.int32)}

    found, next_row = {}, 0
    for row, of_image in _each_image(model, dataset, config, Rounds(model, step)):
        found[row] = of_image
        while next_row in found:
            proposals = found.pop(next_row)
            valid = proposals["valid"] > 0
            # TensorFlow's sigmoid is not monotonic in its last bit, so scores that are sorted by
            # logits can still increase by one bit.
            scores = np.minimum.accumulate(proposals["scores"][valid])
            yield dataset.records[next_row].image_id, proposals["boxes"][valid], scores
            next_row += 1


def _each_image(model, dataset, config, rounds, batch_size=None):
    """Runs a step of a model on all images; yields the row and the answer of each, as arrays.

    Every round takes a batch for each replica. The last round is filled up with an image that it
    has already, so that all replicas take part in it.
    """
    batch_size, replicas = batch_size or config.test_batch_size, rounds.replicas
    round_size = batch_size * replicas.count
    rows = _rows_in_order(dataset.records, round_size if batch_size > 1 else 1)
    own = replicas.own_rows(rows, batch_size)
    preprocessing = model.backbone.preprocessing
    batches = pipeline.eval_dataset(dataset, config, preprocessing, batch_size, own)
    spec, batches = batches.element_spec, iter(batches)
    with naming_images():
        for start in range(0, len(rows), round_size):
            answers = rounds(spec, [next(batches) for _ in replicas.numbers])
            answers = tf.nest.map_structure(np.asarray, answers)
            for place, row in enumerate(rows[start : start + round_size]):
                yield int(row), {name: values[place] for name, values in answers.items()}


def _rows_in_order(records, round_size):
    """Returns all rows, sorted by the shapes of the images within every few rounds.

    So there is little padding, and no answer waits for long.
    """
    if round_size == 1:
        return np.arange(len(records))
    window = round_size * _SORTED_ROUNDS
    aspects = np.array([record.height / record.width for record in records])
    parts = np.split(np.arange(len(records)), range(window, len(records), window))
    return np.concatenate([part[np.argsort(aspects[part], kind="stable")] for part in parts])


def _proposals(answer):
    """Returns the proposals of an image without padding. Images may differ in their number."""
    boxes, scores = answer["proposals"], answer["proposal_scores"]
    valid = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
    return {"boxes": boxes[valid], "scores": scores[valid]}
