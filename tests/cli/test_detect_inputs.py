"""``keras-frcnn detect`` with every kind of input, output and detector, on a detector by pencil."""

import io
import itertools
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.cli import detect, detectors
from keras_frcnn.config import Config
from keras_frcnn.data.readers import voc_xml
from keras_frcnn.inference import videos
from keras_frcnn.models.detections import ImageDetections

CLASS_NAMES = ("cat", "dog")


class Pencil:
    """Finds a dog in the middle of every image and, less surely, a cat in its upper left quarter.

    It stops, like a user, after ``stop_after`` images.
    """

    def __init__(self):
        self.seen, self.stop_after = 0, 1000

    def detect(self, image):
        if self.seen == self.stop_after:
            raise KeyboardInterrupt
        self.seen += 1
        height, width = image.shape[:2]
        boxes = np.float32([[0.25, 0.25, 0.75, 0.75], [0, 0, 0.5, 0.5]])
        boxes *= np.float32([height, width] * 2)
        scores, labels = np.float32([0.75, 0.25]), np.int32([1, 0])
        return ImageDetections(boxes, scores, labels, CLASS_NAMES, image)


@pytest.fixture
def pencil(monkeypatch):
    """Stands in for a checkpoint."""
    pencil, about = Pencil(), {"class_names": CLASS_NAMES, "score_threshold": 0.05}
    monkeypatch.setattr(detectors, "_checkpoint", lambda *_: (pencil.detect, about))
    monkeypatch.setattr(detect, "checkpoint_settings", lambda options: Config())
    return pencil


@pytest.fixture
def run(pencil, tmp_path):
    """Returns a function that runs the command and returns its code and detections.json."""

    def run(images, *flags, out="out"):
        folder = tmp_path / out
        code = detect.main([f"--images={images}", f"--output_dir={folder}", *flags])
        return code, json.loads((folder / "detections.json").read_text("utf-8"))

    return run


@pytest.fixture
def standard_input(monkeypatch):
    def write(content: bytes):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))

    return write


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 20), (9, 99, 199)).save(path)
    return path


@pytest.fixture
def video(tmp_path):
    """Four grey frames of 32 x 48 pixels at 5 frames a second."""
    path = tmp_path / "v.mp4"
    with videos.writing(path, 5.0) as append:
        for number in range(4):
            append(np.full((32, 48, 3), 60 * number, np.uint8))
    return path


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# --- inputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\0"])
def test_names_on_standard_input_are_detected_on(run, image, tmp_path, standard_input, end):
    other = tmp_path / "b.jpg"
    Image.new("RGB", (30, 30)).save(other)
    standard_input(f"{image}{end}{other}{end}".encode())
    code, results = run("-")
    assert code == 0
    assert [entry["file"] for entry in results["images"]] == [str(image), str(other)]


def test_an_image_on_standard_input_is_detected_on(run, image, standard_input, tmp_path):
    standard_input(image.read_bytes())
    _, results = run("-")
    (entry,) = results["images"]
    assert (entry["file"], entry["drawing"]) == ("standard_input.png", "standard_input.png")
    assert (entry["height"], entry["width"]) == (20, 40)


def test_an_empty_standard_input_is_refused(run, standard_input, capsys):
    standard_input(b"")
    with pytest.raises(SystemExit):
        run("-")
    assert "standard input holds neither an image nor names" in capsys.readouterr().err


def test_each_frame_of_a_video_is_an_entry_and_the_drawn_video_is_whole(run, video, tmp_path):
    code, results = run(video)
    assert code == 0
    assert [entry["frame"] for entry in results["images"]] == [0, 1, 2, 3]
    assert {entry["drawing"] for entry in results["images"]} == {"v.mp4"}
    assert results["images"][0]["detections"][0]["box_yxyx"] == [8, 12, 24, 36]
    drawn = tmp_path / "out" / "v.mp4"
    frames, before = list(videos.frames(drawn)), list(videos.frames(video))
    assert len(frames) == 4 and videos.frame_rate(drawn) == 5
    changed = np.abs(frames[1].astype(int) - before[1]).max(axis=-1) > 60
    assert changed[:, 12].sum() > 10 and not changed[:6].any()  # the box is drawn, with its label


def test_a_file_that_is_no_video_is_named(run, image, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"nonsense" * 50)
    code, results = run(f"{tmp_path}/broken.mp4,{image}")
    assert code == 1
    assert [entry["file"] for entry in results["images"]] == [str(image)]
    (unreadable,) = results["unreadable"]
    assert unreadable["error"].startswith(f"{tmp_path}/broken.mp4: unreadable video")
    assert names(tmp_path / "out") == ["a.png", "detections.json"]


