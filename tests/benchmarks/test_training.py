"""The comparison of trainings, as far as it goes without torch."""

import json
import sys
import types

import numpy as np
import pytest

from benchmarks.training import __main__ as cli

ARGUMENTS = ["--data_dir=VOCdevkit", f"--torch_python={sys.executable}"]
RESULTS = {
    "map_area": 0.12345,
    "map_11point": 0.2,
    "intervals": {"means": {"map_area": [0.1, 0.15]}},
}


@pytest.fixture
def torch_there(monkeypatch):
    """Pretends that torch can be imported, on a machine of two cores."""
    monkeypatch.setattr(cli, "why_torch_is_missing", lambda python: "")
    monkeypatch.setattr(cli.environment, "cores", lambda: [0, 1])


def refusal(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main([*ARGUMENTS, *arguments])
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_missing_torch_is_said(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(cli, "why_torch_is_missing", lambda python: "No module named 'torch'")
    assert refusal(capsys, f"--output_dir={tmp_path}").endswith("No module named 'torch'")


def test_every_side_needs_a_core(torch_there, capsys, tmp_path):
    sides = "--sides=keras_frcnn,torchvision,torchvision_usual"
    message = refusal(capsys, f"--output_dir={tmp_path}", sides)
    assert message.endswith("--sides: each needs a core of its own. There are 2 cores")


def test_an_earlier_comparison_is_kept(torch_there, capsys, tmp_path):
    (tmp_path / "torchvision").mkdir()
    message = refusal(capsys, f"--output_dir={tmp_path}")
    assert message.endswith(f"--output_dir: {tmp_path} holds an earlier comparison")


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "long"])
def test_wrong_minutes_are_named(torch_there, capsys, minutes):
    message = refusal(capsys, "--output_dir=x", f"--minutes={minutes}")
    assert message.endswith(f"expected a number above 0. Received: {minutes!r}")


def test_our_side_trains_for_the_minutes_at_a_constant_rate(tmp_path):
    options = cli._parser().parse_args(
        [f"--data_dir={tmp_path}", "--torch_python=x", f"--output_dir={tmp_path}", "--minutes=6"]
    )
    config = cli.make_config(options)
    assert (config.max_minutes, config.checkpoint_every, config.keep) == (6, "1.5min", 5)
    assert (config.lr_schedule, config.lr_boundaries) == ("piecewise", ())
    assert (config.optimizer, config.batch_size, config.train_split) == (
        *("adam", 2),
        ("VOC2007/trainval",),
    )


def test_detections_of_torch_become_files_for_evaluate(tmp_path):
    work = {"eval": [{"image_id": "a"}, {"image_id": "b"}], "class_names": ["cat", "dog"]}
    (tmp_path / "work.json").write_text(json.dumps(work), encoding="utf-8")
    for number, label in enumerate([1, 0]):
        np.savez(
            tmp_path / f"{number}.npz",
            boxes=np.array([[10, 20, 30, 40]], np.float32),
            scores=np.array([0.5], np.float32),
            labels=np.array([label], np.int32),
        )
    folder = cli._write_voc(tmp_path, tmp_path)
    assert (folder / "comp4_det_eval_dog.txt").read_text() == "a 0.5 21.00 11.00 40.00 30.00\n"
    assert (folder / "comp4_det_eval_cat.txt").read_text() == "b 0.5 21.00 11.00 40.00 30.00\n"


def test_figures_of_an_evaluation():
    assert cli.figures(RESULTS) == ("0.123", "0.100 - 0.150", "0.200")


def test_a_side_may_lack_the_first_checkpoint(monkeypatch, tmp_path):
    own = tmp_path / cli.OURS
    (own / "earlier").mkdir(parents=True)
    for step in (20, 9):
        (own / "earlier" / f"step_{step}.keras").touch()
    (own / "metrics.jsonl").write_text('{"step": 9}\n{"step": 31}\n', encoding="utf-8")

    def evaluate(command, **kwargs):
        folder = next(part for part in command if part.startswith("--output_dir=")).split("=")[1]
        cli.Path(folder).mkdir()
        (cli.Path(folder) / "results.json").write_text(json.dumps(RESULTS), encoding="utf-8")

    monkeypatch.setattr(cli.subprocess, "run", evaluate)
    options = types.SimpleNamespace(data_dir="d", eval_split="VOC2007/val", minutes=8.0)
    rows = list(cli._measure(cli.OURS, types.SimpleNamespace(batch_size=2), options, tmp_path))
    assert [(row["minutes"], row["images"]) for row in rows] == [(4, 18), (6, 40), (8, 62)]
