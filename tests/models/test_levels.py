"""A detector on two feature levels, composed of its parts: all that one level promises, on both."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_frcnn
from keras_frcnn import backbones
from keras_frcnn.backbones import FeatureLevel
from keras_frcnn.data.images.preprocessing import CAFFE
from keras_frcnn.models.anchors import anchor_generators, lay_anchors
from keras_frcnn.models.faster_rcnn import LOSSES, FasterRCNN
from keras_frcnn.models.roi_head import RoIHead, level_of
from keras_frcnn.models.rpn import RegionProposalNetwork
from keras_frcnn.weights import checkpoint
from tests import fakes
from tests.base import as_numpy

SCALES = ((32.0,), (400.0,))
LARGE, SMALL = (256, 272), (250, 231)  # regions of 224 pixels and more belong to stride 16
OBJECTS = [[([5, 5, 250, 260], 0), ([20, 41, 50, 80], 2)], [([3, 4, 34, 30], 3)]]


def two_levels(channels=(6, 6)):
    """A backbone of strides 8 and 16."""
    convolution = {"padding": "same", "activation": "relu", "kernel_initializer": "he_normal"}
    images = keras.Input((None, None, 3))
    x = keras.layers.MaxPooling2D(8)(keras.layers.Conv2D(4, 3, **convolution)(images))
    fine = keras.layers.Conv2D(channels[0], 3, **convolution)(x)
    coarse = keras.layers.Conv2D(channels[1], 3, **convolution)(keras.layers.MaxPooling2D(2)(fine))
    network = keras.Model(images, [fine, coarse], name="two_levels")
    return backbones.Backbone(network, (8, 16), CAFFE.divided_by(58.0), rpn_channels=8)


def compose(backbone=None, scales=SCALES, pooling="align", **rpn):
    """A detector with random weights that is not made from settings."""
    keras.utils.set_random_seed(0)
    model = FasterRCNN(
        backbone or two_levels(),
        RegionProposalNetwork(
            scales,
            num_samples=16,
            border_anchors=True,
            min_size=0.0,
            train_pre_nms_top_k=300,
            train_post_nms_top_k=60,
            test_pre_nms_top_k=300,
            test_post_nms_top_k=300,
            **rpn,
        ),
        RoIHead(
            len(fakes.CLASS_NAMES),
            pooling,
            pool_size=3,
            units=(16,),
            num_samples=16,
            score_threshold=0.0,
            max_detections=20,
        ),
        fakes.CLASS_NAMES,
        shorter_side=250,
        longer_side=300,
    )
    fakes.randomize(model)
    for weight in model.rpn.head.deltas.weights:
        weight.assign(0.1 * weight)  # boxes near their anchors, so that there are large ones too
    return model


@pytest.fixture(scope="module")
def model():
    return compose()


@pytest.fixture(scope="module")
def images():
    return [fakes.image(*LARGE), fakes.image(*SMALL, seed=1)]


def losses_of(model, inputs, objects):
    values = model.compute_losses(inputs, fakes.targets_of(objects))
    return {name: float(value) for name, value in values.items()}


# --- the joined model ----------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["max", "align"])
def test_an_image_has_the_same_detections_alone_and_beside_a_larger_one(pooling, images):
    model = compose(pooling=pooling)
    together = as_numpy(model(fakes.inputs_of(images)))
    for i, image in enumerate(images):
        alone = as_numpy(model(fakes.inputs_of([image])))
        assert alone["num_detections"] > 5
        chosen = level_of(alone["proposals"], [8, 16]).numpy()
        assert set(chosen[alone["proposal_scores"] > 0]) == {0, 1}  # it is pooled from both levels
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][i], value[0], atol=1e-3, err_msg=name)


@pytest.mark.parametrize("box_normalizer", ["samples", "positions"])
def test_the_losses_of_a_batch_are_the_mean_of_its_images(box_normalizer, images):
    model = compose(box_normalizer=box_normalizer)
    keys = tf.constant([[5, 6], [7, 8]])
    together = losses_of(model, {**fakes.inputs_of(images), "key": keys}, OBJECTS)
    alone = [
        losses_of(
            model, {**fakes.inputs_of([image]), "key": keys[row : row + 1]}, OBJECTS[row : row + 1]
        )
        for row, image in enumerate(images)
    ]
    mean = {name: (alone[0][name] + alone[1][name]) / 2 for name in together}
    assert min(mean.values()) > 0
    assert together == pytest.approx(mean, rel=1e-4)


def test_a_step_trains_every_weight_and_lowers_the_loss(images):
    model = compose()
    before = as_numpy(model.trainable_weights)
    model.compile(keras.optimizers.SGD(1e-3))
    batch = fakes.inputs_of(images), fakes.targets_of(OBJECTS)
    first = float(model.train_step(batch)["loss"])
    for weight, value in zip(model.trainable_weights, before, strict=True):
        assert np.any(weight != value), weight.path
    model.reset_metrics()
    second = model.train_step(batch)
    assert set(LOSSES) <= set(second)
    assert float(second["loss"]) < first


def test_a_saved_detector_loads_without_settings(model, tmp_path):
    path = tmp_path / "two_levels.keras"
    checkpoint.save(model, path)
    loaded = keras_frcnn.load(path)
    assert loaded.config is None
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())
    image = np.random.default_rng(0).integers(0, 256, (1, 260, 250, 3), dtype=np.uint8)
    expected, answer = model.detect(image), loaded.detect(image)
    assert expected["num_detections"] > 5
    for name, value in expected.items():
        np.testing.assert_array_equal(answer[name], value, err_msg=name)
    with pytest.raises(ValueError, match="composed in Python and has no settings") as caught:
        checkpoint.read_settings(path)
    assert str(path) in str(caught.value)


# --- its parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scales", [((16,), (32,), (64,)), ((16,),), ((16,), (32, 64))])
def test_scales_that_do_not_fit_the_levels_are_refused(scales):
    with pytest.raises(ValueError, match="one list per level, all of one length, for 2 levels"):
        compose(scales=scales)


def test_levels_of_different_channels_are_refused():
    with pytest.raises(ValueError, match=r"same number of channels\. Received: \(6, 5\)"):
        compose(two_levels(channels=(6, 5)))


def test_every_level_has_its_own_anchors(model, images):
    levels = model.features(fakes.inputs_of(images))
    assert [level.stride for level in levels] == [8, 16]
    np.testing.assert_array_equal(levels[0].shape, [[32, 34], [31, 28]])
    np.testing.assert_array_equal(levels[1].shape, [[16, 17], [15, 14]])
    anchors = model.rpn.predict(levels).anchors
    assert [int(size) for size in anchors.level_sizes] == [3 * 32 * 34, 3 * 16 * 17]
    sides = anchors.boxes[:, 2:] - anchors.boxes[:, :2]
    areas = tf.reduce_prod(sides, axis=1).numpy()
    np.testing.assert_allclose(areas[: 3 * 32 * 34], 32**2, rtol=1e-4)
    np.testing.assert_allclose(areas[3 * 32 * 34 :], 400**2, rtol=1e-4)
    np.testing.assert_array_equal(
        tf.reduce_sum(tf.cast(anchors.valid, tf.int32), axis=1),
        [3 * (32 * 34 + 16 * 17), 3 * (31 * 28 + 15 * 14)],
    )
    assert len(set(anchors.ids.numpy())) == len(anchors.boxes)


@pytest.mark.parametrize(
    ("box", "level"),
    [
        ([0, 0, 0, 0], 0),
        ([9, 9, 3, 3], 0),
        ([5, 5, 15, 15], 0),
        ([0, 0, 111, 111], 0),
        ([0, 0, 112, 112], 1),
        ([300, 300, 523, 523], 1),
        ([300, 300, 524, 524], 2),
        ([0, 0, 112, 448], 2),  # the square root of its area counts
        ([0, 0, 447, 447], 2),
        ([0, 0, 448, 448], 3),
        ([0, 0, 9000, 9000], 3),
    ],
)
def test_the_size_of_a_region_decides_its_level(box, level):
    rois = tf.constant([[box]], tf.float32)
    answer = level_of(rois, [4, 8, 16, 32])
    assert answer.dtype == tf.int32
    np.testing.assert_array_equal(answer, [[level]])
    # Among fewer levels it is the nearest one.
    np.testing.assert_array_equal(level_of(rois, [8, 16]), [[min(max(level - 1, 0), 1)]])


def test_levels_need_not_follow_each_other_by_twos():
    boxes = tf.constant([[[0, 0, side, side] for side in (100, 223, 225, 447, 449)]], tf.float32)
    np.testing.assert_array_equal(level_of(boxes, [8, 32]), [[0, 0, 0, 0, 1]])


@pytest.mark.parametrize("pooling", ["max", "align"])
def test_each_region_is_pooled_from_its_own_level_alone(pooling, images):
    model = compose(pooling=pooling)
    levels = model.features(fakes.inputs_of(images))
    rois = tf.constant(
        [
            [[0, 0, 256, 272], [9, 9, 60, 90], [3, 5, 240, 250], [0, 0, 0, 0]],
            [[10, 20, 11, 21], [1, 0, 250, 230], [0, 0, 223, 223], [5, 7, 229.5, 231]],
        ],
        tf.float32,
    )
    chosen = level_of(rois, [8, 16]).numpy()
    np.testing.assert_array_equal(chosen, [[1, 0, 1, 0], [0, 1, 0, 1]])
    pooled = model.roi_head.pool(levels, rois).numpy()
    for level, pooling_layer in zip(levels, model.roi_head.poolings, strict=True):
        rows = chosen == [8, 16].index(level.stride)
        alone = pooling_layer(level.features, rois, level.shape).numpy()
        assert np.any(alone[rows])
        np.testing.assert_array_equal(pooled[rows], alone[rows])


def test_measured_strides_are_those_of_the_image_and_of_its_map():
    levels = [
        FeatureLevel(tf.zeros([2, 8, 12, 1]), tf.constant([[8, 12], [6, 8]]), 8),
        FeatureLevel(tf.zeros([2, 3, 4, 1]), tf.constant([[3, 4], [1, 3]]), 24),
    ]
    generators = anchor_generators([[8], [16]], [1], (8, 24), offset=0.0)
    boxes = lay_anchors(generators, levels, measured=True).boxes.numpy()
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    fine, coarse = np.split(centres, [96], axis=1)
    np.testing.assert_array_equal(fine.reshape(2, 8, 12, 2)[:, 1, 1], [[8, 8]] * 2)
    # 64 / 3 and 96 / 4 of the first image, 48 / 1 and 64 / 3 of the second, rounded down.
    np.testing.assert_array_equal(coarse.reshape(2, 3, 4, 2)[:, 1, 1], [[21, 24], [48, 21]])
