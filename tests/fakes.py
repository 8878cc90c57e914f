"""A small stand-in for VGG16, with small settings, images and batches, for fast tests."""

import contextlib
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from keras_frcnn import backbones
from keras_frcnn.backbones import feature_pyramid
from keras_frcnn.backbones.vgg16 import PRETRAINED
from keras_frcnn.config import Config
from keras_frcnn.data.images.preprocessing import CAFFE
from keras_frcnn.models.build import build_detector
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training.callbacks.graph import Graph

CLASS_NAMES = ("circle", "square", "star", "triangle")

SMALL = Config(
    precision="float32",
    shorter_side=64,
    longer_side=96,
    flip="none",
    pixel_std=58.0,
    batch_size=2,
    backbone_weights="none",
    scales=(16.0, 32.0, 64.0),
    head_units=(32,),
    head_dropout=0.0,
    pool_size=3,
    rpn_num_samples=32,
    rpn_border_anchors=True,
    train_pre_nms_top_k=200,
    train_post_nms_top_k=50,
    test_pre_nms_top_k=200,
    test_post_nms_top_k=20,
    min_size=0.0,
    roi_num_samples=16,
    steps=6,
    learning_rate=0.01,
    lr_boundaries=(),
    warmup_steps=0,
    eval_every=3,
    eval_loss_images=0,
    log_every=2,
    num_images=2,
    score_threshold=0.0,
    max_detections=10,
)
"""Settings that make tests fast; change some of them with ``SMALL.replace(...)``."""

SMALL_FPN = SMALL.replace(
    backbone="vgg16_fpn", scales=(8.0, 16.0, 32.0, 64.0, 128.0), roi_pooling="align"
)
"""The same with a feature pyramid."""

SMALL_VGG16 = Config(
    backbone_weights="none",
    head_units=(32,),
    shorter_side=64,
    longer_side=96,
    scales=(16.0, 32.0),
    min_size=1.0,
    precision="float32",
    score_threshold=0.0,  # random weights find many objects, all with low scores
)
"""The real VGG16 with a small head on small images, for tests of serving."""


# The preprocessing and strides of the small backbone below.
PREPROCESSING = CAFFE
STRIDES = (16,)


def small_vgg16(weights=None, frozen_blocks=0, dtype=None, name="backbone") -> backbones.Backbone:
    """Makes a backbone of two convolutions, each with a pooling by 4: stride 16, as in VGG16."""
    images, (_, last) = _small_blocks([(8, 4), (16, 4)], dtype)
    backbone = backbones.Backbone(
        keras.Model(images, last, name="small_vgg16"),
        STRIDES,
        PREPROCESSING,
        freeze_groups=[[f"block{block}_conv1"] for block in (1, 2)] + [()] * 3,  # five, as VGG16
        frozen_blocks=frozen_blocks,
        rpn_channels=16,
        pretrained=PRETRAINED,
        name=name,
        dtype=dtype,
    )
    if weights is not None:
        backbones.load_pretrained(backbone, weights)
    return backbone


def small_vgg16_fpn(
    weights=None, frozen_blocks=0, dtype=None, name="backbone", pyramid_norm=False
) -> backbones.Backbone:
    """Makes a feature pyramid of 8 channels on four convolutions, each with a pooling."""
    images, maps = _small_blocks([(4, 4), (6, 2), (8, 2), (8, 2)], dtype)
    network = keras.Model(images, maps, name="small_vgg16")
    backbone = backbones.Backbone(
        feature_pyramid.with_pyramid(network, 8, pyramid_norm, dtype),
        preprocessing=PREPROCESSING,
        freeze_groups=[[f"block{block}_conv1"] for block in (1, 2, 3, 4)] + [()],
        frozen_blocks=frozen_blocks,
        pretrained=PRETRAINED,
        name=name,
        dtype=dtype,
        **{**feature_pyramid.BACKBONE_ARGUMENTS, "rpn_channels": 8},
    )
    if weights is not None:
        backbones.load_pretrained(backbone, weights)
    return backbone


