"""Fair timing on a machine whose load changes: what is compared takes turns, call by call.

    timings = measure.interleaved({"ours": ours, "theirs": theirs}, calls=10)
    timings["ours"].median                       # milliseconds
    timings["theirs"].ratio_to(timings["ours"])  # median, quartiles of the rounds' ratios

A function must have finished its work when it returns. On a GPU it has then only been asked for:
``blocking`` makes a TensorFlow function wait. This module needs TensorFlow for that function alone.
"""

import dataclasses
import functools
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

MIB = 2**20
WARMUP = 2


@dataclasses.dataclass(frozen=True)
class Spread:
    """A median and how far from it the middle half and the ends of some values lie."""

    median: float
    lower_quartile: float
    upper_quartile: float
    fastest: float
    slowest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarises at least one value; quartiles are interpolated, ends included."""
        if not values:
            raise ValueError("a spread needs at least one value. Received: none")
        quartiles = statistics.quantiles(values, n=4, method="inclusive") if values[1:] else None
        lower, _, upper = quartiles or [values[0]] * 3
        return cls(statistics.median(values), lower, upper, min(values), max(values))


@dataclasses.dataclass(frozen=True)
class Timing:
    """What the calls of one function took.

    Attributes:
        samples: milliseconds of each call after the warm-up, in order.
    """

    samples: tuple[float, ...]

    @functools.cached_property
    def spread(self) -> Spread:
        """Milliseconds."""
        return Spread.of(self.samples)

    @property
    def median(self) -> float:
        """Milliseconds."""
        return self.spread.median

    def ratio_to(self, other: "Timing") -> Spread:
        """How many times as long as ``other`` this took, round by round.

        Both must come from one ``interleaved``, so that the two calls of a round met the same load.
        """
        return Spread.of([a / b for a, b in zip(self.samples, other.samples, strict=True)])


def interleaved(
    functions: Mapping[str, Callable[[], object]],
    calls: int,
    warmup: int = WARMUP,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Times functions in turn, one call of each a round.

    Args:
        functions: by name; each returns when its work is done.
        calls: rounds that are timed.
        warmup: rounds before them, which trace graphs and fill caches.
        clock: seconds.

    Returns:
        By name, in the order of ``functions``.

    Raises:
        ValueError: if ``calls`` is not positive.
    """
    if calls < 1:
        raise ValueError(f"calls must be at least 1. Received: {calls}")
    samples = {name: [] for name in functions}
    for number in range(-warmup, calls):
        for name, function in functions.items():
            started = clock()
            function()
            ended = clock()
            if number >= 0:
                samples[name].append(1000 * (ended - started))
    return {name: Timing(tuple(values)) for name, values in samples.items()}


def blocking(function: Callable, *arguments) -> Callable[[], object]:
    """Makes a graph of a TensorFlow function, on fixed arguments, that waits for its result.

    Args:
        function: takes and returns nests of tensors; at least one tensor comes back. Everything
            that it returns is computed.
        *arguments: nests of tensors, handed over at each call, so that nothing is folded into
            the graph.

    Returns:
        A function of no arguments, which gives ``function``'s result.
    """
    import tensorflow as tf

    @tf.function(autograph=False)
    def graph(*values):
        result = function(*values)
        parts = [part for part in tf.nest.flatten(result) if part is not None]
        # Whole numbers may live on the host, so that reading them would not wait for a GPU.
        last = [part for part in parts if part.dtype.is_floating] or parts
        return result, tf.reshape(last[-1], [-1])[0]

    def call():
        result, number = graph(*arguments)
        number.numpy()  # comes after all that the device was asked for before
        return result

    return call


def peak_memory() -> dict[str, float]:
    """This process's peak memory so far, in MiB.

    Returns:
        ``peak_rss_mib``; and ``peak_device_mib`` where TensorFlow is in use on a GPU.
    """
    peaks = {"peak_rss_mib": _peak_rss() / MIB}
    tf = sys.modules.get("tensorflow")
    gpus = tf.config.list_logical_devices("GPU") if tf else []
    if gpus:
        name = gpus[0].name.removeprefix("/device:")
        peaks["peak_device_mib"] = tf.config.experimental.get_memory_info(name)["peak"] / MIB
    return peaks


def _peak_rss():
    """Bytes. Linux hands the parent's figure of ``getrusage`` on to a child; VmHWM is its own."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
