"""Commands that run others: these run in the process of the test, on a stand-in backbone."""

from types import SimpleNamespace

import pytest

from keras_frcnn import backbones
from keras_frcnn.cli import main as cli
from keras_frcnn.tasks import runner
from keras_frcnn.training import dry_run
from tests import fakes


def a_second_a_step(config, console, run_data):
    """Stands in for the dry run's measurement: 6 seconds are 6 steps."""
    del console, run_data
    phases = [{"step": 1.0, "proposals": 0.0} for _ in config.phase_steps]
    return {"images": 3, "phases": phases, "evaluation": 30.0}


@pytest.fixture
def in_this_process(monkeypatch):
    """Runs the commands of tasks in this process, and returns them."""
    lines = []

    class Process:
        def __init__(self, line, start_new_session):
            del start_new_session
            command = line[line.index("keras_frcnn.cli.main") + 1 :]
            lines.append(command)
            try:
                self.code = cli.main(command)
            except SystemExit as stop:
                self.code = stop.code

        def wait(self):
            return self.code

        def send_signal(self, number):
            raise NotImplementedError

    # Only for the runner: loading TensorFlow starts a process, too.
    monkeypatch.setattr(runner, "subprocess", SimpleNamespace(Popen=Process))
    fakes.run_eagerly(monkeypatch)
    monkeypatch.setattr(dry_run, "dry_run", a_second_a_step)
    for name in ("zf", "vgg16"):
        monkeypatch.setitem(backbones.BACKBONES, name, "tests.fakes:small_vgg16")
    return lines
