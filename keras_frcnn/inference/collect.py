"""From a model and a dataset to what evaluation reads."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from keras_frcnn import backbones
from keras_frcnn.config import Config
from keras_frcnn.data import pipeline
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.images.decoding import naming_images
from keras_frcnn.evaluation.metrics.detections import Detections
from keras_frcnn.ops import nms


def collect(
    model, dataset: Dataset, config: Config, batch_size: int = 1, callbacks=()
) -> tuple[Detections, list[dict[str, np.ndarray]]]:
    """Runs a detector over all images of a dataset.

    Args:
        model: a ``FasterRCNN``.
        dataset: the images.
        config: settings of the groups data and detections.
        batch_size: images a step.
        callbacks: Keras callbacks, such as a progress bar's; they see all images once a size.

    Returns:
        ``(detections, proposals)``: detections by image id, and for each record its proposals,
        ``boxes`` [P, 4] and ``scores`` [P], best first. Boxes are yxyx pixels of the original
        images. At several ``test_shorter_sides`` the detections are joined by ``merge``, and the
        proposals are those of the first.

    Raises:
        ValueError: naming an image that cannot be decoded.
    """
    found, proposals = [], []
    preprocessing = backbones.preprocessing_of(config.backbone, config.pixel_std)
    for shorter_side, longer_side in config.sizes(config.test_shorter_sides):
        at_size = config.replace(shorter_side=shorter_side, longer_side=longer_side)
        stream = pipeline.eval_dataset(dataset, at_size, preprocessing, batch_size)
        with naming_images():
            answer = model.predict(stream, verbose=0, callbacks=list(callbacks))
        found.append([_detections(answer, i) for i in range(len(dataset.records))])
        proposals = proposals or _proposals(answer)
    merged = found[0]
    if len(found) > 1:
        merged = [
            merge(some, len(dataset.class_names), config) for some in zip(*found, strict=True)
        ]
    ids = (record.image_id for record in dataset.records)
    return dict(zip(ids, merged, strict=True)), proposals


def merge(
    found: Sequence[Mapping[str, np.ndarray]], num_classes: int, config: Config
) -> dict[str, np.ndarray]:
    """Joins what was found on one image at several sizes: doubles are suppressed within each
    class, then the best of all are taken.

    Args:
        found: for each size ``boxes`` [K, 4], ``scores`` [K] and ``labels`` [K], all in the same
            pixels.
        num_classes: C.
        config: settings ``nms_iou_threshold`` and ``max_detections``.

    Returns:
        The same three, best first.
    """
    boxes, scores, labels = (
        np.concatenate([one[name] for one in found]) for name in ("boxes", "scores", "labels")
    )
    is_class = labels[:, np.newaxis] == np.arange(num_classes)
    boxes, scores, labels, counts = nms.suppress_per_class(
        np.repeat(boxes[np.newaxis, :, np.newaxis], num_classes, axis=2),
        np.where(is_class, scores[:, np.newaxis], -1.0)[np.newaxis],
        config.max_detections,
        config.nms_iou_threshold,
        -1.0,
    )
    parts = {"boxes": boxes, "scores": scores, "labels": labels}
    return {name: values[0, : counts[0]].numpy() for name, values in parts.items()}


def _detections(answer, i):
    """Image i's detections, without padding."""
    count = answer["num_detections"][i]
    return {name: answer[name][i, :count] for name in ("boxes", "scores", "labels")}


def _proposals(answer):
    """Every image's proposals, without padding."""
    proposals = []
    for boxes, scores in zip(answer["proposals"], answer["proposal_scores"], strict=True):
        real = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
        proposals.append({"boxes": boxes[real], "scores": scores[real]})
    return proposals


def propose(
    model, dataset: Dataset, config: Config, training: bool = False
) -> Iterator[tuple[str | int, np.ndarray, np.ndarray]]:
    """Runs a detector's RPN alone over all images of a dataset.

    Args:
        model: a ``FasterRCNN``.
        dataset: the images.
        config: settings of the data group.
        training: whether to give the many proposals that training samples from, or those of test.

    Yields:
        For each record its id, its proposals' boxes [P, 4], yxyx pixels of the original image,
        and their scores [P], best first.

    Raises:
        ValueError: naming an image that cannot be decoded.
    """
    preprocessing = backbones.preprocessing_of(config.backbone, config.pixel_std)
    stream = pipeline.eval_dataset(dataset, config.replace(test_proposals="rpn"), preprocessing)

    def step(inputs):
        return model.propose_step(inputs, training)

    if not model.run_eagerly:
        specs = [stream.element_spec]
        step = tf.function(step, input_signature=specs, jit_compile=model.jit_compile)
    with naming_images():
        for record, inputs in zip(dataset.records, stream, strict=True):
            boxes, scores, valid = (part[0].numpy() for part in step(inputs))
            # In their last bit TensorFlow's sigmoids do not always fall with what they are of.
            yield record.image_id, boxes[valid], np.minimum.accumulate(scores[valid])
