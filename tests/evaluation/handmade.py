"""Records, data sets and detections in one line each, for judging by hand."""

from types import SimpleNamespace

import numpy as np


def record(image_id, *objects):
    """Makes a record of (box, label) or (box, label, difficult)."""
    return SimpleNamespace(
        image_id=image_id,
        boxes=np.array([o[0] for o in objects], np.float32).reshape(-1, 4),
        labels=np.array([o[1] for o in objects], np.int32),
        difficult=np.array([len(o) > 2 and o[2] for o in objects], bool),
    )


def dataset(*records, class_names=("cat",)):
    return SimpleNamespace(class_names=class_names, records=list(records))


def found(*rows):
    """Makes one picture's detections of (box, score) or (box, score, label)."""
    return {
        "boxes": np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        "scores": np.array([r[1] for r in rows], np.float32),
        "labels": np.array([r[2] if len(r) > 2 else 0 for r in rows], np.int32),
    }
