"""The detector, images and objects that are timed: the paper's settings, without any download.

A detector with new weights does not behave like a trained one: boxes become huge and one class wins
everywhere. So the last layers are scaled until their outputs have about the spread of a trained
detector's. The resulting numbers of proposals and detections are reported with the timings.
"""

import keras
import numpy as np
import tensorflow as tf

from benchmarks.cases import SUITES, Case
from keras_frcnn import backbones
from keras_frcnn.config import Config
from keras_frcnn.data.images import transforms
from keras_frcnn.data.writers import shapes
from keras_frcnn.models import build, precision
from keras_frcnn.models.faster_rcnn import FasterRCNN

CLASS_NAMES = tuple(f"class_{number}" for number in range(20))  # as many as VOC has

SETTINGS = Config(
    pixel_std=58.0,  # suits new weights
    learning_rate=1e-6,  # keeps the weights nearly constant, however long a case lasts
    lr_boundaries=(),
    warmup_steps=0,
)
"""The paper's settings except for these."""

# Standard deviations of the outputs of a trained detector's last layers.
_LOGITS, _DELTAS = 2.0, 0.2


def make_config(case: Case) -> Config:
    """Returns the settings of a case, under which images of ``case.size`` keep their size."""
    config = SETTINGS.with_backbone(case.backbone).replace(
        precision=case.precision,
        # Blocks are only frozen with pretrained weights, which are named here but never loaded.
        backbone_weights="none" if case.backbone == "zf" else "imagenet",
        shorter_side=min(case.size),
        longer_side=max(case.size),
        batch_size=case.batch,
    )
    if case.precision == "auto":
        resolve = precision.for_training if SUITES[case.suite].trains else precision.for_use
        config = resolve(config, say=lambda line: None)
    return config.validate()


def make_backbone(case: Case) -> backbones.Backbone:
    """Makes the backbone of the detector alone."""
    keras.utils.set_random_seed(0)
    return build.build_backbone(make_config(case))


def make_model(case: Case, inputs: dict) -> FasterRCNN:
    """Makes a detector whose outputs for ``inputs`` have about the spread of a trained one's."""
    keras.utils.set_random_seed(0)
    config = make_config(case)
    model = build.build_detector(config, CLASS_NAMES)
    rpn_head, box_head = model.rpn.head, model.roi_head.box_head
    first = {name: values[:1] for name, values in inputs.items()}
    levels = model.features(first)
    predictions = model.rpn.predict(levels)
    _scale(rpn_head.objectness, objectness(predictions), _LOGITS)
    _scale(rpn_head.deltas, predictions.deltas, _DELTAS)
    proposals = model.propose(first, levels)
    class_logits, box_deltas = model.roi_head.classify(levels, proposals.boxes)
    _scale(box_head.classes, class_logits, _LOGITS)
    _scale(box_head.boxes, box_deltas, _DELTAS / np.mean(config.box_delta_std))
    return model


def objectness(predictions) -> tf.Tensor:
    """Returns the log-odds [B, N] of ``RPNPredictions`` that an anchor holds an object."""
    return predictions.objectness_logits[..., 1] - predictions.objectness_logits[..., 0]


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
    for row, of_image in enumerate(objects):
        boxes[row, : len(of_image)] = [(o.ymin, o.xmin, o.ymax, o.xmax) for o in of_image]
        labels[row, : len(of_image)] = [shapes.CLASS_NAMES.index(o.name) for o in of_image]
    preprocessing = backbones.preprocessing_of(case.backbone, SETTINGS.pixel_std)
    inputs = {
        "images": transforms.normalize(tf.constant(images), preprocessing),
        "image_shape": image_shape,
        "original_shape": image_shape,
    }
    targets = {
        "boxes": tf.constant(boxes),
        "labels": tf.constant(labels),
        "ignore": tf.zeros(labels.shape, tf.bool),
    }
    return inputs, targets


def describe_answer(model: FasterRCNN, answer: dict) -> dict:
    """Returns the numbers of proposals and detections, which decide how much suppression does."""
    proposals = tf.reduce_sum(tf.cast(answer["proposal_scores"] > 0, tf.int32), axis=1)
    return {
        "proposals": proposals.numpy().tolist(),
        "detections": answer["num_detections"].numpy().tolist(),
        "score_threshold": model.config.score_threshold,
    }


def _image(rng, height, width):
    """Draws an image with at least one object."""
    while True:
        image, objects = shapes.compose(rng, height, width)
        if objects:
            return image, objects


def _scale(layer, answers, spread):
    factor = spread / tf.math.reduce_std(answers)
    layer.kernel.assign(layer.kernel * tf.cast(factor, layer.kernel.dtype))
