"""The process of one side of a comparison, which answers its parent line by line.

    python -m benchmarks.peers.worker torch_side '{"what": "inference", ...}'

A side is a class ``Side(job)`` that has

- ``call()``: makes one prediction or training step and returns when it is done;
- ``counts()``: returns the amounts of work, of all images together: ``proposals`` after
  suppression, ``regions`` that reach the head and, for a prediction, ``detections``;
  ``head_weights`` and ``trained_weights``;
- ``outputs()``: returns the results of a prediction in our detector's format: ``features``
  [B, h, w, C], ``objectness`` [B, N], ``proposals`` [B, P, 4], ``boxes`` [B, K, 4] (yxyx),
  ``scores`` and ``labels`` [B, K];
- ``versions``: the versions of its libraries.
"""

import importlib
import json
import os
import sys
import time

import numpy as np

from benchmarks import timing
from benchmarks.peers import workload

WARMUP = 3


def serve(side, commands, answers) -> None:
    """Warms a side up and answers commands: one line for each, and one line of JSON in return.

    The first answer is sent without a command, when the side is ready. The command ``call`` calls
    the side, and ``outputs <file>`` writes its outputs. The answer to either has, in seconds, how
    long the side has ``waited`` since its last answer, its CPU time while waiting (``idle_cpu``)
    and the CPU time of the command (``cpu``); and the peak memory.

    Args:
        side: a ``Side``.
        commands: lines of text, until their end.
        answers: file to write to.
    """

    def answer(**values):
        print(json.dumps(values), file=answers, flush=True)
        return time.perf_counter(), time.process_time()

    for _ in range(WARMUP):
        side.call()
    counts = side.counts()
    _forget_peak_memory()
    waiting_since, used = answer(counts=counts, versions=side.versions)
    for command in commands:
        waited, started = time.perf_counter() - waiting_since, time.process_time()
        name, _, file = command.strip().partition(" ")
        if name == "outputs":
            np.savez(file, **side.outputs())
        else:
            side.call()
        waiting_since, used = answer(
            waited=waited,
            idle_cpu=started - used,
            cpu=time.process_time() - started,
            **timing.peak_memory(),
        )


def _forget_peak_memory():
    """Resets the peak where that is possible (Linux), so that making the weights does not count."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:  # another system: the peak includes the start
        pass


def main() -> None:
    """Serves the side that the command line names."""
    # What libraries print must not be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    module = importlib.import_module(f"benchmarks.peers.{sys.argv[1]}")
    serve(module.Side(workload.Job(**json.loads(sys.argv[2]))), sys.stdin, answers)


if __name__ == "__main__":
    main()
