"""Prints the findings of a check for people, and writes them as JSON for programs."""

import json
from pathlib import Path

from rich.table import Table

from keras_frcnn import files
from keras_frcnn.console import Console, plain
from keras_frcnn.inspection.check_data.findings import KINDS, Finding, Report
from keras_frcnn.inspection.check_data.samples import SUBSETS

_SHOWN = 10  # findings per kind
_BAR = 12  # characters of the longest bar


def print_report(report: Report, console: Console) -> None:
    """Prints the classes, the boxes, the findings of each kind with examples, and a verdict.

    Args:
        report: the result of ``checks.check``.
        console: where to print.
    """
    if report.statistics["classes"]:
        console.print(_classes(report))
    if sum(report.statistics["box_sizes"]["as_stored"]):
        console.print(_sizes(report))
        console.print(below_stride(report), style="dim", soft_wrap=False)
        console.print(_ratios(report))
    for remark in report.source.remarks:
        console.print(remark, style="dim")
    for kind, findings in report.by_kind().items():
        _print_kind(report, kind, findings, console)
    console.print(f"\n{verdict(report)}", style="bold")


def write_json(report: Report, path: Path) -> None:
    """Writes all findings as JSON with sorted keys."""
    text = json.dumps(report.to_dict(), sort_keys=True, indent=2, allow_nan=False)
    files.write_text(path, text + "\n")


def verdict(report: Report) -> str:
    """Returns one sentence: what was checked and how many problems were found."""
    images = report.statistics["images"]
    notes = len(report.findings) - report.num_problems
    found = f"{report.num_problems:,} problem{'' if report.num_problems == 1 else 's'}"
    noted = f", {notes:,} worth a look" if notes else ""
    train, tested = (f"{images[subset]:,}" for subset in SUBSETS)
    where = f"{train} image{'' if images['train'] == 1 else 's'}"
    if images["eval"]:
        where += f" to train on and {tested} to evaluate on"
    return f"{found}{noted} in {where}."


def bin_names(starts: list[float]) -> list[str]:
    """Returns the names of the bins of a histogram, from the lower edge of each."""
    names = [f"{start:g} - {end:g}" for start, end in zip(starts, starts[1:], strict=False)]
    return [f"below {starts[1]:g}", *names[1:], f"{starts[-1]:g} and more"]


def below_stride(report: Report) -> str:
    """Returns the sentence about boxes that are smaller than a cell of the feature map."""
    sizes = report.statistics["box_sizes"]
    return (
        f"{sizes['share_below_stride']:.1%} of the boxes have a side below {sizes['stride']} "
        f"pixels (one cell of the feature map) after resizing to {sizes['shorter_side']} / "
        f"{sizes['longer_side']}."
    )


def _print_kind(report: Report, kind: str, findings: list[Finding], console: Console) -> None:
    style = "bold yellow" if report.is_note(kind) else "bold red"
    console.print(f"\n{KINDS[kind].title}: {len(findings):,}", style=style, end="")
    console.print(f"  {kind}. {KINDS[kind].words}", style="dim")
    for finding in findings[:_SHOWN]:
        console.print(f"  {finding.subset:<5}  {finding.line}")
    if len(findings) > _SHOWN:
        console.print(f"  ... and {len(findings) - _SHOWN:,} more", style="dim")


def _classes(report: Report) -> Table:
    columns = {"train_objects": "objects", "train_images": "images"}
    if report.statistics["images"]["eval"]:
        columns |= {"eval_objects": "objects to evaluate", "eval_images": "images to evaluate"}
    table = Table(header_style="bold")
    table.add_column("class")
    for title in columns.values():
        table.add_column(title, justify="right")
    for row in report.statistics["classes"]:
        name = plain(row["name"]) + ("" if row["known"] else " (unknown)")
        table.add_row(name, *(f"{row[key]:,}" for key in columns))
    return table


def _sizes(report: Report) -> Table:
    sizes = report.statistics["box_sizes"]
    table = Table(header_style="bold")
    table.add_column("box side")
    for title in ("as stored", "", "as resized", ""):
        table.add_column(title, justify="right" if title else "left")
    stored, resized = sizes["as_stored"], sizes["as_resized"]
    rows = zip(bin_names(sizes["from"]), stored, resized, strict=True)
    for name, first, second in rows:
        bars = _bar(first, stored), _bar(second, resized)
        table.add_row(name, f"{first:,}", bars[0], f"{second:,}", bars[1])
    return table


def _ratios(report: Report) -> Table:
    ratios = report.statistics["aspect_ratios"]
    table = Table(header_style="bold")
    table.add_column("box height / width")
    table.add_column("boxes", justify="right")
    table.add_column("")
    for name, count in zip(bin_names(ratios["from"]), ratios["counts"], strict=True):
        table.add_row(name, f"{count:,}", _bar(count, ratios["counts"]))
    return table


def _bar(count: int, counts: list[int]) -> str:
    return "█" * -(-count * _BAR // max(1, *counts))
