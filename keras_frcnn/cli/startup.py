"""Loads TensorFlow without its start-up messages, and says on which device a run computes.

A command first checks everything that needs no TensorFlow: its flags, files, folders and data. Only
then does it call ``load_tensorflow``, which takes seconds. Reading TFRecords and TensorFlow
Datasets needs TensorFlow, so these commands load it earlier.
"""

import contextlib
import importlib.abc
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from keras_frcnn.console import say

# Harmless lines that TensorFlow's libraries write before they read TF_CPP_MIN_LOG_LEVEL. Those that
# begin with E report a missing GPU (gpu_advice says more), a library that is linked twice, and a
# data type that oneDNN does not support.
_CHATTER = (
    r"WARNING: All log messages before absl::InitializeLog|[IW][0-9]{4} |"
    r"E[0-9]{4} .*(failed call to cuInit|Unable to register cu|oneDNN supports)"
)
_INSTALL = "pip install 'tensorflow[and-cuda]'"


def quiet_tensorflow() -> None:
    """Hides TensorFlow's messages below errors, wherever it is imported first.

    Nothing is hidden if the user has set TF_CPP_MIN_LOG_LEVEL to 0 or 1.
    """
    if "tensorflow" not in sys.modules and _QuietImport not in map(type, sys.meta_path):
        sys.meta_path.insert(0, _QuietImport())


class _QuietImport(importlib.abc.MetaPathFinder):
    """Imports TensorFlow as Python does, but without its chatter."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_quietly(module):
            say("Loading TensorFlow ...")
            with _without_chatter():
                execute(module)

        spec.loader.exec_module = execute_quietly
        return spec


def load_tensorflow(names_devices: bool = True) -> None:
    """Imports TensorFlow, and prints which devices it has found.

    Args:
        names_devices: whether to print the devices. Commands that run no model use the CPU alone.
    """
    import tensorflow as tf

    with _without_chatter():
        if not names_devices:
            tf.config.set_visible_devices([], "GPU")  # a GPU may be busy with training
        gpus = tf.config.list_physical_devices("GPU")
        with tf.device("CPU"):  # makes oneDNN write its line about bytes here, where it is hidden
            tf.function(tf.transpose)(tf.zeros([2, 3], tf.uint8))
    if not names_devices:
        return
    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "unknown GPU")
        say(f"device: {name}" + (f", the first of {len(gpus)} GPUs" if len(gpus) > 1 else ""))
    else:
        say(f"device: {_cpu()}")
        for line in gpu_advice():
            say(line)


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Filters what TensorFlow's libraries write to standard error.

    The filter is another process, so that the last lines of a crash are shown, too.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") < "2":  # 2 shows errors and worse
        yield
        return
    command = ["grep", "--line-buffered", "-Ev", f"^({_CHATTER})"]
    try:
        grep = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=2)
    except OSError:  # without grep, everything is shown
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    os.dup2(grep.stdin.fileno(), 2)
    grep.stdin.close()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        with contextlib.suppress(subprocess.TimeoutExpired):
            grep.wait(timeout=5)


def _cpu() -> str:
    """Describes the CPU: its threads, and whether it multiplies bfloat16."""
    import tensorflow as tf

    from keras_frcnn.models import precision

    threads = tf.config.threading.get_intra_op_parallelism_threads()
    threads = threads or int(os.environ.get("TF_NUM_INTRAOP_THREADS", "0")) or _num_cores()
    flags = precision.cpu_bfloat16_flags()
    bfloat16 = f"bfloat16 in hardware ({', '.join(flags)})" if flags else "no bfloat16 in hardware"
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}, {bfloat16}"


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpu_advice(root: Path = Path("/")) -> list[str]:
    """Returns what to do if there is an NVIDIA GPU that TensorFlow does not use.

    Args:
        root: the folder that holds ``sys`` and ``proc``.
    """
    is_there = any(
        _text(device / "vendor") == "0x10de" and _text(device / "class").startswith("0x03")
        for device in root.glob("sys/bus/pci/devices/*")
    )
    has_driver = (root / "proc/driver/nvidia/version").exists()
    if not is_there and not has_driver:
        return []
    if re.fullmatch(r"\s*(-1)?\s*", os.environ.get("CUDA_VISIBLE_DEVICES", "all")):
        return ["This machine has an NVIDIA GPU, but CUDA_VISIBLE_DEVICES hides it."]
    driver = "" if has_driver else "install NVIDIA's driver, and then "
    return [
        "This machine has an NVIDIA GPU, but TensorFlow cannot use it. To use it, "
        f"{driver}run: {_INSTALL}"
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
