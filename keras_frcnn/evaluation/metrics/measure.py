"""Which metric fits a data set."""

from typing import Any

from keras_frcnn.evaluation.metrics import coco, voc
from keras_frcnn.evaluation.metrics.detections import Detections


def choose(metric: str, form: str) -> str:
    """Resolves "auto": data are measured by the metric that they were published with.

    Args:
        metric: "auto", "voc" or "coco".
        form: that of the data, as ``Dataset.form`` says: of joined data that of the first.

    Returns:
        "voc" or "coco".
    """
    return form if metric == "auto" else metric


def measure(
    dataset: Any,
    detections: Detections,
    metric: str = "auto",
    iou_threshold: float = 0.5,
) -> voc.Result | coco.Result:
    """Judges detections by the metric that fits.

    Args:
        dataset: the ground truth.
        detections: see ``voc.evaluate`` and ``coco.evaluate``.
        metric: as for ``choose``.
        iou_threshold: for VOC's metric.

    Returns:
        The result.

    Raises:
        ValueError: as either of them.
    """
    if choose(metric, dataset.form) == "coco":
        return coco.evaluate(dataset, detections)
    return voc.evaluate(dataset, detections, iou_threshold)
