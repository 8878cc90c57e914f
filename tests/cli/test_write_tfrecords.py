"""``keras-frcnn write-tfrecords``: what it writes, says and refuses."""

import pytest

from keras_frcnn import data
from keras_frcnn.cli import write_tfrecords as cli
from keras_frcnn.config import Config
from tests.command_line import overriding
from tests.data.conftest import VocFolder


@pytest.fixture
def folder(tmp_path):
    folder = VocFolder(tmp_path / "own").add("a").add("b", [("dog", 1, 1, 9, 9)])
    return folder.add("c", [("cat", 2, 2, 9, 9)], split="val")


def run(folder, *flags):
    splits = ("--train_split=train", "--eval_split=val")
    return cli.main(overriding(f"--data_dir={folder.root}", *splits, *flags))


def refusal(folder, capsys, *flags):
    with pytest.raises(SystemExit) as caught:
        run(folder, *flags)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_both_splits_are_written_with_the_classes_of_the_training(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(folder, f"--output_dir={out}") == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "train: 2 images", "eval: 1 images", f"Written: {out}, 2 files and label_map.pbtxt",
    ]  # fmt: skip
    config = Config(dataset="tfrecord", data_dir=str(out))
    train, val = (data.load(config, (split,)) for split in ("train", "eval"))
    assert train.class_names == val.class_names == ("cat", "dog")
    assert [r.image_id for r in train.records + val.records] == ["a", "b", "c"]
    assert val.records[0].boxes.tolist() == [[1, 1, 9, 9]]


def test_one_split_is_written_once(folder, tmp_path, capsys):
    assert run(folder, f"--output_dir={tmp_path / 'out'}", "--eval_split=train") == 0
    assert "eval" not in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_what_is_skipped_is_said(folder, tmp_path, capsys):
    folder.annotation("b").write_text("broken")
    flags = (f"--output_dir={tmp_path / 'out'}", "--on_bad_record=skip", "--classes_file=")
    assert "b.xml" in refusal(folder, capsys, flags[0])
    assert not (tmp_path / "out").exists()
    (tmp_path / "names").write_text("cat\n")
    assert run(folder, *flags[:2], f"--classes_file={tmp_path / 'names'}") == 0
    out = capsys.readouterr().out
    assert "skipped: " in out and "b.xml" in out and "train: 1 images" in out


def test_a_folder_that_holds_anything_is_refused_before_the_work(folder, tmp_path, capsys):
    folder.annotation("a").write_text("broken")  # not reached
    error = refusal(folder, capsys, f"--output_dir={folder.root}")
    assert error == (
        "keras-frcnn write-tfrecords: --output_dir must be a new or empty folder. "
        f"Received: '{folder.root}'\n"
    )
    assert "--output_dir is missing" in refusal(folder, capsys)
