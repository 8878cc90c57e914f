"""What average precision would gain if one kind of error were mended and all else stayed.

As TIDE mends (see ``errors``): of the detections with a localisation or confusion error at one
object that nothing has found the best becomes right, at its score; the others of them, and all
duplicates, "both" and background errors, are taken away; missed objects are no longer asked for.
The gains do not add up: an error may hide another.
"""

import numpy as np

from keras_frcnn.evaluation.analysis.errors import ERRORS, ErrorSplit, Kind
from keras_frcnn.evaluation.metrics import matching
from keras_frcnn.evaluation.metrics.average_precision import area, average_precision, coco_points

MISSED = "missed"

_TO_BE_RIGHT = (Kind.LOCALISATION, Kind.CONFUSION)  # the others are taken away


def gains(split: ErrorSplit) -> dict[str, float]:
    """Returns what mean average precision would gain, at the IoU threshold of the split.

    Args:
        split: what is wrong.

    Returns:
        By error, "localisation" to "background" and "missed": the gain of the mean over the classes
        with objects, by the area for VOC and as in COCO's AP50 for COCO; NaN without objects.
    """
    counted = split.kinds != Kind.IGNORED
    positive = split.kinds == Kind.CORRECT
    labels, num_gt = split.found.labels, split.num_gt()
    before = _mean_ap(split, labels, positive, counted, num_gt)
    after = {}
    for kind in ERRORS:
        wrong = split.kinds == kind
        mended = _best_at_free_objects(split, wrong & np.isin(kind, _TO_BE_RIGHT))
        new_labels = labels.copy()
        new_labels[mended] = split.truth.labels[split.objects[mended]]
        kept = counted & (mended | ~wrong)
        after[kind.name.lower()] = _mean_ap(split, new_labels, positive | mended, kept, num_gt)
    after[MISSED] = _mean_ap(split, labels, positive, counted, num_gt - split.num_missed())
    return {name: value - before for name, value in after.items()}


def _best_at_free_objects(split: ErrorSplit, wrong: np.ndarray) -> np.ndarray:
    """Returns which of some detections are the best at an object that nothing has found."""
    free = (split.found_by < 0) & ~split.truth.crowd
    candidates = np.flatnonzero(wrong)
    candidates = candidates[free[split.objects[candidates]]]
    by_score = candidates[np.argsort(-split.found.scores[candidates], kind="stable")]
    _, first = np.unique(split.objects[by_score], return_index=True)
    best = np.zeros(len(wrong), bool)
    best[by_score[first]] = True
    return best


def _mean_ap(
    split: ErrorSplit,
    labels: np.ndarray,
    positive: np.ndarray,
    counted: np.ndarray,
    num_gt: np.ndarray,
) -> float:
    """Returns the mean AP of the classes with objects; one with nothing left to find has 1."""
    measure = area if split.metric == "voc" else coco_points
    order = matching.by_score(split.truth, split.found, split.metric)
    order = order[counted[order]]
    values = []
    for label in np.flatnonzero(split.num_gt()):
        right = positive[order[labels[order] == label]]
        seen = np.flatnonzero(right) + 1
        found = np.arange(1, len(seen) + 1)
        (value,) = average_precision(found, seen, num_gt[label], (measure,))
        values.append(float(value) if num_gt[label] else 1.0)
    return float(np.mean(values)) if values else float("nan")
