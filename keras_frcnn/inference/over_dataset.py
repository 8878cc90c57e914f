"""Runs a detector, or only its RPN, on all images of a data set."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.data import pipeline
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.images.decoding import naming_images
from keras_frcnn.models.detections import DetectionBatch, ImageDetections
from keras_frcnn.ops import nms


def detect_dataset(
    model, dataset: Dataset, config: Config, batch_size: int = 1, callbacks=()
) -> tuple[dict[str | int, ImageDetections], list[dict[str, np.ndarray]]]:
    """Runs a detector on all images of a data set.

    Args:
        model: a ``FasterRCNN``.
        dataset: the images.
        config: the settings of the groups data and detections. With several
            ``test_shorter_sides``, the detector runs on every image at each size, and the
            detections are merged.
        batch_size: number of images per batch.
        callbacks: Keras callbacks for ``model.predict``, which is called once per size.

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
        batches = pipeline.eval_dataset(dataset, at_size, model.backbone.preprocessing, batch_size)
        with naming_images():
            outputs = model.predict(batches, verbose=0, callbacks=list(callbacks))
        by_size.append(DetectionBatch(outputs, dataset.class_names, dataset.records))
        proposals = proposals or _proposals(outputs)
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
    """Runs only the RPN of a detector on all images of a data set.

    Args:
        model: a ``FasterRCNN``.
        dataset: the images.
        config: the settings of the data group.
        training: whether the numbers of proposals are those of training instead of inference.

    Yields:
        For each record its id, the boxes [P, 4] of its proposals in yxyx pixels of the original
        image, and their scores [P], best first.

    Raises:
        ValueError: If an image cannot be decoded. The error names it.
    """
    config = config.replace(test_proposals="rpn")
    batches = pipeline.eval_dataset(dataset, config, model.backbone.preprocessing)

    def step(inputs):
        return model.propose_step(inputs, training)

    if not model.run_eagerly:
        specs = [batches.element_spec]
        step = tf.function(step, input_signature=specs, jit_compile=model.jit_compile)
    with naming_images():
        for record, inputs in zip(dataset.records, batches, strict=True):
            boxes, scores, valid = (output[0].numpy() for output in step(inputs)[:3])
            # TensorFlow's sigmoid is not monotonic in its last bit, so scores that are sorted by
            # logits can still increase by one bit.
            yield record.image_id, boxes[valid], np.minimum.accumulate(scores[valid])


def _proposals(outputs):
    """Returns the proposals of every image without padding."""
    proposals = []
    for boxes, scores in zip(outputs["proposals"], outputs["proposal_scores"], strict=True):
        valid = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
        proposals.append({"boxes": boxes[valid], "scores": scores[valid]})
    return proposals
