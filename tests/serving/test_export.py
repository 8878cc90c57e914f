"""The SavedModel: it says what the model says, as clients read it, and finds its place."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_frcnn.serving import export as exporting
from keras_frcnn.serving.export import export, synthetic_images
from tests import fakes
from tests.data.images.image_forms import FORMS

OUTPUTS = {
    "detection_boxes",
    "detection_boxes_pixels",
    "detection_scores",
    "detection_classes",
    "detection_class_names",
    "num_detections",
}


def encode(image, form="PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, form)
    return file.getvalue()


def example_of(content: bytes) -> bytes:
    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
    features = tf.train.Features(feature={"image/encoded": value})
    return tf.train.Example(features=features).SerializeToString()


def answer_of(signature, **inputs):
    answer = signature(**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in answer.items()}


def assert_equals_detect(answer, detections, class_names, sizes):
    """Compares a served answer with ``FasterRCNN.detect``'s, each row with a slow look-up."""
    assert answer.keys() == OUTPUTS
    np.testing.assert_array_equal(answer["num_detections"], detections["num_detections"])
    np.testing.assert_allclose(answer["detection_scores"], detections["scores"], atol=1e-5)
    np.testing.assert_allclose(answer["detection_boxes_pixels"], detections["boxes"], atol=1e-3)
    for i, (height, width) in enumerate(sizes):
        count = detections["num_detections"][i]
        assert 5 <= count <= len(detections["scores"][i])
        for j, label in enumerate(detections["labels"][i]):
            assert answer["detection_classes"][i, j] == label + 1
            name = class_names[label] if j < count else ""
            assert answer["detection_class_names"][i, j].decode() == name
            y1, x1, y2, x2 = detections["boxes"][i, j]
            np.testing.assert_allclose(
                answer["detection_boxes"][i, j],
                [y1 / height, x1 / width, y2 / height, x2 / width],
                atol=1e-5,
            )
    assert answer["detection_boxes"].min() >= 0
    assert answer["detection_boxes"].max() <= 1


# --- the form of an answer ------------------------------------------------------------------------


def test_an_answer_by_pencil(pencil_dir):
    signatures = tf.saved_model.load(str(pencil_dir)).signatures
    small, large = np.zeros((20, 40, 3), np.uint8), np.zeros((100, 60, 3), np.uint8)
    answer = answer_of(signatures["serve_bytes"], image_bytes=[encode(small), encode(large)])
    assert answer.keys() == OUTPUTS
    np.testing.assert_array_equal(
        answer["detection_boxes_pixels"],
        [
            [[0, 0, 10, 20], [0, 0, 20, 40], [0, 0, 0, 0]],
            [[0, 0, 50, 30], [0, 0, 100, 60], [0, 0, 0, 0]],
        ],
    )
    relative = [[0, 0, 0.5, 0.5], [0, 0, 1, 1], [0, 0, 0, 0]]
    np.testing.assert_array_equal(answer["detection_boxes"], [relative] * 2)
    np.testing.assert_array_equal(answer["detection_scores"], [[0.75, 0.5, 0]] * 2)
    np.testing.assert_array_equal(answer["detection_classes"], [[2, 1, 0]] * 2)
    names = ["dög".encode(), b"cat", b""]
    assert answer["detection_class_names"].tolist() == [names] * 2
    np.testing.assert_array_equal(answer["num_detections"], [2, 2])
    numbers = OUTPUTS - {"detection_class_names"}
    assert {answer[name].dtype for name in numbers} == {np.dtype("float32")}


def test_boxes_that_rounding_put_outside_are_served_within_0_and_1(pencil_model, tmp_path):
    detect_batch = pencil_model.detect_batch

    def slightly_outside(images):
        answer = detect_batch(images)
        return answer | {"boxes": answer["boxes"] * 1.000001}

    pencil_model.detect_batch = slightly_outside
    exporting.save(pencil_model, tmp_path / "model")
    serve = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"]
    answer = answer_of(serve, input_tensor=np.zeros((1, 20, 40, 3), np.uint8))
    assert answer["detection_boxes_pixels"].max() > 40
    assert answer["detection_boxes"].max() == 1


