"""The suites, and the cases that the command line makes of them.

Nothing here imports TensorFlow: each case does so in a process of its own.
"""

import dataclasses
import importlib
import itertools
from collections.abc import Mapping, Sequence

from benchmarks import environment, timing

ALL_AXES = ("precision", "size", "batch", "backbone")
INFERENCE_ONLY = ("bfloat16",)  # precisions in which models are not trained


@dataclasses.dataclass(frozen=True)
class Suite:
    """What the module of this name in ``benchmarks/suites`` times.

    Attributes:
        about: a description for ``--help``.
        axes: the axes along which its cases differ; ``Case`` has defaults for the others.
        trains: whether it updates weights or computes their gradients.
        fixed: values of an axis that the command line does not change.
    """

    about: str
    axes: tuple[str, ...] = ALL_AXES
    trains: bool = False
    fixed: Mapping[str, tuple] = dataclasses.field(default_factory=dict)


SUITES = {
    "layers": Suite("each layer except the backbone's, alone", ("precision", "size", "batch")),
    "backbone": Suite("forward; forward + backward of the trained blocks", trains=True),
    "inference": Suite("a whole prediction, beside the backbone alone"),
    "train_step": Suite(
        "a whole training step, beside the backbone forward + backward", trains=True
    ),
    "optimizer": Suite("one update of the detector's 137 M weights", ("precision",), trains=True),
    "input_pipeline": Suite(
        "images/s from files on one core, beside those of a training step", ("batch",), trains=True
    ),
    "export": Suite("writing, loading and calling a SavedModel", ("precision", "size")),
    "file_batches": Suite(
        "serve_bytes on 1, 4, 8 and 16 files of equal and unlike sizes",
        ("precision", "size", "batch"),
        fixed={"batch": (1, 4, 8, 16)},
    ),
    "startup": Suite("imports, --help, the first training step", (), trains=True),
    "paper": Suite(
        "the paper's table 5: convolutions, proposals, regions",
        ("precision", "size", "backbone"),
        fixed={"backbone": ("vgg16", "zf")},
    ),
    "fast_rcnn": Suite(
        "table 5's first row: Selective Search, 2000 regions", ("precision", "size")
    ),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """What one process times.

    Attributes:
        suite: a key of ``SUITES``.
        precision: as ``Config.precision``; "auto" is the precision that the command would choose.
        size: height and width of the network's input.
        batch: images in a batch.
        backbone: as ``Config.backbone``.
        calls: timed calls of each function, after the warm-up.
    """

    suite: str
    precision: str = "auto"
    size: tuple[int, int] = (600, 800)
    batch: int = 1
    backbone: str = "vgg16"
    calls: int = 10

    @property
    def label(self) -> str:
        """The values that distinguish it from the other cases of the suite."""
        words = {
            "precision": self.precision,
            "size": f"{self.size[0]}x{self.size[1]}",
            "batch": f"batch {self.batch}",
            "backbone": self.backbone,
        }
        return ", ".join(words[axis] for axis in SUITES[self.suite].axes)


def make_cases(suites: Sequence[str], calls: int, **values: Sequence) -> list[Case]:
    """Makes the cases of suites: every combination of the values on the axes of each.

    Args:
        suites: keys of ``SUITES``.
        calls: see ``Case``.
        **values: the values of each of ``ALL_AXES``.

    Returns:
        The cases. Suites that train have none in a precision that is for inference only.

    Raises:
        ValueError: naming suites that do not exist, or a suite without any case.
    """
    unknown = [name for name in suites if name not in SUITES]
    if unknown:
        raise ValueError(f"unknown suite: {', '.join(unknown)}. There are {', '.join(SUITES)}")
    cases = []
    for name in suites:
        suite = SUITES[name]
        axis_values = [suite.fixed.get(axis, values[axis]) for axis in suite.axes]
        combinations = [
            dict(zip(suite.axes, combination, strict=True))
            for combination in itertools.product(*axis_values)
        ]
        if suite.trains:
            combinations = [c for c in combinations if c.get("precision") not in INFERENCE_ONLY]
        if not combinations:
            raise ValueError(f"{name} trains, which {', '.join(INFERENCE_ONLY)} is not for")
        cases += [Case(name, calls=calls, **combination) for combination in combinations]
    return cases


def run(case: Mapping) -> dict:
    """Runs one case in this process.

    Args:
        case: the fields of a ``Case``, as JSON keeps them.

    Returns:
        The result in JSON's types: ``rows``, ``facts``, ``device`` and the peaks of memory.
    """
    case = Case(**{**case, "size": tuple(case["size"])})
    result = importlib.import_module(f"benchmarks.suites.{case.suite}").run(case)
    return {
        **result.to_dict(),
        "device": environment.device(),
        **{name: round(value) for name, value in timing.peak_memory().items()},
    }
