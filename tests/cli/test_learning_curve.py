"""The learning-curve command: its starts, its checks, and rows made by train and evaluate."""

import json
import re

import pytest

from keras_frcnn.cli import learning_curve
from keras_frcnn.cli.learning_curve import COMMAND, main
from keras_frcnn.config import Config
from keras_frcnn.data.writers import shapes
from keras_frcnn.training import dry_run
from tests import fakes
from tests.command_line import overriding

SETTINGS = (
    *("shorter_side", "longer_side", "pixel_std", "scales", "head_units", "head_dropout"),
    *("pool_size", "rpn_num_samples", "rpn_border_anchors", "train_pre_nms_top_k", "min_size"),
    *("train_post_nms_top_k", "test_pre_nms_top_k", "roi_num_samples", "score_threshold"),
    *("num_images", "backbone_weights", "lr_boundaries", "warmup_steps", "precision"),
)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    return shapes.make(folder, 5, 2, 1, shorter_side=(64, 72), longer_side=(80, 96))


@pytest.fixture
def argv(tmp_path, data_dir):
    """Two steps at a small size, from random weights."""
    values = {name: str(getattr(fakes.SMALL, name)) for name in SETTINGS}
    flags = [f"--{name}={text.strip('()').rstrip(',')}" for name, text in values.items()]
    return [
        *flags,
        *("--steps=2", "--batch_size=1", "--log_every=1", f"--data_dir={data_dir}"),
        *("--train_split=train", "--eval_split=val", f"--output_dir={tmp_path / 'curve'}"),
    ]


@pytest.fixture
def refusal(argv, capsys):
    def refuse(*flags):
        with pytest.raises(SystemExit) as caught:
            main(overriding(*argv, *flags))
        assert caught.value.code == 2
        return capsys.readouterr().err.strip()

    return refuse


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--output_dir=",), "--output_dir is missing"),
        (("--seeds=1,1",), "--seeds must be distinct integers of at least 0. Received: 1,1"),
        (("--sizes=6",), "--sizes must be 'all' or integers from 1 to 5, the number of images"),
        (("--starts=random,random",), "--starts must have different names. Received: random, ran"),
        (("--starts=a,b,c,d,e,f,g",), "--starts must be at most 6. Received: 7"),
        (("--starts=imgnet",), "the start imgnet: --start_checkpoint must be an existing file. "),
        (("--starts=w.h5",), "the start w: --backbone_weights must be an existing file. Received"),
        (("--starts=gone.cfg",), "cannot read the flagfile 'gone.cfg': there is no such file"),
        (("--eval_split=-",), "--eval_split must name the images to evaluate the rows on"),
        (("--data_dir=",), "--data_dir is missing: the folder of the data to train on"),
        (("--seed=3",), "--seed is not used by this command"),
        (("--train_images=3",), "--train_images is not used by this command"),
        (("--more=0",), "--more must be a positive integer. Received: 0"),
        (("--starts=random", "--frozen_blocks=1"), "would freeze random weights"),
    ],
)
def test_what_is_wrong_is_said_before_the_work(refusal, flags, words):
    assert words in refusal(*flags)


def test_the_folder_of_a_run_is_not_used(refusal, tmp_path):
    (tmp_path / "config.cfg").write_text("")
    message = f"--output_dir must not be the folder of a run. Received: {tmp_path}"
    assert message in refusal(f"--output_dir={tmp_path}")


def starts(*asked, given=None, typed=None, **settings):
    typed = typed or {}
    return learning_curve._starts(asked, (given or {}) | typed, typed, Config(**settings))


def test_starts_are_words_files_or_flagfiles(tmp_path):
    (tmp_path / "big.cfg").write_text(
        "--backbone_weights=none\n--steps=5\n--batch_size=2\n--eval_split=other\n--seed=4\n"
        "--output_dir=runs/big\n--train_images=7\n"
    )
    given = {"steps": "9", "eval_split": "val"}
    asked = ("random", "imagenet", "a/w.h5", "runs/voc/best.keras", "voc07", f"{tmp_path}/big.cfg")
    found = starts(*asked, given=given)
    weights = {"backbone_weights": "none", "start_checkpoint": ""}
    assert found == {
        "random": given | weights,
        "imagenet": given | weights | {"backbone_weights": "imagenet"},
        "w": given | weights | {"backbone_weights": "a/w.h5"},
        "voc-best": given | {"start_checkpoint": "runs/voc/best.keras"},
        "voc07": given | {"start_checkpoint": "voc07"},
        "big": given | {"backbone_weights": "none", "steps": "5", "batch_size": "2"},
    }


