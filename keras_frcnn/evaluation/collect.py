"""From a model and a dataset to what evaluation reads."""

import numpy as np

from keras_frcnn.config import Config
from keras_frcnn.data import pipeline
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
    """
    stream = pipeline.eval_dataset(dataset, config, batch_size)
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
