"""The signatures: they say what the model says, as clients read it, and each file for itself."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_frcnn.serving.export import save
from tests.data.images.image_forms import FORMS

OUTPUTS = {
    "detection_boxes",
    "detection_boxes_pixels",
    "detection_scores",
    "detection_classes",
    "detection_class_names",
    "num_detections",
    "status",
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
    assert answer["status"].tolist() == [b""] * len(sizes)


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
    numbers = OUTPUTS - {"detection_class_names", "status"}
    assert {answer[name].dtype for name in numbers} == {np.dtype("float32")}


def test_boxes_that_rounding_put_outside_are_served_within_0_and_1(pencil_model, tmp_path):
    detect_batch = pencil_model.detect_batch

    def slightly_outside(*arguments):
        answer = detect_batch(*arguments)
        return answer | {"boxes": answer["boxes"] * 1.000001}

    pencil_model.detect_batch = slightly_outside
    save(pencil_model, tmp_path / "model")
    serve = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"]
    answer = answer_of(serve, input_tensor=np.zeros((1, 20, 40, 3), np.uint8))
    assert answer["detection_boxes_pixels"].max() > 40
    assert answer["detection_boxes"].max() == 1


def test_signatures_have_the_names_that_clients_use(signatures, model):
    inputs = {
        name: {key: (spec.dtype, spec.shape.as_list()) for key, spec in arguments.items()}
        for name, arguments in ((n, s.structured_input_signature[1]) for n, s in signatures.items())
    }
    files, examples = {"image_bytes": (tf.string, [None])}, {"examples": (tf.string, [None])}
    assert inputs == {
        "serving_default": {"input_tensor": (tf.uint8, [None, None, None, 3])},
        "serve_bytes": files,
        "serve_bytes_strict": files,
        "serve_examples": examples,
        "serve_examples_strict": examples,
        "serve_options": files
        | {"score_threshold": (tf.float32, [None]), "max_detections": (tf.int32, [None])},
        "serve_tiled": files | {"tile": (tf.int32, [None]), "overlap": (tf.float32, [None])},
        "serve_proposals": files,
        "serve_raw": {"input_tensor": (tf.uint8, [None, None, None, 3])},
        "serve_features": {"input_tensor": (tf.uint8, [None, None, None, 3])},
        "describe": {},
    }
    rows = model.config.max_detections
    for name, signature in signatures.items():
        if name in ("describe", "serve_proposals", "serve_raw", "serve_features"):
            continue
        assert signature.structured_outputs.keys() == OUTPUTS
        assert signature.structured_outputs["detection_boxes"].shape.as_list() == [None, rows, 4]


def test_a_served_model_describes_itself(signatures, model):
    answer = answer_of(signatures["describe"])
    assert [name.decode() for name in answer["class_names"]] == list(model.class_names)
    assert json.loads(answer["settings"]) == model.config.model_config().to_dict()
    assert answer["step"] == model.step


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


# --- what cannot be read --------------------------------------------------------------------------

UNREADABLE = {
    "png above the limit": "9001 x 9001 pixels, more than 80000000 are refused",
    "jpeg above the limit": "9001 x 9001 pixels, more than 80000000 are refused",
    "BMP": "expected JPEG or PNG",
    "nothing": "the file is empty",
    "jpeg of half the pixels": "its pixels cannot be decoded",
    "png with damaged pixels": "its pixels cannot be decoded",
    "jpeg beginning": "its pixels cannot be decoded",
}


def example_of_features(**features) -> bytes:
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        for name, values in features.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def assert_only_the_first_is_answered(answer, expected):
    """Compares the first row with another answer's, and the other rows with padding."""
    for name, values in answer.items():
        np.testing.assert_array_equal(values[0], expected[name][0], err_msg=name)
        if name != "status":
            assert not values[1:].astype(bool).any(), name


def test_a_broken_file_fails_alone(signatures, images):
    sound = encode(images[0])
    broken = [FORMS[name].content for name in UNREADABLE]
    answer = answer_of(signatures["serve_bytes"], image_bytes=[sound, *broken])
    assert_only_the_first_is_answered(
        answer, answer_of(signatures["serve_bytes"], image_bytes=[sound])
    )
    assert answer["num_detections"][0] > 5
    sentences = [b"", *(f"unreadable image: {words}".encode() for words in UNREADABLE.values())]
    assert answer["status"].tolist() == sentences


def test_a_broken_example_fails_alone(signatures, images):
    sound = example_of(encode(images[0]))
    no_example = [
        b"nonsense",
        b"",
        example_of_features(image=[b"a"]),
        example_of_features(**{"image/encoded": [b"a", b"b"]}),
        example_of(b""),
    ]
    broken = [example_of(FORMS["BMP"].content), *no_example]
    answer = answer_of(signatures["serve_examples"], examples=[sound, *broken])
    assert_only_the_first_is_answered(
        answer, answer_of(signatures["serve_examples"], examples=[sound])
    )
    assert answer["status"].tolist() == [
        b"",
        b"unreadable image: expected JPEG or PNG",
        *[b"unreadable example: expected a tf.Example with one image file as image/encoded"] * 5,
    ]


@pytest.mark.parametrize("signature", ["serve_bytes", "serve_examples"])
def test_a_strict_signature_raises_what_another_one_tells(signatures, images, signature):
    files, argument = [encode(images[0]), b"nonsense"], "image_bytes"
    if signature == "serve_examples":
        files, argument = [example_of(file) for file in files], "examples"
    strict = signatures[f"{signature}_strict"]
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"image: expected JPEG or PNG\] \[row\] \[1\]"
    ):
        strict(**{argument: tf.constant(files)})
    expected = answer_of(signatures[signature], **{argument: files[:1]})
    for name, value in answer_of(strict, **{argument: files[:1]}).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.parametrize("signature", ["serve_bytes", "serve_examples_strict"])
def test_no_files_give_no_answers(signatures, signature):
    (argument,) = signatures[signature].structured_input_signature[1]
    answer = answer_of(signatures[signature], **{argument: np.zeros(0, "S")})
    assert answer["detection_boxes"].shape == (0, 100, 4)
    assert answer["status"].shape == (0,)


@pytest.mark.parametrize("shape", [(1, 50, 70, 6), (1, 3, 50, 70), (50, 70, 3), (0,), (1, 0, 9, 3)])
def test_arrays_of_another_shape_are_refused(signatures, shape):
    """By the graph itself, because a server does not compare the shape with the signature's."""
    numbers = " ".join(map(str, shape))
    words = rf"must be images \[N, height, width, 3\], colours last, .* shape\] \[{numbers}\]"
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=words):
        signatures["serving_default"](input_tensor=tf.zeros(shape, tf.uint8))


@pytest.mark.parametrize("shape", [(0, 50, 70, 3), (0, 0, 0, 3)])
def test_no_images_give_no_answers(server_version, signatures, shape):
    images = np.zeros(shape, np.uint8)
    answer = answer_of(signatures["serving_default"], input_tensor=images)
    assert answer.keys() == OUTPUTS
    assert answer["detection_boxes"].shape == (0, 100, 4)
    answer = server_version.run("serving_default", {"input_tensor": images})
    assert {len(value) for value in answer.values()} == {0}
