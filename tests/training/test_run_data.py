"""What is read for a run, and what is printed about it."""

import io

import numpy as np

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
    load_data(config, Console(file=output, force_terminal=True, width=40), (dataset, None))
    assert output.getvalue().splitlines() == [
        "train: 1 images; [/] 0, [unk] 0, :smile: 0, a\\x1b[31m\\nb 0",
        "  [/] 1.5",
        "evaluate: nothing, because of --eval_split=-",
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
