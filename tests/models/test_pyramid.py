"""A detector with a feature pyramid, made from settings: all that one level promises."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.config import PYRAMIDS
from keras_frcnn.models.faster_rcnn import LOSSES
from keras_frcnn.models.roi_head import level_of
from keras_frcnn.weights import checkpoint
from tests import fakes
from tests.base import as_numpy

OBJECTS = [[([5, 5, 120, 190], 0), ([20, 41, 50, 80], 2)], [([3, 4, 34, 30], 3)]]
V2 = {"rpn_convolutions": 2, "head_convolutions": (8, 8), "pyramid_norm": True}
ROIS = tf.constant(
    [
        [[0, 0, 90, 110], [9, 9, 500, 470], [3, 5, 240, 250], [0, 0, 0, 0], [0, 0, 224, 230]],
        [[10, 20, 11, 21], [1, 0, 250, 230], [0, 0, 470, 480], [5, 7, 129, 131], [9, 9, 20, 20]],
    ],
    tf.float32,
)


def make(**changes):
    """A small detector whose boxes lie near their anchors."""
    model = fakes.detector(settings=fakes.SMALL_FPN, **changes)
    for weight in model.rpn.head.deltas.weights:
        weight.assign(0.1 * weight)
    return model


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture(scope="module")
def images():
    return [fakes.image(130, 201), fakes.image(77, 143, seed=1)]  # sizes that no stride divides


@pytest.mark.parametrize("changes", [{}, V2], ids=["v1", "v2"])
def test_an_image_has_the_same_detections_alone_and_beside_a_larger_one(changes, images):
    model = make(**changes)
    together = as_numpy(model(fakes.inputs_of(images)))
    for i, image in enumerate(images):
        alone = as_numpy(model(fakes.inputs_of([image])))
        assert alone["num_detections"] > 5
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][i], value[0], atol=1e-3, err_msg=name)


def test_the_losses_of_a_batch_are_the_mean_of_its_images(images):
    model = make(**V2)
    keys = tf.constant([[5, 6], [7, 8]])

    def losses(rows):
        inputs = fakes.inputs_of([images[row] for row in rows])
        targets = fakes.targets_of([OBJECTS[row] for row in rows])
        values = model.compute_losses({**inputs, "key": tf.gather(keys, rows)}, targets)
        return {name: float(value) for name, value in values.items()}

    together, first, second = losses([0, 1]), losses([0]), losses([1])
    mean = {name: (first[name] + second[name]) / 2 for name in together}
    assert min(mean[name] for name in LOSSES) > 0
    assert together == pytest.approx(mean, rel=1e-4)


def test_each_level_proposes_its_best_and_the_best_of_all_remain(model, images):
    """The levels are suppressed one by one, each limited to ``test_pre_nms_top_k`` boxes."""
    inputs = fakes.inputs_of(images[:1])
    predictions = model.rpn.predict(model.features(inputs))
    assert [int(n) for n in predictions.anchors.level_sizes] == [4800, 1200, 288, 72, 18]
    expected = []
    start = 0
    for size in predictions.anchors.level_sizes:
        rows = slice(start, start + int(size))
        start += int(size)
        found = model.rpn.test_generator(
            predictions.objectness_logits[:, rows],
            predictions.deltas[:, rows],
            predictions.anchors.boxes[rows],
            inputs["image_shape"],
            predictions.anchors.valid[:, rows],
        )
        expected += [
            (float(score), tuple(box))
            for box, score, valid in zip(*(one[0].numpy() for one in found), strict=True)
            if valid
        ]
    expected = sorted(expected, key=lambda row: -row[0])[:20]
    boxes, scores, valid, _ = model.propose(inputs)
    assert valid.numpy().all()
    np.testing.assert_allclose(scores[0], [score for score, _ in expected])
    np.testing.assert_array_equal(boxes[0], [box for _, box in expected])


@pytest.mark.parametrize("pooling", ["align", "max"])
def test_regions_are_pooled_from_p2_to_p5_by_their_size(pooling, images):
    model = make(roi_pooling=pooling)
    levels = model.features(fakes.inputs_of(images))
    chosen = level_of(ROIS, [4, 8, 16, 32]).numpy()
    np.testing.assert_array_equal(chosen, [[0, 3, 2, 0, 2], [0, 2, 3, 1, 0]])
    pooled = model.roi_head.pool(levels, ROIS).numpy()
    assert len(model.roi_head.poolings) == 4
    for number, layer in enumerate(model.roi_head.poolings):
        assert layer.stride == (4, 8, 16, 32)[number]
        alone = layer(levels[number].features, ROIS, levels[number].shape).numpy()
        rows = chosen == number
        assert np.any(alone[rows])
        np.testing.assert_array_equal(pooled[rows], alone[rows])
    model.roi_head.use_xla(True)
    compiled = tf.function(model.roi_head.pool, jit_compile=True)(levels, ROIS)
    np.testing.assert_allclose(compiled, pooled, atol=1e-4)


def test_the_gradient_of_pooling_reaches_the_cells_of_a_regions_own_level(model, images):
    levels = model.features(fakes.inputs_of(images))
    rois = tf.constant([[[2, 4, 126, 130.0]], [[9, 9, 20, 20.0]]])
    with tf.GradientTape() as tape:
        tape.watch([level.features for level in levels])
        pooled = model.roi_head.pool(levels, rois)
    gradients = tape.gradient(pooled, [level.features for level in levels])
    assert gradients[4] is None  # P6 is for anchors alone
    # The weights of a bin's samples sum to 1, so each region adds 3 x 3 bins x 8 channels.
    totals = [tf.reduce_sum(one, axis=[1, 2, 3]).numpy() for one in gradients[:4]]
    np.testing.assert_allclose(totals, [[0, 72], [72, 0], [0, 0], [0, 0]], rtol=1e-5)


@pytest.mark.parametrize("changes", [{}, V2], ids=["v1", "v2"])
def test_a_step_trains_every_weight_and_lowers_the_loss(changes, images):
    model = make(**changes)
    model.compile("sgd")
    model.optimizer.learning_rate = 1e-4
    before = [weight.numpy() for weight in model.trainable_weights]
    batch = fakes.inputs_of(images), fakes.targets_of(OBJECTS)
    first = float(model.train_step(batch)["loss"])
    for weight, value in zip(model.trainable_weights, before, strict=True):
        assert np.any(weight != value), weight.path
    model.reset_metrics()
    assert float(model.train_step(batch)["loss"]) < first


def test_a_checkpoint_holds_the_whole_detector(tmp_path):
    model = make(**V2)
    path = tmp_path / "pyramid.keras"
    checkpoint.save(model, path)
    with fakes.small_backbone():
        loaded = checkpoint.load(path)
    assert loaded.config == model.config
    image = np.random.default_rng(0).integers(0, 256, (1, 130, 201, 3), dtype=np.uint8)
    expected, answer = model.detect(image), loaded.detect(image)
    assert expected["num_detections"] > 5
    for name, value in expected.items():
        np.testing.assert_array_equal(answer[name], value, err_msg=name)


def test_settings_name_the_strides_of_each_backbone_with_a_pyramid():
    backbone = fakes.small_vgg16_fpn()
    of_torchvision = {"mobilenet_v3_large_fpn32": (32, 32, 64)}
    assert {**PYRAMIDS, **of_torchvision} == PYRAMIDS
    assert {PYRAMIDS[name] for name in PYRAMIDS.keys() - of_torchvision} == {backbone.strides}