def test_the_command_line_overrides_flagfiles_but_for_the_weights(tmp_path):
    (tmp_path / "big.cfg").write_text("--steps=5\n--start_checkpoint=a.keras\n")
    typed = {"steps": "9", "start_checkpoint": "b.keras", "backbone_weights": "none"}
    found = starts(f"{tmp_path}/big.cfg", "imagenet", given={"steps": "7"}, typed=typed)
    assert found["big"] == typed | {"start_checkpoint": "a.keras"}
    assert found["imagenet"] == {
        "steps": "9",
        "backbone_weights": "imagenet",
        "start_checkpoint": "",
    }


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "imagenet"),
        ({"backbone_weights": "none"}, "random"),
        ({"start_checkpoint": "runs/a/last.keras", "backbone_weights": "none"}, "a-last"),
        ({"start_checkpoint": "/last.keras"}, "last"),
    ],
)
def test_without_starts_the_settings_describe_the_only_one(settings, name):
    assert starts(given={"steps": "3"}, **settings) == {name: {"steps": "3"}}


def test_all_seeds_share_the_split_of_a_plain_folder():
    split = {"dataset": "folder", "split": (0.8, 0.2)}
    assert starts(**split) == starts(**split, typed={"split_seed": "-1"})
    assert starts(**split) == {"imagenet": {"split_seed": "0"}}
    assert starts(**split, split_seed=3) == starts() == {"imagenet": {}}


def test_rows_from_beginning_to_end(argv, in_this_process, tmp_path, capsys, refusal):
    flags = ("--sizes=2,all", "--seeds=0,1", "--nokeep_checkpoints")
    assert main([*argv, *flags, "--dry_run"]) == 0
    output = capsys.readouterr().out
    # Of four rows, each takes 2 steps of a second, and 30 seconds for each of 2 images.
    assert "estimate: 4 min for 4 rows, without start-up" in output
    assert [line[0] for line in in_this_process] == ["train"]
    assert not (tmp_path / "curve" / "runs").exists()
    # A dry run binds nobody: other settings are timed anew.
    assert main([*argv, *flags, "--dry_run", "--learning_rate=0.5"]) == 0
    assert [line[0] for line in in_this_process] == ["train", "train"]
    in_this_process.pop()
    capsys.readouterr()

    assert main([*argv, *flags]) == 0
    output = capsys.readouterr().out
    titles = re.findall(r"^\[\d+/\d+\] (.*)$", output, re.MULTILINE)
    assert titles == [
        "train random, 2 images, seed 0 (about 4 min left)",
        "evaluate random, 2 images, seed 0 (about 4 min left)",
        "train random, 5 images, seed 0 (about 3 min left)",
        "evaluate random, 5 images, seed 0 (about 3 min left)",
        "train random, 2 images, seed 1 (about 2 min left)",
        "evaluate random, 2 images, seed 1 (about 2 min left)",
        "train random, 5 images, seed 1 (about 1 min left)",
        "evaluate random, 5 images, seed 1 (about 1 min left)",
    ]
    assert "random: 100 more labelled images, 105 instead of 5: " in output
    assert "train: 2 images; " in output and "2 of 5 images, drawn with seed 1" in output
    folder = tmp_path / "curve" / "runs" / "random"
    images = {
        (size, seed): set(json.loads(file.read_text())["images"])
        for size in (2, 5)
        for seed in (0, 1)
        for file in [folder / f"{size}_images" / f"seed_{seed}" / "train_images.json"]
    }
    assert len(images[2, 0]) == 2 and len(images[5, 0]) == 5
    assert images[2, 0] < images[5, 0] == images[5, 1]
    assert list(folder.rglob("*.keras")) == []
    document = json.loads((tmp_path / "curve" / "learning_curve.json").read_text())
    (curve,) = document["curves"]
    for point in curve["points"]:
        for seed, value in point["values"].items():
            run = folder / f"{point['size']}_images" / f"seed_{seed}"
            results = json.loads((run / "evaluation" / "results.json").read_text())
            assert value == pytest.approx(results["map_area"])
            assert not (run / "evaluations.jsonl").exists()  # nothing is chosen on val

    # The same command again has nothing to do. A size and a start can be added.
    del in_this_process[:]
    assert main([*argv, *flags]) == 0
    assert in_this_process == []
    assert main(overriding(*argv, "--sizes=2,3,5", "--seeds=0")) == 0
    assert [line[0] for line in in_this_process] == ["train", "evaluate"]
    assert "--steps was 2 and is now 3" in refusal("--steps=3").replace(" of random", "")


def test_settings_with_which_no_row_can_run_end_the_command_at_once(
    argv, in_this_process, monkeypatch, tmp_path, capsys
):
    def misfit(*_):
        raise ValueError("does not fit")

    monkeypatch.setattr(dry_run, "dry_run", misfit)
    assert main(argv) == 1
    output, error = capsys.readouterr()
    assert "does not fit" in error and "No row was run. Correct the settings" in output
    assert len(in_this_process) == 1
    assert not (tmp_path / "curve" / "runs").exists()


def test_help_names_the_settings_of_train(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    output = capsys.readouterr().out
    assert "--starts" in output and "--learning_rate" in output
    assert not {"seed", "train_images"} & set(COMMAND.settings)
