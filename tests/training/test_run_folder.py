"""The evaluations of a run: written, read in order and cut after a step."""

import errno
import json
import math
import os
from pathlib import Path

import pytest

from keras_frcnn.training import run_folder


def test_evaluations_are_read_in_order_and_cut_after_a_step(tmp_path):
    assert run_folder.read_evaluations(tmp_path) == []
    (tmp_path / "evaluations.jsonl").write_text('{"step": 2}\n{"step": 4}\n{"step": 6}\n')
    run_folder.drop_measurements_after(tmp_path, 4)
    assert run_folder.read_evaluations(tmp_path) == [{"step": 2}, {"step": 4}]


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: run_folder.append_evaluation(folder, 6, "", {}),
        lambda folder: run_folder.drop_measurements_after(folder, 2),
    ],
)
def test_a_full_disk_spoils_no_evaluations(change, tmp_path, monkeypatch):
    path = tmp_path / "evaluations.jsonl"
    path.write_text('{"step": 2}\n{"step": 4}\n')
    write_text = Path.write_text

    def write_half(self, text, **options):
        write_text(self, text[: len(text) // 2], **options)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(OSError, match="No space left"):
        change(tmp_path)
    assert run_folder.read_evaluations(tmp_path) == [{"step": 2}, {"step": 4}]
    assert list(tmp_path.iterdir()) == [path]


def test_evaluations_are_plain_lines_of_json(tmp_path):
    run_folder.append_evaluation(tmp_path, 2, "", {"mAP_area": 0.5, "AP_area/cat": math.nan})
    run_folder.append_evaluation(tmp_path, 4, "step 2 of 4", {"mAP_area": 1})
    lines = (tmp_path / "evaluations.jsonl").read_text().splitlines()
    expected = [
        {"step": 2, "mAP_area": 0.5, "AP_area/cat": None},
        {"step": 4, "phase": "step 2 of 4", "mAP_area": 1.0},
    ]
    assert [json.loads(line) for line in lines] == expected
    assert run_folder.read_evaluations(tmp_path) == expected


def test_metrics_are_added_line_by_line_and_dropped_with_the_evaluations(tmp_path):
    for step in (20, 40, 60):
        run_folder.append_metrics(
            tmp_path, step, "step 1 of 4", {"loss": step / 8, "epoch": math.nan}
        )
        run_folder.append_evaluation(tmp_path, step, "", {"mAP_area": 0.5})
    path = tmp_path / "metrics.jsonl"
    text = '{"step": 20, "phase": "step 1 of 4", "loss": 2.5, "epoch": null}\n'
    assert path.read_text().startswith(text + '{"step": 40, ')
    with path.open("a") as file:
        file.write('{"step": 80, "lo')  # a run that was killed
    assert [one["step"] for one in run_folder.read_lines(tmp_path, "metrics.jsonl")] == [20, 40, 60]
    run_folder.drop_measurements_after(tmp_path, 20)
    assert path.read_text() == text
    assert run_folder.read_evaluations(tmp_path) == [{"step": 20, "mAP_area": 0.5}]


@pytest.mark.parametrize("cut", ['{"step": 4, "mAP_ar', '{"step"', "{}", "\0\0\0", "4"])
def test_a_last_line_that_was_cut_off_is_dropped(tmp_path, cut):
    path = tmp_path / "evaluations.jsonl"
    path.write_text('{"step": 2}\n' + cut)
    assert run_folder.read_evaluations(tmp_path) == [{"step": 2}]
    run_folder.drop_measurements_after(tmp_path, 9)
    run_folder.append_evaluation(tmp_path, 4, "", {})
    assert path.read_text() == '{"step": 2}\n{"step": 4}\n'


def test_a_damaged_line_before_the_last_is_named(tmp_path):
    path = tmp_path / "evaluations.jsonl"
    path.write_text('{"step": 2}\n{"ste\n{"step": 6}\n')
    with pytest.raises(ValueError, match=r"evaluations.jsonl: line 2 must be JSON with a step"):
        run_folder.read_evaluations(tmp_path)
