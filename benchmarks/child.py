"""Runs a function in a fresh Python process: its own memory, its own crash.

child.call("benchmarks.cases:run", case)
"""

import contextlib
import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from benchmarks.environment import ROOT

_SIGKILL = -signal.SIGKILL
_PR_SET_PDEATHSIG = 1  # of Linux' prctl
_OUT_OF_MEMORY = ("ResourceExhaustedError", "MemoryError", "std::bad_alloc")


class ChildError(Exception):
    """A process that ended without an answer.

    Attributes:
        out_of_memory: whether that was for want of memory.
        log: everything that the process wrote.
    """

    def __init__(self, message: str, out_of_memory: bool, log: str):
        super().__init__(message)
        self.out_of_memory = out_of_memory
        self.log = log


def call(target: str, *arguments, num_cores: int | None = None):
    """Calls a function in a new process.

    Args:
        target: ``module:function``.
        *arguments: what JSON can hold.
        num_cores: the process gets so many of this one's cores. None: all.

    Returns:
        The function's answer, which JSON can hold too.

    Raises:
        ChildError: if the process failed, with its exception.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        answer, log = Path(folder) / "answer.json", Path(folder) / "log"
        task = {"target": target, "arguments": arguments, "num_cores": num_cores}
        command = [sys.executable, "-m", "benchmarks.child", json.dumps(task), str(answer)]
        environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ}
        with log.open("wb") as file:
            code = subprocess.run(
                command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, env=environment
            ).returncode
        if code == 0:
            return json.loads(answer.read_text(encoding="utf-8"))
        raise _error(code, log.read_text(encoding="utf-8", errors="replace"))


def main():
    """The new process: ``python -m benchmarks.child TASK ANSWER_FILE``."""
    task = json.loads(sys.argv[1])
    if task["num_cores"]:  # before TensorFlow counts them
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task["num_cores"]])
    _die_first()
    try:
        module, _, function = task["target"].partition(":")
        answer = getattr(importlib.import_module(module), function)(*task["arguments"])
    except Exception as error:
        traceback.print_exc()
        # TensorFlow's messages go on with lists of nodes.
        what = next((line for line in str(error).splitlines() if line.strip()), "")
        print(f"{type(error).__name__}: {what}", flush=True)
        raise SystemExit(1) from None
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def _error(code, log):
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    message = lines[-1] if lines else "no message"
    if code == _SIGKILL:
        message = "killed, as the system does where memory runs out"
    elif code < 0:
        message = f"ended by signal {-code}: {message}"
    searched = log if code < 0 else message
    out_of_memory = code == _SIGKILL or any(name in searched for name in _OUT_OF_MEMORY)
    return ChildError(message, out_of_memory, log)


def _die_first():
    """Ends this process with the one that started it; and before others, if memory runs out."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main()
