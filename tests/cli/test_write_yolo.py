"""``keras-frcnn write-yolo``: what it writes, says and refuses."""

import pytest

from keras_frcnn import data
from keras_frcnn.cli import write_yolo as cli
from keras_frcnn.config import Config
from tests.data.conftest import VocFolder


@pytest.fixture
def folder(tmp_path):
    folder = VocFolder(tmp_path / "own").add("a").add("b", [("dog", 1, 1, 9, 9, 1)])
    return folder.add("c", [("cat", 2, 2, 9, 9)], split="val")


def run(folder, *flags):
    splits = ("--train_split=train", "--eval_split=val")
    return cli.main([f"--data_dir={folder.root}", *splits, *flags])


def test_both_splits_are_written_with_the_classes_of_the_training(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(folder, f"--output_dir={out}") == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "train: 2 images, 1 difficult objects left out", "val: 1 images", f"Written: {out}",
    ]  # fmt: skip
    config = Config(dataset="yolo", data_dir=str(out))
    train, val = (data.load(config, (split,)) for split in ("train", "val"))
    assert train.class_names == val.class_names == ("cat", "dog")
    assert [r.image_id for r in train.records + val.records] == ["train/a", "train/b", "val/c"]
    assert val.records[0].boxes.tolist() == [[1, 1, 9, 9]]


def test_a_folder_that_holds_anything_is_refused_before_the_work(folder, capsys):
    folder.annotation("a").write_text("broken")  # not reached
    with pytest.raises(SystemExit) as caught:
        run(folder, f"--output_dir={folder.root}")
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(
        "keras-frcnn write-yolo: --output_dir must be a new or empty folder. Received: "
    )