def test_signatures_have_the_names_that_clients_use(signatures, model):
    inputs = {
        name: {key: (spec.dtype, spec.shape.as_list()) for key, spec in arguments.items()}
        for name, arguments in ((n, s.structured_input_signature[1]) for n, s in signatures.items())
    }
    assert inputs == {
        "serving_default": {"input_tensor": (tf.uint8, [None, None, None, 3])},
        "serve_bytes": {"image_bytes": (tf.string, [None])},
        "serve_examples": {"examples": (tf.string, [None])},
    }
    rows = model.config.max_detections
    for signature in signatures.values():
        assert signature.structured_outputs.keys() == OUTPUTS
        assert signature.structured_outputs["detection_boxes"].shape.as_list() == [None, rows, 4]


def test_class_names_are_packed_as_an_asset(saved_model_dir):
    assert (saved_model_dir / "assets" / "labels.txt").read_text("utf-8") == "cat\ndög\nbus\n"


# --- equal to the model ---------------------------------------------------------------------------


def test_images_of_different_sizes_are_served_as_detected(signatures, model, images):
    for image in images:
        answer = answer_of(signatures["serving_default"], input_tensor=image[np.newaxis])
        expected = model.detect([image])
        assert_equals_detect(answer, expected, model.class_names, [image.shape[:2]])


def test_a_batch_of_two_equals_singles(signatures, model, images):
    batch = np.stack([images[0], images[0][::-1]])
    answer = answer_of(signatures["serving_default"], input_tensor=batch)
    assert np.any(answer["detection_scores"][0] != answer["detection_scores"][1])
    assert_equals_detect(answer, model.detect(list(batch)), model.class_names, [(50, 70)] * 2)


def test_files_of_mixed_forms_and_sizes_are_served_as_detected(signatures, model, images, tmp_path):
    files = [encode(images[0], "JPEG"), encode(images[1]), encode(images[2], "JPEG")]
    paths = [tmp_path / str(number) for number in range(3)]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    sizes = [image.shape[:2] for image in images]
    expected = model.detect(paths)
    for signature, argument, values in (
        ("serve_bytes", "image_bytes", files),
        ("serve_examples", "examples", [example_of(file) for file in files]),
    ):
        answer = answer_of(signatures[signature], **{argument: values})
        assert_equals_detect(answer, expected, model.class_names, sizes)


def test_grey_and_transparent_files_are_served(signatures, model, images):
    grey = images[0][..., 0]
    transparent = np.concatenate([images[1], images[1][..., :1]], axis=-1)
    answer = answer_of(signatures["serve_bytes"], image_bytes=[encode(grey), encode(transparent)])
    expected = model.detect([np.stack([grey] * 3, axis=-1), images[1]])
    assert_equals_detect(answer, expected, model.class_names, [(50, 70), (80, 45)])


