"""All results of one evaluation in one object, from which every report is made."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_frcnn.data.dataset import Dataset, GroundTruth
from keras_frcnn.evaluation.analysis import bootstrap, breakdown, errors
from keras_frcnn.evaluation.analysis.bootstrap import Intervals, Progress
from keras_frcnn.evaluation.analysis.error_gains import error_gains
from keras_frcnn.evaluation.analysis.errors import ErrorSplit
from keras_frcnn.evaluation.metrics import coco, proposal_recall, voc
from keras_frcnn.evaluation.metrics.detections import DetectionTable
from keras_frcnn.evaluation.metrics.precision_recall import Curve, curves_of
from keras_frcnn.evaluation.metrics.proposal_recall import RecallCurves


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """The results of one evaluation.

    Attributes:
        result: the figures of the metric, of each class and their means.
        errors: what became of each detection and object. It holds both, as ``errors.found`` and
            ``errors.truth``; its images are in the order of ``dataset.records``.
        gains: what mean AP would gain if only one kind of error were corrected, by its name
            ("localisation" to "background", and "missed"), see ``error_gains``.
        intervals: bootstrap intervals; None if not computed.
        recall: recall of the proposals; None if there are none, as for detections read from files.
        dataset: the images; None if only annotations were read.
        settings: the settings that the results depend on, as ``Config.to_dict`` returns.
    """

    result: voc.Result | coco.Result
    errors: ErrorSplit
    gains: Mapping[str, float]
    intervals: Intervals | None
    recall: RecallCurves | None
    dataset: Dataset | None
    settings: Mapping[str, Any]

    @property
    def curves(self) -> tuple[Curve, ...]:
        """The precision-recall curves, see ``precision_recall.curves_of``."""
        return curves_of(self.result)

    @functools.cached_property
    def kept(self) -> ErrorSplit:
        """The errors of the detections that one would keep: those from the score on that gives the
        best F1. The console and the pages count these.
        """
        return breakdown.at_best_score(self.errors)


def summarize(
    truth: GroundTruth,
    detections: DetectionTable,
    metric: str,
    iou_threshold: float = 0.5,
    *,
    dataset: Dataset | None = None,
    proposal_boxes: Sequence[np.ndarray] | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Computes all results of an evaluation.

    Args:
        truth: the objects.
        detections: the detections.
        metric: "voc" or "coco".
        iou_threshold: least IoU of a correct detection, in VOC's metric and in the analysis of
            errors.
        dataset: the images, in the order of the ground truth.
        proposal_boxes: the proposals [P, 4] yxyx of each record of the data set, best first.
        num_resamples: number of bootstrap resamples; 0: no intervals.
        seed: seed of the resamples.
        settings: stored with the results; ``test_proposals`` names the source of the proposals.
        progress: as for ``bootstrap.intervals``.

    Returns:
        The summary.

    Raises:
        ValueError: if a value is out of range.
    """
    if metric == "coco":
        result = coco.evaluate(truth, detections)
    else:
        result = voc.evaluate(truth, detections, iou_threshold)
    split = errors.split(truth, detections, iou_threshold, metric)
    intervals = recall = None
    if num_resamples and truth.image_ids:
        intervals = bootstrap.intervals(
            truth, detections, metric, iou_threshold, num_resamples, seed, progress
        )
    if dataset is not None and proposal_boxes is not None:
        gt_boxes = [record.boxes[~record.difficult] for record in dataset.records]
        source = proposal_recall.source_of((settings or {}).get("test_proposals", "rpn"))
        recall = proposal_recall.curves(gt_boxes, proposal_boxes, source)
    return Summary(
        result=result,
        errors=split,
        gains=error_gains(split),
        intervals=intervals,
        recall=recall,
        dataset=dataset,
        settings=dict(settings or {}),
    )