def test_videos_without_their_library_are_refused(run, video, monkeypatch, capsys):
    monkeypatch.setattr(videos.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        run(video)
    assert "pip install 'keras-frcnn[video]'" in capsys.readouterr().err


def test_tiles_are_detected_on_and_joined(run, tmp_path):
    Image.new("RGB", (100, 40)).save(tmp_path / "wide.png")
    _, results = run(tmp_path / "wide.png", "--tile=40", "--overlap=0.25")
    (entry,) = results["images"]
    boxes = {name: [] for name in CLASS_NAMES}
    for found in entry["detections"]:
        boxes[found["class"]].append(found["box_yxyx"])
    # Tiles at x = 0, 30 and 60. What they find does not meet in what they share.
    assert sorted(boxes["dog"]) == [[10, x + 10, 30, x + 30] for x in (0, 30, 60)]
    assert sorted(boxes["cat"]) == [[0, x, 20, x + 20] for x in (0, 30, 60)]


# --- outputs --------------------------------------------------------------------------------------


def test_labels_to_correct_are_written(run, image, tmp_path):
    run(image, "--formats=voc,yolo")
    folder = tmp_path / "out"
    assert names(folder) == ["Annotations/a.xml", "classes.txt", "detections.json", "labels/a.txt"]
    assert (folder / "labels" / "a.txt").read_text() == "1 0.5 0.5 0.5 0.5\n"  # the cat is unsure
    assert (folder / "classes.txt").read_text() == "cat\ndog\n"
    root = voc_xml.parse(folder / "Annotations" / "a.xml")
    assert [element.text for element in root.find("size")] == ["40", "20", "3"]
    (found,) = root.findall("object")
    assert found.find("name").text == "dog"
    corners = {element.tag: int(element.text) for element in found.find("bndbox")}
    assert corners == {"xmin": 11, "ymin": 6, "xmax": 30, "ymax": 15}  # from 1, far edge included


def test_tables_name_the_frames(run, video, tmp_path):
    run(video, "--formats=coco,csv,yolo")
    folder = tmp_path / "out"
    rows = json.loads((folder / "coco.json").read_text())
    assert [row["image_id"] for row in rows[::2]] == [f"v.mp4#{number}" for number in range(4)]
    lines = (folder / "detections.csv").read_text().splitlines()
    assert len(lines) == 9 and lines[8].endswith(",3")
    assert (folder / "labels" / "v_000003.txt").is_file()


# --- stops ----------------------------------------------------------------------------------------


def test_a_video_goes_on_after_a_stop_without_detecting_again(run, video, pencil, tmp_path):
    _, expected = run(video, out="expected")
    pencil.seen, pencil.stop_after = 0, 2
    with pytest.raises(SystemExit):
        run(video)
    written = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert written["unfinished"] is True
    assert [entry["frame"] for entry in written["images"]] == [0, 1]
    assert names(tmp_path / "out") == ["detections.json", "unfinished.jsonl"]
    pencil.stop_after = 1000
    assert run(video) == (0, expected)
    assert pencil.seen == 4
    assert names(tmp_path / "out") == ["detections.json", "v.mp4"]
    assert videos.num_frames(tmp_path / "out" / "v.mp4") == 4


def test_only_images_that_the_detector_takes_ahead_are_held():
    """Of a thousand images, every second one is new, and the detector takes three at a time."""
    alive, most = set(), 0

    class Image:
        def __init__(self, number):
            self.image = number
            alive.add(number)

        def __del__(self):
            alive.discard(self.image)

    def in_threes(images):
        while group := list(itertools.islice(images, 3)):
            yield from (10 * number for number in group)

    images = (Image(number) for number in range(1000))
    answers = []
    for one, answer in detect._answered(images, in_threes, lambda one: one.image % 2):
        answers.append((one.image, answer))
        most = max(most, len(alive))
    assert answers == [(n, 10 * n if n % 2 else None) for n in range(1000)]
    assert most < 10


def test_a_killed_command_loses_nothing_but_a_line_cut_off(run, video, pencil, tmp_path):
    """SIGKILL writes no detections.json; a full disk cuts the last line."""
    pencil.stop_after = 3
    with pytest.raises(SystemExit):
        run(video, "--formats=csv")
    (tmp_path / "out" / "detections.json").unlink()
    journal = tmp_path / "out" / "unfinished.jsonl"
    journal.write_text(journal.read_text()[:-20])
    pencil.stop_after = 1000
    _, results = run(video, "--formats=csv")
    assert pencil.seen == 5  # the third frame twice
    assert len(results["images"]) == 4


def test_a_label_file_that_is_gone_is_written_again(run, tmp_path, pencil):
    for name in "ab":
        Image.new("RGB", (40, 20)).save(tmp_path / f"{name}.png")
    pencil.stop_after = 1
    with pytest.raises(SystemExit):
        run(f"{tmp_path}/*.png", "--formats=yolo")
    (tmp_path / "out" / "labels" / "a.txt").unlink()
    pencil.stop_after = 1000
    run(f"{tmp_path}/*.png", "--formats=yolo")
    assert pencil.seen == 3
    assert (tmp_path / "out" / "labels" / "a.txt").is_file()


# --- detectors ------------------------------------------------------------------------------------


def test_only_one_detector_can_be_given(image, tmp_path, capsys):
    flags = [f"--images={image}", f"--output_dir={tmp_path / 'out'}", "--server=grpc://a:1/m"]
    for more, words in (
        ("--saved_model=x", "only one detector can be given. Received: --saved_model and --server"),
        ("--score_threshold=0.5", "--score_threshold cannot be used with --server"),
    ):
        with pytest.raises(SystemExit):
            detect.main([*flags, more])
        assert words in capsys.readouterr().err


def test_a_folder_that_is_no_saved_model_is_refused(image, tmp_path, capsys):
    with pytest.raises(SystemExit):
        detect.main(
            [f"--saved_model={tmp_path}", f"--images={image}", f"--output_dir={tmp_path / 'out'}"]
        )
    assert f"a file saved_model.pb. Received: {tmp_path}" in capsys.readouterr().err
