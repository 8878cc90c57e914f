"""``keras-frcnn anchor-fit``: its exit codes, what it writes, and the backbone that it measures."""

import json

import pytest

from keras_frcnn.cli import anchor_fit as cli
from tests.data.conftest import VocFolder


@pytest.fixture
def folder(tmp_path):
    objects = [("cat", 41, 41, 72, 72), ("cat", 1, 1, 128, 128)]
    return VocFolder(tmp_path / "own").add("a", objects, size=(128, 128))


def _main(folder, *flags):
    settings = ("--train_split=train", "--shorter_side=128", "--longer_side=128", "--scales=32")
    return cli.main([f"--data_dir={folder.root}", *settings, "--ratios=1", *flags])


@pytest.mark.parametrize("backbone", ["vgg16", "zf"])
def test_it_prints_and_writes(folder, tmp_path, capsys, backbone):
    out = tmp_path / "deep" / "out"
    assert _main(folder, f"--backbone={backbone}", f"--output_dir={out}") == 0
    found = json.loads((out / "anchors.json").read_text())
    assert found["kinds"]["inside"]["share_50"] == 0.5
    assert found["chosen"]["stride"] == 16
    text = capsys.readouterr().out
    assert f"\n{found['flags']}\n" in text
    assert text.endswith(f"Written: {out}/anchors.json\n")


def test_only_what_is_asked_for_is_written(folder, tmp_path):
    assert _main(folder) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_low_coverage_gives_1(folder):
    assert _main(folder, "--min_coverage=0.5") == 0
    assert _main(folder, "--min_coverage=0.51") == 1


def test_left_out_records_are_named(folder, capsys):
    folder.line("train", "missing")
    assert _main(folder, "--on_bad_record=skip") == 0
    assert "skipped: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--data_dir=/no/such", "--data_dir must be an existing folder"),
        ("--num_scales=-1", "--num_scales must be an integer of at least 0. Received: -1"),
        ("--num_ratios=-1", "--num_ratios must be an integer of at least 0. Received: -1"),
        ("--num_ratios=99", "num_ratios must be 1 to 15. Received: 99"),
        ("--min_coverage=1.5", "--min_coverage must be a number between 0 and 1. Received: 1.5"),
        ("--output_dir={root}/JPEGImages/a.jpg", "--output_dir must be a folder"),
        ("--steps=3", "--steps is not used by this command"),
    ],
)
def test_a_wrong_command_line_gives_2(folder, capsys, flag, words):
    with pytest.raises(SystemExit) as error:
        flags = [f"--data_dir={folder.root}", "--train_split=train"]
        kept = [given for given in flags if not given.startswith(flag.partition("=")[0])]
        cli.main([*kept, flag.format(root=folder.root)])
    assert error.value.code == 2 and words in capsys.readouterr().err
