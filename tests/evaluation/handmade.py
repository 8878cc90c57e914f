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
    """Makes one image's detections of (box, score) or (box, score, label)."""
    return {
        "boxes": np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        "scores": np.array([r[1] for r in rows], np.float32),
        "labels": np.array([r[2] if len(r) > 2 else 0 for r in rows], np.int32),
    }


def random_images(generator, num_images=6, num_classes=3):
    """Makes a data set and detections: ties of scores and overlaps, difficult objects, images and
    a class without objects, images without detections, loose and wrong and doubled boxes.
    """
    records, detections = [], {}
    for image_id in range(int(generator.integers(1, num_images + 1))):
        gt = _random_boxes(generator, generator.integers(0, 6))
        labels = generator.integers(0, max(1, num_classes - 1), len(gt))
        records.append(
            record(image_id, *zip(gt, labels, generator.random(len(gt)) < 0.25, strict=True))
        )
        near = gt[generator.integers(0, len(gt), 10)] if len(gt) else gt
        near = near + generator.integers(-2, 3, near.shape)
        near = near[(near[:, 2:] > near[:, :2]).all(axis=1)]
        boxes = np.concatenate([near, gt, _random_boxes(generator, 4)])
        boxes = boxes[generator.permutation(len(boxes))][: generator.integers(0, 16)]
        scores = generator.integers(0, 6, len(boxes)) / 4
        kinds = generator.integers(0, num_classes, len(boxes))
        if generator.random() < 0.9:
            detections[image_id] = found(*zip(boxes, scores, kinds, strict=True))
    names = tuple(f"class {label}" for label in range(num_classes))
    return dataset(*records, class_names=names), detections


def _random_boxes(generator, count):
    near = generator.integers(0, 12, [count, 2])
    return np.concatenate([near, near + generator.integers(1, 9, [count, 2])], axis=1)
