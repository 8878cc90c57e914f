"""The client: it gets the detections of a server in order, and tells what goes wrong."""

import io
import json
import shutil
import threading
import time

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.serving import client as clients
from keras_frcnn.serving.client import Client
from tests.serving import standin

FORMS = ["grpc", "rest"]


@pytest.fixture(scope="module")
def server(pencil_dir, tmp_path_factory):
    base = tmp_path_factory.mktemp("base")
    shutil.copytree(pencil_dir, base / "1")
    with standin.Server(base) as server:
        yield server


@pytest.fixture
def address(server):
    """Returns a function that gives the server's address in a form, and makes it sound again."""
    while server.num_active:  # requests that the test before gave up
        time.sleep(0.01)
    server.failures, server.delay, server.most_active = 0, 0.0, 0

    def address(form, model="detector"):
        rest = f"{server.rest}/v1/models/{model}"
        return f"grpc://{server.grpc}/{model}" if form == "grpc" else rest

    return address


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(clients, "_FIRST_PAUSE", 0.01)


def file(height, width) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (width, height)).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize("form", FORMS)
def test_images_of_any_form_and_size_are_answered_in_order(address, form, tmp_path):
    (tmp_path / "a.png").write_bytes(file(20, 40))
    (tmp_path / "broken.png").write_bytes(b"nonsense")
    images = [tmp_path / "a.png", file(100, 60), str(tmp_path / "broken.png"), tmp_path / "none"]
    with Client(address(form)) as client:
        first, second, broken, missing = client.detect(images)
    assert first.boxes.tolist() == [[0, 0, 10, 20], [0, 0, 20, 40]]
    assert second.boxes.tolist() == [[0, 0, 50, 30], [0, 0, 100, 60]]
    assert [(one.class_name, one.score, one.label) for one in first] == [
        ("dög", 0.75, 1),
        ("cat", 0.5, 0),
    ]
    assert first.image == tmp_path / "a.png"
    assert first.draw().size == (40, 20)
    assert (first.boxes.dtype, first.scores.dtype, first.labels.dtype) == (
        np.float32,
        np.float32,
        np.int32,
    )
    assert [row["category_id"] for row in first.to_coco(7)] == [2, 1]
    assert str(broken) == f"{tmp_path}/broken.png: unreadable image: expected JPEG or PNG"
    assert str(missing) == f"{tmp_path}/none: unreadable image: No such file or directory"


