"""Times the package, suite by suite.

Each case (a suite at one precision, image size, batch size and backbone) runs in a new process, so
that its peak memory is its own and a crash does not end the run. Functions that are compared are
called in turn. Standard output gets the tables and, as the last line, all figures as JSON; standard
error gets the progress.
"""

import argparse
import dataclasses
import json
import sys
import time

from rich.console import Console
from rich.markup import escape

from benchmarks import child, environment, report
from benchmarks.arguments import count, list_of, one_of, size
from benchmarks.cases import SUITES, Case, make_cases
from keras_frcnn.backbones import BACKBONES

_QUICK_CALLS = 3
_SHOWN_LOG_LINES = 15
_PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16", "bfloat16")
_EXAMPLES = """examples:
  python -m benchmarks                                  everything; an hour or two
  python -m benchmarks --quick                          everything once, roughly
  python -m benchmarks inference train_step --batch=1
  python -m benchmarks layers --precision=mixed_bfloat16 --size=600x800 --calls=30
  make bench PARTS="inference train_step" BENCH="--batch=1"
"""


def main(argv: list[str] | None = None) -> int:
    """Runs the cases that the command line asks for and prints the results.

    Args:
        argv: the command line; None: that of the process.

    Returns:
        The exit code: 1 if a case failed for another reason than a lack of memory.
    """
    cases, options = parse(argv)
    console = Console(stderr=True, highlight=False)
    document = {"environment": environment.host(), "cases": []}
    try:
        for number, case in enumerate(cases, start=1):
            title = f"{number}/{len(cases)} {case.suite} {case.label}".rstrip()
            with console.status(escape(title)):
                outcome = _run(case)
            document["cases"].append(outcome)
            console.print(escape(f"{title}: {outcome['status']}, {outcome['seconds']} s"))
            for line in outcome.pop("log", []):
                console.print(escape(f"    {line}"), soft_wrap=True)
    except KeyboardInterrupt:
        console.print("Stopped. These are the results so far:")
    devices = [case.pop("device") for case in document["cases"] if "device" in case]
    document["environment"] |= next((device for device in devices if device), {})
    report.show(document)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(document, file)
            file.write("\n")
    return int(any(case["status"] == "failed" for case in document["cases"]))


def _run(case):
    """Runs one case in a new process; returns its entry in the report."""
    started = time.perf_counter()
    try:
        outcome = {"status": "ok", **child.call("benchmarks.cases:run", dataclasses.asdict(case))}
    except child.ChildError as error:
        outcome = {"status": "out of memory", "error": str(error)}
        if not error.out_of_memory:
            log = error.log.splitlines()[-_SHOWN_LOG_LINES:]
            outcome = {"status": "failed", "error": str(error), "log": log}
    seconds = round(time.perf_counter() - started)
    return {**dataclasses.asdict(case), "label": case.label, "seconds": seconds, **outcome}


def parse(argv: list[str] | None) -> tuple[list[Case], argparse.Namespace]:
    """Returns the cases and the options of a command line."""
    suites = "\n".join(f"  {name:<16}{suite.about}" for name, suite in SUITES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{__doc__}\nsuites (default: all):\n{suites}",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=argparse.SUPPRESS)
    parser.add_argument(
        "--precision",
        type=list_of(one_of(*_PRECISIONS)),
        help="default: float32,mixed_bfloat16,bfloat16; suites that train skip the last",
    )
    parser.add_argument("--size", type=list_of(size), help="default: 600x800,600x1000")
    parser.add_argument("--batch", type=list_of(count), help="default: 1,2,4")
    parser.add_argument(
        "--backbone",
        type=list_of(one_of(*BACKBONES)),
        help=f"one or more of {', '.join(BACKBONES)}; default: vgg16",
    )
    parser.add_argument("--calls", type=count, help="timed calls of each function; default: 10")
    parser.add_argument("--json", metavar="FILE", help="also write the JSON line to this file")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{_QUICK_CALLS} calls, one image size and batch size, unless given",
    )
    options = parser.parse_args(argv)
    quick = options.quick
    values = {
        "precision": options.precision or ["float32", "mixed_bfloat16", "bfloat16"],
        "size": options.size or ([(600, 800)] if quick else [(600, 800), (600, 1000)]),
        "batch": options.batch or ([1] if quick else [1, 2, 4]),
        "backbone": options.backbone or ["vgg16"],
    }
    calls = options.calls or (_QUICK_CALLS if quick else 10)
    try:
        if options.json:  # so that a bad path fails now and not after an hour
            open(options.json, "a").close()
        return make_cases(options.suites or list(SUITES), calls, **values), options
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
