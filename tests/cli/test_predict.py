"""``keras-frcnn predict``: what a server answers becomes files."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.cli import predict
from keras_frcnn.models.detections import ImageDetections
from keras_frcnn.serving import client as clients

FOUND = [("dog", 0.75, [1, 2, 11, 22]), ("cat", 0.25, [0, 0, 20, 40])]


class Client:
    """Answers every image with the same detections, and "broken" with an error."""

    def __init__(self, *arguments):
        type(self).arguments = arguments

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def detect(self, images):
        boxes = np.array([box for *_, box in FOUND], np.float32)
        scores = np.array([score for _, score, _ in FOUND], np.float32)
        for path in images:
            if path.stem == "stop":
                raise ValueError("the server has not answered")
            broken = ValueError(f"{path}: unreadable image: expected JPEG or PNG")
            labels = np.array([1, 0], np.int32)
            found = ImageDetections(boxes, scores, labels, ("cat", "dog"), path)
            yield broken if path.stem == "broken" else found


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Returns a function that runs the command on images of these names."""
    monkeypatch.setattr(clients, "Client", Client)

    def run(names, *flags):
        for name in names:
            Image.new("RGB", (40, 20)).save(tmp_path / f"{name}.png")
        places = [f"--images={tmp_path}", f"--output_dir={tmp_path / 'out'}"]
        return predict.main(["--server=grpc://h:1/m", *places, *flags])

    return run


def results(tmp_path):
    return json.loads((tmp_path / "out" / "detections.json").read_text("utf-8"))


def names(tmp_path):
    return sorted(path.name for path in (tmp_path / "out").iterdir())


def test_detections_and_drawings_are_written(run, tmp_path, capsys):
    assert run(["a", "b"], "--timeout=2.5", "--retries=0", "--concurrency=7") == 0
    assert Client.arguments == ("grpc://h:1/m", 2.5, 0, 7)
    assert names(tmp_path) == ["a.png", "b.png", "detections.json"]
    written = results(tmp_path)
    assert written["server"] == "grpc://h:1/m"
    assert written["images"][0] == {
        "file": f"{tmp_path}/a.png",
        "drawing": "a.png",
        "height": 20,
        "width": 40,
        "detections": [
            {
                "class": "dog",
                "score": 0.75,
                "box_yxyx": [1, 2, 11, 22],
                "box_xywh": [2, 1, 20, 10],
            },
            {
                "class": "cat",
                "score": 0.25,
                "box_yxyx": [0, 0, 20, 40],
                "box_xywh": [0, 0, 40, 20],
            },
        ],
    }
    with Image.open(tmp_path / "out" / "a.png") as drawing:
        assert drawing.size == (40, 20)
        assert np.asarray(drawing).any()
    assert "Images: 2, detections: 4." in capsys.readouterr().out


def test_tables_are_written_instead(run, tmp_path):
    assert run(["a"], "--formats=coco,csv") == 0
    assert names(tmp_path) == ["coco.json", "detections.csv", "detections.json"]
    rows = json.loads((tmp_path / "out" / "coco.json").read_text("utf-8"))
    assert rows == [
        {"image_id": "a.png", "category_id": 2, "bbox": [2, 1, 20, 10], "score": 0.75},
        {"image_id": "a.png", "category_id": 1, "bbox": [0, 0, 40, 20], "score": 0.25},
    ]
    with open(tmp_path / "out" / "detections.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["file", "class", "score", "y1", "x1", "y2", "x2", "frame"],
            [f"{tmp_path}/a.png", "dog", "0.75", "1.0", "2.0", "11.0", "22.0", ""],
            [f"{tmp_path}/a.png", "cat", "0.25", "0.0", "0.0", "20.0", "40.0", ""],
        ]


def test_an_image_that_cannot_be_read_is_left_out(run, tmp_path, capsys):
    assert run(["a", "broken", "c"]) == 1
    written = results(tmp_path)
    assert [image["drawing"] for image in written["images"]] == ["a.png", "c.png"]
    error = f"{tmp_path}/broken.png: unreadable image: expected JPEG or PNG"
    assert written["unreadable"] == [{"file": f"{tmp_path}/broken.png", "error": error}]
    assert capsys.readouterr().err == f"keras-frcnn predict: skipped: {error}\n"


def test_what_was_found_before_the_server_failed_is_written(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        run(["a", "stop"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == "keras-frcnn predict: the server has not answered\n"
    assert [image["drawing"] for image in results(tmp_path)["images"]] == ["a.png"]


def test_a_foreign_folder_is_refused(run, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    with pytest.raises(SystemExit):
        run(["a"])
    assert "--output_dir must be new, empty, or written by" in capsys.readouterr().err
    assert names(tmp_path) == ["thesis.txt"]
