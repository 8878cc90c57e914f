"""``keras-frcnn export``: from a checkpoint to a SavedModel that answers as the model."""

import json
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_frcnn.cli import export
from keras_frcnn.serving import export as exporting
from tests import fakes


@pytest.fixture(autouse=True, scope="module")
def small_backbone():
    with fakes.small_backbone():
        yield


@pytest.fixture(scope="module")
def model():
    return fakes.detector(("cat", "dog"))


@pytest.fixture(scope="module")
def checkpoint_path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "best.keras"
    model.save(path)
    return path


@pytest.fixture
def stages(monkeypatch):
    """Spares the work of an export; returns what its stages are called with."""
    calls = {}

    def stage(name, answer=None):
        return lambda *args: calls.setdefault(name, args) and answer

    monkeypatch.setattr("keras_frcnn.weights.checkpoint.load", stage("load"))
    monkeypatch.setattr(exporting, "save", stage("save"))
    monkeypatch.setattr(exporting, "verify", stage("verify", answer=1))
    return calls


@pytest.fixture
def refusal(capsys):
    """Returns a function that gives the message with which a command line is refused."""

    def refuse(*argv) -> str:
        with pytest.raises(SystemExit) as caught:
            export.main(list(argv))
        assert caught.value.code == 2
        return capsys.readouterr().err

    return refuse


def test_export_from_end_to_end(model, checkpoint_path, tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    base = tmp_path / "it's served"
    code = export.main(
        [f"--checkpoint={checkpoint_path}", f"--output_dir={base}", f"--images={tmp_path}"]
    )
    assert code == 0
    serve = tf.saved_model.load(str(base / "1")).signatures["serving_default"]
    answer = serve(input_tensor=tf.constant(image[np.newaxis]))
    expected = model.detect([image])["boxes"]
    np.testing.assert_allclose(answer["detection_boxes_pixels"], expected, atol=1e-3)
    lines = capsys.readouterr().out.splitlines()
    stages = ["device:", "Loading", "Writing", "Comparing", "Their", "", "Done:"]
    assert [line.partition(" ")[0] for line in lines[: len(stages)]] == stages
    # What is to be copied into a shell names the folders as a shell reads them.
    command = next(line for line in lines if "--model_base_path=" in line)
    echoed = subprocess.run(f"echo {command}", shell=True, capture_output=True, text=True)
    assert echoed.stdout == f"--model_base_path={base}\n"


def test_the_request_that_is_shown_is_json(checkpoint_path, stages, tmp_path, capsys):
    export.main([f"--checkpoint={checkpoint_path}", f"--output_dir={tmp_path / 'served'}"])
    text = capsys.readouterr().out
    request = text[text.index("  echo '{") : text.index("|\n    curl")]
    (tmp_path / "image.jpg").write_bytes(b"x" * 200)  # base64 would break it into lines
    shell = subprocess.run(request, shell=True, cwd=tmp_path, capture_output=True, check=True)
    (instance,) = json.loads(shell.stdout)["instances"]
    assert instance["image_bytes"]["b64"] == "eHh4" * 66 + "eHg="


def test_settings_and_version_can_be_chosen(checkpoint_path, stages, tmp_path):
    flags = ["--max_detections=7", "--version=12", f"--output_dir={tmp_path}"]
    assert export.main([f"--checkpoint={checkpoint_path}", *flags]) == 0
    assert stages["load"] == (str(checkpoint_path), fakes.SMALL.replace(max_detections=7))
    assert [path.name for path in tmp_path.iterdir()] == ["12"]


def test_no_more_than_eight_images_are_compared(checkpoint_path, stages, tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(10):
        image = np.full((5, 6 + number, 3), number, np.uint8)
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
    flags = [f"--images={tmp_path / 'images'}", f"--output_dir={tmp_path / 'served'}"]
    assert export.main([f"--checkpoint={checkpoint_path}", *flags]) == 0
    assert [image.shape[1] for image in stages["verify"][2]] == list(range(6, 14))


def test_a_difference_is_an_error_and_leaves_nothing(
    checkpoint_path, stages, tmp_path, monkeypatch, refusal
):
    def verify(*args):
        raise ValueError("detection_scores differs by 1")

    monkeypatch.setattr(exporting, "verify", verify)
    message = refusal(f"--checkpoint={checkpoint_path}", f"--output_dir={tmp_path}")
    assert message == "keras-frcnn export: detection_scores differs by 1\n"
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused(checkpoint_path, tmp_path, refusal):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "thesis.txt").touch()
    place, new = f"--output_dir={tmp_path}", f"--output_dir={tmp_path / 'new'}"
    assert "holds something other" in refusal(f"--checkpoint={checkpoint_path}", place)
    assert "There is no checkpoint" in refusal("--checkpoint=missing.keras", new)
    assert "no image at: gone" in refusal(f"--checkpoint={checkpoint_path}", new, "--images=gone")
    assert "--checkpoint is missing" in refusal(new)
    assert "--output_dir is missing" in refusal(f"--checkpoint={checkpoint_path}")
    assert not (tmp_path / "new").exists()
