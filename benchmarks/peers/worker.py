"""One side of a comparison, in a process of its own, which answers the parent line by line.

    python -m benchmarks.peers.worker torch_side '{"what": "inference", ...}'

A side is a class ``Side(job)`` with

- ``call()``: one prediction or training step, done when it returns;
- ``counts()``: what there is to do: ``proposals`` after suppression, ``regions`` that reach the
  head and, in a prediction, ``detections``, all images together; ``head_weights`` and
  ``trained_weights``;
- ``outputs()``: ``features`` [B, h, w, C], ``objectness`` [B, N], ``proposals`` [B, P, 4],
  ``boxes`` [B, K, 4], ``scores`` and ``labels`` [B, K] of a prediction, yxyx, as ours gives them;
- ``versions``.
"""

import importlib
import json
import os
import sys
import time

import numpy as np

from benchmarks import measure
from benchmarks.peers import work

WARMUP = 3


def serve(side, commands, answers) -> None:
    """Warms a side up and obeys, one line a command and one line of JSON an answer.

    The first answer comes unasked, when the side is ready. ``call`` calls it, ``outputs <file>``
    writes the outputs. The answer to both says, in seconds, how long the side has ``waited`` since
    its last answer and its processor time meanwhile (``idle_cpu``), what processor time the command
    took (``cpu``), and its peak memory.

    Args:
        side: a ``Side``.
        commands: lines of text; their end ends the service.
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
            **measure.peak_memory(),
        )


def _forget_peak_memory():
    """What making the weights took is not what the work takes; Linux can forget it."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:  # another system: the peak includes the start
        pass


def main() -> None:
    """Serves the side that the command line names."""
    # Libraries may print; what they print must not be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    module = importlib.import_module(f"benchmarks.peers.{sys.argv[1]}")
    serve(module.Side(work.Job(**json.loads(sys.argv[2]))), sys.stdin, answers)


if __name__ == "__main__":
    main()