def _small_blocks(blocks, dtype):
    """Returns an input, and the map after each convolution of some channels and its pooling."""
    policy = keras.dtype_policies.get(dtype)
    images = x = keras.Input((None, None, 3), dtype=policy.compute_dtype)
    maps = []
    for block, (channels, size) in enumerate(blocks, start=1):
        x = keras.layers.Conv2D(
            channels,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"block{block}_conv1",
            dtype=policy,
        )(x)
        x = keras.layers.MaxPooling2D(size, name=f"block{block}_pool", dtype=policy)(x)
        maps.append(x)
    return images, maps


@contextlib.contextmanager
def small_backbone():
    """Replaces VGG16, also with a feature pyramid, by the small one inside its ``with`` block."""
    small = {f"vgg16{end}": f"tests.fakes:small_vgg16{end}" for end in ("", "_fpn")}
    with mock.patch.dict(backbones.BACKBONES, small):
        yield


def detector(class_names=CLASS_NAMES, settings=SMALL, **changes) -> FasterRCNN:
    """Makes a small detector with random weights and biases that are far from 0.

    New heads give nearly the same output everywhere, which would hide mistakes from a test.

    Args:
        class_names: the classes of the detector.
        settings: ``SMALL`` or others.
        **changes: settings that differ from these.
    """
    with small_backbone():
        model = build_detector(settings.replace(**changes), class_names)
    randomize(model)
    return model


def randomize(model, seed=0) -> None:
    """Draws every weight of a model at random. Kernels are scaled to keep the activations' size."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.dtype == "float32":
            fan_in = np.prod(weight.shape[:-1]) if len(weight.shape) > 1 else 25
            values = rng.normal(0, 1 / np.sqrt(fan_in), weight.shape)
            weight.assign(np.abs(values) if weight.path.endswith("moving_variance") else values)


def run_eagerly(monkeypatch) -> None:
    """Makes every detector run eagerly, which saves short runs the seconds of graph tracing."""
    always = property(lambda self: True, lambda self, value: None)
    monkeypatch.setattr(FasterRCNN, "run_eagerly", always)
    monkeypatch.setattr(Graph, "on_train_begin", lambda self, logs=None: None)


def inputs_of(images, seed=(3, 0)) -> dict[str, tf.Tensor]:
    """Pads images to one batch, as the pipeline does.

    Args:
        images: the images, float [H, W, 3], of any sizes.
        seed: two numbers from which the keys of the images are made; None for no keys.
    """
    shapes = np.array([image.shape[:2] for image in images], np.int32)
    batch = np.zeros((len(images), *shapes.max(axis=0), 3), np.float32)
    for one, image in zip(batch, images, strict=True):
        one[: image.shape[0], : image.shape[1]] = image
    inputs = {"images": tf.constant(batch), "image_shape": tf.constant(shapes)}
    return inputs if seed is None else with_seed(inputs, seed)


def with_seed(inputs, seed) -> dict[str, tf.Tensor]:
    """Adds keys that are made from two numbers to the images of a batch."""
    rows = np.arange(len(inputs["image_shape"]))
    return {**inputs, "key": tf.constant(np.stack([rows * 0 + seed[0], rows + seed[1]], 1))}


def targets_of(objects) -> dict[str, tf.Tensor]:
    """Pads the objects of several images to one batch.

    Args:
        objects: for each image a list of ``(box, label)`` or ``(box, label, ignore)``.
    """
    length = max(1, *map(len, objects))
    boxes = np.zeros((len(objects), length, 4), np.float32)
    labels = np.full((len(objects), length), -1, np.int32)
    ignore = np.zeros((len(objects), length), bool)
    for b, objects_of_image in enumerate(objects):
        for g, (box, label, *ignored) in enumerate(objects_of_image):
            boxes[b, g], labels[b, g], ignore[b, g] = box, label, bool(ignored and ignored[0])
    return {
        "boxes": tf.constant(boxes),
        "labels": tf.constant(labels),
        "ignore": tf.constant(ignore),
    }


def image(height, width, seed=0) -> np.ndarray:
    """Makes a normalised image of noise, float32 [height, width, 3]."""
    return np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
