"""Two processes on this machine train as one does, stop together, and notice a lost one.

TensorFlow joins processes only at their start, so every process here is new.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from keras_frcnn.training import run_folder
from keras_frcnn.training.run_folder import read_evaluations, read_lines
from keras_frcnn.weights import checkpoint
from tests.training.checkpoint_state import state_of

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def start(folder, data_dir, number=None, ports=(), **changes):
    """Starts a process of a run; ``number`` is that among two."""
    settings = {"output_dir": str(folder), "data_dir": str(data_dir), **changes}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    if number is not None:
        settings["distribution"] = "multi_worker"
        workers = [f"127.0.0.1:{port}" for port in ports]
        task = {"type": "worker", "index": number}
        environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": task})
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__, json.dumps(settings)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_two(*args, **changes):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return [start(*args, number, ports, **changes) for number in range(2)]


def end(*processes):
    """Returns the exit codes and the outputs of processes."""
    outputs = [process.communicate(timeout=600)[0] for process in processes]
    return [process.returncode for process in processes], outputs


def wait_for_step(folder, step):
    while not any(line["step"] >= step for line in read_lines(folder, run_folder.METRICS)):
        time.sleep(0.1)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    from keras_frcnn.data.writers import shapes

    folder = tmp_path_factory.mktemp("shapes")
    return shapes.make(folder, 8, 3, 1, shorter_side=(64, 72), longer_side=(80, 96))


@pytest.fixture(scope="module")
def alone(data_dir, tmp_path_factory):
    """A run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    codes, outputs = end(start(folder, data_dir))
    assert codes == [0], outputs
    return folder


def assert_same_run(folder, expected):
    """Losses, evaluations and the last checkpoint are those of the other run, to rounding."""
    for read in (lambda one: read_lines(one, run_folder.METRICS), read_evaluations):
        found, other = read(folder), read(expected)
        assert [line["step"] for line in found] == [line["step"] for line in other]
        for line, wanted in zip(found, other, strict=True):
            for name in set(wanted) - {"time", "images_per_second", "minutes_left"}:
                value = wanted[name]
                if isinstance(value, float):  # not the name of a phase, nor an undefined number
                    value = pytest.approx(value, rel=1e-3, abs=1e-5)
                assert line[name] == value, name
    states = [state_of(one / run_folder.LAST_CHECKPOINT) for one in (folder, expected)]
    assert states[0].keys() == states[1].keys()
    for name, values in states[1].items():
        limit = 1e-3 * np.abs(values).max() + 1e-7
        np.testing.assert_allclose(states[0][name], values, rtol=0, atol=limit, err_msg=name)


def test_two_processes_take_the_steps_of_one(alone, data_dir, tmp_path):
    folder = tmp_path / "two"
    codes, outputs = end(*start_two(folder, data_dir))
    assert codes == [0, 0], outputs
    assert_same_run(folder, alone)
    names = {path.name for path in alone.iterdir()}
    assert {path.name for path in folder.iterdir()} == names
    assert "step 6/6" in outputs[0]
    assert "step" not in outputs[1]  # the first process speaks for both


@pytest.mark.parametrize(
    "changes", [{}, {"scheme": "alternating", "alternating_steps": [2, 1, 1, 2]}], ids=str
)
def test_two_devices_take_the_steps_of_one(changes, data_dir, tmp_path):
    folders = [tmp_path / kind for kind in ("none", "mirrored")]
    for folder in folders:
        codes, outputs = end(start(folder, data_dir, distribution=folder.name, **changes))
        assert codes == [0], outputs
    assert_same_run(*reversed(folders))
    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert names[0] == names[1]


def test_a_signal_to_either_ends_both_at_one_step(alone, data_dir, tmp_path):
    folder = tmp_path / "stopped"
    first, second = start_two(folder, data_dir)
    wait_for_step(folder, 2)
    second.send_signal(signal.SIGTERM)
    codes, outputs = end(first, second)
    assert codes == [128 + signal.SIGTERM] * 2, outputs
    step = checkpoint.read_step(folder / run_folder.LAST_CHECKPOINT)
    assert 2 <= step < 6
    assert f"Stopped at step {step}." in outputs[0]
    codes, outputs = end(*start_two(folder, data_dir))
    assert codes == [0, 0], outputs
    assert f"Resuming from step {step}" in outputs[0]
    assert_same_run(folder, alone)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_process_that_is_lost_ends_the_other(lost, alone, data_dir, tmp_path):
    folder = tmp_path / "lost"
    processes = start_two(folder, data_dir, checkpoint_every="1")
    wait_for_step(folder, 2)
    processes[lost].kill()
    died = time.monotonic()
    codes, outputs = end(processes[1 - lost])
    end(processes[lost])  # closes its pipe
    assert time.monotonic() - died < 60
    assert codes == [2], outputs
    assert "another of the 2 processes of the run has ended" in outputs[0]
    codes, outputs = end(*start_two(folder, data_dir))
    assert codes == [0, 0], outputs
    assert_same_run(folder, alone)


def main():
    """Trains with the settings in the first argument, as the command does."""
    from keras_frcnn.cli.command import user_errors
    from keras_frcnn.cli.train import COMMAND
    from keras_frcnn.training import trainer
    from tests import fakes

    config = fakes.SMALL.replace(
        train_split=("train",),
        eval_split=("val",),
        head_dropout=0.5,
        check_images=False,
        num_images=0,
        eval_loss_images=3,
        log_every=1,
        batch_size=4,
        test_batch_size=2,
    )
    settings = json.loads(sys.argv[1])
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    if settings.get("distribution") == "mirrored":
        import tensorflow as tf

        (processor,) = tf.config.list_physical_devices("CPU")
        halves = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(processor, halves)
    patch = pytest.MonkeyPatch()
    fakes.run_eagerly(patch)
    with fakes.small_backbone(), user_errors(COMMAND):
        trainer.train(config.replace(**settings))


if __name__ == "__main__":
    main()
