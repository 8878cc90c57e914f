"""Times torchvision's Faster R-CNN and this package's at the same work, on the processor.

    python -m benchmarks.peers [--what=inference,train_step] [--precision=float32,bfloat16]
        [--size=600x800] [--batch=1,2] [--pairs=10] [--check] [--json=FILE] [--torch_python=PATH]

Both have VGG16, the same settings, images and weights. Each side is a process of its own, warmed
up, with the same cores and threads; they are called in turn, so that the machine's load meets both
alike. A ratio of 2 means that keras_frcnn took half of torchvision's time. --check first sees that
both find the same features, proposals and detections.

torchvision is no part of this package: without it this says how to install it, and skips.
"""

import argparse
import itertools
import json
import shutil
import subprocess
import sys

from rich.console import Console
from rich.table import Table

from benchmarks import environment, report
from benchmarks.arguments import count, list_of, one_of, size
from benchmarks.peers import turns, work
from benchmarks.peers.turns import OURS, PEER
from keras_frcnn.config import Config

_WIDTH = 150  # where there is no terminal
_INSTALL = """Install it into an environment of its own and name that one's Python:
  python -m venv peers
  peers/bin/pip install numpy
  peers/bin/pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu
  python -m benchmarks.peers --torch_python=peers/bin/python"""


def main(argv: list[str] | None = None) -> int:
    """Compares; prints the pairs, a table of all comparisons and, as the last line, JSON.

    Args:
        argv: the command line; None: the process's.

    Returns:
        The exit code: 1 if a side failed or answered otherwise than the other.
    """
    options = _parser().parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False, markup=False)
    document = {"environment": environment.host(), "checks": [], "comparisons": []}
    console.print(report.environment_text(document["environment"]))
    missing = why_torch_is_missing(options.torch_python)
    if missing:
        console.print(f"\nskipped: {missing}\n{_INSTALL}", soft_wrap=True)
        document["skipped"] = missing
    else:
        try:
            _compare(options, document, console)
        except (RuntimeError, ValueError) as error:
            console.print(str(error), soft_wrap=True)
            document["error"] = str(error)
    line = json.dumps(document)
    print(line)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            file.write(line + "\n")
    return int("error" in document)


def _compare(options, document, console):
    """Does what the command line asks for; adds what it finds to the document."""
    settings = make_settings(options.clip_norm)
    threads = len(environment.cores())
    document["settings"] = settings

    def jobs(whats, precisions):
        for values in itertools.product(whats, precisions, options.size, options.batch):
            yield work.Job(*values, threads, options.keep_memory, settings)

    for job in jobs(["inference"], ["float32"]) if options.check else ():
        found = turns.check(job, options.torch_python)
        document["checks"].append({"size": job.size, "batch": job.batch, **found})
        words = ", ".join(f"{name} {value:.2g}" for name, value in found.items())
        console.print(f"\n{job.label}, the same answers: {words}")
    comparisons = []
    for job in jobs(options.what, options.precision):
        comparisons.append(turns.compare(job, options.pairs, options.torch_python))
        document["comparisons"].append(comparisons[-1].to_dict())
        console.print(f"\n{job.label}", *_pairs(comparisons[-1]), sep="\n  ")
    console.print("", _table(comparisons), sep="\n")


def make_settings(clip_norm: float) -> dict:
    """The detector's settings that both sides follow: our defaults, which are the paper's."""
    return (
        Config(
            backbone_weights="imagenet",  # as frozen blocks ask for; they are not loaded
            frozen_blocks=2,
            learning_rate=1e-6,  # weights stay what they are
            gradient_clip_norm=clip_norm,
        )
        .validate()
        .to_dict()
    )


def why_torch_is_missing(python: str) -> str:
    """Empty if an interpreter can import torch and torchvision, else its complaint."""
    command = [python, "-c", "import torch, torchvision.models.detection"]
    done = subprocess.run(command, capture_output=True, text=True)
    said = done.stderr.strip().splitlines() or [f"{python} ended with status {done.returncode}"]
    return said[-1] if done.returncode else ""


def _pairs(comparison):
    """Lines about the calls of one comparison, pair by pair, and what both sides had to do."""
    ours, peer = (comparison.timings[name].samples for name in (OURS, PEER))
    cores = zip(*(comparison.busy_cores[name] for name in (PEER, OURS)), strict=True)
    for number, (a, b, (c, d)) in enumerate(zip(ours, peer, cores, strict=True), start=1):
        yield (
            f"pair {number}: {PEER} {b:.0f} ms on {c:.1f} cores, {OURS} {a:.0f} ms on {d:.1f}, "
            f"ratio {b / a:.2f}"
        )
    for name in (PEER, OURS):
        words = [f"{number} {what}" for what, number in comparison.counts[name].items()]
        words.append(f"{comparison.idle_cores[name]:.3f} cores busy in the other's turns")
        yield f"{name}: {', '.join(words).replace('_', ' ')}"
    if comparison.differences:
        yield f"NOT THE SAME WORK: {', '.join(comparison.differences)} differ"


def _table(comparisons):
    table = Table(title="Medians in ms; ratio = torchvision / keras_frcnn, pair by pair")
    for title in ("", PEER, OURS, "ratio", "middle half", "of the fastest", "peak MiB of both"):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    for comparison in comparisons:
        ratio, memory = comparison.ratio, comparison.peak_rss_mib
        table.add_row(
            comparison.job.label,
            *(f"{comparison.timings[name].median:.0f}" for name in (PEER, OURS)),
            f"{ratio.median:.2f}",
            f"{ratio.lower_quartile:.2f} - {ratio.upper_quartile:.2f}",
            f"{comparison.ratio_of_fastest:.2f}",
            f"{memory[PEER]} {memory[OURS]}",
        )
    return table


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def add(name, default, help, **kwargs):
        parser.add_argument(
            f"--{name}", default=default, help=f"{help} Default: {default}.", **kwargs
        )

    add(
        "what",
        "inference,train_step",
        "What to compare.",
        type=list_of(one_of("inference", "train_step")),
    )
    add(
        "precision",
        "float32,bfloat16",
        "bfloat16: torch's autocast and Keras' mixed_bfloat16.",
        type=list_of(one_of("float32", "bfloat16")),
    )
    add("size", "600x800", "Heights and widths of the images.", type=list_of(size))
    add("batch", "1,2", "Images a call.", type=list_of(count))
    add("pairs", 10, "Calls of each side that are timed.", type=count)
    add(
        "clip_norm",
        0.0,
        "Gradients are clipped to this norm on both sides; 0: not at all.",
        type=_not_negative,
    )
    add(
        "torch_python",
        sys.executable,
        "Interpreter that has torch, torchvision and NumPy.",
        type=_interpreter,
    )
    parser.add_argument(
        "--keep_memory",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="Both sides keep the memory that they have freed, which makes torch faster.",
    )
    parser.add_argument("--check", action="store_true", help="First see that both answer the same.")
    parser.add_argument("--json", metavar="FILE", help="Also write the line of JSON there.")
    return parser


def _not_negative(text):
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number from 0. Received: {text!r}")
    return number


def _interpreter(text):
    found = shutil.which(text)
    if not found:
        raise argparse.ArgumentTypeError(f"expected a Python interpreter. Received: {text!r}")
    return found


if __name__ == "__main__":
    sys.exit(main())
