"""The confusion matrix: every object and every detection that counts, each exactly once."""

import numpy as np

from keras_frcnn.evaluation.analysis.errors import ErrorSplit, Kind
from keras_frcnn.evaluation.metrics import matching


def confusion_matrix(split: ErrorSplit) -> np.ndarray:
    """Counts pairs of an object and its detection by their classes.

    1. The correct detections are paired with their objects, as the metric says.
    2. The other detections, best first, are each paired with the object of another class that is
       still free and has the highest IoU, if that reaches the threshold.
    3. The detections that are left lie on the background, and the objects that are left are found
       by none. This includes detections that repeat another one or are too inexact, and their
       objects.

    Args:
        split: the detections and objects; those that are ignored are not counted.

    Returns:
        int64 [classes + 1, classes + 1], by the class of the object (rows) and of the detection
        (columns). The last row is the background, the last column holds objects that are not found.
        A row of a class adds up to its objects and a column to its detections.
    """
    truth, found = split.truth, split.found
    background = len(truth.class_names)
    paired = np.where(split.kinds == Kind.CORRECT, split.objects, -1)
    free = ~truth.crowd & (split.found_by < 0)
    wrong = (split.kinds != Kind.CORRECT) & (split.kinds != Kind.IGNORED)
    pairs = matching.find_pairs(truth, found, split.iou_threshold, split.metric)
    usable = wrong[pairs.detections] & free[pairs.objects] & ~pairs.same_class
    order = np.lexsort((-pairs.overlaps, pairs.detections, -found.scores[pairs.detections]))
    for pair in order[usable[order]]:
        detection, candidate = pairs.detections[pair], pairs.objects[pair]
        if paired[detection] < 0 and free[candidate]:
            paired[detection], free[candidate] = candidate, False
    counted = split.kinds != Kind.IGNORED
    true = np.where(paired[counted] < 0, background, np.append(truth.labels, -1)[paired[counted]])
    matrix = np.zeros((background + 1, background + 1), np.int64)
    np.add.at(matrix, (true, found.labels[counted]), 1)
    np.add.at(matrix, (truth.labels[free], background), 1)
    return matrix
