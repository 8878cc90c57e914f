"""The comparison of a SavedModel with its model: what is equal passes, what differs is named."""

import copy
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.serving import verify as verifying
from keras_frcnn.serving.verify import verify


def test_a_right_savedmodel_passes_and_its_detections_are_counted(saved_model_dir, model, images):
    compared = [*images, images[0][:, ::-1]]
    expected = int(model.detect(compared)["num_detections"].sum())
    assert verify(saved_model_dir, model, images) == expected > 20


def test_what_is_no_savedmodel_cannot_be_served(model, images, tmp_path):
    with pytest.raises(ValueError, match=r"cannot be served:\n(.*\n)*.*SavedModel file does not"):
        verify(tmp_path, model, images)


def test_neither_the_package_nor_keras_can_be_imported_where_it_is_loaded(monkeypatch, tmp_path):
    class Loaded(Exception):
        pass

    def load(folder):
        for name in ("keras_frcnn", "keras_frcnn.layers", "keras"):
            with pytest.raises(ImportError):
                __import__(name)
        raise Loaded

    for name in ("keras_frcnn", "keras"):
        monkeypatch.setitem(sys.modules, name, sys.modules[name])  # restored after the test
    monkeypatch.setattr(tf.saved_model, "load", load)
    with pytest.raises(Loaded):
        verifying._answer_requests(str(tmp_path), "asked.npz", "answered.npz")


# --- every difference is found --------------------------------------------------------------------


def ask_in_this_process(saved_model_dir, images):
    """Spares the fresh process."""
    signatures = tf.saved_model.load(str(saved_model_dir)).signatures
    answers = []
    for signature, rows in verifying._requests(len(images)):
        asked = verifying.inputs(signature, [images[row] for row in rows])
        answer = {k: v.numpy() for k, v in signatures[signature](**asked).items()}
        texts = ("detection_class_names", "status")
        answers.append(answer | {name: answer[name].astype("S") for name in texts})
    return answers


PENCIL_IMAGES = [np.zeros((20, 40, 3), np.uint8), np.zeros((30, 30, 3), np.uint8)]


@pytest.fixture(scope="module")
def pencil_answers(pencil_dir):
    """The right answers of the pencil model's SavedModel; ``verify`` adds a mirrored image."""
    return ask_in_this_process(pencil_dir, [*PENCIL_IMAGES, PENCIL_IMAGES[0]])


@pytest.fixture
def tampered(pencil_model, pencil_dir, pencil_answers, monkeypatch):
    """Returns a function that verifies after one answer was changed."""

    def verify_with(change, number=0):
        answers = copy.deepcopy(pencil_answers)
        change(answers[number])
        monkeypatch.setattr(verifying, "_ask_in_fresh_process", lambda *args: answers)
        return verify(pencil_dir, pencil_model, PENCIL_IMAGES)

    return verify_with


def test_a_savedmodel_of_other_weights_is_found(saved_model_dir, model, images, monkeypatch):
    bias = next(w for w in model.weights if w.path.endswith("block2_conv1/bias"))
    right = bias.numpy()
    monkeypatch.setattr(verifying, "_ask_in_fresh_process", ask_in_this_process)
    bias.assign(right + 1e-3)
    try:
        with pytest.raises(ValueError, match=r"serving_default on 1 image.* differs by "):
            verify(saved_model_dir, model, images[:1])
    finally:
        bias.assign(right)


def test_untouched_answers_pass(tampered):
    assert tampered(lambda answer: None) == 6  # two on each image and on the mirrored first


@pytest.mark.parametrize(
    ("name", "amount"),
    [
        ("detection_boxes", 1e-4),
        ("detection_boxes_pixels", 0.01),
        ("detection_scores", 1e-4),
        ("detection_classes", 1),
        ("num_detections", 1),
        ("detection_scores", np.nan),
    ],
)
@pytest.mark.parametrize(
    ("number", "request_name"),
    [
        (0, "serving_default on 1 image"),
        (2, "serving_default on 1 image"),
        (3, "serving_default on 2 image"),
        (4, "serve_bytes on 3 image"),
        (5, "serve_examples on 3 image"),
    ],
)
def test_changed_numbers_are_found(tampered, name, amount, number, request_name):
    def change(answer):
        answer[name][-1, ...] += np.float32(amount)

    with pytest.raises(ValueError, match=rf"{request_name}.*: {name} differs by "):
        tampered(change, number)


def test_a_changed_class_name_is_found(tampered):
    def change(answer):
        answer["detection_class_names"][0, 1] = b"dog"

    with pytest.raises(ValueError, match="detection_class_names differs in 1 entries"):
        tampered(change)


def test_a_missing_output_is_found(tampered):
    with pytest.raises(ValueError, match=r"expected \['detection_boxes'.* Received: "):
        tampered(lambda answer: answer.pop("num_detections"))


def test_a_changed_shape_or_type_is_found(tampered):
    def cut(answer):
        answer["detection_scores"] = answer["detection_scores"][:, :2]

    def whole_numbers(answer):
        answer["num_detections"] = answer["num_detections"].astype(np.int32)

    with pytest.raises(
        ValueError, match=r"scores should be float32 \[1, 3\]. Received: .*\[1, 2\]"
    ):
        tampered(cut)
    with pytest.raises(
        ValueError, match=r"num_detections should be float32 \[1\]. Received: int32"
    ):
        tampered(whole_numbers)
