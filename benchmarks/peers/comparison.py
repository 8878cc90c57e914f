"""A comparison of two processes that are called in turn, and its results."""

import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile

import numpy as np

from benchmarks import environment, timing
from benchmarks.peers import workload

PEER, OURS = "torchvision", "keras_frcnn"
_MODULES = {PEER: "torch_side", OURS: "keras_side"}
# Makes the C library keep freed memory instead of returning it to the system. Otherwise torch,
# which takes its tensors directly from it, gets hundreds of megabytes from the system in each step.
_KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
_LAST_LINES = 20  # shown of the output of a side that failed
_COUNTED_ALIKE = ("regions", "head_weights")
_SAME_FEATURES = 1e-3  # relative error
_SAME_BOX = 0.5  # pixels
_SAME_SHARE = 0.98  # of boxes, since rounding decides near the threshold of NMS


class SideProcess:
    """One side in its own process; see ``started``.

    Attributes:
        start: its first answer, with the amounts of work.
        answers: its answers to the calls so far.
    """

    def __init__(self, name, process, log):
        self._name, self._process, self._log = name, process, log
        self.start = self._read()
        self.answers = []

    def call(self) -> None:
        """Calls the side once."""
        self.answers.append(self.ask("call"))

    def ask(self, command: str) -> dict:
        """Sends a command and waits for its answer.

        Raises:
            RuntimeError: if the side ended instead, with its last output.
        """
        with contextlib.suppress(BrokenPipeError):  # the process has ended and will not answer
            os.write(self._process.stdin.fileno(), f"{command}\n".encode())
        return self._read()

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._log.seek(0)
            output = "".join(self._log.readlines()[-_LAST_LINES:])
            raise RuntimeError(f"the {self._name} side ended with status {status}:\n{output}")
        return json.loads(line)


@contextlib.contextmanager
def started(name: str, command: list[str], threads: int, keep_memory: bool = True):
    """Starts a process that answers as ``benchmarks.peers.worker`` does, and ends it afterwards.

    Args:
        name: name of the side, for messages.
        command: an interpreter and its arguments.
        threads: number of threads of its libraries.
        keep_memory: whether it keeps memory that it has freed.

    Yields:
        The ``SideProcess``, when it is ready.
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
            yield SideProcess(name, process, log)
        finally:
            process.kill()  # the process has nothing to save


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The result of one job; each dict is by side.

    Attributes:
        job: what was compared.
        timings: the calls, which were made in turn.
        counts: the amounts of work, see ``benchmarks.peers.worker``.
        versions: versions of the side's libraries.
        busy_cores: how many cores the side kept busy in each call. If they are fewer than its
            threads, part of the work ran on one core, or other programs used the cores.
        idle_cores: how many cores it kept busy during the other side's calls, median.
        peak_rss_mib: peak memory of its process after the warm-up.
    """

    job: workload.Job
    timings: dict[str, timing.Timing]
    counts: dict[str, dict[str, int]]
    versions: dict[str, dict[str, str]]
    busy_cores: dict[str, list[float]]
    idle_cores: dict[str, float]
    peak_rss_mib: dict[str, float]

    @property
    def ratio(self) -> timing.Spread:
        """How many times as long as our side torchvision took, pair by pair."""
        return self.timings[PEER].ratio_to(self.timings[OURS])

    @property
    def ratio_of_fastest(self) -> float:
        """The ratio of the fastest calls, which other programs disturbed least."""
        return self.timings[PEER].spread.fastest / self.timings[OURS].spread.fastest

    @property
    def images_per_second(self) -> dict[str, float]:
        """Images per second of each side over all calls."""
        return {
            name: 1000 * self.job.batch * len(timing.samples) / sum(timing.samples)
            for name, timing in self.timings.items()
        }

    @property
    def differences(self) -> list[str]:
        """Names of the counts that show that the work was not the same."""
        ours, peer = self.counts[OURS], self.counts[PEER]
        return [name for name in _COUNTED_ALIKE if ours[name] != peer[name]]

    def to_dict(self) -> dict:
        """Returns everything but the settings in JSON's types."""
        job = dataclasses.asdict(self.job)
        del job["settings"]
        return {
            **job,
            "ratio": dataclasses.asdict(self.ratio),
            "ratio_of_fastest": self.ratio_of_fastest,
            "images_per_second": self.images_per_second,
            "milliseconds": {name: timing.samples for name, timing in self.timings.items()},
            "counts": self.counts,
            "versions": self.versions,
            "busy_cores": self.busy_cores,
            "idle_cores": self.idle_cores,
            "peak_rss_mib": self.peak_rss_mib,
        }


def sides(
    stack: contextlib.ExitStack, job: workload.Job, torch_python: str
) -> dict[str, SideProcess]:
    """Starts both sides, one after the other, torchvision's with its own interpreter."""
    arguments = json.dumps(dataclasses.asdict(job))
    pythons = {PEER: torch_python, OURS: sys.executable}
    processes = {}
    for name, module in _MODULES.items():
        command = [pythons[name], "-m", "benchmarks.peers.worker", module, arguments]
        processes[name] = stack.enter_context(started(name, command, job.threads, job.keep_memory))
    return processes


def compare(job: workload.Job, pairs: int, torch_python: str) -> Comparison:
    """Calls both sides in turn, ``pairs`` times each."""
    with contextlib.ExitStack() as stack:
        processes = sides(stack, job, torch_python)
        timings = timing.interleaved(
            {name: process.call for name, process in processes.items()}, pairs, warmup=1
        )
    answers = {name: process.answers[1:] for name, process in processes.items()}

    def of_each(function):
        return {name: function(name) for name in processes}

    return Comparison(
        job,
        timings,
        counts=of_each(lambda name: processes[name].start["counts"]),
        versions=of_each(lambda name: processes[name].start["versions"]),
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


def check(job: workload.Job, torch_python: str) -> dict[str, float]:
    """Compares the answers of both sides to the same images with the same weights.

    Returns:
        The relative error of ``features`` and ``objectness``, and the share of our ``proposals``
        and ``detections`` that torchvision finds too.

    Raises:
        ValueError: if the answers differ.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        outputs = {}
        for name, process in sides(stack, job, torch_python).items():
            file = os.path.join(folder, f"{name}.npz")
            process.ask(f"outputs {file}")
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
    """Measures how well two ``outputs`` agree, see ``check``."""

    def error(name):
        return float(np.linalg.norm(ours[name] - peer[name]) / np.linalg.norm(peer[name]))

    def labelled(outputs):  # boxes of different labels are far apart
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
