"""``keras-frcnn detect``: from a checkpoint and images to drawings and detections.json."""

import errno
import json
import os
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps

from keras_frcnn import build_detector
from keras_frcnn.cli import detect, detections_folder
from keras_frcnn.data.images import files as image_files
from keras_frcnn.drawing import detections as visualize
from tests import fakes


@pytest.fixture(scope="module")
def model():
    return build_detector(fakes.SMALL_VGG16, ("cat", "dög"))


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "best.keras"
    model.save(path)
    return path


@pytest.fixture
def loaded(model, monkeypatch):
    """Spares loading the checkpoint where a test is not about its settings."""
    monkeypatch.setattr("keras_frcnn.weights.checkpoint.load", lambda path, config: model)


@pytest.fixture
def make_image(tmp_path):
    """Returns a function that writes an image of coloured blocks."""
    random = np.random.default_rng(0)

    def make(name, height=48, width=64, **options):
        blocks = random.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
        image = np.kron(blocks, np.ones((16, 16, 1), np.uint8))
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(image).save(tmp_path / name, **options)
        return image

    return make


@pytest.fixture
def run(checkpoint, tmp_path):
    """Returns a function that detects into ``out`` and gives exit code and detections.json."""

    def run(images, *flags):
        folder = tmp_path / "out"
        places = ",".join(str(tmp_path / place) for place in images.split(","))
        required = [f"--checkpoint={checkpoint}", f"--images={places}", f"--output_dir={folder}"]
        code = detect.main([*required, *flags])
        return code, json.loads((folder / "detections.json").read_text(encoding="utf-8"))

    return run


@pytest.fixture
def refusal(checkpoint, tmp_path, capsys):
    """Returns a function that gives the message with which a command line is refused."""

    def refuse(*flags, checkpoint=checkpoint) -> str:
        with pytest.raises(SystemExit) as caught:
            detect.main([f"--checkpoint={checkpoint}", *flags])
        assert caught.value.code == 2
        return capsys.readouterr().err

    return refuse


def assert_written(image, detections, class_names):
    """Compares one image in detections.json with ``FasterRCNN.detect``'s answer for it."""
    count = detections["num_detections"][0]
    assert len(image["detections"]) == count > 5
    for row, written in enumerate(image["detections"]):
        assert written.keys() == {"class", "score", "box_yxyx", "box_xywh"}
        y1, x1, y2, x2 = detections["boxes"][0, row]
        assert written["class"] == class_names[detections["labels"][0, row]]
        assert written["score"] == pytest.approx(detections["scores"][0, row], abs=1e-4)
        assert written["box_yxyx"] == pytest.approx([y1, x1, y2, x2], abs=0.01)
        assert written["box_xywh"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=0.01)


def test_detect_from_end_to_end(run, make_image, model, checkpoint, tmp_path, capsys):
    image = make_image("images/a.png")
    other = make_image("images/b.png", 64, 48)
    (tmp_path / "images" / "cut.png").write_bytes(b"no image")
    code, results = run("images")
    assert code == 1
    assert {k: v for k, v in results.items() if k not in ("images", "unreadable")} == {
        "checkpoint": str(checkpoint),
        "class_names": ["cat", "dög"],
        "score_threshold": 0.0,
        "draw_threshold": 0.5,
    }
    first, second = results["images"]
    assert first["file"] == str(tmp_path / "images" / "a.png")
    assert (first["height"], first["width"]) == (48, 64)
    assert (second["height"], second["width"]) == (64, 48)
    assert_written(first, model.detect([image]), model.class_names)
    assert_written(second, model.detect([other]), model.class_names)
    (unreadable,) = results["unreadable"]
    assert unreadable["file"] == str(tmp_path / "images" / "cut.png")
    assert "unreadable image" in unreadable["error"]
    output = capsys.readouterr()
    assert output.err == f"keras-frcnn detect: skipped: {unreadable['error']}\n"
    found = len(first["detections"]) + len(second["detections"])
    assert f"Images: 2, detections: {found}. Results: " in output.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.png",
        "b.png",
        "detections.json",
    ]


def test_drawings_show_what_is_scored_high_enough(run, loaded, make_image, tmp_path):
    image = make_image("a.png")
    code, results = run("a.png", "--draw_threshold=1")
    assert code == 0
    drawing = tmp_path / "out" / results["images"][0]["drawing"]
    np.testing.assert_array_equal(np.array(Image.open(drawing)), image)
    everything = results["images"][0]["detections"]

    code, results = run("a.png", "--draw_threshold=0")
    assert np.mean(np.array(Image.open(drawing)) != image) > 0.05
    assert results["images"][0]["detections"] == everything  # the file does not depend on it


