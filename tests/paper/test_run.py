"""Making parts: their order, failures, stops, and what a folder is claimed for."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from keras_frcnn.paper import run
from keras_frcnn.paper.parts import Part
from keras_frcnn.paper.settings import Settings


@pytest.fixture
def calls(monkeypatch):
    """What would run; ``answers`` gives exit codes by command, after writing --output_file."""

    class Calls(list):
        def __init__(self):
            super().__init__()
            self.answers = {}

    calls = Calls()

    class Process:
        def __init__(self, line, start_new_session):
            assert start_new_session
            assert line[:2] == [sys.executable, "-m"]
            calls.append(line[2:])
            self.code = calls.answers.get(line[3], 0)
            for flag in line:
                if flag.startswith("--output_file=") and not self.code:
                    open(flag.partition("=")[2], "w").close()

        def wait(self):
            return self.code

    monkeypatch.setattr(run.subprocess, "Popen", Process)
    return calls


@pytest.fixture
def make_part(tmp_path):
    def make(name, needs=(), **changes):
        file = tmp_path / name / "done.json"
        settings = {"title": name, "command": name, "flags": ("--a=1",), "result": file}
        return Part(**{**settings, "needs": tuple(needs), **changes})

    return make


def test_parts_run_after_what_they_need_and_are_recorded(calls, make_part, tmp_path):
    said, changes = [], []
    first = make_part("first")
    file = tmp_path / "made" / "file.npz"
    second = make_part("second", [first], result=file, flags=(f"--output_file={file}",))
    third = make_part("third", [second, first], late_flags=lambda: ("--late=2",))
    runner = run.Runner(said.append, lambda: changes.append(1))
    runner.make([third])
    cli = "keras_frcnn.cli.main"
    assert calls == [
        [cli, "first", "--a=1"],
        [cli, "second", f"--output_file={file}"],
        [cli, "third", "--a=1", "--late=2"],
    ]
    assert said == ["[1/3] first", "[2/3] second", "[3/3] third"]
    assert len(changes) == 3 and not runner.has_failed
    command = json.loads(third.result.read_text())["command"]
    assert command == ["third", "--a=1", "--late=2"]
    assert not (tmp_path / "made" / "done.json").exists()
    run.Runner(said.append).make([third])  # the second time there is nothing to do
    assert len(calls) == 3


def test_a_failure_is_kept_and_the_others_go_on(calls, make_part):
    said = []
    bad = make_part("bad")
    after, other = make_part("after", [bad]), make_part("other")
    calls.answers = {"bad": 2}
    runner = run.Runner(said.append)
    runner.make([after, other])
    assert [call[1] for call in calls] == ["bad", "other"]
    assert runner.has_failed
    assert runner.problem(after) == runner.problem(bad) == "failed: bad (exit code 2)"
    assert said[1] == "failed: bad (exit code 2)"
    assert runner.problem(other) == "" and not bad.is_done


def test_a_file_that_was_not_written_is_a_failure(calls, make_part, tmp_path):
    part = make_part("part", result=tmp_path / "never.npz")
    runner = run.Runner(print)
    runner.make([part])
    assert runner.problem(part) == "failed: part (exit code 0)"


def test_what_is_missing_is_not_tried(calls, make_part):
    lacking = make_part("lacking", missing="needs x")
    after = make_part("after", [make_part("before"), lacking])
    runner = run.Runner(print)
    runner.make([after])
    assert calls == [] and not runner.has_failed  # nor what only it would need
    assert runner.problem(after) == "needs x"


def test_too_little_time_shows_once_it_is_known(calls, make_part):
    def late():
        raise ValueError("needs 3 minutes at least")

    part = make_part("part", late_flags=late)
    after = make_part("after", [part])
    runner = run.Runner(print)
    runner.make([after])
    assert calls == []
    assert runner.problem(after) == "needs 3 minutes at least"
    assert not runner.has_failed  # the cell says it


def test_a_done_part_has_no_problem_though_its_data_are_gone(make_part):
    part = make_part("part", missing="needs x")
    part.result.parent.mkdir()
    part.result.write_text("{}")
    assert run.Runner(print).problem(part) == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_passed_on_and_ends_the_work(number, tmp_path):
    """In processes of their own: the child ends well, as training does, and counts as not done."""
    (tmp_path / "child.py").write_text(
        textwrap.dedent("""
        import pathlib, signal, sys, time
        def stop(number, frame):
            pathlib.Path("stopped").write_text(str(number))
            sys.exit(0)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        pathlib.Path("started").touch()
        time.sleep(30)
        """)
    )
    (tmp_path / "parent.py").write_text(
        textwrap.dedent("""
        import pathlib, sys
        from keras_frcnn.paper import parts, run
        def part(name, needs=()):
            file = pathlib.Path(name, "done.json")
            return parts.Part(
                title=name, command=name, flags=(), result=file, needs=needs, module="child"
            )
        runner = run.Runner(print)
        runner.make([part("b", (part("a"),)), part("c")])
        sys.exit(128 + runner.stopped)
        """)
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parent = subprocess.Popen(
        [sys.executable, "parent.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    parent.send_signal(number)
    output, _ = parent.communicate(timeout=60)
    assert parent.returncode == 128 + number
    assert (tmp_path / "stopped").read_text() == str(int(number))
    assert output == "[1/3] a\n"
    assert not (tmp_path / "a" / "done.json").exists()


def test_a_folder_is_for_one_budget_and_one_set_of_settings(tmp_path):
    def settings(**changes):
        return Settings(output_dir=tmp_path / "out", configs_dir=tmp_path, **changes)

    run.claim(settings(minutes=5.0, overrides=("--pixel_std=58",)))
    run.claim(settings(minutes=5.0, overrides=("--pixel_std=58",), data_dir="moved", seeds=(4,)))
    with pytest.raises(ValueError) as caught:
        run.claim(settings(replaced_splits={"a": "b"}, minutes=5.0))
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/out holds rows with other settings. Use another --output_dir, or those of "
        "before:",
        "replaced_splits was {}, is {'a': 'b'}",
        "overrides was ['--pixel_std=58'], is []",
    ]
    with pytest.raises(ValueError, match=r"budget was 5.0, is full"):
        run.claim(settings(overrides=("--pixel_std=58",)))
