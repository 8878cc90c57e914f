"""SavedModels of a small detector, and of a model whose answers are known beforehand."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.data.images.preprocessing import CAFFE
from keras_frcnn.serving.export import save
from tests import fakes
from tests.serving import standin

CLASS_NAMES = ("cat", "dög", "bus")


class PencilModel:
    """Detects a dög in the upper left quarter of every image and a cat in all of it.

    The third row is padding.
    """

    class_names = ("cat", "dög")
    config = None
    origin = None
    step = 7
    backbone = SimpleNamespace(preprocessing=CAFFE, compute_dtype="float32")
    roi_head = SimpleNamespace(
        detection_decoder=SimpleNamespace(score_threshold=0.05, max_detections=3),
        candidates=lambda levels, proposals, image_shape: (
            proposals.boxes[:, :, tf.newaxis] * tf.constant([[1.0], [0.5]]),
            tf.stack([proposals.scores, proposals.scores / 2], axis=-1),
        ),
    )

    def __init__(self):
        self.weights = []

    def make_inputs(self, images):
        shape = tf.shape(images)
        size = tf.tile(shape[tf.newaxis, 1:3], [shape[0], 1])
        return {"images": tf.cast(images, tf.float32), "image_shape": size}

    def features(self, inputs):
        cells = inputs["images"][:, ::16, ::16]
        shape = tf.shape(cells)
        return [
            SimpleNamespace(features=cells, shape=tf.tile([shape[1:3]], [shape[0], 1]), stride=16)
        ]

    def propose(self, inputs, levels):
        return self.propose_step(inputs)

    def propose_step(self, inputs):
        found = self.detect_batch(inputs["images"])
        return SimpleNamespace(
            boxes=found["boxes"], scores=found["scores"], valid=found["labels"] >= 0
        )

    def detect_batch(self, images, score_threshold=None):
        shape = tf.shape(images)
        size = tf.cast(tf.stack([shape[1], shape[2]] * 2), tf.float32)
        boxes = size * tf.constant([[0, 0, 0.5, 0.5], [0, 0, 1, 1], [0, 0, 0, 0]])

        def repeat(row):
            return tf.tile(tf.constant(row)[tf.newaxis], [shape[0], 1])

        found = {
            "boxes": tf.tile(boxes[tf.newaxis], [shape[0], 1, 1]),
            "scores": repeat([0.75, 0.5, 0.0]),
            "labels": repeat([1, 0, -1]),
            "num_detections": tf.fill([shape[0]], 2),
        }
        if score_threshold is None:
            return found
        kept = found["scores"] > score_threshold
        return {
            "boxes": tf.where(kept[..., tf.newaxis], found["boxes"], 0.0),
            "scores": tf.where(kept, found["scores"], 0.0),
            "labels": tf.where(kept, found["labels"], -1),
            "num_detections": tf.reduce_sum(tf.cast(kept, tf.int32), axis=1),
        }


@pytest.fixture(scope="session")
def model():
    return fakes.detector(CLASS_NAMES, test_post_nms_top_k=100, max_detections=100)


@pytest.fixture(scope="session")
def saved_model_dir(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "model"
    save(model, folder)
    return folder


@pytest.fixture(scope="session")
def signatures(saved_model_dir):
    return tf.saved_model.load(str(saved_model_dir)).signatures


@pytest.fixture(scope="session")
def server_version(saved_model_dir):
    """The SavedModel in a session, as a server has it."""
    return standin.Version(saved_model_dir)


@pytest.fixture
def pencil_model():
    return PencilModel()


@pytest.fixture(scope="session")
def pencil_dir(tmp_path_factory):
    """The SavedModel of a ``PencilModel``."""
    folder = tmp_path_factory.mktemp("pencil") / "model"
    save(PencilModel(), folder)
    return folder


@pytest.fixture(scope="session")
def images():
    """Three images of different sizes."""
    random = np.random.default_rng(0)
    return [
        random.integers(0, 256, (*size, 3), np.uint8) for size in ((50, 70), (80, 45), (64, 64))
    ]
