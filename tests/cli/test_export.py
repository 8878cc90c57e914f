"""``keras-frcnn export``: from a checkpoint to a SavedModel that answers as the model."""

import json
import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_frcnn.cli import export
from keras_frcnn.data.images.preprocessing import CAFFE
from keras_frcnn.data.writers import shapes
from keras_frcnn.serving import export as exporting
from keras_frcnn.training import run_folder
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

    backbone = SimpleNamespace(preprocessing=CAFFE, compute_dtype="float32")
    model = SimpleNamespace(
        class_names=("cat",), step=7, config=None, origin=None, backbone=backbone
    )
    monkeypatch.setattr("keras_frcnn.weights.checkpoint.load", stage("load", answer=model))
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
    stages = ["device:", "Loading", "precision", "Writing", "Comparing", "Their", "", "Done:"]
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
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["12", "batching.config", "models.config"]


def test_the_card_has_what_the_run_measured_at_this_step(checkpoint_path, stages, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(checkpoint_path, folder)
    for step, value in ((6, 0.25), (7, 0.5), (8, 0.75)):
        run_folder.append_evaluation(folder, step, "", {"mAP_area": value, "AP_area/cat": np.nan})
    flags = [f"--checkpoint={folder / 'best.keras'}", f"--output_dir={tmp_path / 'served'}"]
    assert export.main(flags) == 0
    card = (tmp_path / "served" / "1" / "model_card.md").read_text("utf-8")
    assert "## Metrics\n\n    mAP_area: 0.5000\n\n## Preprocessing" in card


def with_precision(model, path, precision):
    model.config, before = model.config.replace(precision=precision), model.config
    model.save(path)
    model.config = before


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "float32"),
        (["--precision=bfloat16"], "bfloat16"),
        (["--precision=mixed_float16"], "float16"),
    ],
)
def test_the_precision_is_the_one_that_was_asked_for(
    model, stages, monkeypatch, tmp_path, capsys, flags, expected
):
    with_precision(model, tmp_path / "best.keras", "mixed_bfloat16")
    monkeypatch.setattr(export, "_cost", lambda *args: "costs little")
    flags += [f"--checkpoint={tmp_path / 'best.keras'}", f"--output_dir={tmp_path / 'served'}"]
    assert export.main(flags) == 0
    assert stages["load"][1].precision == expected
    said = capsys.readouterr().out
    assert f"\nprecision of the SavedModel: {expected} (" in said
    assert ("costs little" in said) == (expected != "float32")


def test_what_another_precision_costs_is_measured(checkpoint_path, tmp_path, capsys):
    place = tmp_path / "served"
    flags = [f"--checkpoint={checkpoint_path}", f"--output_dir={place}", "--precision=bfloat16"]
    assert export.main(flags) == 0
    (line,) = re.findall("bfloat16 against float32: .*", capsys.readouterr().out)
    found = re.fullmatch(
        r"bfloat16 against float32: scores differ by up to (0\.\d{4}), (\d+) of (\d+) detections "
        r"are lost, mAP is \S+ instead of \S+ \(3 image\(s\); the objects are what float32 "
        r"detects with a score of at least 0\.5\)",
        line,
    )
    assert 0 < float(found[1]) < 0.1
    assert int(found[2]) < int(found[3]) == 30
    assert line in (place / "1" / "model_card.md").read_text("utf-8")


def test_the_cost_is_measured_on_the_evaluation_set_if_it_is_there(tmp_path):
    data = shapes.make(tmp_path / "data", 1, 3, 1, shorter_side=(64, 72), longer_side=(80, 96))
    model = fakes.detector()
    config = model.config.replace(data_dir=(str(data),), eval_split=("val",))
    line = export._cost(model, model, config, None)
    assert line.startswith("float32 against float32: scores differ by up to 0.0000, 0 of 30 ")
    assert line.endswith(" (3 image(s) of the evaluation set)")


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
    message = refusal(f"--checkpoint={checkpoint_path}", place, "--version=1")
    assert "/1 exists already and is not replaced" in message
    assert "There is no checkpoint" in refusal("--checkpoint=missing.keras", new)
    assert "no image at: gone" in refusal(f"--checkpoint={checkpoint_path}", new, "--images=gone")
    assert "--checkpoint is missing" in refusal(new)
    assert "--output_dir is missing" in refusal(f"--checkpoint={checkpoint_path}")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--format=openvino", "--batch_pixels=9"], "--format=openvino does not take"),
        (["--format=litert"], "--format=litert is not offered: the converter"),
        (
            ["--format=onnx", "--precision=bfloat16"],
            "--precision must be float32 with --format=onnx",
        ),
        (["--format=onnx", "--batch_pixels=9"], "--batch_pixels is for files"),
    ],
)
def test_what_a_format_cannot_do_is_refused_at_once(
    refusal, checkpoint_path, tmp_path, flags, words
):
    message = refusal(f"--checkpoint={checkpoint_path}", f"--output_dir={tmp_path / 'out'}", *flags)
    assert words in message
    assert not (tmp_path / "out").exists()
