"""Calls a function in a new Python process, with its own memory and its own crashes.

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
_PR_SET_PDEATHSIG = 1  # an option of Linux' prctl
_OUT_OF_MEMORY = ("ResourceExhaustedError", "MemoryError", "std::bad_alloc")


class ChildError(Exception):
    """A process ended without an answer.

    Attributes:
        out_of_memory: whether it ran out of memory.
        log: everything that the process printed.
    """

    def __init__(self, message: str, out_of_memory: bool, log: str):
        super().__init__(message)
        self.out_of_memory = out_of_memory
        self.log = log


def call(target: str, *arguments, num_cores: int | None = None):
    """Calls a function in a new process.

    Args:
        target: ``module:function``.
        *arguments: in JSON's types.
        num_cores: how many of this process's cores the new one may use. None: all.

    Returns:
        The function's result, in JSON's types.

    Raises:
        ChildError: if the process failed, with the message of its exception.
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
        raise error_of(code, log.read_text(encoding="utf-8", errors="replace"))


def main():
    """Runs in the new process: ``python -m benchmarks.child TASK ANSWER_FILE``."""
    task = json.loads(sys.argv[1])
    if task["num_cores"]:  # before TensorFlow counts them
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task["num_cores"]])
    _end_with_parent()
    try:
        module, _, function = task["target"].partition(":")
        answer = getattr(importlib.import_module(module), function)(*task["arguments"])
    except Exception as error:
        traceback.print_exc()
        # The first line only: TensorFlow's messages go on with lists of nodes.
        message = next((line for line in str(error).splitlines() if line.strip()), "")
        print(f"{type(error).__name__}: {message}", flush=True)
        raise SystemExit(1) from None
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def error_of(code: int, log: str) -> ChildError:
    """Returns the error of a process that ended with an exit code, or by the signal -code."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    message = lines[-1] if lines else "no message"
    if code == _SIGKILL:
        message = "killed, as the system does when memory runs out"
    elif code < 0:
        message = f"ended by signal {-code}: {message}"
    searched = log if code < 0 else message
    out_of_memory = code == _SIGKILL or any(name in searched for name in _OUT_OF_MEMORY)
    return ChildError(message, out_of_memory, log)


def _end_with_parent():
    """Makes the system end this process with its parent, or before any other if memory runs out."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main()
