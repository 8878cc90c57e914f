"""Fair timing on a machine whose load changes: functions that are compared are called in turn.

    timings = timing.interleaved({"ours": ours, "theirs": theirs}, calls=10)
    timings["ours"].median                       # milliseconds
    timings["theirs"].ratio_to(timings["ours"])  # median and quartiles of the rounds' ratios

A function must have finished its work when it returns. TensorFlow's functions return before a GPU
has finished, so ``blocking`` makes them wait. Only ``blocking`` needs TensorFlow.
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
    """The median, the quartiles and the extremes of some values."""

    median: float
    lower_quartile: float
    upper_quartile: float
    fastest: float
    slowest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarises at least one value; quartiles are interpolated."""
        if not values:
            raise ValueError("a spread needs at least one value. Received: none")
        quartiles = statistics.quantiles(values, n=4, method="inclusive") if values[1:] else None
        lower, _, upper = quartiles or [values[0]] * 3
        return cls(statistics.median(values), lower, upper, min(values), max(values))


@dataclasses.dataclass(frozen=True)
class Timing:
    """The times of the calls of one function.

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
        """Returns this function's time divided by that of ``other``, round by round.

        Both must come from the same call of ``interleaved``, so that the two calls of a round met
        the same load.
        """
        return Spread.of([a / b for a, b in zip(self.samples, other.samples, strict=True)])


def interleaved(
    functions: Mapping[str, Callable[[], object]],
    calls: int,
    warmup: int = WARMUP,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Times functions in turn: in each round it calls each of them once.

    Args:
        functions: by name; each returns when its work is done.
        calls: number of rounds that are timed.
        warmup: number of rounds before them, which trace graphs and fill caches.
        clock: returns the time in seconds.

    Returns:
        The timings by name, in the order of ``functions``.

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
    """Makes a function that runs a TensorFlow function as a graph and waits for its result.

    Args:
        function: takes and returns nests of tensors. It must return at least one tensor, and
            everything that it returns is computed.
        *arguments: nests of tensors. They are passed at each call, so that nothing is folded into
            the graph as a constant.

    Returns:
        A function without arguments, which returns the result of ``function``.
    """
    import tensorflow as tf

    @tf.function(autograph=False)
    def graph(*values):
        result = function(*values)
        tensors = [tensor for tensor in tf.nest.flatten(result) if tensor is not None]
        # Integers may live on the host, so that reading one would not wait for a GPU.
        last = [tensor for tensor in tensors if tensor.dtype.is_floating] or tensors
        return result, tf.reshape(last[-1], [-1])[0]

    def call():
        result, number = graph(*arguments)
        number.numpy()  # waits until the device has done all earlier work
        return result

    return call


def peak_memory() -> dict[str, float]:
    """Returns the peak memory of this process so far, in MiB.

    Returns:
        ``peak_rss_mib``, and ``peak_device_mib`` if TensorFlow uses a GPU.
    """
    peaks = {"peak_rss_mib": _peak_rss() / MIB}
    tf = sys.modules.get("tensorflow")
    gpus = tf.config.list_logical_devices("GPU") if tf else []
    if gpus:
        name = gpus[0].name.removeprefix("/device:")
        peaks["peak_device_mib"] = tf.config.experimental.get_memory_info(name)["peak"] / MIB
    return peaks


def _peak_rss():
    """Returns bytes. On Linux a child inherits the parent's figure of ``getrusage``; VmHWM is its
    own.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
