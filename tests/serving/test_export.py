"""The export: it finds its place, and changes nothing there unless it is right."""

import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from keras_frcnn.serving import export as exporting
from keras_frcnn.serving.export import export, synthetic_images
from tests import fakes
from tests.serving import standin


@pytest.fixture
def verified(monkeypatch):
    """Replaces ``verify``; collects what it is called with."""
    calls = []
    monkeypatch.setattr(exporting, "verify", lambda *args: calls.append(args) or 3)
    return calls


def contents(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.iterdir())


SERVER_FILES = ["batching.config", "models.config"]


def test_export_writes_a_numbered_folder_and_the_servers_files(pencil_model, verified, tmp_path):
    lines = []
    images = synthetic_images()[:1]
    base = tmp_path / "a" / "b"
    folder = export(pencil_model, base, images, version=3, say=lines.append)
    assert folder == base / "3"
    assert contents(base) == ["3", *SERVER_FILES]
    assert tf.saved_model.contains_saved_model(str(folder))
    assert contents(folder) == [
        *("assets", "assets.extra", "fingerprint.pb", "labels.txt", "model_card.md"),
        *("saved_model.pb", "variables"),
    ]
    for labels in ("labels.txt", "assets/labels.txt"):
        assert (folder / labels).read_text("utf-8") == "cat\ndög\n"
    ((_, model, compared, has_batches),) = verified
    assert model is pencil_model
    assert compared is images and not has_batches
    assert [line.split()[0] for line in lines] == ["Writing", "Comparing", "Their"]
    assert "3 detections" in lines[-1]


def test_export_says_when_no_detection_was_compared(pencil_model, monkeypatch, tmp_path):
    monkeypatch.setattr(exporting, "verify", lambda *args: 0)
    lines = []
    export(pencil_model, tmp_path, say=lines.append)
    assert "--images" in lines[-1]


def test_a_second_export_gets_a_folder_of_its_own(pencil_model, verified, tmp_path):
    export(pencil_model, tmp_path)
    (tmp_path / "models.config").write_text("edited")
    pencil_model.class_names = ("bird", "fish")
    assert export(pencil_model, tmp_path, card={"Metrics": "mAP 0.5"}) == tmp_path / "2"
    assert contents(tmp_path) == ["1", "2", *SERVER_FILES]
    labels = [(tmp_path / number / "labels.txt").read_text("utf-8") for number in "12"]
    assert labels == ["cat\ndög\n", "bird\nfish\n"]
    assert (tmp_path / "models.config").read_text() == "edited"
    cards = [(tmp_path / number / "model_card.md").read_text("utf-8") for number in "12"]
    assert ["mAP 0.5" in card for card in cards] == [False, True]
    assert f"--dir {tmp_path}/2" in cards[1]


def test_a_failed_export_changes_nothing(pencil_model, verified, monkeypatch, tmp_path):
    def save(_, folder, *options):
        (folder / "saved_model.pb").touch()

    monkeypatch.setattr(exporting, "save", save)
    export(pencil_model, tmp_path)
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file())

    def fail(*args):
        raise ValueError("it differs")

    monkeypatch.setattr(exporting, "verify", fail)
    for version in (None, 7):
        with pytest.raises(ValueError, match="it differs"):
            export(pencil_model, tmp_path, version=version)
    assert contents(tmp_path) == ["1", *SERVER_FILES]
    assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()) == before


def test_a_folder_that_is_there_is_refused_before_any_work(pencil_model, verified, tmp_path):
    precious = tmp_path / "1" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    with pytest.raises(ValueError, match=r"/1 exists already"):
        export(pencil_model, tmp_path, version=1)
    assert precious.read_text() == "years of work"
    assert verified == []


def test_a_running_server_turns_to_the_new_version_when_it_is_whole(
    pencil_model, monkeypatch, tmp_path
):
    monkeypatch.setattr(exporting, "verify", lambda *args: 3)
    export(pencil_model, tmp_path)
    with standin.Server(tmp_path) as server:
        assert class_names_of(server) == {b"cat", "dög".encode()}
        pencil_model.class_names = ("bird", "fish")
        during = []
        monkeypatch.setattr(
            exporting, "verify", lambda *args: during.append(class_names_of(server)) or 3
        )
        export(pencil_model, tmp_path)
        assert during == [{b"cat", "dög".encode()}]
        deadline = time.monotonic() + 600
        while server.version.number < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert class_names_of(server) == {b"bird", b"fish"}


def class_names_of(server):
    """Asks a server, by gRPC, for the names of what a pencil model detects."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "detector"
    request.inputs["input_tensor"].CopyFrom(tf.make_tensor_proto(np.zeros((1, 9, 9, 3), np.uint8)))
    with grpc.insecure_channel(server.grpc) as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, 60)
    return set(tf.make_ndarray(answer.outputs["detection_class_names"]).ravel()) - {b""}


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