def test_the_score_threshold_decides_what_is_written(run, make_image, model):
    answer = model.detect([make_image("a.png")])
    scores = [
        round(float(score), 6) for score in answer["scores"][0, : answer["num_detections"][0]]
    ]
    threshold = sorted(scores)[len(scores) // 2] + 1e-5
    _, results = run("a.png", f"--score_threshold={threshold}")
    assert results["score_threshold"] == threshold
    kept = [detection["score"] for detection in results["images"][0]["detections"]]
    assert kept == [score for score in scores if score > threshold]
    assert 0 < len(kept) < len(scores)


def test_a_turned_jpeg_gives_boxes_as_displayed(run, loaded, make_image, model, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    stored = make_image("turned.jpg", 48, 64, quality=100, subsampling=0, exif=exif)
    code, results = run("turned.jpg")
    assert code == 0
    (entry,) = results["images"]
    assert (entry["height"], entry["width"]) == (64, 48)
    with Image.open(tmp_path / "turned.jpg") as image:
        displayed = np.array(ImageOps.exif_transpose(image))
    np.testing.assert_allclose(displayed, np.rot90(stored, -1), atol=10)
    assert_written(entry, model.detect([displayed]), model.class_names)
    with Image.open(tmp_path / "out" / entry["drawing"]) as drawing:
        assert drawing.size == (48, 64)


def test_a_file_whose_name_is_no_text_is_detected_on(run, loaded, make_image, tmp_path):
    make_image("x/a.png")
    name = os.fsdecode(b"b\xff.png")  # as older systems wrote umlauts
    os.rename(tmp_path / "x" / "a.png", tmp_path / "x" / name)
    (tmp_path / "x" / os.fsdecode(b"c\xff.jpg")).write_bytes(b"")
    code, results = run("x")
    assert code == 1  # the second is empty
    assert results["images"][0]["file"] == str(tmp_path / "x" / name)
    assert (tmp_path / "out" / results["images"][0]["drawing"]).is_file()


def test_drawings_never_share_a_name(run, loaded, make_image, tmp_path):
    shades = {}
    for name in ("x/a.png", "y/a.png", "x/A_2.png", "z/A.png"):
        shades[name] = make_image(name)
    _, results = run("x,y,z", "--draw_threshold=1")
    drawings = {p["file"]: p["drawing"] for p in results["images"]}
    assert len({name.casefold() for name in drawings.values()}) == 4
    for name, image in shades.items():
        drawing = tmp_path / "out" / drawings[str(tmp_path / name)]
        np.testing.assert_array_equal(np.array(Image.open(drawing)), image)


def test_a_drawing_that_cannot_be_written_keeps_the_one_before(
    run, loaded, make_image, tmp_path, monkeypatch, capsys
):
    make_image("a.png")
    run("a.png")
    drawing = tmp_path / "out" / "a.png"
    before = drawing.read_bytes()

    def fill_the_disk(image, path, *args):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", fill_the_disk)
    with pytest.raises(SystemExit):
        run("a.png")
    assert f"{drawing} cannot be read or written: No space left" in capsys.readouterr().err
    assert drawing.read_bytes() == before
    assert sorted(os.listdir(tmp_path / "out")) == ["a.png", "detections.json", "unfinished.jsonl"]


def test_what_was_found_is_kept_when_the_user_stops(run, loaded, make_image, tmp_path, monkeypatch):
    make_image("x/a.png")
    make_image("x/b.png")
    draw = visualize.draw_detections

    calls = []

    def counted(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return draw(*args)

    monkeypatch.setattr(visualize, "draw_detections", counted)
    with pytest.raises(SystemExit) as caught:
        run("x")
    assert caught.value.code == 130
    results = json.loads((tmp_path / "out" / "detections.json").read_text(encoding="utf-8"))
    assert [image["drawing"] for image in results["images"]] == ["a.png"]
    monkeypatch.setattr(visualize, "draw_detections", draw)
    code, results = run("x")  # the folder may be used again
    assert code == 0
    assert len(results["images"]) == 2


@pytest.fixture
def read_images(monkeypatch):
    """The names of the images that are read. A signal is sent to the process after ``stop_at``."""
    reading = SimpleNamespace(names=[], stop_at="")
    to_image = image_files.to_image

    def read(path):
        reading.names.append(path.name)
        if path.name == reading.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return to_image(path)

    monkeypatch.setattr(image_files, "to_image", read)
    return reading


def stopped(run, *argv):
    with pytest.raises(SystemExit) as caught:
        run(*argv)
    assert caught.value.code == 128 + signal.SIGTERM


def test_the_same_command_continues_after_a_stop(run, loaded, make_image, read_images, tmp_path):
    for name in "abc":
        make_image(f"x/{name}.png")
    _, expected = run("x")
    shutil.rmtree(tmp_path / "out")
    del read_images.names[:]

    read_images.stop_at = "b.png"
    stopped(run, "x")
    results = json.loads((tmp_path / "out" / "detections.json").read_text(encoding="utf-8"))
    assert results.pop("unfinished")
    assert results == expected | {"images": expected["images"][:1]}
    read_images.stop_at = ""
    assert run("x") == (0, expected)
    assert read_images.names == ["a.png", "b.png", "b.png", "c.png"]
    assert run("x") == (0, expected)  # a command that has finished starts anew
    assert read_images.names[4:] == ["a.png", "b.png", "c.png"]


def test_a_second_signal_does_not_lose_what_was_found(
    run, loaded, make_image, read_images, tmp_path, monkeypatch
):
    for name in "ab":
        make_image(f"x/{name}.png")
    read_images.stop_at = "b.png"
    write = detections_folder.DetectionsFolder._write

    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGINT)
        write(*args)

    monkeypatch.setattr(detections_folder.DetectionsFolder, "_write", interrupted)
    stopped(run, "x")
    results = json.loads((tmp_path / "out" / "detections.json").read_text(encoding="utf-8"))
    assert [image["drawing"] for image in results["images"]] == ["a.png"]


def test_what_depends_on_other_settings_is_repeated(run, loaded, make_image, read_images, tmp_path):
    for name in "ab":
        make_image(f"x/{name}.png")
    read_images.stop_at = "b.png"
    stopped(run, "x")
    stopped(run, "x", "--draw_threshold=0.1")
    (tmp_path / "out" / "a.png").unlink()
    stopped(run, "x", "--draw_threshold=0.1")
    assert read_images.names == ["a.png", "b.png"] * 3


def test_a_command_that_is_killed_leaves_a_folder_that_it_may_use(
    run, loaded, make_image, monkeypatch, tmp_path
):
    make_image("a.png")
    left = []

    def look(*args):
        left.extend(path.name for path in (tmp_path / "out").iterdir())

    monkeypatch.setattr(detect, "_detect_all", look)
    run("a.png")
    assert left == ["unfinished.jsonl"]


def test_nothing_to_detect_on_is_an_error_at_once(refusal, tmp_path):
    out = f"--output_dir={tmp_path / 'out'}"
    message = refusal(out, f"--images={tmp_path}")
    assert f"Found no image at: {tmp_path}" in message
    assert "--images is missing" in refusal(out)
    assert "There is no checkpoint gone" in refusal(out, f"--images={__file__}", checkpoint="gone")
    assert not (tmp_path / "out").exists()


def test_folders_with_other_content_are_refused(refusal, make_image, tmp_path):
    make_image("images/a.png")
    make_image("mine/precious.png")
    images = f"--images={tmp_path / 'images'}"
    for folder, words in (
        ("mine", "must be new, empty"),
        ("mine/precious.png", "must be a folder"),
        ("images", "must be new, empty"),
    ):
        assert words in refusal(images, f"--output_dir={tmp_path / folder}")
    (tmp_path / "images" / "detections.json").touch()
    message = refusal(images, f"--output_dir={tmp_path / 'mine' / '..' / 'images'}")
    assert "must not be a folder that holds --images" in message


def test_a_folder_with_the_name_of_a_drawing_is_refused_before_the_work(
    refusal, make_image, tmp_path
):
    make_image("x/a.png")
    make_image("y/a.png")
    (tmp_path / "out" / "a_2.png").mkdir(parents=True)
    (tmp_path / "out" / "detections.json").touch()
    message = refusal(f"--images={tmp_path}/x,{tmp_path}/y", f"--output_dir={tmp_path}/out")
    assert f"a folder with the name of a drawing. Received: {tmp_path}/out/a_2.png" in message


@pytest.mark.parametrize("value", ["1.5", "-0.1", "nan"])
def test_an_impossible_draw_threshold_is_refused(refusal, value, tmp_path):
    flags = (f"--draw_threshold={value}", "--images=a.png", f"--output_dir={tmp_path}")
    assert "--draw_threshold must be a number between 0 and 1. Received: " in refusal(*flags)


def test_a_checkpoint_that_is_not_finite_is_named(refusal, make_image, tmp_path):
    make_image("a.png")
    model = build_detector(fakes.SMALL_VGG16, ("cat",))
    model.roi_head.box_head.classes.bias.assign([np.nan, 0])
    model.save(tmp_path / "bad.keras")
    flags = (f"--images={tmp_path}/a.png", f"--output_dir={tmp_path}/out")
    message = refusal(*flags, checkpoint=tmp_path / "bad.keras")
    assert f"The checkpoint {tmp_path}/bad.keras has weights that are not finite" in message
    assert "The first one is box_head/classes/bias" in message