@pytest.mark.parametrize("signature", ["serve_bytes", "serve_examples"])
def test_files_are_turned_upright_as_detect_turns_them(signatures, model, signature, tmp_path):
    names = ["jpeg turned 6", "png turned 8", "jpeg cmyk", "png interlaced, of 16 bits"]
    files = [FORMS[name].content for name in names]
    paths = [tmp_path / str(number) for number in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    inputs = {"image_bytes": files}
    if signature == "serve_examples":
        inputs = {"examples": [example_of(file) for file in files]}
    answer = answer_of(signatures[signature], **inputs)
    sizes = [(36, 24), (36, 24), (24, 36), (24, 36)]
    assert_equals_detect(answer, model.detect(paths), model.class_names, sizes)


@pytest.mark.parametrize("name", ["png above the limit", "jpeg above the limit", "BMP"])
def test_what_detect_refuses_is_not_served(signatures, name):
    with pytest.raises(tf.errors.InvalidArgumentError, match="unreadable image"):
        signatures["serve_bytes"](image_bytes=tf.constant([FORMS[name].content]))


def test_no_files_give_no_answers(signatures):
    answer = answer_of(signatures["serve_bytes"], image_bytes=np.zeros(0, "S"))
    assert answer["detection_boxes"].shape == (0, 100, 4)


def test_a_file_that_is_no_image_is_an_error(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected JPEG or PNG"):
        signatures["serve_bytes"](image_bytes=tf.constant([b"nonsense"]))


# --- the place ------------------------------------------------------------------------------------


@pytest.fixture
def verified(monkeypatch):
    """Replaces ``verify``; collects what it is called with."""
    calls = []
    monkeypatch.setattr(exporting, "verify", lambda *args: calls.append(args) or 3)
    return calls


def contents(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.iterdir())


def test_export_writes_a_numbered_folder_and_nothing_else(pencil_model, verified, tmp_path):
    lines = []
    images = synthetic_images()[:1]
    folder = export(pencil_model, tmp_path / "a" / "b", images, version=3, say=lines.append)
    assert folder == tmp_path / "a" / "b" / "3"
    assert contents(tmp_path / "a" / "b") == ["3"]
    assert tf.saved_model.contains_saved_model(str(folder))
    ((_, model, compared),) = verified
    assert model is pencil_model
    assert compared is images
    assert [line.split()[0] for line in lines] == ["Writing", "Comparing", "Their"]
    assert "3 detections" in lines[-1]
    assert oct(folder.stat().st_mode) == oct(folder.parent.stat().st_mode)  # the server may read it


def test_export_says_when_no_detection_was_compared(pencil_model, monkeypatch, tmp_path):
    monkeypatch.setattr(exporting, "verify", lambda *args: 0)
    lines = []
    export(pencil_model, tmp_path, say=lines.append)
    assert "--images" in lines[-1]


def test_export_replaces_an_earlier_savedmodel(pencil_model, verified, tmp_path):
    folder = export(pencil_model, tmp_path)
    (folder / "old").touch()
    pencil_model.class_names = ("bird", "fish")
    export(pencil_model, tmp_path)
    assert contents(tmp_path) == ["1"]
    assert not (folder / "old").exists()
    assert (folder / "assets" / "labels.txt").read_text() == "bird\nfish\n"


def test_a_failed_export_changes_nothing(pencil_model, verified, monkeypatch, tmp_path):
    monkeypatch.setattr(exporting, "save", lambda _, folder: (folder / "saved_model.pb").touch())
    folder = export(pencil_model, tmp_path)
    before = sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*"))

    def fail(*args):
        raise ValueError("it differs")

    monkeypatch.setattr(exporting, "verify", fail)
    for version in (1, 2):
        with pytest.raises(ValueError, match="it differs"):
            export(pencil_model, tmp_path, version=version)
    assert contents(tmp_path) == ["1"]
    assert sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*")) == before


def test_a_foreign_folder_is_refused_before_any_work(pencil_model, verified, tmp_path):
    precious = tmp_path / "1" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    with pytest.raises(ValueError, match=r"1 holds something other than a SavedModel"):
        export(pencil_model, tmp_path)
    assert precious.read_text() == "years of work"
    assert verified == []


def test_synthetic_images_are_images_of_different_sizes():
    images = synthetic_images()
    assert len({image.shape for image in images}) == len(images) == 3
    for image in images:
        assert image.dtype == np.uint8
        assert image.std() > 20


def test_weights_that_are_not_finite_are_not_exported(tmp_path):
    model = fakes.detector()
    bias = model.roi_head.box_head.classes.bias
    bias.assign(np.full(bias.shape, np.nan))
    with pytest.raises(ValueError, match="The first is box_head/classes/bias"):
        export(model, tmp_path / "served")
    assert list((tmp_path / "served").iterdir()) == []
