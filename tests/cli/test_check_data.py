"""``keras-frcnn check-data``: its exit codes for CI, and what it writes."""

import errno
import json
import os
import signal
import sys

import pytest

from keras_frcnn import files
from keras_frcnn.cli import check_data as cli
from keras_frcnn.inspection.check_data import checks
from tests.data.conftest import VocFolder, YoloFolder
from tests.inspection.conftest import scene


@pytest.fixture
def folder(tmp_path):
    return VocFolder(tmp_path / "own").add("a", image=scene(0))


def _main(folder, *flags):
    splits = ("--train_split=train", "--eval_split=-")
    return cli.main([f"--data_dir={folder.root}", *splits, *flags])


def test_good_data_gives_0(folder, capsys, tmp_path):
    assert _main(folder) == 0
    out = capsys.readouterr().out
    assert out.endswith("0 problems in 1 image.\n")
    assert "objects ┃ images ┃" in out and "to evaluate" not in out
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_a_backbone_without_pretrained_weights_is_no_fault(folder):
    assert _main(folder, "--backbone=zf") == 0


def test_problems_give_1_unless_they_are_allowed(folder, capsys):
    folder.add("b", [("cat", 5, 5, 5, 9)], image=scene(1))
    assert _main(folder) == 1
    assert "Annotations/b.xml: object 1 (cat): box has no area" in capsys.readouterr().out
    assert _main(folder, "--allow=degenerate_box") == 0


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--data_dir=/no/such", "--data_dir must be an existing folder"),
        ("--train_split=mine", "Received: 'mine'"),
        ("--allow=nonsense", "Received: nonsense"),
        ("--near=500", "--near must be between"),
        ("--fix={root}/x", "--fix must be a folder apart"),
        ("--output_dir={root}/JPEGImages/a.jpg", "--output_dir must be a folder"),
        ("--steps=3", "--steps is not used by this command"),
    ],
)
def test_a_wrong_command_line_gives_2(folder, capsys, flag, words):
    with pytest.raises(SystemExit) as error:
        flags = [f"--data_dir={folder.root}", "--train_split=train", "--eval_split=train"]
        name = flag.partition("=")[0]
        kept = [given for given in flags if not given.startswith(name)]
        cli.main([*kept, flag.format(root=folder.root)])
    assert error.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize("flags", [(), ("--train_split=train", "--eval_split=val")])
def test_data_in_another_layout_give_2(tmp_path, capsys, flags):
    YoloFolder(tmp_path).add("train/a", ["0 0.5 0.5 0.5 0.5"]).add("val/b", [])
    with pytest.raises(SystemExit) as error:
        cli.main([f"--data_dir={tmp_path}", *flags])
    assert error.value.code == 2
    assert "--data_dir must be a folder with Annotations/" in capsys.readouterr().err


def test_a_default_image_set_may_be_missing_unless_it_is_asked_for(folder, capsys):
    flags = [f"--data_dir={folder.root}", "--train_split=train"]
    assert cli.main(flags) == 0
    assert "no image set test: only the training images" in capsys.readouterr().out
    with pytest.raises(SystemExit) as error:
        cli.main([*flags, "--eval_split=test"])
    assert error.value.code == 2


def test_what_is_asked_for_is_written(folder, capsys, tmp_path):
    folder.add("b", [("cat", 5, 5, 5, 9)], image=scene(1))
    out, fixed = tmp_path / "deep" / "out", tmp_path / "fixed"
    assert _main(folder, f"--output_dir={out}", f"--fix={fixed}") == 1
    assert sorted(path.name for path in out.iterdir()) == ["check.html", "check.json"]
    assert set(cli.COMMAND.writes) == {"check.html", "check.json"}
    assert json.loads((out / "check.json").read_text())["counts"]["degenerate_box"] == 1
    assert (fixed / "Annotations" / "b.xml").is_file()
    text = capsys.readouterr().out
    assert "1 changes" in text and "  Annotations/b.xml: object 1 (cat) dropped" in text


def test_files_and_output_do_not_depend_on_each_other(folder, capsys, tmp_path, monkeypatch):
    flags = (f"--output_dir={tmp_path}/check", f"--fix={tmp_path}/mended")
    with monkeypatch.context() as patch:
        closed, writing = os.pipe()  # as in check-data | head
        os.close(closed)
        with open(writing, "w", buffering=1) as pipe:
            patch.setattr(sys, "stdout", pipe)
            with pytest.raises(SystemExit) as caught:
                _main(folder, *flags)
    assert caught.value.code == 128 + signal.SIGPIPE
    assert sorted(p.name for p in (tmp_path / "check").iterdir()) == ["check.html", "check.json"]
    assert (tmp_path / "mended" / "Annotations" / "a.xml").exists()

    def fill_the_disk(path, *args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(files, "write_text", fill_the_disk)
    with pytest.raises(SystemExit) as caught:
        _main(folder, flags[0])
    output = capsys.readouterr()
    assert caught.value.code == 2 and output.out.endswith("0 problems in 1 image.\n")
    message = f"keras-frcnn check-data: {tmp_path}/check/check.json cannot be read or written: No "
    assert output.err.startswith(message)


def test_data_that_cannot_be_mended_are_refused_before_they_are_checked(
    folder, capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(checks, "check", None)
    with pytest.raises(SystemExit) as error:
        _main(folder, "--dataset=coco", f"--fix={tmp_path / 'fixed'}")
    assert error.value.code == 2
    assert "--fix writes VOC's layout" in capsys.readouterr().err


def test_the_defaults_of_flags_and_functions_agree():
    (near,) = (option for option in cli.COMMAND.options if option.name == "near")
    assert near.default == checks.NEAR


def test_a_gpu_is_left_to_others(folder, monkeypatch):
    hidden = []
    monkeypatch.setattr("tensorflow.config.set_visible_devices", lambda *args: hidden.append(args))
    folder.add("a", image=scene(0))
    assert _main(folder) == 0 and hidden == [([], "GPU")]
