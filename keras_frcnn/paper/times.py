"""Table 5: how long an image takes, by the repository's own benchmark."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from keras_frcnn.paper import rows
from keras_frcnn.paper.parts import DONE, Part, Planner


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


def parts_of(planner: Planner) -> dict[str, Part]:
    """Returns the parts that time an image of 600 x 1000, by the names that they have in the
    benchmarks.
    """
    is_checkout = Path("benchmarks", "__main__.py").is_file()
    made = {}
    for name in dict.fromkeys(times.part for times in rows.TIMES):
        folder = planner.settings.output_dir.absolute() / "times" / name
        missing = "" if is_checkout else "needs the repository's benchmarks, in a checkout of it"
        if name == "fast_rcnn":
            missing = missing or planner.proposals_problem(rows.SELECTIVE_SEARCH)
        made[name] = Part(
            title=f"time an image ({name})",
            module="benchmarks",
            command=name,
            flags=("--size=600x1000", "--precision=auto", f"--json={folder / 'times.json'}"),
            result=folder / DONE,
            missing=missing,
        )
    return made


def of_rows(planner: Planner, problem: Callable[[Part], str]) -> list[TimesOutcome]:
    """Gathers what is there for table 5.

    Args:
        planner: of its parts.
        problem: says why a part cannot be made; empty: it may be.
    """
    parts, outcomes = parts_of(planner), []
    for times in rows.TIMES:
        part = parts[times.part]
        if not part.is_done:
            missing = problem(part) or "not run yet"
            outcomes.append(TimesOutcome(times=times, missing=missing))
            continue
        document = json.loads(part.result.with_name("times.json").read_text(encoding="utf-8"))
        environment = document["environment"]
        (found,) = (case for case in document["cases"] if case["backbone"] == times.backbone)
        outcomes.append(
            TimesOutcome(
                times=times,
                milliseconds=tuple(row["milliseconds"]["median"] for row in found["rows"]),
                device=environment.get("gpu") or environment.get("processor") or "",
            )
        )
    return outcomes
