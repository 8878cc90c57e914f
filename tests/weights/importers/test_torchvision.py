"""torchvision's detectors: what they find after the import, and files that do not fit.

``data/torchvision.json`` holds what torchvision itself finds; see ``golden_weights``.
"""

import pickle
import re

import numpy as np
import pytest

from keras_frcnn.data.categories import COCO_CATEGORIES
from keras_frcnn.weights import checkpoint
from keras_frcnn.weights.importers import detector as importer
from keras_frcnn.weights.importers import layer_names, torchvision
from keras_frcnn.weights.importers.tensor_file import Tensors
from tests.weights.importers import golden_check, golden_weights


@pytest.fixture(scope="module", params=golden_weights.MODELS["torchvision"])
def imported(request, tmp_path_factory):
    """The golden values of a model, and a detector with the same weights."""
    folder = tmp_path_factory.mktemp("weights")
    return golden_check.import_golden("torchvision", request.param, folder)


def test_it_finds_what_torchvision_finds(imported):
    golden_check.check(*imported)


def test_a_checkpoint_keeps_the_origin(imported, tmp_path):
    _, model = imported
    if "mobilenet" not in model.origin["model"]:
        return  # one is enough
    checkpoint.save(model, tmp_path / "a.keras")
    assert checkpoint.read_origin(tmp_path / "a.keras") == model.origin
    assert model.origin["file"] == "mine.pkl"
    assert len(model.origin["sha256"]) == 64
    assert model.origin["licence"].startswith("BSD-3-Clause")


def test_the_settings_are_torchvisions():
    for name in torchvision.MODELS:
        torchvision.config_of(name).validate()
    first = torchvision.config_of("fasterrcnn_resnet50_fpn")
    assert (first.norm_epsilon, first.bottleneck_stride, first.nms_iou_threshold) == (0, "3x3", 0.5)
    assert (first.shorter_side, first.longer_side, first.size_divisor) == (800, 1333, 32)
    assert (first.test_pre_nms_top_k, first.test_post_nms_top_k) == (1000, 1000)
    small = torchvision.config_of("fasterrcnn_mobilenet_v3_large_320_fpn")
    assert (small.test_pre_nms_top_k, small.rpn_score_threshold) == (150, 0.05)
    assert small.level_scales == ((32, 64, 128, 256, 512),) * 3


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("backbone.fpn.inner_blocks.3.weight", "backbone.fpn.inner_blocks.3.0.weight"),
        ("backbone.fpn.layer_blocks.0.bias", "backbone.fpn.layer_blocks.0.0.bias"),
        ("rpn.head.conv.weight", "rpn.head.conv.0.0.weight"),
        ("rpn.head.conv.0.0.weight", "rpn.head.conv.0.0.weight"),
        ("backbone.body.bn1.weight", "backbone.body.bn1.weight"),
        ("backbone.body.bn1.num_batches_tracked", None),
    ],
)
def test_names_of_older_files_are_known(former, present):
    tensors = Tensors("a.pth", {former: np.zeros(1)})
    tensors.rename(torchvision._present_name)
    assert list(tensors._values) == ([present] if present else [])


def test_the_gaps_in_cocos_numbers_are_left_out():
    names = tuple(COCO_CATEGORIES.values())
    bias = {"roi_heads.box_predictor.cls_score.bias": np.zeros(91)}
    tensors = Tensors("a.pth", bias)
    assert torchvision.class_names_of(tensors) == names
    rows = torchvision._rows_of(names, tensors)
    assert (len(rows), rows[0], rows[1], rows[12], rows[80]) == (81, 0, 1, 13, 90)
    np.testing.assert_array_equal(torchvision._rows_of(("a", "b"), tensors), [0, 1, 2])


def write(path, arrays):
    path.write_bytes(pickle.dumps({k: np.zeros(v, np.float32) for k, v in arrays.items()}, 4))
    return path


def test_the_model_follows_from_the_tensors_and_the_files_name(tmp_path):
    mobile = {"backbone.body.0.0.weight": (16, 3, 3, 3)}
    for file, expected in (
        ("fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pkl", "_large_320_fpn"),
        ("fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pkl", "_large_fpn"),
    ):
        tensors = Tensors(tmp_path / file, {k: np.zeros(v) for k, v in mobile.items()})
        assert importer._only_fitting(torchvision, tensors, "torchvision").endswith(expected)
    with pytest.raises(ValueError, match="which differ in their settings alone: say which with"):
        importer.import_detector("torchvision", write(tmp_path / "a.pkl", mobile))
    with pytest.raises(ValueError, match="holds none of the detectors of torchvision that can be"):
        importer.import_detector("torchvision", write(tmp_path / "a.pkl", {"w": (1,)}))


def test_class_names_are_needed_where_they_are_not_cocos(tmp_path):
    arrays = {"backbone.body.conv1.weight": (1,), "roi_heads.box_predictor.cls_score.bias": (4,)}
    with pytest.raises(ValueError, match=r"class names of .*a\.pkl are not known: give them with"):
        importer.import_detector("torchvision", write(tmp_path / "a.pkl", arrays))


def test_the_rpns_sigmoid_becomes_a_softmax_of_two():
    from keras_frcnn.layers import RPNHead

    head = RPNHead(num_anchors=3, channels=4)
    head.build((None, None, None, 5))
    random = np.random.default_rng(0)
    shapes = {"o.weight": (3, 4, 1, 1), "o.bias": (3,), "d.weight": (12, 4, 1, 1), "d.bias": (12,)}
    arrays = {k: random.normal(size=v).astype(np.float32) for k, v in shapes.items()}
    layer_names.fill_rpn_outputs(Tensors("a", arrays), head, "o", "d", order=[2, 0, 1])
    x = random.normal(size=4).astype(np.float32)
    hidden = x.reshape(1, 1, 1, 4)
    logits = head.objectness(hidden).numpy().reshape(3, 2)
    theirs = arrays["o.weight"][:, :, 0, 0] @ x + arrays["o.bias"]
    np.testing.assert_allclose(logits[:, 1], theirs[[2, 0, 1]], rtol=1e-4)
    np.testing.assert_array_equal(logits[:, 0], 0)
    deltas = head.deltas(hidden).numpy().reshape(3, 4)
    theirs = (arrays["d.weight"][:, :, 0, 0] @ x + arrays["d.bias"]).reshape(3, 4)
    np.testing.assert_allclose(deltas, theirs[[2, 0, 1]][:, golden_check.XY], rtol=1e-4)


FIRST = "backbone.body.0.0.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({FIRST: None}, f"must hold the tensor {FIRST}, which it lacks"),
        ({FIRST: np.zeros((16, 3, 3, 4))}, f"the tensor {FIRST} must have the shape (16, 3, 3, 3)"),
        ({"extra": np.zeros(2)}, "holds the tensor extra, which the detector has no place for"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(imported, change, message):
    golden, model = imported
    if "mobilenet" not in model.origin["model"]:
        return  # one is enough
    arrays = golden_weights.draw(golden["shapes"]) | change
    tensors = Tensors("a.pth", {k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(ValueError, match=re.escape(message)):
        torchvision.fill(model, tensors)
