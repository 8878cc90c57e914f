"""Records, data sets and detections in one line each, and their evaluation, to check by hand."""

import json
from types import SimpleNamespace

import numpy as np

from keras_frcnn.evaluation.analysis import errors
from keras_frcnn.evaluation.metrics import coco, ground_truth, voc
from keras_frcnn.evaluation.metrics.detections import to_table


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
    labels = [r[2] if len(r) > 2 else 0 for r in rows]
    return arrays([r[0] for r in rows], [r[1] for r in rows], labels)


def arrays(boxes, scores, labels):
    """Makes one image's detections of one list each."""
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "scores": np.array(scores, np.float32),
        "labels": np.array(labels, np.int32),
    }


def crowded_detections(seed, ids):
    """Makes 20 detections of two classes in each image, with scores near 1, as a softmax's are."""
    generator = np.random.default_rng(seed)
    near = generator.uniform(0, 900, [len(ids), 20, 2]).astype(np.float32)
    boxes = np.concatenate([near, near + generator.uniform(0, 300, near.shape)], axis=2)
    scores = 1 - generator.uniform(0, 1, [len(ids), 20]) ** 12
    labels = np.sort(generator.integers(0, 2, [len(ids), 20]), axis=1)
    return {i: arrays(*values) for i, *values in zip(ids, boxes, scores, labels, strict=True)}


def tables(data, detections, metric="voc"):
    """Returns the ground truth and the detections as the metrics take them."""
    truth = ground_truth.of_dataset(data, metric)
    return truth, to_table(detections, truth)


def evaluate_voc(data, detections, iou_threshold=0.5):
    return voc.evaluate(*tables(data, detections), iou_threshold)


def evaluate_coco(data, detections):
    return coco.evaluate(*tables(data, detections, "coco"))


def split_errors(data, detections, iou_threshold=0.5, metric="voc", **options):
    return errors.split(*tables(data, detections, metric), iou_threshold, metric, **options)


def read_results(path):
    """Reads COCO results as plain JSON: {image id: [(yxyx box, score, category id), ...]}."""
    images = {}
    for entry in json.loads(path.read_text()):
        x, y, w, h = entry["bbox"]
        row = ([y, x, y + h, x + w], entry["score"], entry["category_id"])
        images.setdefault(entry["image_id"], []).append(row)
    return images


def random_images(generator, num_images=6, num_classes=3):
    """Makes a data set and detections with ties of scores and overlaps, difficult objects, images
    and a class without objects, images without detections, and loose, wrong and duplicate boxes.
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
