"""The status command: where a run stands, read from its folder without TensorFlow."""

import json
import os
import socket
import zipfile

import pytest

from keras_frcnn.cli.status import main
from keras_frcnn.config.flags import write_flagfile
from keras_frcnn.training import run_lock
from tests import fakes

LOGGED = {
    "epoch": 1.25,
    "loss": 1.5,
    "rpn_cls_loss": 0.25,
    "roi_foreground": 3.0,
    "learning_rate": 0.001,
    "images_per_second": 2.5,
    "minutes_left": 75.2,
    "time": 1.7e9,
}


@pytest.fixture
def run(tmp_path):
    write_flagfile(fakes.SMALL.replace(steps=80, output_dir=str(tmp_path)), tmp_path / "config.cfg")
    return tmp_path


def status(capsys, *argv):
    assert main(list(map(str, argv))) == 0
    return capsys.readouterr().out.splitlines()


def add_lines(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_where_a_run_stands(run, capsys):
    add_lines(run / "metrics.jsonl", {"step": 10} | LOGGED, {"step": 20} | LOGGED)
    figures = {5: 0.5, 10: 0.25, 15: 0.5, 20: 0.375}  # best.keras is the last of equals
    lines = [{"step": step, "mAP_area": value} for step, value in figures.items()]
    add_lines(run / "evaluations.jsonl", *lines)
    with zipfile.ZipFile(run / "last.keras", "w") as archive:
        archive.comment = b'{"step": 20}'
    os.utime(run / "last.keras", (0, 0))
    with run_lock.held(run):
        lines = status(capsys, run)
    (name,) = [line for line in lines if line.startswith(f"{run}: running on ")]
    assert f"host {socket.gethostname()}, process {os.getpid()}, since 2" in name
    assert lines[1:6] == [
        "step 20 of 80 (25.0%)",
        "epoch 1.25, learning rate 0.001, 2.50 images/s",
        "losses: loss 1.500, rpn_cls_loss 0.250",
        "time left: about 1 h 15 min",
        "mAP_area: 0.375 at step 20; the best is 0.500 at step 15",
    ]
    assert lines[6].startswith(f"{run}/last.keras: step 20, written 19")
    stopped = status(capsys, f"--run={run}")
    assert stopped[0].startswith(f"{run}: not running; the last run was on host ")
    assert stopped[1:] == [line for line in lines[1:] if not line.startswith("time left")]


def test_a_phase_and_figures_that_are_undefined(run, capsys):
    add_lines(run / "metrics.jsonl", {"step": 80, "phase": "step 2 of 4"} | LOGGED)
    add_lines(run / "evaluations.jsonl", {"step": 80, "phase": "step 2 of 4", "mAP_area": None})
    assert status(capsys, run) == [
        f"{run}: finished",
        "step 80 of 80 (100.0%)",
        "step 2 of 4, epoch 1.25, learning rate 0.001, 2.50 images/s",
        "losses: loss 1.500, rpn_cls_loss 0.250",
        "mAP_area: undefined at step 80; the best is undefined at step 80",
    ]


def test_a_run_that_has_logged_nothing(run, capsys):
    assert status(capsys, run) == [f"{run}: not running", "step 0 of 80 (0.0%)"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere"], "--run must be the folder of a run, with config.cfg. Received: nowhere"),
        ([], "--run is missing"),
        (["a", "b"], "--run=b contradicts --run=a"),
    ],
)
def test_what_is_no_run_is_named(argv, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert f"keras-frcnn status: {message}" in capsys.readouterr().err
