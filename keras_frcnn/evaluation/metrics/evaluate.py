"""Evaluates the detections on a data set by the metric that the data set was published with."""

from typing import Any

from keras_frcnn.evaluation.metrics import coco, ground_truth, voc
from keras_frcnn.evaluation.metrics.detections import Detections, to_table


def choose_metric(metric: str, form: str) -> str:
    """Resolves the metric "auto".

    Args:
        metric: "auto", "voc" or "coco".
        form: the format of the data, ``Dataset.form``; for joined data, that of the first source.

    Returns:
        "voc" or "coco".
    """
    return form if metric == "auto" else metric


def evaluate(
    dataset: Any,
    detections: Detections,
    metric: str = "auto",
    iou_threshold: float = 0.5,
) -> voc.Result | coco.Result:
    """Evaluates detections.

    Args:
        dataset: a ``Dataset``, the ground truth.
        detections: boxes, scores and labels by image id. An image without an entry has no
            detections.
        metric: "auto", "voc" or "coco".
        iou_threshold: least IoU of a true positive in VOC's metric.

    Returns:
        The result of each class and their means.

    Raises:
        ValueError: if the detections are malformed or of an image that is not in the data set, if
            two records share an id, or if the threshold is out of range.
    """
    metric = choose_metric(metric, dataset.form)
    truth = ground_truth.of_dataset(dataset, metric)
    table = to_table(detections, truth)
    if metric == "coco":
        return coco.evaluate(truth, table)
    return voc.evaluate(truth, table, iou_threshold)
