"""The paper command: its flags, and rows made from beginning to end by the other commands."""

import re

import pytest

from keras_frcnn.cli.command import given_settings
from keras_frcnn.cli.paper import COMMAND, main
from keras_frcnn.config.flags import SETTINGS
from keras_frcnn.data.writers import shapes
from tests import fakes
from tests.command_line import overriding
from tests.paper.conftest import CONFIGS


@pytest.fixture
def refusal(capsys):
    def refuse(*argv):
        with pytest.raises(SystemExit) as caught:
            main(overriding(f"--configs_dir={CONFIGS}", *argv))
        assert caught.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("keras-frcnn ")
        return error.partition(": ")[2].strip()

    return refuse


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "expected --table, --figure or --rows, to say what to make"),
        (("--table=1",), "--table: expected 2, 3, 4, 5, 6, 7, 8, 9, 10. Received: 1."),
        (("--table=2", "--budget=0"), "--budget must be 'full' or minutes above 0. Received: '0'"),
        (("--table=2", "--budget=nan"), "--budget must be 'full' or minutes above 0"),
        (("--table=2", "--budget=long"), "--budget must be 'full' or minutes above 0"),
        (("--table=2", "--seeds=1,1"), "--seeds must be distinct integers of at least 0"),
        (("--table=2", "--seeds="), "--seeds must be distinct integers of at least 0"),
        (("--table=2", "--replace_splits=a"), "--replace_splits must be pairs"),
        (("--table=2", "--replace_splits=VOC2007/train:a"), "must name image sets of the rows"),
        (("--table=2", "--steps=5"), "--steps is not used by this command"),
        (("--table=2", "--scheme=joint"), "--scheme is not used by this command"),
        (
            ("--table=2", "--dry_run", "--frozen_blocks=7"),
            "--frozen_blocks must be an integer between",
        ),
        # Of one flagfile only.
        (("--table=8", "--dry_run", "--frozen_blocks=3", "--backbone_weights=none"), "random"),
    ],
)
def test_what_is_wrong_is_said(refusal, argv, message):
    assert message in refusal(*argv)


def test_a_missing_flagfile_is_named(refusal, tmp_path):
    message = refusal("--table=10", "--list", f"--configs_dir={tmp_path}")
    assert f"{tmp_path}/zf_unshared.cfg" in message


def test_rows_of_other_settings_are_not_mixed(refusal, tmp_path):
    folder = f"--output_dir={tmp_path}"
    assert main([f"--configs_dir={CONFIGS}", "--table=10", folder, "--budget=2"]) == 0
    assert "budget was 2.0 and is now full" in refusal("--table=10", folder)


def test_settings_that_were_given_are_told_from_the_others(tmp_path):
    flagfile = tmp_path / "a.cfg"
    flagfile.write_text("--pixel_std=1\n--steps=5\n--head_units=3,4\n")
    argv = [f"--flagfile={flagfile}", "--nojit_compile", "--budget=3", "--roi_pooling", "max"]
    assert given_settings(COMMAND, argv) == {
        "pixel_std": "1",  # though it is the default
        "head_units": "3,4",
        "jit_compile": "false",
        "roi_pooling": "max",
    }
    assert given_settings(COMMAND, argv, with_flagfiles=False) == {
        "jit_compile": "false",
        "roi_pooling": "max",
    }


def test_help_and_list(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "keras-frcnn paper --list" in capsys.readouterr().out
    assert main(["--list", f"--configs_dir={CONFIGS}"]) == 0
    output = capsys.readouterr().out
    assert "zf_dense_5_scales" in output and "needs --data_dir" in output


OVERRIDES = (
    *("shorter_side", "longer_side", "pixel_std", "scales", "head_units", "pool_size"),
    *("rpn_num_samples", "rpn_border_anchors", "train_pre_nms_top_k", "train_post_nms_top_k"),
    *("test_pre_nms_top_k", "min_size", "roi_num_samples", "score_threshold", "num_images"),
)


@pytest.fixture
def argv(tmp_path):
    """Two rows at a small size, with a budget of a few seconds."""
    data_dir = shapes.make(
        tmp_path / "shapes", 4, 2, 1, shorter_side=(64, 72), longer_side=(80, 96)
    )
    small = fakes.SMALL.replace(score_threshold=0.0)
    texts = {name: str(getattr(small, name)).strip("()").rstrip(",") for name in OVERRIDES}
    return [
        f"--configs_dir={CONFIGS}",
        f"--data_dir={data_dir}",
        "--replace_splits=VOC2007/trainval:train,VOC2007/test:val",
        f"--output_dir={tmp_path / 'out'}",
        "--rows=zf_unshared,zf_dense",
        "--budget=0.1",
        *(f"--{name}={text}" for name, text in texts.items()),
    ]


def test_rows_from_beginning_to_end(argv, in_this_process, tmp_path, capsys):
    assert main(argv) == 0
    titles = re.findall(r"^\[\d+/\d+\] (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert titles == [
        "time the steps of zf_unshared",
        "train zf_unshared, seed 0",
        "evaluate zf_unshared, seed 0",
        "time the steps of zf_dense",
        "train zf_dense, seed 0",
        "evaluate zf_dense, seed 0",
    ]
    text = (tmp_path / "out" / "table_10.md").read_text()
    for name, full in (("zf_unshared", 120000), ("zf_dense", 40000)):
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
        words = rf"\| \d+\.\d \| 1 \| 6 of {full} \| random: train \(4\) -> val \(2\) \|$"
        assert re.search(words, line)
    assert "All rows were run with --shorter_side=64" in text
    assert "--alternating_steps=4,2,4,2" in in_this_process[1]
    assert {"--steps=6", "--lr_boundaries=4"} < set(in_this_process[4])
    # The same command again has nothing to do. Another seed is added to the results.
    del in_this_process[:]
    assert main(argv) == 0
    assert in_this_process == []
    assert main(overriding(*argv, "--rows=zf_dense", "--seeds=0,1")) == 0
    assert [line[0] for line in in_this_process] == ["train", "evaluate"]
    text = (tmp_path / "out" / "table_10.md").read_text()
    assert re.search(r"\| zf_dense \|.* ± .*\| 2 \|", text)


def test_no_override_touches_what_a_row_is():
    of_rows = set(SETTINGS) - set(COMMAND.settings)
    assert {"scheme", "steps", "train_proposals", "test_proposals", "backbone"} < of_rows
    assert {"start_checkpoint", "train_split", "eval_split", "seed", "dataset"} < of_rows
    assert {"pixel_std", "backbone_weights", "precision", "batch_size"} < set(COMMAND.settings)
