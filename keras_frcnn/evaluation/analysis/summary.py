"""All that is known after an evaluation, in one object.

The console's tables, JSON, CSV, TensorBoard and the page are all written from it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_frcnn.data.dataset import Dataset, GroundTruth
from keras_frcnn.evaluation.analysis import bootstrap, errors
from keras_frcnn.evaluation.analysis import gains as mending
from keras_frcnn.evaluation.analysis.bootstrap import Intervals
from keras_frcnn.evaluation.analysis.errors import ErrorSplit
from keras_frcnn.evaluation.metrics import coco, curves, proposal_recall, voc
from keras_frcnn.evaluation.metrics.columns import Found
from keras_frcnn.evaluation.metrics.proposal_recall import RecallCurves


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """The results of one evaluation.

    Attributes:
        result: the figures of the metric, per class and mean.
        errors: what became of each detection and object; it holds both (``errors.found`` and
            ``errors.truth``). Its images are those of ``dataset.records``, in the same order.
        gains: by the name of an error, "localisation" to "background" and "missed", what mean AP
            would gain if that kind alone were mended, see ``mending.gains``.
        intervals: bootstrap intervals; None if not asked for.
        recall: of the proposals; None if there are none, as for detections from elsewhere.
        dataset: the images; None where only annotations were read.
        settings: what the results depend on, as ``Config.to_dict`` returns.
    """

    result: voc.Result | coco.Result
    errors: ErrorSplit
    gains: Mapping[str, float]
    intervals: Intervals | None
    recall: RecallCurves | None
    dataset: Dataset | None
    settings: Mapping[str, Any]

    @property
    def curves(self) -> tuple[curves.Curve, ...]:
        """Precision against recall, see ``curves.of``."""
        return curves.of(self.result)


def summarize(
    truth: GroundTruth,
    found: Found,
    metric: str,
    iou_threshold: float = 0.5,
    *,
    dataset: Dataset | None = None,
    proposal_boxes: Sequence[np.ndarray] | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Summary:
    """Evaluates detections in every respect.

    Args:
        truth: the objects: ``columns.truth_of`` a dataset, with records or without.
        found: the detections: ``columns.found_of`` or ``coco.read_found``.
        metric: "voc" or "coco".
        iou_threshold: least IoU of a right detection, in VOC's metric and in the split of errors.
        dataset: the images, in the truth's order.
        proposal_boxes: per record of the dataset [P, 4] yxyx, best first.
        num_resamples: draws for the bootstrap; 0 for no intervals.
        seed: of these.
        settings: stored with the results; ``test_proposals`` tells whose the proposals are.

    Returns:
        The summary.

    Raises:
        ValueError: if a value is out of range.
    """
    if metric == "coco":
        result = coco.evaluate_columns(truth, found)
    else:
        result = voc.evaluate_columns(truth, found, iou_threshold)
    split = errors.split_columns(truth, found, iou_threshold, metric)
    intervals = recall = None
    if num_resamples and truth.image_ids:
        intervals = bootstrap.intervals(truth, found, metric, iou_threshold, num_resamples, seed)
    if dataset is not None and proposal_boxes is not None:
        gt_boxes = [record.boxes[~record.difficult] for record in dataset.records]
        source = proposal_recall.source_of((settings or {}).get("test_proposals", "rpn"))
        recall = proposal_recall.curves(gt_boxes, proposal_boxes, source)
    return Summary(
        result=result,
        errors=split,
        gains=mending.gains(split),
        intervals=intervals,
        recall=recall,
        dataset=dataset,
        settings=dict(settings or {}),
    )
