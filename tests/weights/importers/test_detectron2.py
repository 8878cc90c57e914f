"""detectron2's detectors: what they find after the import, and files that do not fit.

``data/detectron2.json`` holds what detectron2 itself finds; see ``golden_weights``.
"""

import os
import pickle
import re

import numpy as np
import pytest

from keras_frcnn.data.categories import COCO_CATEGORIES, VOC_CLASSES
from keras_frcnn.weights.importers import detector as importer
from keras_frcnn.weights.importers import detectron2
from keras_frcnn.weights.importers.tensor_file import Tensors
from tests.weights.importers import golden_check, golden_weights

OLD = {"pixel_mean": np.array([103.53, 116.28, 123.675]).reshape(3, 1, 1)}
BIAS = "roi_heads.box_predictor.cls_score.bias"


@pytest.fixture(scope="module", params=golden_weights.MODELS["detectron2"])
def imported(request, tmp_path_factory):
    """The golden values of a model, and a detector with the same weights."""

    def content(arrays):  # as detectron2 publishes it, with what older versions wrote
        old = {k: v.astype(np.float32) for k, v in OLD.items()}
        return {"model": arrays | old, "__author__": "Detectron2 Model Zoo"}

    folder = tmp_path_factory.mktemp("weights")
    golden, model = golden_check.import_golden("detectron2", request.param, folder, content)
    model.rpn.test_generator.post_nms_top_k = golden_weights.NUM_PROPOSALS
    return golden, model


def test_it_finds_what_detectron2_finds(imported):
    golden_check.check(*imported)


def test_the_settings_are_detectron2s():
    for name in detectron2.MODELS:
        detectron2.config_of(name).validate()
    c4 = detectron2.config_of("faster_rcnn_R_101_C4")
    assert (c4.backbone, c4.pool_size, c4.head_stride, c4.rpn_channels) == (
        "resnet101",
        14,
        2,
        1024,
    )
    assert (c4.test_pre_nms_top_k, c4.test_post_nms_top_k, c4.min_size) == (6000, 1000, 0)
    assert (c4.nms_iou_threshold, c4.score_threshold, c4.size_divisor) == (0.5, 0.05, 1)
    assert c4.scales == (32, 64, 128, 256, 512)
    fpn = detectron2.config_of("faster_rcnn_R_50_FPN")
    assert (fpn.test_pre_nms_top_k, fpn.test_post_nms_top_k, fpn.size_divisor) == (1000, 1000, 32)
    assert fpn.level_scales == ((32,), (64,), (128,), (256,), (512,))
    for config in (c4, fpn):
        assert (config.bottleneck_stride, config.norm_epsilon) == ("1x1", 1e-5)
        assert (config.sampling_ratio, config.roi_half_pixel, config.anchor_offset) == (0, True, 0)
        assert (config.shorter_side, config.longer_side) == (800, 1333)
        assert (config.resize_filter, config.preprocessing) == ("pillow", "detectron2")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["backbone.stem.conv1.weight"], ["faster_rcnn_R_50_C4"]),
        (
            ["backbone.stem.conv1.weight", "backbone.res4.22.conv1.weight"],
            ["faster_rcnn_R_101_C4"],
        ),
        (["backbone.bottom_up.stem.conv1.weight"], ["faster_rcnn_R_50_FPN"]),
        (
            ["backbone.bottom_up.stem.conv1.weight", "backbone.bottom_up.res4.22.conv1.weight"],
            ["faster_rcnn_R_101_FPN"],
        ),
        (["backbone.body.conv1.weight"], []),
    ],
)
def test_the_model_follows_from_the_tensors(names, expected):
    assert detectron2.fitting(Tensors("a.pkl", {name: np.zeros(1) for name in names})) == expected


def test_the_number_of_outputs_tells_cocos_and_vocs_classes():
    def names(count):
        return detectron2.class_names_of(Tensors("a.pkl", {BIAS: np.zeros(count)}))

    assert names(81) == tuple(COCO_CATEGORIES.values())
    assert names(21) == VOC_CLASSES
    assert names(4) is None


STEM = "backbone.stem.conv1.weight"
LAST = "roi_heads.res5.2.conv3.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({LAST: None}, f"must hold the tensor {LAST}, which it lacks"),
        ({STEM: np.zeros((64, 3, 7, 8))}, f"the tensor {STEM} must have the shape (64, 3, 7, 7)"),
        ({"extra": np.zeros(2)}, "holds the tensor extra, which the detector has no place for"),
        ({BIAS: np.zeros(4)}, "must hold a detector of 2 classes. Received: 3"),
        (
            {"roi_heads.box_predictor.bbox_pred.bias": np.zeros(4)},
            "must hold deltas of each class. Received: 1 sets of them, for 2 classes",
        ),
        ({"pixel_mean": np.zeros((3, 1, 1))}, "pixel_mean must be that of detectron2's published"),
        ({"pixel_std": np.full((3, 1, 1), np.nan)}, "pixel_std must be that of detectron2's"),
        (
            {"proposal_generator.anchor_generator.cell_anchors.0": np.zeros((15, 4))},
            "cell_anchors.0 must be that of detectron2's published models, [-22.63, -11.31, 22.63",
        ),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(imported, change, message):
    golden, model = imported
    if "C4" not in model.origin["model"]:
        return  # one is enough
    arrays = golden_weights.draw(golden["shapes"]) | change
    tensors = Tensors("a.pkl", {k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(ValueError, match=re.escape(message)):
        detectron2.fill(model, tensors)


def test_anchors_of_older_files_are_compared(imported):
    _, model = imported
    anchors = [[-22.627417, -11.3137085, 22.627417, 11.3137085], [-16] * 2 + [16] * 2]
    anchors.append([-11.3137085, -22.627417, 11.3137085, 22.627417])
    if "C4" in model.origin["model"]:
        anchors = np.concatenate([np.multiply(anchors, 2**i) for i in range(5)])
    name = "proposal_generator.anchor_generator.cell_anchors.0"
    tensors = Tensors("a.pkl", {name: np.array(anchors, np.float32), **OLD})
    detectron2._check_settings(model, tensors)
    tensors.check_all_taken()


class Attack:
    """Pickled, it is a call of ``os.system``."""

    def __reduce__(self):
        return os.system, ("touch owned",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"w": Attack()}}, r"is not a pickle of arrays alone: it names posix\.system"),
        ({"model": {"w": np.zeros(2)}, "trainer": Attack()}, r"names posix\.system"),
        ({"model": {}}, "must hold a dict of arrays by name"),
        ({"model": {"w": [1.0]}}, "must hold nothing but arrays. Received: 'w'"),
        ({"model": {"w": np.zeros(2)}}, "holds none of the detectors of detectron2 that can be"),
        ([1], "must hold a dict of arrays by name"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_hostile_files_are_refused_and_nothing_runs(
    tmp_path, monkeypatch, content, message, protocol
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model_final.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(ValueError, match=message):
        importer.import_detector("detectron2", path)
    assert not (tmp_path / "owned").exists()


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "model_final.pkl"
    whole = pickle.dumps({"model": {STEM: np.zeros((64, 3, 7, 7), np.float32)}}, 4)
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"model_final\.pkl is not a pickle of arrays alone"):
            importer.import_detector("detectron2", path)
