"""The joined model in use: detections, their coordinates and independence of padding; its form."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.models.build import build_detector
from keras_frcnn.models.faster_rcnn import FasterRCNN
from tests import fakes
from tests.base import assert_detection_output, assert_valid_boxes

OUTPUTS = ["boxes", "scores", "labels", "num_detections"]


@pytest.fixture(scope="module")
def model():
    return fakes.detector()


def numpy_of(answer):
    return {name: value.numpy() for name, value in answer.items()}


# --- a batch ------------------------------------------------------------------------------------


@pytest.mark.parametrize("roi_pooling", ["max", "align"])
def test_an_image_has_the_same_detections_alone_and_beside_a_larger_one(roi_pooling):
    model = fakes.detector(roi_pooling=roi_pooling)
    sizes = [(48, 64), (50, 37), (17, 79), (9, 12), (64, 96)]
    images = [fakes.image(h, w, seed=i) for i, (h, w) in enumerate(sizes)]
    together = numpy_of(model(fakes.inputs_of(images)))
    for i, image in enumerate(images):
        alone = numpy_of(model(fakes.inputs_of([image])))
        assert alone["num_detections"] > 0
        assert np.ptp(alone["scores"][0, : alone["num_detections"][0]]) > 0.001
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][i], value[0], atol=1e-4, err_msg=name)


def test_the_contract_of_detections_and_proposals(model):
    inputs = fakes.inputs_of([fakes.image(64, 96), fakes.image(50, 37)])
    answer = numpy_of(model(inputs))
    shapes = inputs["image_shape"].numpy()
    detections = {name: answer[name] for name in OUTPUTS}
    assert_detection_output(detections, shapes, num_classes=4, max_detections=10)
    assert_valid_boxes(answer["proposals"], shapes, answer["proposal_scores"] > 0)
    assert (np.diff(answer["proposal_scores"], axis=1) <= 0).all()
    assert sorted(answer) == sorted([*OUTPUTS, "proposals", "proposal_scores"])


def test_an_image_moved_by_one_stride_has_its_proposals_moved_by_one_stride():
    model = fakes.detector(
        scales=(16.0,),
        rpn_nms_iou_threshold=1.0,
        test_pre_nms_top_k=1000,
        test_post_nms_top_k=1000,
    )
    for weight in model.rpn.head.deltas.weights:
        weight.assign(0.2 * weight)  # boxes near their anchors
    cells, border = 12, 3  # no convolution reads farther than so many cells
    scene = fakes.image(16 * cells, 16 * cells)
    part_size = 16 * (cells - 1)
    proposals = {}
    for down, right in ((0, 0), (0, 1), (1, 0)):
        part = scene[16 * down :, 16 * right :][:part_size, :part_size]
        answer = numpy_of(model(fakes.inputs_of([part])))
        moved = answer["proposals"][0] + 16 * np.array([down, right, down, right])
        centres = (moved[:, :2] + moved[:, 2:]) / 2
        inside = (np.abs(centres - 8 * cells) < 8 * cells - 16 * (border + 1)).all(axis=1)
        order = np.argsort(answer["proposal_scores"][0][inside])
        proposals[down, right] = moved[inside][order], answer["proposal_scores"][0][inside][order]
    boxes, scores = proposals[0, 0]
    assert len(boxes) >= 20
    for other_boxes, other_scores in (proposals[0, 1], proposals[1, 0]):
        np.testing.assert_allclose(other_boxes, boxes, atol=1e-3)
        np.testing.assert_allclose(other_scores, scores, atol=1e-5)


def test_predict_answers_in_pixels_of_the_original_images(model):
    inputs = fakes.inputs_of([fakes.image(64, 96), fakes.image(48, 32)])
    resized = numpy_of(model(inputs))
    original_shape = tf.constant([[128, 288], [24, 40]])
    answer = numpy_of(model.predict_step({**inputs, "original_shape": original_shape}))
    factors = np.array([[2, 3, 2, 3], [0.5, 1.25, 0.5, 1.25]])[:, np.newaxis]
    for name in ("boxes", "proposals"):
        np.testing.assert_allclose(answer[name], resized[name] * factors, rtol=1e-6)
    for name in ("scores", "labels", "num_detections", "proposal_scores"):
        np.testing.assert_array_equal(answer[name], resized[name])
    plain = numpy_of(model.predict_step((inputs, None)))
    np.testing.assert_array_equal(plain["boxes"], resized["boxes"])


def test_min_size_is_measured_in_pixels_of_the_original_image():
    model = fakes.detector(min_size=24.0, rpn_nms_iou_threshold=1.0, test_post_nms_top_k=200)
    inputs = fakes.inputs_of([fakes.image(64, 96)])
    shapes = {(64, 96): (24, 24), (32, 96): (48, 24), (128, 192): (12, 12)}
    for original_shape, (height, width) in shapes.items():
        answer = model({**inputs, "original_shape": tf.constant([original_shape])})
        proposals = answer["proposals"].numpy()[0][answer["proposal_scores"].numpy()[0] > 0]
        sides = proposals[:, 2:] - proposals[:, :2]
        assert (sides >= [height, width]).all()
        assert (sides.min(axis=0) < [height + 8, width + 8]).all()


def test_a_call_in_training_points_to_compute_losses(model):
    with pytest.raises(ValueError, match=r"model\.compute_losses\(inputs, targets\)"):
        model(fakes.inputs_of([fakes.image(32, 32)]), training=True)


def test_everything_but_the_convolutions_is_float32_under_a_mixed_policy():
    model = fakes.detector(precision="mixed_bfloat16")
    assert model.backbone.compute_dtype == model.roi_head.box_head.compute_dtype == "bfloat16"
    inputs = fakes.inputs_of([fakes.image(96, 128), fakes.image(50, 37)])
    answer = numpy_of(model(inputs))
    assert_detection_output({name: answer[name] for name in OUTPUTS}, inputs["image_shape"], 4, 10)
    for name in ("boxes", "proposals"):
        free = answer[name][(answer[name] > 16) & (answer[name] % 1 > 0)]
        rounded = tf.cast(tf.cast(free, tf.bfloat16), tf.float32).numpy()
        assert len(free) > 10
        assert (free != rounded).mean() > 0.9
    near = fakes.detector(precision="float32")
    np.testing.assert_allclose(
        answer["proposal_scores"][0, 0], near(inputs)["proposal_scores"][0, 0], atol=0.02
    )


# --- detect -------------------------------------------------------------------------------------


def uint8_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_an_image_of_twice_the_size_has_boxes_of_twice_the_size(model):
    small = uint8_image(64, 80)
    large = small.repeat(2, axis=0).repeat(2, axis=1)  # halving it bilinearly gives it back
    wide = small.repeat(2, axis=1)
    answer = model.detect([small, large])
    assert answer["num_detections"][0] > 0
    np.testing.assert_allclose(answer["boxes"][1], 2 * answer["boxes"][0], rtol=1e-5)
    np.testing.assert_allclose(answer["scores"][1], answer["scores"][0], rtol=1e-5)
    np.testing.assert_array_equal(answer["labels"][1], answer["labels"][0])
    (boxes,) = model.detect([wide])["boxes"]
    assert boxes[:, 3].max() > 80  # not of the network's 38 x 96
    assert (boxes <= [64, 160, 64, 160]).all()


def test_detect_is_the_way_from_pixels_to_pixels(model):
    image = uint8_image(100, 130)
    resized = tf.image.resize(image.astype("float32"), (64, 83)).numpy()
    bgr = (resized[..., ::-1] - [103.939, 116.779, 123.68]) / 58
    expected = numpy_of(model(fakes.inputs_of([bgr.astype("float32")])))
    answer = model.detect([image])
    factors = np.array([100 / 64, 130 / 83, 100 / 64, 130 / 83])
    np.testing.assert_allclose(answer["boxes"][0], expected["boxes"][0] * factors, atol=0.01)
    np.testing.assert_allclose(answer["scores"][0], expected["scores"][0], atol=1e-4)


def test_detect_takes_files_arrays_and_batches_of_any_sizes(model, tmp_path):
    images = [uint8_image(64, 80), uint8_image(70, 50, seed=1), uint8_image(3, 200, seed=2)]
    path = tmp_path / "a.png"
    keras.utils.save_img(path, images[1], scale=False)
    answer = model.detect([images[0], str(path), images[2]])
    shapes = [image.shape[:2] for image in images]
    assert_detection_output(answer, shapes, num_classes=4, max_detections=10)
    for i, image in enumerate(images):
        alone = model.detect(image[np.newaxis])
        for name in OUTPUTS:
            np.testing.assert_array_equal(alone[name][0], answer[name][i])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "at least one image"),
        ([np.zeros((8, 8, 3), np.float32)], "uint8"),
        (["missing.jpg"], "missing.jpg"),
    ],
)
def test_detect_names_what_it_cannot_read(model, images, message):
    with pytest.raises(ValueError, match=message):
        model.detect(images)


# --- form ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("class_names", [(), ("cat", "dog", "cat")])
def test_class_names_must_be_distinct_and_some(class_names):
    with pytest.raises(ValueError, match="class_names must be distinct names, at least one"):
        fakes.detector(class_names)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="pool_size must be a positive integer"):
        fakes.detector(pool_size=0)


def test_background_is_not_among_the_classes(model):
    assert model.roi_head.box_head.classes.units == 5
    assert model.roi_head.box_head.boxes.units == 20
    answer = model(fakes.inputs_of([fakes.image(64, 96)]))
    assert set(answer["labels"].numpy()[0]) <= {0, 1, 2, 3}


def test_a_config_in_words_makes_the_same_model(model):
    words = json.dumps(model.get_config())
    with fakes.small_backbone():
        second = FasterRCNN.from_config(json.loads(words))
    assert second.config == model.config
    assert second.class_names == model.class_names
    assert json.dumps(second.get_config()) == words
    assert [(w.name, w.shape) for w in second.weights] == [(w.name, w.shape) for w in model.weights]


def test_keras_reads_back_what_it_saved(tmp_path):
    model = fakes.detector(roi_pooling="align", head_units=(8, 16), scales=(20.0, 40.0))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    path = tmp_path / "a.keras"
    model.save(path)
    with fakes.small_backbone():
        second = keras.saving.load_model(path)
    assert second.config == model.config
    inputs = fakes.inputs_of([fakes.image(64, 96), fakes.image(50, 37)])
    for name, value in model(inputs).items():
        np.testing.assert_array_equal(second(inputs)[name], value, err_msg=name)


def test_every_weight_exists_before_the_first_batch():
    with fakes.small_backbone():
        model = build_detector(fakes.SMALL, fakes.CLASS_NAMES)
    before = {weight.path: weight.shape for weight in model.weights}
    model(fakes.inputs_of([fakes.image(32, 32)]))
    assert {weight.path: weight.shape for weight in model.weights} == before
    assert before["rpn_head/deltas/kernel"] == (1, 1, 16, 36)
    assert before["box_head/fc1/kernel"] == (3 * 3 * 16, 32)


def test_xla_is_never_chosen_automatically(model):
    model.compile("sgd")
    assert model.jit_compile is False


@pytest.mark.slow
def test_vgg16_stands_on_the_same_parts():
    settings = Config(
        precision="float32",
        backbone_weights="none",
        head_units=(16,),
        shorter_side=64,
        longer_side=96,
        pixel_std=58.0,
        score_threshold=0.0,
        min_size=0.0,
    )
    model = build_detector(settings, ("cat",))
    # 3x3 convolution, two logits and four deltas of nine anchors.
    assert model.rpn.count_params() == 512 * 512 * 9 + 512 + 513 * 18 + 513 * 36
    assert model.roi_head.count_params() == (7 * 7 * 512 + 1) * 16 + 17 * 2 + 17 * 8
    answer = model.detect([uint8_image(64, 80)])
    assert_detection_output(answer, [(64, 80)], num_classes=1, max_detections=100)
    assert answer["num_detections"][0] > 0
