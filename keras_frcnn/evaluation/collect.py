"""From a model and a dataset to what evaluation reads."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.data import pipeline
from keras_frcnn.data.decoding import naming_pictures
from keras_frcnn.data.records import Dataset
from keras_frcnn.evaluation.results import Detections


def collect(
    model, dataset: Dataset, config: Config, batch_size: int = 1, callbacks=()
) -> tuple[Detections, list[dict[str, np.ndarray]]]:
    """Runs a detector over all pictures of a dataset.

    Args:
        model: a ``FasterRCNN``.
        dataset: the pictures.
        config: settings of the data group.
        batch_size: pictures a step.
        callbacks: Keras callbacks, such as a progress bar's.

    Returns:
        ``(detections, proposals)``: detections by image id, and for each record its proposals,
        ``boxes`` [P, 4] and ``scores`` [P], best first. Boxes are yxyx pixels of the original
        pictures.

    Raises:
        ValueError: naming a picture that cannot be decoded.
    """
    stream = pipeline.eval_dataset(dataset, config, batch_size)
    with naming_pictures():
        answer = model.predict(stream, verbose=0, callbacks=list(callbacks))
    detections = {}
    for i, record in enumerate(dataset.records):
        count = answer["num_detections"][i]
        detections[record.image_id] = {
            name: answer[name][i, :count] for name in ("boxes", "scores", "labels")
        }
    proposals = []
    for boxes, scores in zip(answer["proposals"], answer["proposal_scores"], strict=True):
        real = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
        proposals.append({"boxes": boxes[real], "scores": scores[real]})
    return detections, proposals


def propose(
    model, dataset: Dataset, config: Config, training: bool = False
) -> Iterator[tuple[str | int, np.ndarray, np.ndarray]]:
    """Runs a detector's RPN alone over all pictures of a dataset.

    Args:
        model: a ``FasterRCNN``.
        dataset: the pictures.
        config: settings of the data group.
        training: whether to give the many proposals that training samples from, or those of test.

    Yields:
        For each record its id, its proposals' boxes [P, 4], yxyx pixels of the original picture,
        and their scores [P], best first.

    Raises:
        ValueError: naming a picture that cannot be decoded.
    """
    stream = pipeline.eval_dataset(dataset, config.replace(test_proposals="rpn"))

    def step(inputs):
        return model.propose_step(inputs, training)

    if not model.run_eagerly:
        specs = [stream.element_spec]
        step = tf.function(step, input_signature=specs, jit_compile=model.jit_compile)
    with naming_pictures():
        for record, inputs in zip(dataset.records, stream, strict=True):
            boxes, scores, valid = (part[0].numpy() for part in step(inputs))
            yield record.image_id, boxes[valid], scores[valid]
