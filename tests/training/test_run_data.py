"""What is read for a run, and what is printed about it."""

import io
import re

import numpy as np
import pytest

from keras_frcnn.console import Console
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.training.run_data import load_data
from tests import fakes


def test_what_is_said_about_the_data(config):
    output = io.StringIO()
    train_data, eval_data = load_data(config, Console(file=output, width=120))
    assert (len(train_data.records), len(eval_data.records)) == (5, 2)
    assert train_data.class_names == eval_data.class_names == fakes.CLASS_NAMES
    counts = np.bincount(np.concatenate([r.labels for r in train_data.records]), minlength=4)
    words = ", ".join(f"{name} {n}" for name, n in zip(fakes.CLASS_NAMES, counts, strict=True))
    assert f"train: 5 images; {words}\n" in output.getvalue()
    assert "evaluate: 2 images; " in output.getvalue()


def test_class_names_are_printed_as_they_are(config):
    names = ("[/]", "[unk]", ":smile:", "a\x1b[31m\nb")
    no_objects = np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool)
    dataset = Dataset(names, [Record("a", "a.jpg", 8, 8, *no_objects)], remarks=["[/] 1.5"])
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=40)
    with pytest.raises(ValueError, match="no object to learn from"):
        load_data(config, console, (dataset, None))
    assert output.getvalue().splitlines() == [
        "train: 1 images; [/] 0, [unk] 0, :smile: 0, a\\x1b[31m\\nb 0",
        "  [/] 1.5",
    ]


def test_what_is_left_out_of_the_data_is_named(config, data_dir, tmp_path):
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / name).symlink_to(data_dir / name)
    lines = (data_dir / "ImageSets/Main/train.txt").read_text()
    for split in ("train", "val"):
        (tmp_path / f"ImageSets/Main/{split}.txt").write_text(lines + "missing\n")
    settings = config.replace(data_dir=str(tmp_path), on_bad_record="skip")
    output = io.StringIO()
    load_data(settings, Console(file=output, width=500))
    assert output.getvalue().count("missing.xml: the annotation is missing; image left out") == 2


def load(config):
    """Returns what is printed about the data."""
    output = io.StringIO()
    load_data(config, Console(file=output, width=500))
    return output.getvalue()


def without_objects(data_dir, folder, split, marks=""):
    """Links the small data; the images of a split lose their objects, or have them marked."""
    for name in ("ImageSets", "JPEGImages"):
        (folder / name).symlink_to(data_dir / name)
    stems = (data_dir / f"ImageSets/Main/{split}.txt").read_text().split()
    (folder / "Annotations").mkdir()
    for path in (data_dir / "Annotations").iterdir():
        text = path.read_text()
        if path.stem in stems and marks:
            text = text.replace("<difficult>0", marks)
        elif path.stem in stems:
            text = re.sub("<object>.*</object>", "", text, flags=re.DOTALL)
        (folder / "Annotations" / path.name).write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("train", "no object to learn from in train .5 images.: the annotations hold none"),
        ("val", "no object to evaluate on in val .2 images.: .* Or use --eval_split=-"),
    ],
)
def test_data_without_objects_are_refused(config, data_dir, tmp_path, split, words):
    names = tmp_path / "names.txt"
    names.write_text("".join(f"{name}\n" for name in fakes.CLASS_NAMES))
    (tmp_path / "data").mkdir()
    root = without_objects(data_dir, tmp_path / "data", split)
    with pytest.raises(ValueError, match=words):
        load(config.replace(data_dir=root, classes_file=str(names)))


def test_data_with_nothing_but_difficult_objects_are_refused(config, data_dir, tmp_path):
    root = without_objects(data_dir, tmp_path, "train", "<difficult>1")
    with pytest.raises(ValueError, match="objects are difficult .* Use --difficult=keep"):
        load(config.replace(data_dir=root))
    assert "train: 5 images" in load(config.replace(data_dir=root, difficult="keep"))


def test_images_in_both_sets_and_limits_that_are_too_low_are_said(config):
    output = load(config)
    assert "trained on" not in output and "--max_detections" not in output
    output = load(config.replace(eval_split=("val", "train"), max_detections=1))
    assert "\n  5 of the 7 evaluation images are also trained on, so the results" in output
    assert output.count("than --max_detections=1 lets a detector find, so recall") == 2


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({"steps": 6, "batch_size": 2}, ["6 steps of 2 images: 2.4 epochs of 5 images"]),
        ({"steps": 1, "batch_size": 1}, ["1 steps of 1 image: 0.20 epochs of 5 images"]),
        (
            {"scheme": "unshared", "steps": 60, "alternating_batch_sizes": (1, 2, 1, 2)},
            ["step 1 of 2: 20 steps of 1 image: 4.0", "step 2 of 2: 10 steps of 2 images: 4.0"],
        ),
    ],
)
def test_steps_are_said_as_epochs_too(config, settings, lines):
    output = load(config.replace(**settings))
    assert output.count(" epochs of ") == len(lines)
    assert all(line in output for line in lines)
