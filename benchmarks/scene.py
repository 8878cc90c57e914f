"""The detector, images and objects that are timed: the paper's settings, nothing downloaded.

New weights answer unlike trained ones: boxes explode and one class takes all. So the last layers
are scaled to the spread of answers that a trained network has about. What follows from that, the
number of proposals and detections, is reported with the figures.
"""

import keras
import numpy as np
import tensorflow as tf

from benchmarks.cases import PARTS, Case
from keras_frcnn import backbones
from keras_frcnn.backbones.backbone import Backbone
from keras_frcnn.config import Config
from keras_frcnn.data.images import transforms
from keras_frcnn.data.writers import shapes
from keras_frcnn.models import build
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training import precision

CLASS_NAMES = tuple(f"class_{number}" for number in range(20))  # as many as VOC has

SETTINGS = Config(
    pixel_std=58.0,  # suits new weights
    learning_rate=1e-6,  # weights stay what they are, however long a case lasts
    lr_boundaries=(),
    warmup_steps=0,
)
"""The paper's settings but for these."""

PREPROCESSING = backbones.preprocessing_of(SETTINGS.backbone, SETTINGS.pixel_std)

# Standard deviations of what the last layers answer.
_LOGITS, _DELTAS = 2.0, 0.2


def make_config(case: Case) -> Config:
    """The settings of a case: inputs of ``case.size`` come out of images of that size."""
    config = SETTINGS.replace(
        precision=case.precision,
        backbone=case.backbone,
        # Without pretrained weights nothing is frozen; they are named here and never loaded.
        backbone_weights="none" if case.backbone == "zf" else "imagenet",
        shorter_side=min(case.size),
        longer_side=max(case.size),
        batch_size=case.batch,
    )
    if case.precision == "auto":
        resolve = precision.for_training if PARTS[case.part].trains else precision.for_use
        config = resolve(config, say=lambda line: None)
    return config.validate()


def make_model(case: Case, inputs: dict) -> FasterRCNN:
    """Makes a detector whose answers to ``inputs`` are of a usual spread."""
    keras.utils.set_random_seed(0)
    config = make_config(case)
    model = FasterRCNN(config, CLASS_NAMES)
    first = {name: values[:1] for name, values in inputs.items()}
    shared = model.shared(first)
    objectness = shared["objectness_logits"][..., 1] - shared["objectness_logits"][..., 0]
    _scale(model.rpn_head.objectness, objectness, _LOGITS)
    _scale(model.rpn_head.deltas, shared["deltas"], _DELTAS)
    proposals, _, _ = model.propose(model.test_proposal_generator, model.shared(first), first)
    class_logits, box_deltas = model.head(shared, proposals)
    _scale(model.box_head.classes, class_logits, _LOGITS)
    _scale(model.box_head.boxes, box_deltas, _DELTAS / np.mean(config.box_delta_std))
    return model


def draw(case: Case) -> tuple[np.ndarray, list]:
    """Draws images, uint8 [B, H, W, 3], and the objects of each, at least one."""
    rng = np.random.default_rng(0)
    drawn = [_image(rng, *case.size) for _ in range(case.batch)]
    return np.stack([image for image, _ in drawn]), [objects for _, objects in drawn]


def make_batch(case: Case) -> tuple[dict, dict]:
    """Makes ``(inputs, targets)`` of drawn images that fill the whole input."""
    images, objects = draw(case)
    image_shape = tf.constant([case.size] * case.batch, tf.int32)
    length = max(map(len, objects))
    boxes = np.zeros((case.batch, length, 4), np.float32)
    labels = np.full((case.batch, length), -1, np.int32)
    for row, found in enumerate(objects):
        boxes[row, : len(found)] = [(o.ymin, o.xmin, o.ymax, o.xmax) for o in found]
        labels[row, : len(found)] = [shapes.CLASS_NAMES.index(o.name) for o in found]
    inputs = {
        "images": transforms.normalize(tf.constant(images), PREPROCESSING),
        "image_shape": image_shape,
        "original_shape": image_shape,
    }
    targets = {
        "boxes": tf.constant(boxes),
        "labels": tf.constant(labels),
        "ignore": tf.zeros(labels.shape, tf.bool),
    }
    return inputs, targets


def _image(rng, height, width):
    """A drawn image with at least one object."""
    while True:
        image, objects = shapes.compose(rng, height, width)
        if objects:
            return image, objects


def _scale(layer, answers, spread):
    factor = spread / tf.math.reduce_std(answers)
    layer.kernel.assign(layer.kernel * tf.cast(factor, layer.kernel.dtype))


def make_backbone(case: Case) -> Backbone:
    """Makes the detector's backbone alone."""
    keras.utils.set_random_seed(0)
    return build.backbone(make_config(case))


def describe_answer(model: FasterRCNN, answer: dict) -> dict:
    """What a prediction found, an image: how much the suppressions had to do."""
    proposals = tf.reduce_sum(tf.cast(answer["proposal_scores"] > 0, tf.int32), axis=1)
    return {
        "proposals": proposals.numpy().tolist(),
        "detections": answer["num_detections"].numpy().tolist(),
        "score_threshold": model.config.score_threshold,
    }
