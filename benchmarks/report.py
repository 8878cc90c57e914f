"""Prints the results: a table of all cases, the paper's table 5, one line of JSON."""

import json
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_WIDTH = 150  # without a terminal
_PAPER = {"paper": "RPN", "fast_rcnn": "Selective Search"}  # suite: source of the proposals
_COLUMNS = ("ms", "middle half", "fastest", "slowest", "GFLOP", "GFLOP/s", "ratio")


def show(report: Mapping) -> None:
    """Prints the tables and, as the last line, ``report`` itself as JSON.

    Args:
        report: ``environment`` and ``cases``. A case has the fields of a ``Case``, ``label`` and
            ``status``; if that is "ok" also what ``cases.run`` returns, otherwise ``error``.
    """
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print(environment_text(report["environment"]), highlight=False)
    console.print(table_of(report["cases"]))
    if paper := paper_table(report["cases"]):
        console.print(paper)
    print(json.dumps(report))


def environment_text(environment: Mapping) -> str:
    """Describes in a few lines where the figures were measured."""
    values = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in environment.items()
        if name != "variables"
    }
    values |= environment["variables"]
    return "\n".join(f"{name}: {value}" for name, value in values.items() if value is not None)


def table_of(cases: Sequence[Mapping]) -> Table:
    """Makes the table of all cases, grouped by suite."""
    table = Table(
        title="Medians in ms after a warm-up; ratios are medians of the rounds' ratios",
        caption="Compare only figures of one run: the load of the machine affects all of them.",
    )
    table.add_column("what", no_wrap=True)
    for title in _COLUMNS:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("further", overflow="fold")
    for number, case in enumerate(cases):
        if number and case["suite"] != cases[number - 1]["suite"]:
            table.add_section()
        table.add_row(*_heading(case))
        for row in case.get("rows", ()):
            table.add_row(*_line(row))
    return table


def paper_table(cases: Sequence[Mapping]) -> Table | None:
    """Makes table 5 of the paper, with its figures beside ours; None without its suites."""
    done = [case for case in cases if case["suite"] in _PAPER and case["status"] == "ok"]
    if not done:
        return None
    table = Table(title="As the paper's table 5, ms per image")
    titles = [row["what"] for row in done[0]["rows"]]
    for title in ("", *titles, "images/s", "total / convolutions"):
        table.add_column(title, justify="right" if title else "left")
    seen = set()
    for case in done:
        detector = f"{case['backbone']}, {_PAPER[case['suite']]}"
        if detector not in seen:
            seen.add(detector)
            theirs = [row["facts"]["paper_k40_ms"] for row in case["rows"]]
            name = f"[dim]{detector}, the paper's, NVIDIA K40"
            table.add_row(name, *_paper_cells(theirs, theirs[-1] / theirs[0], 0))
        ours = [row["milliseconds"]["median"] for row in case["rows"]]
        ratio = case["rows"][-1]["ratio"]["median"]
        table.add_row(escape(case["label"]), *_paper_cells(ours, ratio, 1))
    return table


def _paper_cells(milliseconds, ratio, digits):
    cells = [f"{ms:.{digits}f}" for ms in milliseconds]
    return *cells, f"{1000 / milliseconds[-1]:.1f}", f"{ratio:.2f}"


def _heading(case):
    name = escape(f"{case['suite']}: {case['label']}" if case["label"] else case["suite"])
    if case["status"] != "ok":
        return f"[bold]{name}", f"[red]{case['status']}", *[""] * 6, escape(case["error"])
    memory = {"peak_rss_mib": "MiB", "peak_device_mib": "MiB on the device"}
    words = [f"peak {case[key]} {unit}" for key, unit in memory.items() if key in case]
    return f"[bold]{name}", *[""] * 7, escape("; ".join([*words, *_facts(case["facts"])]))


def _line(row):
    median, lower, upper, fastest, slowest = (f"{ms:.1f}" for ms in row["milliseconds"].values())
    once = row["calls"] == 1
    ratio = row.get("ratio")
    further = [f"ratio to {ratio['to']}"] if ratio else []
    return (
        f"  {escape(row['what'])}",
        median,
        *(("", "", "") if once else (f"{lower} - {upper}", fastest, slowest)),
        f"{row['gflop']:.1f}" if "gflop" in row else "",
        f"{row['gflop_per_s']:.0f}" if "gflop" in row else "",
        f"{ratio['median']:.2f}" if ratio else "",
        escape("; ".join([*further, *_facts(row["facts"])])),
    )


def _facts(facts):
    return [f"{name.replace('_', ' ')} {value}" for name, value in facts.items()]
