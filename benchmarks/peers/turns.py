"""Two processes that take turns: what one comparison does and finds."""

import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile

import numpy as np

from benchmarks import environment, measure
from benchmarks.peers import work

PEER, OURS = "torchvision", "keras_frcnn"
_MODULES = {PEER: "torch_side", OURS: "keras_side"}
# Has the C library keep freed memory instead of handing it back: torch, whose tensors come from it
# directly, else gets hundreds of megabytes anew from the system in every step.
_KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
_LAST_LINES = 20  # of what a failed side said
_COUNTED_ALIKE = ("regions", "head_weights")
_SAME_FEATURES = 1e-3  # relative error
_SAME_BOX = 0.5  # pixels
_SAME_SHARE = 0.98  # of boxes: near a threshold of suppression rounding decides


class Child:
    """A side in a process of its own; see ``started``.

    Attributes:
        start: its first answer, what there is to do.
        answers: to the calls so far.
    """

    def __init__(self, name, process, log):
        self._name, self._process, self._log = name, process, log
        self.start = self._read()
        self.answers = []

    def call(self) -> None:
        """Has the side called once."""
        self.answers.append(self.ask("call"))

    def ask(self, command: str) -> dict:
        """Sends a command and waits for its answer.

        Raises:
            RuntimeError: if the side ended instead, with what it said.
        """
        with contextlib.suppress(BrokenPipeError):  # it has ended: there will be no answer
            os.write(self._process.stdin.fileno(), f"{command}\n".encode())
        return self._read()

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._log.seek(0)
            said = "".join(self._log.readlines()[-_LAST_LINES:])
            raise RuntimeError(f"the {self._name} side ended with status {status}:\n{said}")
        return json.loads(line)


@contextlib.contextmanager
def started(name: str, command: list[str], threads: int, keep_memory: bool = True):
    """Starts a process that speaks as ``benchmarks.peers.worker`` does; ends it afterwards.

    Args:
        name: of the side, for messages.
        command: an interpreter and its arguments.
        threads: of its libraries.
        keep_memory: whether it may keep memory that it has freed.

    Yields:
        The ``Child``, when it is ready.
    """
    variables = {
        **(_KEEP_MEMORY if keep_memory else {}),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": str(environment.ROOT),
    }
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log,
        subprocess.Popen(command, env=variables, stdin=pipe, stdout=pipe, stderr=log) as process,
    ):
        try:
            yield Child(name, process, log)
        finally:
            process.kill()  # between two answers it has nothing to lose


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What one job gave; each dict by side.

    Attributes:
        job: what was compared.
        timings: calls in turn, in milliseconds.
        counts: see ``benchmarks.peers.worker``.
        versions: of the side's libraries.
        busy_cores: cores that it kept busy in each call. Fewer than threads: it computed on one,
            or other programs had them.
        idle_cores: cores that it kept busy while the other had its turn, median.
        peak_rss_mib: of its process, from the end of the warm-up.
    """

    job: work.Job
    timings: dict[str, measure.Timing]
    counts: dict[str, dict[str, int]]
    versions: dict[str, dict[str, str]]
    busy_cores: dict[str, list[float]]
    idle_cores: dict[str, float]
    peak_rss_mib: dict[str, float]

    @property
    def ratio(self) -> measure.Spread:
        """How many times as long as ours torchvision took, pair by pair."""
        return self.timings[PEER].ratio_to(self.timings[OURS])

    @property
    def ratio_of_fastest(self) -> float:
        """The same of each side's fastest call, which other programs disturbed least."""
        return self.timings[PEER].spread.fastest / self.timings[OURS].spread.fastest

    @property
    def differences(self) -> list[str]:
        """Names of the counts by which the work was not the same."""
        ours, peer = self.counts[OURS], self.counts[PEER]
        return [name for name in _COUNTED_ALIKE if ours[name] != peer[name]]

    def to_dict(self) -> dict:
        """Everything as JSON can hold it; the settings apart."""
        job = dataclasses.asdict(self.job)
        del job["settings"]
        return {
            **job,
            "ratio": dataclasses.asdict(self.ratio),
            "ratio_of_fastest": self.ratio_of_fastest,
            "milliseconds": {name: timing.samples for name, timing in self.timings.items()},
            "counts": self.counts,
            "versions": self.versions,
            "busy_cores": self.busy_cores,
            "idle_cores": self.idle_cores,
            "peak_rss_mib": self.peak_rss_mib,
        }


