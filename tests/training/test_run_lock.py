"""One run a folder: the second is refused by name of the first, and no dead run is in the way."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time

import filelock
import pytest

from keras_frcnn.training import run_lock

HOLD = """
import sys, time
from keras_frcnn.training import run_lock
with run_lock.held(sys.argv[1]):
    print("holds", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "holds\n"
        yield process
        process.kill()


def test_the_second_run_is_refused_by_name_of_the_first(other, tmp_path):
    for enter in (run_lock.check, lambda folder: run_lock.held(folder).__enter__()):
        with pytest.raises(ValueError) as caught:
            enter(tmp_path)
        found = re.fullmatch(
            rf"{tmp_path} is in use by another run: host {socket.gethostname()}, process "
            rf"{other.pid}, since (\d+-\d+-\d+ \d+:\d+:\d+)\. Stop it, or use another --output_dir",
            str(caught.value),
        )
        since = time.mktime(time.strptime(found[1], "%Y-%m-%d %H:%M:%S"))
        assert -1 < time.time() - since < 60


def test_a_folder_is_free_after_its_run_was_killed(other, tmp_path):
    name = run_lock.runner(tmp_path)
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert run_lock.runner(tmp_path) == ""
    assert run_lock.last_runner(tmp_path) == name
    with run_lock.held(tmp_path):
        assert f"process {os.getpid()}," in run_lock.runner(tmp_path)
    run_lock.check(tmp_path)


def test_a_folder_without_a_run_is_free(tmp_path):
    assert run_lock.runner(tmp_path / "none") == run_lock.last_runner(tmp_path / "none") == ""
    with run_lock.held(tmp_path / "new" / "run"):
        assert run_lock.runner(tmp_path / "new" / "run")
    assert run_lock.runner(tmp_path / "new" / "run") == ""


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_and_used(number, tmp_path, monkeypatch, capsys):
    def refuse(self, **options):
        raise OSError(number, os.strerror(number))

    (tmp_path / "run.lock").touch()
    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    assert run_lock.runner(tmp_path) == ""
    with run_lock.held(tmp_path):
        assert f"process {os.getpid()}," in run_lock.last_runner(tmp_path)
    assert os.strerror(number) in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    def refuse(self, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "run.lock"))

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(OSError, match="Read-only file system"), run_lock.held(tmp_path):
        pass
