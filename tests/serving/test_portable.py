"""ONNX and OpenVINO: plain operations that answer as the model, and a comparison that can fail."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.serving import portable
from keras_frcnn.serving.verify import check_found
from tests import fakes


def kinds_of(function):
    """Returns the kinds of operations in a function and all functions that it calls."""
    graph = function.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return {node.op for node in nodes}


@pytest.mark.parametrize("of", ["model", "pyramid"])
def test_the_converted_function_is_plain_and_answers_as_the_model(of, request, images):
    model = request.getfixturevalue(of)
    function = portable.make_function(model)
    kinds = kinds_of(function)
    assert not {kind for kind in kinds if "NonMaxSuppression" in kind or "Map" in kind}
    assert not kinds & {"CropAndResize", "DecodeJpeg", "PyFunc", "BroadcastArgs"}
    assert "ResizeBilinear" in kinds  # it is the whole model
    assert not model.roi_head.detection_decoder.supports_jit  # the model is as it was
    for image in images:
        answer = {name: value.numpy() for name, value in function(image[np.newaxis]).items()}
        expected = model.detect_batch(tf.constant(image[np.newaxis]))
        expected = {name: value.numpy() for name, value in expected.items()}
        assert check_found("it", answer, expected, 0.0) > 5
        count = int(answer["num_detections"][0])
        assert count == expected["num_detections"][0]
        size = np.tile(image.shape[:2], 2)
        np.testing.assert_allclose(
            answer["detection_boxes"][0, :count],
            np.clip(expected["boxes"][0, :count] / size, 0, 1),
            atol=1e-5,
        )


BOXES = np.float32([[[0, 0, 10, 10], [5, 5, 20, 20], [0, 0, 0, 0]]])
SCORES, LABELS = np.float32([[0.9, 0.5, 0.0]]), np.int32([[0, 1, -1]])
EXPECTED = {"boxes": BOXES, "scores": SCORES, "labels": LABELS}


def answered(boxes=BOXES, scores=SCORES, labels=LABELS):
    return {
        "detection_boxes_pixels": boxes,
        "detection_scores": scores,
        "detection_classes": (labels + 1).astype(np.float32),
    }


def test_detections_within_the_tolerance_agree_in_any_order():
    rows = [[1, 0, 2]]
    answer = answered(BOXES[0][rows] + 0.4, SCORES[0][rows] + 9e-4, LABELS[0][rows])
    assert check_found("it", answer, EXPECTED, 0.05) == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"boxes": BOXES + 0.6},
        {"scores": SCORES + 2e-3},
        {"labels": np.int32([[0, 0, -1]])},
        {"labels": np.int32([[0, -1, -1]])},
    ],
)
def test_a_detection_without_a_partner_is_an_error(changed):
    with pytest.raises(ValueError, match="^it: 1 of|^it: 2 of"):
        check_found("it", answered(**changed), EXPECTED, 0.05)
    swapped = {"boxes": BOXES, "scores": SCORES, "labels": LABELS} | changed
    with pytest.raises(ValueError, match="^it: 1 of|^it: 2 of"):
        check_found("it", answered(), swapped, 0.05)


def test_what_rounding_may_bring_below_the_threshold_needs_no_partner():
    answer = answered(labels=np.int32([[0, -1, -1]]))
    assert check_found("it", answer, EXPECTED, 0.4995) == 1


@pytest.mark.parametrize(
    ("name", "words"), [("onnx", "ONNX needs tf2onnx"), ("openvino", "OpenVINO needs openvino")]
)
def test_missing_packages_are_named(monkeypatch, model, tmp_path, name, words):
    monkeypatch.setattr(portable.importlib.util, "find_spec", lambda package: None)
    with pytest.raises(ValueError, match=rf"{words}.*pip install 'keras-frcnn\[{name}\]'"):
        portable.export(name, model, tmp_path / "out", [np.zeros((9, 9, 3), np.uint8)])
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def pyramid():
    return fakes.detector(settings=fakes.SMALL_FPN)


@pytest.mark.parametrize("of", ["model", "pyramid"])
@pytest.mark.parametrize(
    ("name", "written"),
    [("onnx", ["model.onnx"]), ("openvino", ["model.bin", "model.xml"])],
)
def test_a_format_is_verified_in_its_own_runtime(of, name, written, request, images, tmp_path):
    for package in portable.FORMATS[name].packages:
        pytest.importorskip(package)
    lines = []
    detector = request.getfixturevalue(of)
    folder = portable.export(name, detector, tmp_path / "out", images, say=lines.append)
    assert sorted(p.name for p in folder.iterdir()) == [*("labels.txt", *written, "model_card.md")]
    assert lines[-1].startswith("Their answers agree, with ")
    assert not lines[-1].startswith("Their answers agree, with 0")
    card = (folder / "model_card.md").read_text("utf-8")
    assert f"{folder}/{written[-1]}" in card and "{" + "file" not in card


def test_a_file_with_other_answers_is_an_error(model, images, monkeypatch, tmp_path):
    """An answer must come from the file: one for another image is refused, and nothing is left."""
    expected = model.detect_batch(tf.constant(images[1][np.newaxis]))
    answer = answered(*(expected[key].numpy() for key in ("boxes", "scores", "labels")))
    form = portable.FORMATS["onnx"]._replace(
        packages=(), convert=lambda model, path: path.touch(), load=lambda path: lambda _: answer
    )
    monkeypatch.setitem(portable.FORMATS, "onnx", form)
    with pytest.raises(ValueError, match=r"model.onnx on 1 image\(s\): \d+ of \d+ detections"):
        portable.export("onnx", model, tmp_path / "out", images[:1])
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_to_compare_is_an_error(model, monkeypatch, tmp_path):
    form = portable.FORMATS["onnx"]._replace(convert=lambda model, path: path.touch())
    monkeypatch.setattr(portable, "FORMATS", {"onnx": form})
    monkeypatch.setattr(portable, "check_packages", lambda name: None)
    monkeypatch.setattr(portable, "verify", lambda *arguments: 0)
    with pytest.raises(ValueError, match="The ONNX file cannot be compared.*Give --images"):
        portable.export("onnx", model, tmp_path / "out", [np.zeros((9, 9, 3), np.uint8)])
    assert not any((tmp_path / "out").glob("*"))