def sides(stack: contextlib.ExitStack, job: work.Job, torch_python: str) -> dict[str, Child]:
    """Starts both sides, one after the other; the torch side with its own interpreter."""
    arguments = json.dumps(dataclasses.asdict(job))
    pythons = {PEER: torch_python, OURS: sys.executable}
    children = {}
    for name, module in _MODULES.items():
        command = [pythons[name], "-m", "benchmarks.peers.worker", module, arguments]
        children[name] = stack.enter_context(started(name, command, job.threads, job.keep_memory))
    return children


def compare(job: work.Job, pairs: int, torch_python: str) -> Comparison:
    """Calls both sides in turn, ``pairs`` times."""
    with contextlib.ExitStack() as stack:
        children = sides(stack, job, torch_python)
        timings = measure.interleaved(
            {name: child.call for name, child in children.items()}, pairs, warmup=1
        )
    answers = {name: child.answers[1:] for name, child in children.items()}

    def of_each(function):
        return {name: function(name) for name in children}

    return Comparison(
        job,
        timings,
        counts=of_each(lambda name: children[name].start["counts"]),
        versions=of_each(lambda name: children[name].start["versions"]),
        busy_cores=of_each(
            lambda name: [
                round(1000 * answer["cpu"] / milliseconds, 2)
                for answer, milliseconds in zip(answers[name], timings[name].samples, strict=True)
            ]
        ),
        idle_cores=of_each(
            lambda name: round(
                statistics.median(a["idle_cpu"] / a["waited"] for a in answers[name]), 3
            )
        ),
        peak_rss_mib=of_each(lambda name: round(answers[name][-1]["peak_rss_mib"])),
    )


def check(job: work.Job, torch_python: str) -> dict[str, float]:
    """Compares what both sides answer to the same images with the same weights.

    Returns:
        ``features`` and ``objectness``: relative errors; ``proposals`` and ``detections``: shares
        of ours that torchvision has too.

    Raises:
        ValueError: if they are not the same.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        outputs = {}
        for name, child in sides(stack, job, torch_python).items():
            file = os.path.join(folder, f"{name}.npz")
            child.ask(f"outputs {file}")
            outputs[name] = dict(np.load(file))
    found = agreement(outputs[OURS], outputs[PEER])
    wrong = [name for name in ("features", "objectness") if not found[name] <= _SAME_FEATURES]
    wrong += [name for name in ("proposals", "detections") if not found[name] >= _SAME_SHARE]
    if wrong:
        raise ValueError(
            f"both sides must answer the same; their {', '.join(wrong)} differ. Received: {found}"
        )
    return found


def agreement(ours: dict[str, np.ndarray], peer: dict[str, np.ndarray]) -> dict[str, float]:
    """Measures how far two ``outputs`` agree; see ``check``."""

    def error(name):
        return float(np.linalg.norm(ours[name] - peer[name]) / np.linalg.norm(peer[name]))

    def labelled(outputs):  # a label apart is far apart
        return np.concatenate([outputs["boxes"], 1e6 * outputs["labels"][..., np.newaxis]], -1)

    def share(a, b):
        far = np.abs(a[:, :, np.newaxis] - b[:, np.newaxis]).max(axis=-1)  # [B, rows, rows]
        return float(np.mean(far.min(axis=2) <= _SAME_BOX))

    return {
        "features": error("features"),
        "objectness": error("objectness"),
        "proposals": share(ours["proposals"], peer["proposals"]),
        "detections": share(labelled(ours), labelled(peer)),
    }
