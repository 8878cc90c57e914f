"""Loading TensorFlow: what is hidden of its messages, and what is said about the devices."""

import os
import subprocess
import sys

import pytest
import tensorflow as tf

from keras_frcnn.cli import startup
from keras_frcnn.models import precision

CHATTER = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1.2 3 port.cc:153] oneDNN custom operations are on.
I0000 00:00:1.2 3 cudart_stub.cc:31] Could not find cuda drivers on your machine
W0000 00:00:1.2 3 gpu_device.cc:1] Cannot dlopen some GPU libraries.
E0000 00:00:1.2 3 cuda_platform.cc:52] failed call to cuInit: INTERNAL
E0000 00:00:1.2 3 util.cc:131] oneDNN supports DT_UINT8 only on platforms with AVX-512.
"""
ERROR = "E0000 00:00:1.2 3 loader.cc:9] the library is broken\n"
CRASH = "F0000 00:00:1.2 3 cpu.cc:7] this binary needs AVX\n"
# Stands in for TensorFlow and writes as its libraries do, past Python.
TENSORFLOW = f"""
import contextlib, os, types
os.write(2, {CHATTER.encode()!r} + {ERROR.encode()!r})
if "CRASH" in os.environ:
    os.write(2, {CRASH.encode()!r})
    os.abort()
config = types.SimpleNamespace(
    list_physical_devices=lambda kind: [],
    threading=types.SimpleNamespace(get_intra_op_parallelism_threads=lambda: 3),
)
device = contextlib.nullcontext
function = lambda f: f
transpose = lambda x: x
zeros = lambda *args: 0
uint8 = None
"""


@pytest.fixture
def load(tmp_path):
    """Returns a function that loads the stand-in in a process and returns its outputs."""
    (tmp_path / "tensorflow.py").write_text(TENSORFLOW)

    def load(**variables):
        environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
        environment |= {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.getcwd()}", **variables}
        program = (
            "import os\n"
            "from keras_frcnn.cli.startup import load_tensorflow, quiet_tensorflow\n"
            "quiet_tensorflow()\n"
            "import tensorflow\n"  # as a reader of data does
            "load_tensorflow()\n"
            "os.write(2, b'later\\n')\n"
            "print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
        )
        command = [sys.executable, "-c", program]
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
        return run.stdout, run.stderr

    return load


def test_messages_below_errors_are_hidden_while_tensorflow_is_loaded(load):
    out, err = load()
    first, device, *_, level = out.splitlines()
    assert first == "Loading TensorFlow ..."
    assert device.startswith("device: CPU, 3 threads, ")
    assert level == "2"
    assert err == f"{ERROR}later\n"


def test_the_users_own_log_level_is_kept(load):
    out, err = load(TF_CPP_MIN_LOG_LEVEL="0")
    assert out.splitlines()[-1] == "0"
    assert err == f"{CHATTER}{ERROR}later\n"


def test_the_last_words_of_a_crash_are_shown(load):
    _, err = load(CRASH="1")
    assert err.startswith(ERROR + CRASH)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"amx_bf16", "sse"}, "bfloat16 in hardware (amx_bf16)"),
        ({"sse"}, "no bfloat16 in hardware"),
    ],
)
def test_the_cpu_is_described(flags, words, monkeypatch, capsys):
    monkeypatch.setattr(precision, "_read_cpu_flags", lambda: flags)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    startup.load_tensorflow()
    assert capsys.readouterr().out.splitlines()[0] == f"device: CPU, 1 thread, {words}"


@pytest.mark.parametrize(
    ("names", "words"), [(["NVIDIA H200"], ""), (["A", "A"], ", the first of 2 GPUs")]
)
def test_a_gpu_is_named(names, words, monkeypatch, capsys):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: names)
    details = {"get_device_details": lambda gpu: {"device_name": gpu}}
    for name, value in details.items():
        monkeypatch.setattr(tf.config.experimental, name, value)
    startup.load_tensorflow()
    assert capsys.readouterr().out == f"device: {names[0]}{words}\n"


def test_commands_that_run_no_model_name_no_device(capsys):
    startup.load_tensorflow(names_devices=False)
    assert capsys.readouterr().out == ""


@pytest.fixture
def machine(tmp_path):
    """Returns a function that makes the files by which a machine with a GPU is known."""

    def make(vendor="0x10de", kind="0x030200", driver=False):
        device = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")
        if driver:
            (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
            (tmp_path / "proc/driver/nvidia/version").touch()
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("driver", "words"),
    [(True, "To use it, run: "), (False, "To use it, install NVIDIA's driver, and then run: ")],
)
def test_a_gpu_that_tensorflow_cannot_use_is_explained(driver, words, machine, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (line,) = startup.gpu_advice(machine(driver=driver))
    assert line == (
        "This machine has an NVIDIA GPU, but TensorFlow cannot use it. "
        f"{words}pip install 'tensorflow[and-cuda]'"
    )


@pytest.mark.parametrize("value", ["", "-1"])
def test_a_gpu_that_the_user_hides_is_no_fault(value, machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    (line,) = startup.gpu_advice(machine())
    assert line == "This machine has an NVIDIA GPU, but CUDA_VISIBLE_DEVICES hides it."


@pytest.mark.parametrize(
    "device", [{"vendor": "0x8086"}, {"kind": "0x020000"}], ids=["another vendor", "no display"]
)
def test_without_an_nvidia_gpu_there_is_no_advice(device, machine):
    assert startup.gpu_advice(machine(**device)) == []
