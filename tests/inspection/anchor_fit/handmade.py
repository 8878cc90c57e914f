"""Records, objects and feature levels in one line each."""

import numpy as np

from keras_frcnn.data.dataset import Record
from keras_frcnn.inspection.anchor_fit.best_iou import Objects


def record(name, height, width, boxes, labels, difficult):
    boxes = np.float32(boxes).reshape(-1, 4)
    columns = np.array(labels, np.int32), np.array(difficult, bool)
    return Record(name, f"{name}.jpg", height, width, boxes, *columns)


def level_shapes(*strides):
    """What a backbone that rounds down says about its feature levels."""
    return lambda shape: [np.maximum(np.asarray(shape) // stride, 1) for stride in strides]


def objects(boxes, image_shape, *strides):
    """Objects of one image; one level of stride 16 unless others are given."""
    boxes = np.float64(boxes).reshape(-1, 4)
    shape = np.tile(np.int32(image_shape), (len(boxes), 1))
    return Objects(
        boxes=boxes,
        labels=np.zeros(len(boxes), np.int32),
        original_sides=boxes[:, 2:] - boxes[:, :2],
        image_shape=shape,
        level_shapes=np.stack(level_shapes(*(strides or (16,)))(shape), axis=1),
        pixels=float(np.prod(image_shape)),
    )
