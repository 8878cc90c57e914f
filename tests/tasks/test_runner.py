"""Running tasks: their order, failures and stops, and the settings of an output folder."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from keras_frcnn.tasks import runner
from keras_frcnn.tasks.task import Task


@pytest.fixture
def calls(monkeypatch):
    """The commands that would run. ``exit_codes`` has their exit codes by command.

    A command with exit code 0 writes its --output_file.
    """

    class Calls(list):
        def __init__(self):
            super().__init__()
            self.exit_codes = {}

    calls = Calls()

    class Process:
        def __init__(self, line, start_new_session):
            assert start_new_session
            start = line.index(sys.executable)
            assert line[start + 1] == "-m"
            calls.append(line[start + 2 :])
            self.code = calls.exit_codes.get(calls[-1][1], 0)
            for flag in line:
                if flag.startswith("--output_file=") and not self.code:
                    open(flag.partition("=")[2], "w").close()

        def wait(self):
            return self.code

    monkeypatch.setattr(runner.subprocess, "Popen", Process)
    return calls


@pytest.fixture
def make_task(tmp_path):
    def make(name, needs=(), **changes):
        file = tmp_path / name / "done.json"
        settings = {"title": name, "command": name, "flags": ("--a=1",), "result": file}
        return Task(**{**settings, "needs": tuple(needs), **changes})

    return make


def test_tasks_run_after_what_they_need_and_are_recorded(calls, make_task, tmp_path):
    said, changes = [], []
    first = make_task("first")
    file = tmp_path / "made" / "file.npz"
    second = make_task("second", [first], result=file, flags=(f"--output_file={file}",))
    third = make_task("third", [second, first], deferred_flags=lambda: ("--deferred=2",))
    running = runner.Runner(said.append, lambda: changes.append(1))
    running.run([third])
    cli = "keras_frcnn.cli.main"
    assert calls == [
        [cli, "first", "--a=1"],
        [cli, "second", f"--output_file={file}"],
        [cli, "third", "--a=1", "--deferred=2"],
    ]
    assert said == ["[1/3] first", "[2/3] second", "[3/3] third"]
    assert len(changes) == 3 and not running.has_failed
    command = json.loads(third.result.read_text())["command"]
    assert command == ["third", "--a=1", "--deferred=2"]
    assert not (tmp_path / "made" / "done.json").exists()
    runner.Runner(said.append).run([third])  # there is nothing left to do
    assert len(calls) == 3


def test_a_failure_is_kept_and_the_others_go_on(calls, make_task):
    said = []
    bad = make_task("bad")
    after, other = make_task("after", [bad]), make_task("other")
    calls.exit_codes = {"bad": 2}
    running = runner.Runner(said.append)
    running.run([after, other])
    assert [call[1] for call in calls] == ["bad", "other"]
    assert running.has_failed
    assert running.obstacle(after) == running.obstacle(bad) == "failed: bad (exit code 2)"
    assert said[1] == "failed: bad (exit code 2)"
    assert running.obstacle(other) == "" and not bad.is_done


def test_the_time_that_is_left_stands_behind_the_title(calls, make_task):
    said = []
    tasks = [make_task("a"), make_task("b")]
    running = runner.Runner(said.append, time_left=lambda left: f" ({len(left)} left)")
    running.run(tasks)
    assert said == ["[1/2] a (2 left)", "[2/2] b (1 left)"]


def test_a_file_that_was_not_written_is_a_failure(calls, make_task, tmp_path):
    task = make_task("task", result=tmp_path / "never.npz")
    running = runner.Runner(print)
    running.run([task])
    assert running.obstacle(task) == "failed: task (exit code 0)"


def test_a_task_with_an_obstacle_is_not_tried(calls, make_task):
    lacking = make_task("lacking", obstacle="needs x")
    after = make_task("after", [make_task("before"), lacking])
    running = runner.Runner(print)
    running.run([after])
    assert calls == [] and not running.has_failed  # nor "before", which only "after" needs
    assert running.obstacle(after) == "needs x"


def test_a_budget_that_is_too_small_shows_once_it_is_known(calls, make_task):
    def deferred():
        raise ValueError("needs 3 minutes at least")

    task = make_task("task", deferred_flags=deferred)
    after = make_task("after", [task])
    running = runner.Runner(print)
    running.run([after])
    assert calls == []
    assert running.obstacle(after) == "needs 3 minutes at least"
    assert not running.has_failed  # its cell says why


def test_a_schedule_replaces_flags_of_the_same_name(make_task):
    task = make_task(
        "task",
        flags=("--warmup_steps=500", "--dry_run", "--seed=1"),
        deferred_flags=lambda: ("--steps=9", "--warmup_steps=2"),
    )
    expected = ["--warmup_steps=2", "--dry_run", "--seed=1", "--steps=9"]
    assert task.command_line[4:] == expected


def test_a_done_task_has_no_obstacle_even_without_its_data(make_task):
    task = make_task("task", obstacle="needs x")
    task.result.parent.mkdir()
    task.result.write_text("{}")
    assert runner.Runner(print).obstacle(task) == ""


@pytest.fixture
def parent(tmp_path):
    """A process that runs three tasks, at the moment when the first one has started."""
    (tmp_path / "child.py").write_text(
        textwrap.dedent("""
        import os, pathlib, signal, sys, time
        def stop(number, frame):
            pathlib.Path("stopping").write_text(str(number))
            os.rename("stopping", "stopped")
            sys.exit(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stop)
        pathlib.Path("started").touch()
        time.sleep(30)
        """)
    )
    (tmp_path / "parent.py").write_text(
        textwrap.dedent("""
        import pathlib, sys
        from keras_frcnn.tasks import runner
        from keras_frcnn.tasks.task import Task
        def task(name, needs=()):
            file = pathlib.Path(name, "done.json")
            return Task(
                title=name, command=name, flags=(), result=file, needs=needs, module="child"
            )
        running = runner.Runner(print)
        running.run([task("b", (task("a"),)), task("c")])
        sys.exit(128 + running.stopped)
        """)
    )
    process = subprocess.Popen(
        [sys.executable, "parent.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for(tmp_path / "started")
    return process


def wait_for(file):
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_is_passed_on_and_ends_the_work(parent, number, tmp_path):
    """The child ends with exit code 0, as training does, and still counts as not done."""
    parent.send_signal(number)
    output, _ = parent.communicate(timeout=60)
    assert parent.returncode == 128 + number
    assert (tmp_path / "stopped").read_text() == str(int(number))
    assert output == "[1/3] a\n"
    assert not (tmp_path / "a" / "done.json").exists()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs Linux's setpriv")
def test_a_command_does_not_outlive_a_killed_runner(parent, tmp_path):
    parent.kill()
    parent.communicate(timeout=60)
    wait_for(tmp_path / "stopped")
    assert (tmp_path / "stopped").read_text() == str(int(signal.SIGTERM))


def test_a_folder_has_one_set_of_settings_to_which_names_may_be_added(tmp_path):
    file = tmp_path / "out" / "claim.json"
    runner.claim(file, {"budget": 5.0, "flags": ["--a=1"]})
    runner.claim(file, {"budget": 5.0, "flags": ["--a=1"], "later": 3})
    runner.claim(file, {"budget": 5.0})
    with pytest.raises(ValueError) as caught:
        runner.claim(file, {"flags": [], "budget": 5.0, "later": 4})
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/out holds rows with other settings. Use another --output_dir, or the earlier "
        "settings:",
        "flags was ['--a=1'] and is now []",
        "later was 3 and is now 4",
    ]


@pytest.mark.parametrize("seeds", [(), (1, 1), (0, -1)])
def test_seeds_that_cannot_be_used(seeds):
    runner.check_seeds((3, 0))
    with pytest.raises(ValueError, match="--seeds must be distinct integers of at least 0"):
        runner.check_seeds(seeds)
