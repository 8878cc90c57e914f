"""What average precision would gain if one kind of error were corrected and nothing else changed.

The corrections are TIDE's, see ``errors``. Where detections have a localisation or confusion error
at an object that no detection has found, the best one becomes correct and keeps its score, and the
others are removed. Detections with duplicate, "both" and background errors are removed. Missed
objects no longer count. The gains do not add up, because one error may hide another.
"""

import numpy as np

from keras_frcnn.evaluation.analysis.errors import ERRORS, MISSED, ErrorSplit, Kind
from keras_frcnn.evaluation.metrics import matching
from keras_frcnn.evaluation.metrics.average_precision import area, average_precision, coco_points

_CORRECTABLE = (Kind.LOCALISATION, Kind.CONFUSION)  # detections with other errors are removed


def error_gains(split: ErrorSplit) -> dict[str, float]:
    """Computes what mean average precision would gain, at the IoU threshold of the split.

    Args:
        split: the errors.

    Returns:
        The gain in mean AP over the classes with objects, by the name of the error ("localisation"
        to "background", and "missed"). AP is the area AP for VOC, and the 101-point AP for COCO, as
        in AP50. NaN without objects.
    """
    counted = split.kinds != Kind.IGNORED
    positive = split.kinds == Kind.CORRECT
    labels, num_gt = split.found.labels, split.num_gt()
    before = _mean_ap(split, labels, positive, counted, num_gt)
    after = {}
    for kind in ERRORS:
        wrong = split.kinds == kind
        corrected = _best_at_free_objects(split, wrong & np.isin(kind, _CORRECTABLE))
        new_labels = labels.copy()
        new_labels[corrected] = split.truth.labels[split.objects[corrected]]
        kept = counted & (corrected | ~wrong)
        after[kind.name.lower()] = _mean_ap(split, new_labels, positive | corrected, kept, num_gt)
    after[MISSED] = _mean_ap(split, labels, positive, counted, num_gt - split.num_missed())
    return {name: value - before for name, value in after.items()}


def _best_at_free_objects(split: ErrorSplit, wrong: np.ndarray) -> np.ndarray:
    """Selects the best wrong detection at each object that no detection has found."""
    free = (split.found_by < 0) & ~split.truth.crowd
    candidates = np.flatnonzero(wrong)
    candidates = candidates[free[split.objects[candidates]]]
    ranking = candidates[np.argsort(-split.found.scores[candidates], kind="stable")]
    _, first = np.unique(split.objects[ranking], return_index=True)
    best = np.zeros(len(wrong), bool)
    best[ranking[first]] = True
    return best


def _mean_ap(
    split: ErrorSplit,
    labels: np.ndarray,
    positive: np.ndarray,
    counted: np.ndarray,
    num_gt: np.ndarray,
) -> float:
    """Returns the mean AP of the classes with objects; a class with no object left counts as 1."""
    recall_steps = area if split.metric == "voc" else coco_points
    ranking = matching.rank_by_score(split.truth, split.found, split.metric)
    ranking = ranking[counted[ranking]]
    values = []
    for label in np.flatnonzero(split.num_gt()):
        is_positive = positive[ranking[labels[ranking] == label]]
        ranks = np.flatnonzero(is_positive) + 1
        true_positives = np.arange(1, len(ranks) + 1)
        (value,) = average_precision(true_positives, ranks, num_gt[label], (recall_steps,))
        values.append(float(value) if num_gt[label] else 1.0)
    return float(np.mean(values)) if values else float("nan")