@pytest.mark.parametrize("form", FORMS)
def test_a_busy_server_is_asked_again(address, server, form):
    server.failures = 2
    with Client(address(form), retries=2, concurrency=1) as client:
        assert len(next(client.detect([file(9, 9)]))) == 2
    server.failures = 2
    with (
        Client(address(form), retries=1, concurrency=1) as client,
        pytest.raises(ValueError) as caught,
    ):
        next(client.detect([file(9, 9)]))
    assert str(caught.value) == (
        f"{address(form)} has not answered for an image: The batch scheduling queue is full"
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_slow_server_is_given_up(address, server, form):
    server.delay = 2
    with (
        Client(address(form), timeout=0.2, retries=1) as client,
        pytest.raises(ValueError, match="has not answered for an image: .*(ime|eadline)"),
    ):
        next(client.detect([file(9, 9)]))


@pytest.mark.parametrize("form", FORMS)
def test_what_does_not_pass_is_not_repeated(address, form, monkeypatch):
    monkeypatch.setattr(clients, "_FIRST_PAUSE", -1e9)  # before a repetition, sleep would raise
    with (
        Client(address(form, model="other")) as client,
        pytest.raises(ValueError, match=r"/other has not answered for an image: .*ot found"),
    ):
        next(client.detect([file(9, 9)]))


def test_a_server_that_is_not_there_is_named():
    with (
        Client("http://localhost:9/v1/models/a", retries=0) as client,
        pytest.raises(ValueError, match="http://localhost:9/v1/models/a has not .* refused"),
    ):
        next(client.detect([file(9, 9)]))


def test_requests_under_way_are_bounded(address, server):
    server.delay = 0.2  # so that they overlap, also on a busy machine
    with Client(address("grpc"), concurrency=3) as client:
        assert len(list(client.detect([file(9, 9)] * 12))) == 12
    assert server.most_active == 3


def test_a_caller_that_stops_leaves_no_thread(address, server):
    before = set(threading.enumerate())
    with Client(address("rest"), concurrency=2) as client:
        answers = client.detect([file(9, 9)] * 50)
        next(answers)
        answers.close()
        started = [t for t in set(threading.enumerate()) - before if "ThreadPool" in t.name]
        assert started == []


@pytest.mark.parametrize(
    "name",
    ["localhost:8500", "grpc://localhost:8500", "grpc://h:1/v1/models/a", "http://", "ftp://h/a"],
)
def test_other_addresses_are_refused(name):
    with pytest.raises(ValueError) as caught:
        Client(name)
    assert str(caught.value) == (
        "the server must be grpc://host:port/model or http(s)://host:port/v1/models/model. "
        f"Received: {name!r}"
    )


def test_an_answer_of_another_form_is_named(address, monkeypatch):
    def urlopen(request, timeout):
        return io.BytesIO(json.dumps({"outputs": []}).encode())

    monkeypatch.setattr(clients.urllib.request, "urlopen", urlopen)
    with (
        Client(address("rest")) as client,
        pytest.raises(ValueError, match="an image: the answer has another form"),
    ):
        next(client.detect([file(9, 9)]))


def test_a_saved_model_in_this_process_answers_as_a_server(pencil_dir):
    model = clients.SavedModel(pencil_dir)
    assert model.class_names == ("cat", "dög")
    image = np.zeros((20, 40, 3), np.uint8)
    found = model.detect(image)
    assert found.boxes.tolist() == [[0, 0, 10, 20], [0, 0, 20, 40]]
    assert [(one.class_name, one.score) for one in found] == [("dög", 0.75), ("cat", 0.5)]
    assert found.image is image and found.class_names == ("cat", "dög")


def test_a_saved_model_of_another_kind_is_refused(tmp_path):
    import tensorflow as tf

    with pytest.raises(ValueError, match=f"a file saved_model.pb. Received: {tmp_path}"):
        clients.SavedModel(tmp_path)
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(ValueError, match="needs the signatures serving_default and describe"):
        clients.SavedModel(tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_arrays_are_sent_as_files(address, form):
    images = [np.zeros((20, 40, 3), np.uint8), np.zeros((100, 60, 3), np.uint8)]
    with Client(address(form)) as client:
        first, second = client.detect(images)
    assert first.boxes.tolist() == [[0, 0, 10, 20], [0, 0, 20, 40]]
    assert second.image is images[1]


def test_only_a_few_images_are_taken_ahead(address):
    taken = []

    def images():
        for number in range(50):
            taken.append(number)
            yield file(9, 9)

    with Client(address("grpc"), concurrency=2) as client:
        answers = client.detect(images())
        next(answers)
        assert len(taken) == 4
        assert len(list(answers)) == 49


def test_requests_that_wait_are_joined_and_answered_apart():
    """The stand-in's own batching: while one request runs, those behind it gather."""
    started, may_go_on, sizes = threading.Event(), threading.Event(), []

    def run(signature, inputs):
        sizes.append(len(inputs["x"]))
        started.set()
        may_go_on.wait(10)
        return {"y": 10 * inputs["x"]}

    ask = standin.Batcher(run, max_batch_size=3)
    answers = {}

    def send(number):
        answers[number] = ask("serve_bytes", {"x": np.array([number])})["y"].tolist()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(5)]
    threads[0].start()
    started.wait(10)
    for thread in threads[1:]:
        thread.start()
    while len(ask._waiting) < 4:
        time.sleep(0.01)
    may_go_on.set()
    for thread in threads:
        thread.join()
    assert answers == {number: [10 * number] for number in range(5)}
    assert sizes == [1, 3, 1]
