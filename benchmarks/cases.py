"""What there is to time: parts, and the cases that the command line makes of them.

Nothing here imports TensorFlow: each case does so in a process of its own.
"""

import dataclasses
import importlib
import itertools
from collections.abc import Mapping, Sequence

from benchmarks import environment, measure

ALL_AXES = ("precision", "size", "batch", "backbone")
ONLY_FOR_USE = ("bfloat16",)  # precisions that models detect in but are not trained in


@dataclasses.dataclass(frozen=True)
class Part:
    """A module of ``benchmarks/parts``, which has ``run(case) -> Result``.

    Attributes:
        about: what it times, for ``--help``.
        axes: what its cases differ in; the rest keeps ``Case``'s defaults.
        trains: whether it updates weights or computes their gradients.
        fixed: values of an axis that it takes whatever is asked for.
    """

    about: str
    axes: tuple[str, ...] = ALL_AXES
    trains: bool = False
    fixed: Mapping[str, tuple] = dataclasses.field(default_factory=dict)


PARTS = {
    "layers": Part("each layer but the backbone's, alone", ("precision", "size", "batch")),
    "backbone": Part("forward; forward + backward of the trained blocks", trains=True),
    "inference": Part("a whole prediction, beside the backbone alone"),
    "train_step": Part(
        "a whole training step, beside the backbone forward + backward", trains=True
    ),
    "optimizer": Part("one update of the detector's 137 M weights", ("precision",), trains=True),
    "input_pipeline": Part(
        "images/s from files on one core, and of a step", ("batch",), trains=True
    ),
    "export": Part("writing, loading and asking a SavedModel", ("precision", "size")),
    "startup": Part("imports, --help, the first step", (), trains=True),
    "paper": Part(
        "the paper's table 5: convolutions, proposals, regions",
        ("precision", "size", "backbone"),
        fixed={"backbone": ("vgg16", "zf")},
    ),
    "fast_rcnn": Part("table 5's first row: Selective Search, 2000 regions", ("precision", "size")),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One process's work.

    Attributes:
        part: a key of ``PARTS``.
        precision: as ``Config.precision``; "auto" is what a run takes by itself.
        size: height and width of the network's input.
        batch: images at a time.
        backbone: as ``Config.backbone``.
        calls: of each function, after the warm-up.
    """

    part: str
    precision: str = "auto"
    size: tuple[int, int] = (600, 800)
    batch: int = 1
    backbone: str = "vgg16"
    calls: int = 10

    @property
    def label(self) -> str:
        """What tells it from the part's other cases."""
        words = {
            "precision": self.precision,
            "size": f"{self.size[0]}x{self.size[1]}",
            "batch": f"batch {self.batch}",
            "backbone": self.backbone,
        }
        return ", ".join(words[axis] for axis in PARTS[self.part].axes)


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: was timed.
        timing: its milliseconds.
        gflop: arithmetic of one call in convolutions and dense layers, where there is any.
        ratio: to ``ratio_to``, another row's name, round by round.
        facts: further figures by name.
    """

    what: str
    timing: measure.Timing
    gflop: float | None = None
    ratio_to: str | None = None
    ratio: measure.Spread | None = None
    facts: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Result:
    """What a case found: its rows, and facts of the whole, such as the number of detections."""

    rows: Sequence[Row]
    facts: Mapping[str, object] = dataclasses.field(default_factory=dict)


def make_cases(parts: Sequence[str], calls: int, **asked: Sequence) -> list[Case]:
    """Makes every combination that a part tells apart, part by part.

    Args:
        parts: keys of ``PARTS``.
        calls: see ``Case``.
        **asked: for each of ``ALL_AXES`` the values.

    Returns:
        The cases. Parts that train have none in a precision that is not for training.

    Raises:
        ValueError: naming parts that do not exist, or a part without any case.
    """
    unknown = [name for name in parts if name not in PARTS]
    if unknown:
        raise ValueError(f"unknown part: {', '.join(unknown)}. There are {', '.join(PARTS)}")
    made = []
    for name in parts:
        axes = PARTS[name].axes
        values = [PARTS[name].fixed.get(axis, asked[axis]) for axis in axes]
        combinations = [dict(zip(axes, c, strict=True)) for c in itertools.product(*values)]
        if PARTS[name].trains:
            combinations = [c for c in combinations if c.get("precision") not in ONLY_FOR_USE]
        if not combinations:
            raise ValueError(f"{name} trains, which {', '.join(ONLY_FOR_USE)} is not for")
        made += [Case(name, calls=calls, **combination) for combination in combinations]
    return made


def run(case: Mapping) -> dict:
    """Runs one case in this process.

    Args:
        case: fields of a ``Case``, as JSON keeps them.

    Returns:
        The result as JSON's types: ``rows``, ``facts``, ``device`` and the peaks of memory.
    """
    case = Case(**{**case, "size": tuple(case["size"])})
    result = importlib.import_module(f"benchmarks.parts.{case.part}").run(case)
    return {
        "rows": [_row(row) for row in result.rows],
        "facts": dict(result.facts),
        "device": environment.device(),
        **{name: round(value) for name, value in measure.peak_memory().items()},
    }


def timed_rows(
    timings: Mapping[str, measure.Timing],
    gflop: Mapping[str, float] | None = None,
    ratio_to: str | None = None,
) -> list[Row]:
    """Makes a row of each timing.

    Args:
        timings: by name, from one ``measure.interleaved``.
        gflop: of those that have any.
        ratio_to: the name that all others are compared with. None: no comparison.
    """
    rows = []
    for name, timing in timings.items():
        compared = ratio_to is not None and name != ratio_to
        rows.append(
            Row(
                name,
                timing,
                gflop=(gflop or {}).get(name),
                ratio_to=ratio_to if compared else None,
                ratio=timing.ratio_to(timings[ratio_to]) if compared else None,
            )
        )
    return rows


def _row(row):
    values = {
        "what": row.what,
        "calls": len(row.timing.samples),
        "milliseconds": _rounded(row.timing.spread),
        "facts": dict(row.facts),
    }
    if row.gflop is not None:
        values["gflop"] = round(row.gflop, 2)
        values["gflop_per_s"] = round(1000 * row.gflop / row.timing.median, 1)
    if row.ratio is not None:
        values["ratio"] = {"to": row.ratio_to, **_rounded(row.ratio)}
    return values


def _rounded(spread):
    return {name: round(value, 3) for name, value in dataclasses.asdict(spread).items()}
