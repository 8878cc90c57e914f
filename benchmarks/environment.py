"""The environment that the figures depend on: machine, cores, versions, shell variables."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

import keras_frcnn

ROOT = Path(__file__).parents[1]

_PACKAGES = ("tensorflow", "keras", "numpy")
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "bf16")
# Shell variables that affect the speed of TensorFlow.
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "DNNL_MAX_CPU_ISA",
    "OMP_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)


def host() -> dict:
    """Describes the machine and the software without large imports."""
    model, flags = _processor()
    return {
        "processor": model,
        "processor_flags": [flag for flag in _FLAGS if flag in flags],
        "cores": cores(),
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in _PACKAGES},
        "keras_frcnn": keras_frcnn.__version__,
        "git_commit": _commit(),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def cores() -> list[int]:
    """Returns the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def device() -> dict:
    """Describes what TensorFlow runs on; empty if this process has not imported it."""
    tf = sys.modules.get("tensorflow")
    if tf is None:
        return {}
    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus]
    threads = {
        "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
    }
    # TensorFlow says 0 for its default, one thread for each core.
    threads = {name: number or len(cores()) for name, number in threads.items()}
    return {"gpu": names[0] if names else None, **threads}


def _processor():
    """Returns the CPU's ``(model, flags)``; without /proc/cpuinfo, only what Python knows."""
    lines = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                name, _, value = line.partition(":")
                lines.setdefault(name.strip(), value.strip())
    except OSError:
        pass
    flags = lines.get("flags") or lines.get("Features") or ""
    return lines.get("model name") or platform.processor() or platform.machine(), flags.split()


def _commit():
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
