"""Table 5: how long a picture takes, by the repository's own benchmark."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from keras_frcnn.paper import rows
from keras_frcnn.paper.parts import DONE, Part
from keras_frcnn.paper.settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimesOutcome:
    """What came out for a row of table 5.

    Attributes:
        times: the row.
        milliseconds: of convolutions, proposal, regions and total; empty: there are none.
        device: what they were taken on.
        missing: why there are none; empty: there are.
    """

    times: rows.Times
    milliseconds: tuple[float, ...] = ()
    device: str = ""
    missing: str = ""


def part_of(settings: Settings) -> Part:
    """Returns the part that times both backbones on a picture of 600 x 1000."""
    backbones = ",".join(times.backbone for times in rows.TIMES if times.backbone)
    folder = settings.output_dir.absolute() / "times"
    is_checkout = Path("benchmarks", "__main__.py").is_file()
    return Part(
        title="time a picture",
        module="benchmarks",
        command="paper",
        flags=(
            *(f"--backbone={backbones}", "--size=600x1000", "--batch=1", "--precision=auto"),
            f"--json={folder / 'times.json'}",
        ),
        result=folder / DONE,
        missing="" if is_checkout else "needs the repository's benchmarks, in a checkout of it",
    )


def of_rows(settings: Settings, problem: Callable[[Part], str]) -> list[TimesOutcome]:
    """Gathers what is there for table 5.

    Args:
        settings: where to look.
        problem: says why a part cannot be made; empty: it may be.
    """
    part, cases, device = part_of(settings), {}, ""
    if part.is_done:
        document = json.loads(part.result.with_name("times.json").read_text(encoding="utf-8"))
        cases = {case["backbone"]: case for case in document["cases"] if case["status"] == "ok"}
        environment = document["environment"]
        device = environment.get("gpu") or environment.get("processor") or ""
    outcomes = []
    for times in rows.TIMES:
        if times.backbone in cases:
            rows_ = cases[times.backbone]["rows"]
            ms = tuple(row["milliseconds"]["median"] for row in rows_)
            outcomes.append(TimesOutcome(times=times, milliseconds=ms, device=device))
            continue
        missing = problem(part) or ("failed" if part.is_done else "not run yet")
        if not times.backbone:
            missing = "the benchmarks have no Selective Search"
        outcomes.append(TimesOutcome(times=times, missing=missing))
    return outcomes
